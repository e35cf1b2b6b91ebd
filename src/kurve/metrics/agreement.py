"""Agreement between judges beyond chance: Cohen's kappa of two, Fleiss' kappa of several.

Verdicts on one problem's samples go together, so problems are the random unit of the intervals: weights of the Bayesian
bootstrap (Rubin 1981) over problems, with one more problem of average size whose verdicts agree by chance, stretched by
Student's t. Judges who agree on everything thus get an interval of an honest width.

S samples, J judges, C kinds of verdict, P problems, R draws.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kurve.errors import MetricError
from kurve.metrics.bootstrap import CONSTANT, Estimate, normal_quantile, student_quantile
from kurve.metrics.passk import Floats

_CHANCE = 0.5  # agreement of the added problem


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far judges agree."""

    kappa: Estimate | None  # None: all verdicts are of one kind, and agreement by chance would be complete
    observed: float  # share of pairs of verdicts on one sample that are equal
    num_samples: int  # that at least two of them judged


def cohen_kappa(
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    draws: int = 2000,
) -> Agreement | None:
    """Kappa of two judges, (p_o - p_e) / (1 - p_e), Cohen 1960; None if they have no sample in common.

    Args:
        first: kind of the first judge's verdict on each sample, from 0; below 0 where there is none, [S].
        second: the same of the second judge, [S].
        groups: number of each sample's problem, [S].
        rng: source of the interval's draws.
        confidence: of the interval, a fraction.
        draws: of the bootstrap.

    Raises:
        MetricError: columns of different length.
    """
    a, b, of = np.asarray(first), np.asarray(second), np.asarray(groups)
    if not a.shape == b.shape == of.shape or a.ndim != 1:
        raise MetricError(f"need one verdict of each judge a sample, got shapes {a.shape}, {b.shape}, {of.shape}")
    both = (a >= 0) & (b >= 0)
    if not both.any():
        return None
    kinds = np.eye(_num_kinds(np.maximum(a, b)))
    ratings = _Ratings((a[both] == b[both]).astype(float), kinds[a[both]], kinds[b[both]], of[both])
    return _estimated(ratings, rng, confidence=confidence, draws=draws)


def fleiss_kappa(
    verdicts: ArrayLike, groups: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, draws: int = 2000
) -> Agreement | None:
    """Kappa of several judges, Fleiss 1971, each sample with those who judged it; None if no sample has two verdicts.

    Args:
        verdicts: kind of each verdict from 0; below 0 where there is none, [S, J].
        groups: number of each sample's problem, [S].
        rng: source of the interval's draws.
        confidence: of the interval, a fraction.
        draws: of the bootstrap.

    Raises:
        MetricError: not one problem a sample.
    """
    table, of = np.asarray(verdicts), np.asarray(groups)
    if table.ndim != 2 or of.shape != table.shape[:1]:
        raise MetricError(f"need verdicts [S, J] and one problem a sample, got shapes {table.shape} and {of.shape}")
    several = (table >= 0).sum(axis=1) >= 2
    if not several.any():
        return None
    table = table[several]
    counts = np.stack([(table == kind).sum(axis=1) for kind in range(_num_kinds(table))], axis=1).astype(float)
    judges = counts.sum(axis=1)
    agreed = (counts * (counts - 1)).sum(axis=1) / (judges * (judges - 1))
    shares = counts / judges[:, None]
    return _estimated(_Ratings(agreed, shares, shares, of[several]), rng, confidence=confidence, draws=draws)


@dataclass(frozen=True, slots=True)
class _Ratings:
    agreed: Floats  # share of pairs of verdicts that are equal, [S]
    first: Floats  # shares of the kinds of verdict, [S, C]
    second: Floats  # as `first`, of the other judge; the same for several judges
    groups: NDArray[np.int64]  # [S]


def _num_kinds(codes: NDArray[np.int64]) -> int:
    return max(2, int(codes.max()) + 1)  # the added problem has two


def _estimated(ratings: _Ratings, rng: np.random.Generator, *, confidence: float, draws: int) -> Agreement:
    normal = normal_quantile(confidence)
    kinds = ratings.first.shape[1]
    columns = np.column_stack([np.ones(len(ratings.agreed)), ratings.agreed, ratings.first, ratings.second])
    _, place = np.unique(ratings.groups, return_inverse=True)
    sums = np.zeros((int(place.max()) + 1, columns.shape[1]))
    np.add.at(sums, place, columns)
    observed, kappa = (float(x[0]) for x in _kappa(sums.sum(axis=0)[None], kinds))
    if np.isnan(kappa):
        return Agreement(None, observed, len(columns))
    halves = np.where(np.arange(kinds) < 2, 0.5, 0.0)
    added = np.concatenate([[1.0, _CHANCE], halves, halves]) * len(columns) / len(sums)
    weights = rng.standard_exponential((draws, len(sums) + 1))
    _, found = _kappa(weights @ np.vstack([sums, added]), kinds)
    away = np.asarray(np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2]), dtype=np.float64) - kappa
    low, high = np.clip(kappa + _stretched(away, student_quantile(normal, len(sums)) / normal), -1.0, 1.0)
    return Agreement(Estimate(kappa, float(low), float(high)), observed, len(columns))


def _stretched(away: Floats, factor: float) -> Floats:
    """Both ends' distances from the estimate, longer for few problems; a single problem says nothing."""
    if np.isinf(factor):
        return np.array([-2.0, 2.0])
    return np.array([min(float(away[0]), 0.0), max(float(away[1]), 0.0)]) * factor


def _kappa(sums: Floats, kinds: int) -> tuple[Floats, Floats]:
    """Observed agreement and kappa from weighted sums of samples, agreements and kinds, both [R]; NaN for 0/0."""
    shares = sums[:, 1:] / sums[:, :1]
    observed, first, second = shares[:, 0], shares[:, 1 : kinds + 1], shares[:, kinds + 1 :]
    by_chance = (first * second).sum(axis=1)
    room = 1 - by_chance
    possible = room > CONSTANT
    return observed, np.divide(observed - by_chance, room, out=np.full_like(room, np.nan), where=possible)
