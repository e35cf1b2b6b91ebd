"""Who solves a problem when each of two models draws k samples: both, one of them, or neither.

P problems, K values of k. A problem is solved within k samples with the chance b(k) = pass@k of the base and t(k) of
the tuned model, and the two draw independently, so the expected share of problems solved by the base alone is the mean
of b(k) (1 - t(k)): unbiased, since both factors are. At k = n these are the sets of tables 4 and 5 of Yue et al. 2025
(arXiv:2504.13837).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kurve.errors import MetricError
from kurve.metrics.bootstrap import mean_band
from kurve.metrics.passk import Floats, Ints, checked_ks, fail_at_k_per_problem, pass_at_k_of
from kurve.types import Tally


@dataclass(frozen=True, slots=True)
class Band:
    """A share of problems over k with its simultaneous band, each [K]."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class CoverageCurves:
    """Expected shares of problems by who solves them within k samples; the four sum to 1."""

    k: Ints  # [K]
    both: Floats  # [K]
    base_only: Band
    tuned_only: Band
    neither: Floats  # [K]
    chance_k: Ints  # the k of `chance`, those up to n/2
    chance: Floats  # the base against itself: the share that one run of it solves and another does not


def coverage_over_k(
    base: Tally, tuned: Tally, ks: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, draws: int = 2000
) -> CoverageCurves:
    """Expected sets of solved problems over k.

    `chance` is mean(q_k - q_2k) with q_k = 1 - pass@k of the base: of two disjoint sets of k of its samples, the first
    holds a correct one and the second does not. It needs 2k samples.

    Args:
        base: counts of the model before training, [P].
        tuned: counts of the same problems in the same order, [P].
        ks: ascending, [K].
        rng: source of the bands' multipliers; the same state gives the same bands.
        confidence: of each band, a fraction.
        draws: of the multipliers.

    Raises:
        MetricError: a k above min(n) of either, adaptive sampling, or bad counts as in `pass_at_k`.
    """
    if base.largest_k is not None or tuned.largest_k is not None:
        raise MetricError(
            "coverage over k needs the same number of samples of every problem, and a model was sampled adaptively; "
            "evaluate it with a fixed num_samples"
        )
    fewest = int(min(base.num_samples.min(), tuned.num_samples.min()))
    k = checked_ks(ks, fewest)
    solved = [pass_at_k_of(one, k) for one in (base, tuned)]
    failed = [fail_at_k_per_problem(one.num_samples, one.num_correct, k) for one in (base, tuned)]
    bands = [
        _band(solved[0] * failed[1], rng, confidence=confidence, draws=draws),
        _band(solved[1] * failed[0], rng, confidence=confidence, draws=draws),
    ]
    halves = k[2 * k <= int(base.num_samples.min())]
    return CoverageCurves(
        k=k,
        both=(solved[0] * solved[1]).mean(axis=0),
        base_only=bands[0],
        tuned_only=bands[1],
        neither=(failed[0] * failed[1]).mean(axis=0),
        chance_k=halves,
        chance=_against_itself(base, halves),
    )


def _band(shares: Floats, rng: np.random.Generator, *, confidence: float, draws: int) -> Band:
    low, high = mean_band(np.clip(shares, 0.0, 1.0), rng, confidence=confidence, draws=draws)
    return Band(shares.mean(axis=0), low, high)


def _against_itself(tally: Tally, ks: Ints) -> Floats:
    if ks.size == 0:
        return np.zeros(0)
    once = fail_at_k_per_problem(tally.num_samples, tally.num_correct, ks)
    twice = fail_at_k_per_problem(tally.num_samples, tally.num_correct, 2 * ks)
    share: Floats = (once - twice).mean(axis=0)
    return share
