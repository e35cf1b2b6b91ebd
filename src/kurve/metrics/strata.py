"""A comparison within each kind of problem: subject, level, source.

Strata are fixed, not drawn: a benchmark of seven subjects says nothing about an eighth, and two sources (AIME I and II)
are too few clusters for a standard error over clusters. So each stratum is a comparison of its own over its problems,
paired and studentised as the whole is. The whole keeps every problem's equal weight; its interval, for problems like
these in whatever proportion they come, is wider on average than one that holds the proportions fixed.

Several strata are several chances to be wrong: verdicts are by p-values that are adjusted over strata (Holm 1979), for
each k by itself. Intervals are each stratum's own and not adjusted.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from kurve.errors import MetricError
from kurve.metrics.bootstrap import Estimate, normal_quantile, student_quantile
from kurve.metrics.efficiency import delta_se
from kurve.metrics.paired import Change, difference_interval
from kurve.metrics.passk import Floats, pass_at_k_of
from kurve.metrics.tallies import problems_at
from kurve.types import Tally

LEAST = 5  # problems: below it no interval over problems is worth its name
_SOME = 0.5  # a confidence at which no interval is cut off at -1 or 1


@dataclass(frozen=True, slots=True)
class StratumAtK:
    """pass@k of both models at one k over the problems of a stratum, as fractions."""

    k: int
    base: float
    tuned: float
    change: float  # tuned - base
    interval: Estimate | None  # of the change, not adjusted; None for fewer than `LEAST` problems
    p_value: float | None  # two-sided
    adjusted: float | None  # over the strata, by Holm
    verdict: Change


@dataclass(frozen=True, slots=True)
class Stratum:
    """What changed on one kind of problem."""

    name: str  # empty: problems of no known kind
    num_problems: int
    at_1: StratumAtK
    headline: StratumAtK
    delta_se: float  # base pass@k - tuned pass@1
    delta_se_interval: Estimate | None

    @property
    def words(self) -> str:
        """The verdicts, as "gain at k = 1, not established at k = 256"."""
        parts = {at.k: f"{at.verdict} at k = {at.k}" for at in (self.at_1, self.headline)}
        return ", ".join(parts.values())


def by_stratum(base: Tally, tuned: Tally, k: int, *, confidence: float = 0.95) -> tuple[Stratum, ...]:
    """Compare within each of the base's strata, the one with the most problems first.

    Args:
        base: counts with strata, [P].
        tuned: counts of the same problems in the same order, [P].
        k: the headline, beside 1.
        confidence: of the intervals; verdicts hold at 1 - confidence over all strata.

    Raises:
        MetricError: no strata, or not one for each problem, or counts as `pass_at_k` refuses them.
    """
    if not base.strata or len(base.strata) != len(base.problem_ids):
        raise MetricError(f"need a stratum for each of {len(base.problem_ids)} problems, got {len(base.strata)}")
    names = [name for name, _ in sorted(Counter(base.strata).items(), key=lambda one: (-one[1], one[0]))]
    of = np.array(base.strata, dtype=object)
    rows = [np.flatnonzero(of == name) for name in names]
    ones = _at(base, tuned, 1, rows, confidence=confidence)
    headlines = ones if k == 1 else _at(base, tuned, k, rows, confidence=confidence)
    found = []
    for name, kept, at_1, headline in zip(names, rows, ones, headlines, strict=True):
        gap = delta_se(problems_at(base, kept), problems_at(tuned, kept), k, confidence=confidence)
        interval = gap if len(kept) >= LEAST else None
        found.append(Stratum(name, len(kept), at_1, headline, gap.value, interval))
    return tuple(found)


def holm(p_values: ArrayLike) -> Floats:
    """p-values adjusted so that one below alpha is wrong with probability alpha at most, whichever is the smallest.

    Args:
        p_values: of tests that may depend on one another in any way, [T].

    Raises:
        MetricError: a value outside 0..1.
    """
    given = np.asarray(p_values, dtype=np.float64)
    if given.ndim != 1 or not np.all((given >= 0) & (given <= 1)):
        raise MetricError(f"need p-values from 0 to 1, got {given}")
    order = np.argsort(given, kind="stable")
    steps = np.maximum.accumulate((given.size - np.arange(given.size)) * given[order])
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _at(base: Tally, tuned: Tally, k: int, rows: Sequence[np.ndarray], *, confidence: float) -> list[StratumAtK]:
    before, after = pass_at_k_of(base, [k])[:, 0], pass_at_k_of(tuned, [k])[:, 0]
    p_values = [_p_value(after[kept] - before[kept]) if len(kept) >= LEAST else None for kept in rows]
    adjusted = iter(holm([p for p in p_values if p is not None]).tolist())
    found = []
    for kept, p in zip(rows, p_values, strict=True):
        change = after[kept] - before[kept]
        interval = difference_interval(change, confidence=confidence) if p is not None else None
        corrected = next(adjusted) if p is not None else None
        verdict = Change.NOT_ESTABLISHED
        if corrected is not None and corrected < 1 - confidence:
            verdict = Change.GAIN if change.mean() > 0 else Change.LOSS
        means = float(before[kept].mean()), float(after[kept].mean())
        found.append(StratumAtK(k, *means, float(change.mean()), interval, p, corrected, verdict))
    return found


def _p_value(differences: Floats) -> float:
    """Two-sided, of a mean difference of 0: where `difference_interval` would just exclude it."""
    some = difference_interval(differences, confidence=_SOME)
    half = max(some.high - some.value, some.value - some.low)
    error = half / student_quantile(normal_quantile(_SOME), differences.size)
    return float(2 * special.stdtr(differences.size - 1, -abs(some.value) / error))
