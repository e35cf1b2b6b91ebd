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
from kurve.metrics.bootstrap import (
    Estimate,
    mean_band,
    mean_interval,
    normal_quantile,
    student_quantile,
    suprema,
)
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
    """Share of sound samples among those ruled on, of each problem that has a ruling; fractions, [problems ruled on].

    Without bias for the problem's correct samples when those ruled on are a random part of them.
    """
    ruled = counts.num_sound + counts.num_unsound
    rows = ruled > 0
    shares: Floats = counts.num_sound[rows] / ruled[rows]
    return shares


def cot_pass_at_k_per_problem(
    counts: JudgedCounts, ks: ArrayLike, *, centre: float | None = None
) -> tuple[Floats, Floats]:
    """Expected CoT-pass@k of each problem and its variance given the verdicts, as fractions, both [P, K].

    The number of sound samples among the open ones of a reviewed problem is beta-binomial: its prior is worth one
    verdict and centred at the mean share of the reviewed problems, so that problems with few verdicts lean on the
    others. That takes the judged samples for a random part of the problem's correct ones. In a problem that was not
    reviewed all open samples are taken as sound. Without open samples the variance is 0 and the value exact.

    Args:
        counts: of the review.
        ks: values of k.
        centre: of the prior, a fraction; None takes the mean share, drawn towards 1/2 by half a problem each way.

    Raises:
        MetricError: bad counts as in `pass_at_k`, or a k below 1 or above min(n).
    """
    wanted = checked_ks(ks, int(counts.num_samples.min()))
    open_ones = np.where(counts.reviewed, counts.num_open, 0)
    most = counts.num_sound + np.where(counts.reviewed, 0, counts.num_open)
    values = pass_at_k_per_problem(counts.num_samples, most, wanted)
    variances = np.zeros_like(values)
    shares = sound_shares(counts)
    prior = float((shares.sum() + 0.5) / (shares.size + 1)) if centre is None else centre
    for n in np.unique(counts.num_samples[open_ones > 0]):
        rows = np.flatnonzero((open_ones > 0) & (counts.num_samples == n))
        largest = int((counts.num_sound + open_ones)[rows].max())
        passes = pass_at_k_per_problem(np.full(largest + 1, n), np.arange(largest + 1), wanted)  # by sound samples
        for row in rows:
            sound, unsound, rest = (int(x[row]) for x in (counts.num_sound, counts.num_unsound, open_ones))
            chances = _beta_binomial(rest, sound + prior, unsound + 1 - prior)
            table = passes[sound : sound + rest + 1]
            values[row] = chances @ table
            variances[row] = np.maximum(chances @ (table - values[row]) ** 2, 0.0)
    return np.clip(values, 0.0, 1.0), variances


def cot_pass_at_k_band(
    counts: JudgedCounts, ks: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, draws: int = 2000
) -> tuple[Floats, Floats, Floats]:
    """Mean CoT-pass@k over the problems and a band that holds it at all K at once for problems like these, each [K].

    Half widths add in squares: that of `mean_band` over the problems; the standard error that open samples leave
    (`cot_pass_at_k_per_problem`) times the band's quantile; and what the mean moves by when the prior's centre, which
    all problems share, goes to the ends of its own interval, stretched from one k to all of them.

    Raises:
        MetricError: as `cot_pass_at_k_per_problem` and `mean_band`.
    """
    values, variances = cot_pass_at_k_per_problem(counts, ks)
    state = rng.bit_generator.state
    low, high = mean_band(values, rng, confidence=confidence, draws=draws)
    mean: Floats = values.mean(axis=0)
    if len(values) > 1 and variances.any():
        rng.bit_generator.state = state  # the quantile that the band was made with
        normal = normal_quantile(confidence)
        quantile = max(normal, float(np.quantile(suprema(values, rng, draws), confidence)))
        error = student_quantile(quantile, len(values)) * np.sqrt(variances.sum(axis=0)) / len(values)
        below, above = _moved_by_the_prior(counts, ks, mean, confidence)
        stretch = quantile / normal
        low = np.clip(mean - np.sqrt((mean - low) ** 2 + error**2 + (stretch * below) ** 2), 0.0, mean)
        high = np.clip(mean + np.sqrt((high - mean) ** 2 + error**2 + (stretch * above) ** 2), mean, 1.0)
    return mean, low, high


def _moved_by_the_prior(counts: JudgedCounts, ks: ArrayLike, mean: Floats, confidence: float) -> tuple[Floats, Floats]:
    """How far the mean falls and rises when the prior's centre is at the ends of its interval, both [K]."""
    shares = sound_shares(counts)
    ends = mean_interval(shares, confidence=confidence) if shares.size else Estimate(0.5, 0.0, 1.0)
    edge = 1e-6  # a prior needs some weight on either side
    low, high = (
        cot_pass_at_k_per_problem(counts, ks, centre=float(np.clip(end, edge, 1 - edge)))[0].mean(axis=0)
        for end in (ends.low, ends.high)
    )
    return np.maximum(mean - low, 0.0), np.maximum(high - mean, 0.0)


def _beta_binomial(trials: int, a: float, b: float) -> Floats:
    """Chance of 0 .. trials successes, [trials + 1]."""
    x = np.arange(trials + 1)
    logs = special.betaln(x + a, trials - x + b) - special.betaln(a, b)
    logs += special.gammaln(trials + 1) - special.gammaln(x + 1) - special.gammaln(trials - x + 1)
    chances: Floats = np.exp(logs - special.logsumexp(logs))
    return chances
