"""Which of several trials is best, where more than one quantity counts and none is known exactly.

T trials, O objectives, P problems. Trial j dominates i where it is at least as good in every mean and better in one.
That is established only if it is better in every objective by more than the paired interval over problems: objectives
that are equal within noise leave open that i is the better one in them.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kurve.errors import MetricError
from kurve.metrics.paired import difference_interval


class Standing(StrEnum):
    """Where a trial stands among the others."""

    FRONT = "front"  # no other dominates it
    NOT_ESTABLISHED = "not established"  # another does, within noise
    DOMINATED = "dominated"  # another does, beyond noise


def standings(values: ArrayLike, *, confidence: float = 0.95) -> list[Standing]:
    """Where each trial stands.

    Args:
        values: of each trial, objective and problem, -1..1, larger is better, [T, O, P]; all on the same problems.
        confidence: of each paired interval, a fraction; nothing is corrected for the number of pairs.

    Raises:
        MetricError: another shape, values out of range, or a confidence outside (0, 1).
    """
    cube = np.asarray(values, dtype=np.float64)
    if cube.ndim != 3 or cube.size == 0:
        raise MetricError(f"need values of shape [T, O, P], got {cube.shape}")
    if not np.all(np.abs(cube) <= 1):
        raise MetricError("need values from -1 to 1")
    dominating = dominates(cube.mean(axis=2))
    return [_standing(cube, trial, np.flatnonzero(dominating[:, trial]), confidence) for trial in range(len(cube))]


def dominates(means: ArrayLike) -> NDArray[np.bool_]:
    """Whether trial j dominates trial i, by values of which larger are better, [T, O] -> [T, T] as [j, i]."""
    table = np.asarray(means, dtype=np.float64)
    ahead = table[:, None, :] - table[None, :, :]
    found: NDArray[np.bool_] = np.all(ahead >= 0, axis=2) & np.any(ahead > 0, axis=2)
    return found


def _standing(cube: NDArray[np.float64], trial: int, better: NDArray[np.intp], confidence: float) -> Standing:
    if not better.size:
        return Standing.FRONT
    for other in better:
        gaps = (cube[other] - cube[trial]) / 2  # an interval's ends scale; differences of differences reach 2
        if all(difference_interval(gap, confidence=confidence).low > 0 for gap in gaps):
            return Standing.DOMINATED
    return Standing.NOT_ESTABLISHED
