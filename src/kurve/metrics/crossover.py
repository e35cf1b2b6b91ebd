"""Where the tuned model's pass@k falls below the base's: a point, what the band allows, and a bootstrap.

P problems, K values of k, R bootstrap draws. A curve that lies below the base from k = 1 on does not cross, neither
does one that never falls below: both have an infinite point, and the band's ranges tell them apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kurve.errors import MetricError
from kurve.metrics.paired import DRAWS, PairedDifference
from kurve.metrics.passk import Floats, Ints

_CELLS = 1 << 22  # of one block of bootstrap draws, 32 MB
_TIE = 1e-12  # a difference of means that is rounding


@dataclass(frozen=True, slots=True)
class Crossover:
    """The crossover k*, in samples a problem; infinite where there is none up to the largest k."""

    point: float  # where the curves meet, linear in log k; the first k with a loss is the whole number above it
    confidence_set: tuple[float, float]  # first and last k that the band allows as the first k with a loss
    interval: tuple[float, float]  # of the point, bootstrap over problems, no crossing counted as infinite
    probability: float  # of a crossing, share of the bootstrap draws; NaN for a single problem


def crossover(
    differences: ArrayLike,
    band: PairedDifference,
    rng: np.random.Generator,
    *,
    draws: int = DRAWS,
) -> Crossover:
    """The first k at which the difference is negative after it was positive, with its uncertainty.

    The confidence set comes from the simultaneous band, so it holds the first k with a true loss whenever the band
    holds the curve: it starts after the initial run of k with a certain gain and ends at the first k with a certain
    loss. The bootstrap interval has the band's confidence, and means something only beside its probability.

    Args:
        differences: tuned - base of each problem, [P, K], the values the band was made from.
        band: their simultaneous band.
        rng: source of the bootstrap draws.
        draws: of the bootstrap, R.

    Raises:
        MetricError: differences that are not the band's, or fewer than 100 draws.
    """
    table = np.asarray(differences, dtype=np.float64)
    if table.shape != (band.num_problems, band.k.size):
        raise MetricError(f"need differences of shape {(band.num_problems, band.k.size)}, got {table.shape}")
    if draws < 100:
        raise MetricError(f"need at least 100 bootstrap draws, got {draws}; {DRAWS} is usual")
    point = float(crossing_points(band.delta[None, :], band.k)[0])
    if len(table) == 1:
        return Crossover(point, confidence_set(band), (float(band.k[0]), np.inf), np.nan)
    points = np.sort(_bootstrap(table, band.k, rng, draws))
    tail = (1 - band.confidence) / 2 * (draws - 1)
    interval = (float(points[int(np.floor(tail))]), float(points[int(np.ceil(draws - 1 - tail))]))
    return Crossover(point, confidence_set(band), interval, float(np.isfinite(points).mean()))


def confidence_set(band: PairedDifference) -> tuple[float, float]:
    """First and last k that the band allows as the first k with a loss; (largest k + 1, inf) if it allows none."""
    gains, losses = band.low > 0, band.high < 0
    run = band.k.size if gains.all() else int(np.argmin(gains))
    first = float(band.k[run - 1]) + 1 if run else float(band.k[0])
    last = float(band.k[np.argmax(losses)]) if losses.any() else np.inf
    return first, last


def crossing_points(curves: Floats, k: Ints) -> Floats:
    """k at which each curve turns negative after it was positive, linear in log k; infinite where it never does.

    Args:
        curves: differences over k, [R, K].
        k: ascending, [K].

    Returns:
        [R].
    """
    seen = np.maximum.accumulate(curves > _TIE, axis=1)
    falls = seen & (curves < -_TIE)
    rows = np.flatnonzero(falls.any(axis=1))
    after = np.argmax(falls[rows], axis=1)  # at least 1: a gain comes before it
    above, below = np.maximum(curves[rows, after - 1], 0.0), curves[rows, after]
    logs = np.log(k)
    points = np.full(len(curves), np.inf)
    points[rows] = np.exp(logs[after - 1] + (logs[after] - logs[after - 1]) * above / (above - below))
    return points


def _bootstrap(table: Floats, k: Ints, rng: np.random.Generator, draws: int) -> Floats:
    num_problems = len(table)
    step = max(1, _CELLS // max(table.shape))
    blocks = []
    for start in range(0, draws, step):
        height = min(step, draws - start)
        chosen = rng.integers(num_problems, size=(height, num_problems)) + num_problems * np.arange(height)[:, None]
        times = np.bincount(chosen.reshape(-1), minlength=height * num_problems).reshape(height, num_problems)
        blocks.append(crossing_points(times.astype(np.float64) @ table / num_problems, k))
    return np.concatenate(blocks)
