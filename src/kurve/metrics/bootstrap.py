"""Confidence for means over problems, pointwise and for a whole curve at once.

Two targets, kept apart by name. "Problems like these": problems are the random unit, so one problem's samples stay
together and their noise is part of the spread between problems; this is the default. "These problems": only the
sampling of answers is random.

Both use Wilson's score interval with an estimated dispersion instead of mean +- t * SE. For values in [0, 1] the
variance at mean m is phi * m * (1 - m) with phi <= 1; inverting |mean - m| <= z * sqrt(phi * m * (1 - m) / P) stays
within [0, 1] and keeps its coverage where most problems are never, or always, solved. phi counts one more problem with
the largest possible variance, 1/4: a column of equal values then still has an honest width.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from kurve.errors import MetricError
from kurve.metrics.passk import Floats, pass_at_k_per_problem, sampling_variance

_CELLS = 1 << 22  # of one block of multiplier draws, 32 MB
CONSTANT = 1e-12  # a standard deviation that is rounding, not spread


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantity with its confidence interval."""

    value: float
    low: float
    high: float


def mean_interval(values: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Mean over problems with its interval for problems like these; the t quantile stands in for the normal.

    Args:
        values: one fraction a problem, for instance pass@1, [P]. A single problem gives [0, 1].
        confidence: of the interval, a fraction.

    Raises:
        MetricError: no values, values outside 0..1 or not finite, or a confidence outside (0, 1).
    """
    table = _checked(values, ndim=1)[:, None]
    quantile = student_quantile(normal_quantile(confidence), len(table))
    low, high = _wilson(table, quantile)
    return Estimate(float(table.mean()), float(low[0]), float(high[0]))


def expected_half_width(values: ArrayLike, num_problems: int, *, confidence: float = 0.95) -> float:
    """Half the width that `mean_interval` will have for so many problems like the given ones.

    Args:
        values: one fraction a problem; of fewer than two nothing is known, and the widest interval is taken.
        num_problems: P, at least 1.
        confidence: of the interval, a fraction.

    Raises:
        MetricError: values outside 0..1 or not finite, or a confidence outside (0, 1).
    """
    known = np.asarray(values, dtype=np.float64).size > 1
    table = _checked(values, ndim=1)[:, None] if known else np.array([[0.0], [1.0]])
    if num_problems == 1:
        return 0.5
    quantile = student_quantile(normal_quantile(confidence), num_problems)
    low, high = _score_limits(table.mean(axis=0), quantile**2 * _dispersion(table) / num_problems)
    return float(high[0] - low[0]) / 2


def student_interval(values: ArrayLike, *, confidence: float = 0.95) -> Estimate | float:
    """Mean over problems of a quantity without an upper bound, with Student's t interval cut at 0.

    Args:
        values: one a problem, at least 0, [P]. A single problem gives the bare number: its interval is infinite.
        confidence: of the interval, a fraction.

    Raises:
        MetricError: no values, values below 0 or not finite, or a confidence outside (0, 1).
    """
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1 or column.size == 0 or not np.all(np.isfinite(column) & (column >= 0)):
        raise MetricError(f"need finite values from 0 on, one a problem, got {column[:8].tolist()}")
    quantile = student_quantile(normal_quantile(confidence), column.size)
    mean = float(column.mean())
    if column.size == 1:
        return mean
    half = quantile * float(column.std(ddof=1)) / np.sqrt(column.size)
    return Estimate(mean, max(0.0, mean - half), mean + half)


def mean_band(
    values: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, draws: int = 2000
) -> tuple[Floats, Floats]:
    """Band that holds the mean over problems like these at all K columns at once.

    The quantile is that of sup_k |sum_i g_i (x_ik - mean_k)| / (P * SE_k) with Gaussian multipliers g (Chernozhukov,
    Chetverikov and Kato 2013, arXiv:1212.6906), turned into the t quantile of the same tail for few problems.

    Args:
        values: fractions, one row a problem, [P, K].
        rng: source of the multipliers; the same state gives the same band.
        confidence: that the whole mean lies inside, a fraction.
        draws: of the multipliers.

    Returns:
        The lower and the upper edge, within 0..1, each [K].

    Raises:
        MetricError: no values, values outside 0..1 or not finite, a confidence outside (0, 1), or draws < 100.
    """
    table = _checked(values, ndim=2)
    pointwise = normal_quantile(confidence)
    if draws < 100:
        raise MetricError(f"need at least 100 draws for a band, got {draws}; 2000 is usual")
    quantile = max(pointwise, float(np.quantile(suprema(table, rng, draws), confidence)))
    return _wilson(table, student_quantile(quantile, len(table)))


def fixed_problems_interval(
    num_samples: ArrayLike, num_correct: ArrayLike, k: int, *, confidence: float = 0.95
) -> Estimate:
    """pass@k of these very problems: how far it would move if the same problems were sampled again.

    The variance is sum_i (q_k^2 - q_2k) / P^2 over the problems. It says nothing about other problems, and is always
    the narrower of the two intervals in the long run.

    Raises:
        MetricError: bad counts as in `pass_at_k`, or 2k above min(n), where no unbiased variance exists.
    """
    normal = normal_quantile(confidence)
    variances = sampling_variance(num_samples, num_correct, [k])[:, 0]
    mean = float(pass_at_k_per_problem(num_samples, num_correct, [k]).mean())
    groups = int((np.asarray(num_samples).astype(np.int64) // k).sum())  # disjoint groups of k samples: independent
    variance = float(variances.sum()) / variances.size**2
    spread = mean * (1 - mean)
    relative = variance / spread if spread > CONSTANT and variance > 0 else 1 / groups
    low, high = _score_limits(np.array([mean]), np.array([normal**2 * relative]))
    return Estimate(mean, float(low[0]), float(high[0]))


def normal_quantile(confidence: float) -> float:
    """Two-sided normal quantile of a confidence, 1.96 for 0.95.

    Raises:
        MetricError: a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise MetricError(f"confidence must lie between 0 and 1, got {confidence}; 0.95 is usual")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def student_quantile(normal: float, num_problems: int) -> float:
    """The t quantile with the tail of a normal one; infinite for a single problem."""
    if num_problems == 1:
        return float("inf")
    return -float(special.stdtrit(num_problems - 1, special.ndtr(-normal)))


def suprema(table: Floats, rng: np.random.Generator, draws: int) -> Floats:
    """Largest |t| over the columns for each draw of Gaussian multipliers, [draws]; constant columns do not count.

    Args:
        table: one row a problem, [P, K].
        rng: source of the multipliers.
        draws: how many.
    """
    num_problems = len(table)
    centred = table - table.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=0))
    scaled = centred[:, spread > CONSTANT] / spread[spread > CONSTANT]
    step = max(1, _CELLS // max(num_problems, scaled.shape[1], 1))
    blocks = [
        np.abs(rng.standard_normal((min(step, draws - start), num_problems)) @ scaled).max(axis=1, initial=0.0)
        for start in range(0, draws, step)
    ]
    return np.concatenate(blocks)


def _checked(values: ArrayLike, *, ndim: int) -> Floats:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != ndim or table.size == 0:
        shape = "[P]" if ndim == 1 else "[P, K]"
        raise MetricError(f"need values of shape {shape} with at least one problem, got shape {table.shape}")
    if not np.all((table >= 0) & (table <= 1)):
        worst = table[~((table >= 0) & (table <= 1))][0]
        raise MetricError(f"need fractions from 0 to 1, got {worst}")
    return table


def _wilson(table: Floats, quantile: float) -> tuple[Floats, Floats]:
    num_problems, mean = len(table), table.mean(axis=0)
    if num_problems == 1:
        return np.zeros_like(mean), np.ones_like(mean)
    return _score_limits(mean, quantile**2 * _dispersion(table) / num_problems)


def _dispersion(table: Floats) -> Floats:
    """phi of each column, [K], from at least two problems."""
    num_problems, mean = len(table), table.mean(axis=0)
    scatter = ((table - mean) ** 2).sum(axis=0)
    largest = num_problems * mean * (1 - mean)  # scatter of zeros and ones with this mean
    found: Floats = np.minimum((scatter + 0.25) / (largest + 0.25) * num_problems / (num_problems - 1), 1.0)
    return found


def _score_limits(mean: Floats, width: Floats) -> tuple[Floats, Floats]:
    """Both m with (mean - m)^2 = width * m * (1 - m), clipped to 0..1 and never inside the mean."""
    centre = (mean + width / 2) / (1 + width)
    half = np.sqrt(width * mean * (1 - mean) + width**2 / 4) / (1 + width)
    low = np.where(mean <= 0, 0.0, np.clip(centre - half, 0.0, mean))
    high = np.where(mean >= 1, 1.0, np.clip(centre + half, mean, 1.0))
    return low, high
