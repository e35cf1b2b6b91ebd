"""pass@k beyond the n that was drawn, with a prediction interval; never further than 100 n.

P problems. Two models of the success probabilities of problems like these: beta-binomial, p ~ Beta(a, b), also with a
share of problems that are never solved (Kazdan et al. 2025, arXiv:2510.05197); and a power law of the curve itself,
-ln pass@k = A k^-b (Brown et al. 2024, arXiv:2407.21787). The plug-in 1 - (1 - c/n)^k is not offered: it takes every
problem without a success for unsolvable, and was .52 where .88 was true.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from kurve.errors import MetricError
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.measured import Measured
from kurve.metrics.passk import Floats, Ints, log_spaced, pass_at_k_per_problem
from kurve.types import Table, Tally

FURTHEST = 100  # times n
_DRAWS = 200  # of problems, behind a prediction interval
LEAST_PROBLEMS = 20  # a shape of a distribution is read from fewer only by luck
_CAUTION = (
    "Extrapolated values rest on a model of how hard problems are; where two methods differ by more than their "
    "intervals, trust none."
)
_BOUNDS = (-12.0, 12.0)  # of ln a, ln b and the logit


class Method(StrEnum):
    """How a curve is carried on."""

    BETA_BINOMIAL = "beta_binomial"
    ZERO_INFLATED = "zero_inflated"
    POWER_LAW = "power_law"


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """A curve beyond n."""

    method: Method
    k: Ints  # [K]
    value: Floats  # fractions, [K]
    low: Floats  # pointwise prediction interval for problems like these, [K]
    high: Floats  # [K]
    confidence: float


def extrapolate(
    num_samples: ArrayLike,
    num_correct: ArrayLike,
    ks: ArrayLike,
    rng: np.random.Generator,
    *,
    method: Method = Method.BETA_BINOMIAL,
    confidence: float = 0.95,
    draws: int = _DRAWS,
) -> Extrapolation:
    """Fit the model and carry the curve on; the interval comes from fits to problems drawn with replacement.

    The interval holds the spread between problems and of the fit, not the error of the model: compare two methods.

    Args:
        num_samples: n of each problem, [P].
        num_correct: c of each problem, [P].
        ks: ascending, up to 100 times the smallest n, [K].
        rng: source of the drawn problems.
        method: which model.
        confidence: of the interval, a fraction.
        draws: fits behind the interval.

    Raises:
        MetricError: fewer than 20 problems, none of them ever solved, a k beyond 100 n, or counts that are none.
    """
    n, c = np.asarray(num_samples, dtype=np.int64), np.asarray(num_correct, dtype=np.int64)
    k = np.asarray(ks, dtype=np.int64)
    _check(n, c, k)
    if not 0 < confidence < 1 or draws < 20:
        raise MetricError(f"need a confidence inside (0, 1) and at least 20 draws, got {confidence} and {draws}")
    fit = _FITS[method]
    value, point = fit(n, c, k, None)
    fitted = []
    for _ in range(draws):
        rows = rng.integers(n.size, size=n.size)
        fitted.append(fit(n[rows], c[rows], k, point)[0] if c[rows].any() else np.zeros(k.size))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.array(fitted), [tail, 1 - tail], axis=0)
    return Extrapolation(method, k, value, np.minimum(low, value), np.maximum(high, value), confidence)


def beyond_n(
    tally: Tally, ks: Sequence[int], *, rng: np.random.Generator, confidence: float = 0.95, draws: int = _DRAWS
) -> Measured:
    """`extrapolated_pass_at_<k>_<method>` of all methods, and as rows of a table.

    The k that the counts allow: above the smallest n and up to 100 times it. A note says why one is left out.

    Args:
        tally: counts.
        ks: as asked for.
        rng: source of the problems drawn for the intervals.
        confidence: of the intervals, a fraction.
        draws: fits behind each interval.
    """
    fewest = int(tally.num_samples.min())
    kept = sorted({k for k in ks if fewest < k <= FURTHEST * fewest})
    notes = [
        f"pass@{k} is not extrapolated: a problem has {fewest} judged samples, and what lies between k = {fewest} and "
        f"{FURTHEST * fewest:,} can be."
        for k in sorted(set(ks) - set(kept))
    ]
    if not kept:
        return Measured(notes=tuple(notes))
    n, c = tally.num_samples, tally.num_correct
    try:
        found = [extrapolate(n, c, kept, rng, method=method, confidence=confidence, draws=draws) for method in Method]
    except MetricError as error:
        return Measured(notes=(*notes, f"Nothing is extrapolated: {error}."))
    rows = [
        (int(k), one.method.value, float(one.value[at]), float(one.low[at]), float(one.high[at]))
        for at, k in enumerate(kept)
        for one in found
    ]
    return Measured(
        {f"extrapolated_pass_at_{k}_{method}": Estimate(value, low, high) for k, method, value, low, high in rows},
        tables=(Table("extrapolation", ("k", "method", "value", "low", "high"), tuple(rows)),),
        notes=(*notes, _CAUTION),
    )


def check_reach(ks: Sequence[int], num_samples: int) -> None:
    """Refuse k that n samples a problem cannot tell.

    Raises:
        MetricError: a k that is no whole number, not above n, or more than 100 n.
    """
    wrong = [k for k in ks if isinstance(k, bool) or not isinstance(k, int)]
    if wrong:
        raise MetricError(f"whole numbers are needed, got {wrong[0]!r}")
    near, far = [k for k in ks if k <= num_samples], [k for k in ks if k > FURTHEST * num_samples]
    if near:
        raise MetricError(f"pass@{near[0]} is measured with n = {num_samples:,}, not extrapolated; name k above n")
    if far:
        raise MetricError(
            f"k = {max(far):,} is more than {FURTHEST} times n = {num_samples:,}; what these samples say ends at "
            f"k = {FURTHEST * num_samples:,}: draw more"
        )


def _check(n: Ints, c: Ints, k: Ints) -> None:
    if n.shape != c.shape or n.ndim != 1 or np.any((n < 1) | (c < 0) | (c > n)):
        raise MetricError("need one n >= 1 and one c from 0 to n a problem")
    if n.size < LEAST_PROBLEMS:
        raise MetricError(f"need at least {LEAST_PROBLEMS} problems to carry a curve on, got {n.size}")
    if not c.any():
        raise MetricError("no problem was ever solved, so nothing says how fast others would be; draw more samples")
    if k.size == 0 or k.min() < 1 or np.any(np.diff(k) < 1):
        raise MetricError(f"need values of k that ascend from 1 on, got {k.tolist()[:8]}")
    if k.max() > FURTHEST * n.min():
        raise MetricError(
            f"k = {k.max():,} is more than {FURTHEST} times n = {n.min():,}; what these samples say ends at "
            f"k = {FURTHEST * n.min():,}: draw more"
        )


def _beta_binomial(n: Ints, c: Ints, k: Ints, start: Floats | None) -> tuple[Floats, Floats]:
    point = _fit_beta(n, c, start, inflated=False)
    return _beta_curve(point, k), point


def _zero_inflated(n: Ints, c: Ints, k: Ints, start: Floats | None) -> tuple[Floats, Floats]:
    point = _fit_beta(n, c, start, inflated=True)
    return (1 - special.expit(point[2])) * _beta_curve(point, k), point


def _beta_curve(point: Floats, k: Ints) -> Floats:
    """1 - E[(1 - p)^k] = 1 - B(a, b + k) / B(a, b)."""
    a, b = np.exp(point[:2])
    curve: Floats = -np.expm1(special.betaln(a, b + k.astype(np.float64)) - special.betaln(a, b))
    return curve


def _fit_beta(n: Ints, c: Ints, start: Floats | None, *, inflated: bool) -> Floats:
    """Maximum likelihood of ln a, ln b and, if `inflated`, the logit of the share of problems that are never solved.

    Without a `start` several are tried: the likelihood of the inflated model has more than one maximum.
    """
    from scipy.optimize import minimize

    (n_distinct, c_distinct), times = np.unique(np.stack([n, c]), axis=1, return_counts=True)
    unsolved = c_distinct == 0

    def loss(point: Floats) -> float:
        a, b = np.exp(point[:2])
        log = special.betaln(a + c_distinct, b + n_distinct - c_distinct) - special.betaln(a, b)
        if inflated:
            never, solvable = special.log_expit(point[2]), special.log_expit(-point[2])
            log = np.where(unsolved, np.logaddexp(never, solvable + log), solvable + log)
        return -float(times @ log)

    bounds = [_BOUNDS] * (3 if inflated else 2)
    starts = [start] if start is not None else _starts(float((c / n).mean()), inflated=inflated)
    found = [minimize(loss, np.clip(one, *_BOUNDS), method="L-BFGS-B", bounds=bounds) for one in starts]
    best: Floats = min(found, key=lambda one: float(one.fun)).x
    return best


def _starts(mean: float, *, inflated: bool) -> list[Floats]:
    inside = min(max(mean, 1e-6), 1 - 1e-6)
    starts = [np.log([size * inside, size * (1 - inside)]) for size in (0.3, 3.0)]
    return [np.append(one, logit) for one in starts for logit in (-3.0, 0.0)] if inflated else starts


def _power_law(n: Ints, c: Ints, k: Ints, _: Floats | None) -> tuple[Floats, Floats]:
    """Least squares of ln(-ln pass@k) over ln k, for k up to n/2, where pass@k has little variance."""
    fewest = int(n.min())
    seen = log_spaced(max(fewest // 2, 1), at_most=64)
    curve = pass_at_k_per_problem(n, c, seen).mean(axis=0)
    kept = (curve > 0) & (curve < 1)
    if kept.sum() < 2:
        return np.full(k.size, float(curve[-1])), np.zeros(0)
    slope, start = np.polyfit(np.log(seen[kept]), np.log(-np.log(curve[kept])), 1)
    return np.exp(-np.exp(start + min(slope, 0.0) * np.log(k))), np.zeros(0)


_FITS: dict[Method, Callable[[Ints, Ints, Ints, Floats | None], tuple[Floats, Floats]]] = {  # the curve, and the point
    Method.BETA_BINOMIAL: _beta_binomial,
    Method.ZERO_INFLATED: _zero_inflated,
    Method.POWER_LAW: _power_law,
}
