"""A report as single numbers, as a tracker logs them: scalars at step 0, curves at step k."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kurve.errors import TrackingError
from kurve.tracking import Point
from kurve.types import Curve, Report


def report_points(report: Report, *, per_curve: int | None = None) -> tuple[list[Point], list[str]]:
    """Every number of a report as points, and the keys that held NaN or an infinity.

    Keys are `<benchmark>/<scalar>` at step 0 and, for each curve, `<benchmark>/<curve>` and the band's
    `<benchmark>/<curve>_low` and `_high` at step k. What is not finite is left out, since trackers store it as
    something else (MLflow turns an infinity into 1.8e308).

    Args:
        report: what to log.
        per_curve: at most so many k a curve, chosen by `thin`; None keeps all.
    """
    found = [Point(f"{report.benchmark}/{key}", float(value), 0) for key, value in report.scalars.items()]
    for curve in report.curves:
        found += _curve_points(f"{report.benchmark}/{curve.name}", curve, per_curve)
    skipped = dict.fromkeys(point.key for point in found if not math.isfinite(point.value))
    return [point for point in found if math.isfinite(point.value)], list(skipped)


def thin(k: NDArray[np.int64], limit: int) -> NDArray[np.intp]:
    """Positions of at most `limit` of the k, dense where a log axis is wide.

    All of them when they are few enough; otherwise every k <= 32, the powers of two, the last, and the nearest
    to 16 points an octave (fewer when that is over the limit).

    Args:
        k: ascending, [K].
        limit: at least 64, so that what is always kept fits.
    """
    if limit < 64:
        raise TrackingError(f"a curve needs room for at least 64 points, got a limit of {limit}")
    if len(k) <= limit:
        return np.arange(len(k))
    always = np.flatnonzero((k <= 32) | ((k & (k - 1)) == 0) | (k == k[-1]))
    first, last = math.log2(max(int(k[0]), 32)), math.log2(int(k[-1]))
    for per_octave in range(16, 0, -1):
        targets = 2.0 ** np.arange(first, last, 1 / per_octave)
        chosen = np.union1d(always, np.minimum(np.searchsorted(k, targets), len(k) - 1))
        if len(chosen) <= limit:
            return chosen
    return always[:limit]


def _curve_points(key: str, curve: Curve, limit: int | None) -> Iterator[Point]:
    at = np.arange(len(curve.k)) if limit is None else thin(curve.k, limit)
    for name, values in ((key, curve.value), (f"{key}_low", curve.low), (f"{key}_high", curve.high)):
        yield from (
            Point(name, float(value), int(k)) for k, value in zip(curve.k[at], np.asarray(values)[at], strict=True)
        )
