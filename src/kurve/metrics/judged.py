"""CoT-pass@k: pass@k that counts a sample only if its answer is correct and its chain of thought was judged sound.

Wen et al. 2025 (arXiv:2506.14245) replace c, the correct samples of a problem, by those that are correct with a correct
chain of thought, and decide that by any, the majority or all of J verdicts. Two things are added here. A verdict may
be undecided (the judge is unsure, failed, or never saw the sample), and then the true count lies between two bounds.
And where only some of a problem's correct samples were judged, the rest is estimated from them with its uncertainty.

P problems, S samples, J verdicts on one sample, K values of k.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from kurve.errors import MetricError
from kurve.metrics.bootstrap import mean_band, normal_quantile, student_quantile, suprema
from kurve.metrics.passk import Floats, Ints, checked_ks, pass_at_k_per_problem

SOUND, UNSOUND, UNDECIDED, NONE = 1, 0, -1, -2  # a verdict; NONE: this judge gave none on the sample
RULES = ("any", "majority", "all")


@dataclass(frozen=True, slots=True)
class JudgedCounts:
    """Per-problem counts of a review. What is neither sound nor unsound among the correct samples is open."""

    num_samples: Ints  # n, [P]
    num_correct: Ints  # c, [P]
    num_sound: Ints  # correct samples that are ruled sound, [P]
    num_unsound: Ints  # correct samples that are ruled unsound, [P]
    reviewed: NDArray[np.bool_]  # the problem was under review: its judged samples stand for its open ones, [P]

    def __post_init__(self) -> None:
        """Refuse counts that contradict one another."""
        columns = (self.num_samples, self.num_correct, self.num_sound, self.num_unsound, self.reviewed)
        if len({column.shape for column in columns}) > 1 or self.num_samples.ndim != 1 or not self.num_samples.size:
            raise MetricError(f"need columns of one length, at least 1; got {[column.shape for column in columns]}")
        bad = (self.num_sound < 0) | (self.num_unsound < 0) | (self.num_open < 0)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise MetricError(
                f"need sound + unsound <= correct samples, got {self.num_sound[row]} + {self.num_unsound[row]} of "
                f"{self.num_correct[row]} at position {row}"
            )

    @property
    def num_open(self) -> Ints:
        """Correct samples without a ruling, [P]."""
        return self.num_correct - self.num_sound - self.num_unsound

    def of(self, rows: NDArray[np.bool_]) -> "JudgedCounts":
        """The same for some of the problems."""
        return JudgedCounts(
            self.num_samples[rows],
            self.num_correct[rows],
            self.num_sound[rows],
            self.num_unsound[rows],
            self.reviewed[rows],
        )


def rulings(verdicts: ArrayLike, rule: str) -> NDArray[np.int8]:
    """What the verdicts on each sample come to: SOUND, UNSOUND or UNDECIDED, [S].

    A sample is sound when at least `need` of its J verdicts say so (1 for any, more than half for majority, J for all),
    unsound when `need` is out of reach whatever the undecided ones would say, and otherwise undecided. J is the number
    of verdicts that the sample has; a sample without one is undecided.

    Args:
        verdicts: SOUND, UNSOUND, UNDECIDED or NONE, [S, J].
        rule: any, majority or all.

    Raises:
        MetricError: another rule, or other codes.
    """
    table = np.asarray(verdicts)
    if rule not in RULES:
        raise MetricError(f"the rule is {rule!r}; expected one of {', '.join(RULES)}")
    if table.ndim != 2 or not np.isin(table, (SOUND, UNSOUND, UNDECIDED, NONE)).all():
        raise MetricError(f"need codes from {NONE} to {SOUND} of shape [S, J], got shape {table.shape}")
    given = (table != NONE).sum(axis=1)
    sound, unsound = (table == SOUND).sum(axis=1), (table == UNSOUND).sum(axis=1)
    need = {"any": np.ones_like(given), "majority": given // 2 + 1, "all": given}[rule]
    found = np.full(len(table), UNDECIDED, dtype=np.int8)
    found[(given > 0) & (given - unsound < need)] = UNSOUND
    found[(given > 0) & (sound >= need)] = SOUND
    return found


def sound_shares(counts: JudgedCounts) -> Floats:
    """Estimated share of sound samples among the correct ones of each problem that is under review, [reviewed].

    Problems without a ruling get the prior's centre. Fractions; a problem without a correct sample is no part of it.
    """
    under = counts.of(counts.reviewed & (counts.num_correct > 0)) if counts.reviewed.any() else None
    if under is None:
        return np.zeros(0)
    centre, ruled = _centre(counts), under.num_sound + under.num_unsound
    expected = under.num_sound + under.num_open * (under.num_sound + centre) / (ruled + 1)
    shares: Floats = expected / under.num_correct
    return shares


def cot_pass_at_k_per_problem(counts: JudgedCounts, ks: ArrayLike) -> tuple[Floats, Floats]:
    """Expected CoT-pass@k of each problem and its variance given the verdicts, as fractions, both [P, K].

    The number of sound samples among the open ones of a reviewed problem is beta-binomial: its prior is worth one
    verdict and centred at the mean share of the reviewed problems, so that problems with few verdicts lean on the
    others. That takes the judged samples for a random part of the problem's correct ones. In a problem that was not
    reviewed all open samples are taken as sound. Without open samples the variance is 0 and the value exact.

    Raises:
        MetricError: bad counts as in `pass_at_k`, or a k below 1 or above min(n).
    """
    wanted = checked_ks(ks, int(counts.num_samples.min()))
    open_ones = np.where(counts.reviewed, counts.num_open, 0)
    most = counts.num_sound + np.where(counts.reviewed, 0, counts.num_open)
    values = pass_at_k_per_problem(counts.num_samples, most, wanted)
    variances = np.zeros_like(values)
    centre = _centre(counts)
    for row in np.flatnonzero(open_ones):
        n, sound, unsound, rest = (
            int(column[row]) for column in (counts.num_samples, counts.num_sound, counts.num_unsound, open_ones)
        )
        chances = _beta_binomial(rest, sound + centre, unsound + 1 - centre)
        table = pass_at_k_per_problem(np.full(rest + 1, n), sound + np.arange(rest + 1), wanted)
        values[row] = chances @ table
        variances[row] = np.maximum(chances @ (table - values[row]) ** 2, 0.0)
    return np.clip(values, 0.0, 1.0), variances


def cot_pass_at_k_band(
    counts: JudgedCounts, ks: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, draws: int = 2000
) -> tuple[Floats, Floats, Floats]:
    """Mean CoT-pass@k over the problems and a band that holds it at all K at once for problems like these, each [K].

    Half widths add in squares: that of `mean_band` over the problems, and the standard error that open samples leave
    (`cot_pass_at_k_per_problem`) times the band's quantile.

    Raises:
        MetricError: as `cot_pass_at_k_per_problem` and `mean_band`.
    """
    values, variances = cot_pass_at_k_per_problem(counts, ks)
    state = rng.bit_generator.state
    low, high = mean_band(values, rng, confidence=confidence, draws=draws)
    mean: Floats = values.mean(axis=0)
    if len(values) > 1:
        rng.bit_generator.state = state  # the quantile that the band was made with
        quantile = max(normal_quantile(confidence), float(np.quantile(suprema(values, rng, draws), confidence)))
        error = student_quantile(quantile, len(values)) * np.sqrt(variances.sum(axis=0)) / len(values)
        low = np.clip(mean - np.hypot(mean - low, error), 0.0, mean)
        high = np.clip(mean + np.hypot(high - mean, error), mean, 1.0)
    return mean, low, high


def _centre(counts: JudgedCounts) -> float:
    """Mean share of sound samples over problems that have a ruling, drawn towards 1/2 by half a problem each way."""
    ruled = counts.num_sound + counts.num_unsound
    rows = ruled > 0
    return float((np.sum(counts.num_sound[rows] / ruled[rows]) + 0.5) / (np.count_nonzero(rows) + 1))


def _beta_binomial(trials: int, a: float, b: float) -> Floats:
    """Chance of 0 .. trials successes, [trials + 1]."""
    x = np.arange(trials + 1)
    logs = special.betaln(x + a, trials - x + b) - special.betaln(a, b)
    logs += special.gammaln(trials + 1) - special.gammaln(x + 1) - special.gammaln(trials - x + 1)
    chances: Floats = np.exp(logs - special.logsumexp(logs))
    return chances
