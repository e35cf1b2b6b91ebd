"""How far two accuracies of one problem differ by sampling alone."""

import numpy as np
from numpy.typing import ArrayLike

from kurve.errors import MetricError
from kurve.metrics.bootstrap import normal_quantile
from kurve.metrics.passk import Floats


def same_accuracy_limits(
    accuracy: ArrayLike, num_samples: ArrayLike, num_others: ArrayLike, *, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Between what a second accuracy lies if a problem is as hard for both models.

    The limits are the y that solve (y - x)^2 = z^2 p (1 - p) (1/n + 1/m) with the pooled p = (n x + m y) / (n + m): the
    score test of two proportions, inverted. They hold for one problem alone: of many that did not change, about
    1 - `confidence` lie outside.

    Args:
        accuracy: x, fractions, [P].
        num_samples: n, the samples behind each x, [P] or one number.
        num_others: m, the samples behind each second accuracy, [P] or one number.
        confidence: a fraction.

    Returns:
        The lower and the upper limit, within 0..1, each [P].

    Raises:
        MetricError: an accuracy outside 0..1, a number of samples below 1, or a confidence outside (0, 1).
    """
    x = np.asarray(accuracy, dtype=np.float64)
    n, m = np.asarray(num_samples, dtype=np.float64), np.asarray(num_others, dtype=np.float64)
    if not np.all((x >= 0) & (x <= 1)) or n.min(initial=1) < 1 or m.min(initial=1) < 1:
        raise MetricError("need accuracies from 0 to 1 and at least one sample of each")
    width = normal_quantile(confidence) ** 2 * (1 / n + 1 / m)
    share = m / (n + m)  # of the second accuracy in the pooled one, p = fixed + share * y
    fixed = (1 - share) * x
    a = 1 + width * share**2
    b = -2 * x - width * share * (1 - 2 * fixed)
    c = x**2 - width * fixed * (1 - fixed)
    root = np.sqrt(np.maximum(b**2 - 4 * a * c, 0.0))
    low, high = (-b - root) / (2 * a), (-b + root) / (2 * a)
    return np.clip(low, 0.0, x), np.clip(high, x, 1.0)
