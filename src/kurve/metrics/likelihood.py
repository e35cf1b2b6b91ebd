"""How likely a model finds responses: perplexity, its place among the base's own, and the same at equal length.

All in nats: the log-perplexity -log p(y|x) / T of a response of T tokens is computed from a sum of log-probabilities,
so no probability is ever formed and nothing underflows to 0 or overflows to infinity. Only for people it is turned
into a perplexity, exp(-log p / T) of Yue et al. 2025 (arXiv:2504.13837), section 4.2.

Samples of one problem are not independent, so every interval takes the problem as its unit. S is the number of
samples, P of problems; `problems` [S] says which of the problems 0 .. P-1 each sample is of.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kurve.errors import MetricError
from kurve.metrics.bootstrap import CONSTANT, Estimate, mean_interval, normal_quantile, student_quantile
from kurve.metrics.passk import Floats

_LARGEST = float(np.log(np.finfo(np.float64).max))  # 709.78 nats, beyond which a double has no perplexity

EDGES: Floats = np.concatenate([[0.0], np.geomspace(0.01, 10.0, 61)])  # nats a unit; 20 bins a decade

Problems = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Summary:
    """A distribution of log-perplexities, nats a unit (token or byte)."""

    num_samples: int
    num_problems: int
    quartiles: tuple[float, float, float]  # of all samples: lower, median, upper
    pooled: float  # -sum log p / sum T: long responses weigh more
    mean: Estimate  # over problems of their mean, for problems like these


@dataclass(frozen=True, slots=True)
class LengthControl:
    """The difference of two models' log-perplexities within problems, without and with their lengths held equal."""

    num_problems: int  # that have samples of both
    raw: Estimate  # nats a unit, other minus base, mean over problems
    adjusted: Estimate  # nats a unit at equal length
    slope: float  # nats a unit by which log-perplexity rises where the length grows e-fold


def log_perplexity(logprob_sum: ArrayLike, num_units: ArrayLike) -> Floats:
    """-log p(y|x) / T of each response, nats a unit, [S].

    Args:
        logprob_sum: log p(y|x) in nats, at most 0, [S].
        num_units: T, tokens of the response or bytes of its text, at least 1, [S].

    Raises:
        MetricError: no responses, one without a unit, or a log-probability that is not finite or above 0.
    """
    sums, units = np.asarray(logprob_sum, dtype=np.float64), np.asarray(num_units, dtype=np.float64)
    if sums.size == 0 or sums.shape != units.shape:
        raise MetricError(
            f"need as many log-probabilities as lengths and at least one, got {sums.size} and {units.size}"
        )
    if not np.all(np.isfinite(sums) & (sums <= 0)) or np.any(units < 1):
        raise MetricError("need finite log-probabilities of at most 0, of responses of at least one token or byte")
    return np.abs(sums) / units


def perplexity(log_perplexities: ArrayLike) -> Floats:
    """exp of log-perplexities; one beyond the largest double, 1.8e308, is given as that and never as infinity."""
    values: Floats = np.exp(np.minimum(np.asarray(log_perplexities, dtype=np.float64), _LARGEST))
    return values


def histogram(log_perplexities: ArrayLike) -> NDArray[np.int64]:
    """How many responses lie in each bin of `EDGES`, which all runs share; the last bin has no upper end, [61]."""
    clipped = np.clip(np.asarray(log_perplexities, dtype=np.float64), 0.0, EDGES[-1])
    counts: NDArray[np.int64] = np.histogram(clipped, bins=EDGES)[0].astype(np.int64)
    return counts


def summarise(
    logprob_sum: ArrayLike, num_units: ArrayLike, problems: ArrayLike, *, confidence: float = 0.95
) -> Summary:
    """Quartiles over samples, and the mean over problems of each problem's mean with its t interval.

    Raises:
        MetricError: as `log_perplexity`.
    """
    values = log_perplexity(logprob_sum, num_units)
    means = problem_means(values, problems)
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    pooled = float(np.abs(np.asarray(logprob_sum, dtype=np.float64)).sum() / np.asarray(num_units).sum())
    mean = clustered_mean(means, confidence=confidence)
    return Summary(values.size, means.size, (lower, median, upper), pooled, mean)


def problem_means(values: ArrayLike, problems: ArrayLike) -> Floats:
    """Mean of each problem that has samples, in ascending order of the problems, [P]."""
    _, codes = np.unique(np.asarray(problems), return_inverse=True)
    means: Floats = np.bincount(codes, weights=np.asarray(values, dtype=np.float64)) / np.bincount(codes)
    return means


def clustered_mean(means: Floats, *, confidence: float = 0.95) -> Estimate:
    """Mean over problems with its t interval for problems like these; one problem has an infinite one.

    Args:
        means: one value a problem, [P].
        confidence: of the interval, a fraction.
    """
    value = float(means.mean())
    if means.size == 1:
        return _interval(value, float("inf"), 1, confidence)
    return _interval(value, float(means.std(ddof=1) / np.sqrt(means.size)), means.size, confidence)


def quantiles_within(
    values: ArrayLike, problems: ArrayLike, base_values: ArrayLike, base_problems: ArrayLike
) -> Floats:
    """The place of each value among the base's of its problem, as a fraction, ties counted half, [S].

    (#{base < value} + #{base = value} / 2) / n: 0 below all of them, 1 above all, 1/2 on average for a draw from the
    same distribution. NaN where the base has no sample of the problem.

    Args:
        values: of one model, [S].
        problems: of those values, [S].
        base_values: of the base, [B].
        base_problems: of those, [B].
    """
    mine, own = np.asarray(values, dtype=np.float64), np.asarray(problems)
    theirs, base = np.asarray(base_values, dtype=np.float64), np.asarray(base_problems)
    found = np.full(mine.shape, np.nan)
    order, base_order = np.argsort(own, kind="stable"), np.lexsort((theirs, base))
    codes, starts = np.unique(own[order], return_index=True)
    left = np.searchsorted(base[base_order], codes, side="left")
    right = np.searchsorted(base[base_order], codes, side="right")
    for rows, low, high in zip(np.split(order, starts[1:]), left, right, strict=True):
        if high > low:
            ranked = theirs[base_order[low:high]]
            both = np.searchsorted(ranked, mine[rows], "left") + np.searchsorted(ranked, mine[rows], "right")
            found[rows] = both / (2 * (high - low))
    return found


def mean_quantile(quantiles: ArrayLike, problems: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Mean over problems of their mean quantile, with its interval for problems like these; NaN are left out.

    Raises:
        MetricError: no quantile is a number.
    """
    given = np.asarray(quantiles, dtype=np.float64)
    known = ~np.isnan(given)
    if not known.any():
        raise MetricError("no problem has samples of both models")
    return mean_interval(problem_means(given[known], np.asarray(problems)[known]), confidence=confidence)


def length_control(
    values: ArrayLike,
    lengths: ArrayLike,
    problems: ArrayLike,
    *,
    is_other: ArrayLike,
    confidence: float = 0.95,
) -> LengthControl:
    """How much more (or less) likely one model's responses are than the base's to the same problems, at equal length.

    Least squares of log-perplexity on log T and on which model it is, with an intercept for each problem (the within
    estimator), over problems with samples of both. The interval is by the sandwich clustered by problem, with the
    factor P / (P - 1) and the t quantile of P - 1 degrees (Cameron and Miller 2015, doi:10.3368/jhr.50.2.317). Where
    lengths do not vary within problems, there is nothing to adjust for and the slope is 0.

    Args:
        values: log-perplexities, [S].
        lengths: T, at least 1, [S].
        problems: of the samples, [S].
        is_other: whether each sample is the other model's and not the base's, [S].
        confidence: of the intervals, a fraction.

    Raises:
        MetricError: no problem has samples of both models.
    """
    other = np.asarray(is_other, dtype=bool)
    _, codes = np.unique(np.asarray(problems), return_inverse=True)
    both = (np.bincount(codes, other) > 0) & (np.bincount(codes, ~other) > 0)
    kept = both[codes]
    if not kept.any():
        raise MetricError("no problem has samples of both models")
    _, codes = np.unique(codes[kept], return_inverse=True)
    y, group = np.asarray(values, dtype=np.float64)[kept], other[kept]
    raw = problem_means(y[group], codes[group]) - problem_means(y[~group], codes[~group])
    columns = [group.astype(np.float64), np.log(np.asarray(lengths, dtype=np.float64)[kept])]
    x = np.column_stack([_within(column, codes) for column in columns])
    if (x[:, 1] ** 2).sum() <= CONSTANT * len(x):
        x = x[:, :1]
    coefficients, error = _clustered_least_squares(x, _within(y, codes), codes)
    adjusted = _interval(float(coefficients[0]), error, int(both.sum()), confidence)
    slope = float(coefficients[1]) if len(coefficients) == 2 else 0.0
    return LengthControl(int(both.sum()), clustered_mean(raw, confidence=confidence), adjusted, slope)


def _within(values: Floats, codes: Problems) -> Floats:
    """Values minus their problem's mean."""
    centred: Floats = values - (np.bincount(codes, weights=values) / np.bincount(codes))[codes]
    return centred


def _clustered_least_squares(x: Floats, y: Floats, codes: Problems) -> tuple[Floats, float]:
    """Coefficients, and the standard error of the first; infinite for one problem. `x` is [S, 1 or 2]."""
    bread = np.linalg.pinv(x.T @ x, hermitian=True)
    coefficients: Floats = bread @ (x.T @ y)
    residuals = y - x @ coefficients
    num_problems = int(codes.max()) + 1
    if num_problems == 1:
        return coefficients, float("inf")
    scores = np.column_stack([np.bincount(codes, weights=column * residuals) for column in x.T])
    covariance = bread @ (scores.T @ scores) @ bread * num_problems / (num_problems - 1)
    return coefficients, float(np.sqrt(max(covariance[0, 0], 0.0)))


def _interval(value: float, error: float, num_problems: int, confidence: float) -> Estimate:
    if not np.isfinite(error):
        return Estimate(value, -float("inf"), float("inf"))
    half = student_quantile(normal_quantile(confidence), num_problems) * error
    return Estimate(value, value - half, value + half)
