"""Token entropy of a model on a benchmark's prompts, and how that of two models differs on the same prompts.

The quantity is a mean over tokens, so a long response counts more than a short one: total entropy over total tokens, a
ratio of sums. Problems are the random unit; the standard error is that of the linearised ratio (Cochran 1977, Sampling
Techniques, section 6.3), whose residual for problem i is (entropy_i - ratio * tokens_i) / mean tokens.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kurve.errors import MetricError
from kurve.metrics.bootstrap import Estimate, normal_quantile, student_quantile
from kurve.metrics.passk import Floats


@dataclass(frozen=True, slots=True)
class TokenEntropies:
    """What the responses to each problem hold in total."""

    nats: Floats  # entropy summed over the tokens of a problem's responses, [P]
    tokens: Floats  # how many tokens these are, [P]


@dataclass(frozen=True, slots=True)
class EntropyDifference:
    """The mean token entropy of one model minus that of another."""

    value: float  # nats a token
    error: float  # its standard error
    low: float
    high: float


def mean_token_entropy(drawn: TokenEntropies, *, confidence: float = 0.95) -> Estimate:
    """Entropy a token with its interval for problems like these, nats.

    Raises:
        MetricError: fewer than two problems, no tokens, values that are not finite, or a confidence outside (0, 1).
    """
    value, residuals = _linearised(drawn)
    half = _quantile(len(residuals), confidence) * _error_of_mean(residuals)
    return Estimate(value, value - half, value + half)


def entropy_difference(
    minuend: TokenEntropies, subtrahend: TokenEntropies, *, confidence: float = 0.95
) -> EntropyDifference:
    """`minuend` minus `subtrahend`, paired over problems, nats a token, with an interval for problems like these.

    Raises:
        MetricError: as `mean_token_entropy`, or the two do not hold the same number of problems.
    """
    (one, its), (other, others) = _linearised(minuend), _linearised(subtrahend)
    if len(its) != len(others):
        raise MetricError(f"entropies of {len(its)} and of {len(others)} problems cannot be paired")
    value, error = one - other, _error_of_mean(its - others)
    half = _quantile(len(its), confidence) * error
    return EntropyDifference(value, error, value - half, value + half)


def _linearised(drawn: TokenEntropies) -> tuple[float, Floats]:
    """The ratio and its residual for each problem, [P], whose mean is 0."""
    nats, tokens = _checked("nats", drawn.nats), _checked("tokens", drawn.tokens)
    if nats.shape != tokens.shape or len(nats) < 2:
        raise MetricError(
            f"an entropy with its uncertainty needs at least 2 problems, and tokens of each; got {len(nats)} entropies "
            f"and {len(tokens)} numbers of tokens"
        )
    if tokens.min() < 0 or tokens.sum() == 0:
        raise MetricError("the responses hold no tokens, so there is no entropy a token")
    ratio = float(nats.sum() / tokens.sum())
    residuals: Floats = (nats - ratio * tokens) / tokens.mean()
    return ratio, residuals


def _checked(name: str, values: ArrayLike) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise MetricError(f"{name} must be one finite number a problem, got {numbers}")
    return numbers


def _error_of_mean(residuals: Floats) -> float:
    return float(residuals.std(ddof=1) / np.sqrt(len(residuals)))


def _quantile(num_problems: int, confidence: float) -> float:
    return student_quantile(normal_quantile(confidence), num_problems)
