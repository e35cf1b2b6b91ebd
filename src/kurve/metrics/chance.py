"""What guessing would score, so that a curve at large k can be read: it rises for a model that knows nothing.

A uniform guess among A possible answers is right with the chance 1/A, so k guesses give 1 - (1 - 1/A)^k: on AIME, whose
answers are 000 to 999, 22.6 % at k = 256 and 64.1 % at k = 1,024.
"""

import numpy as np
from numpy.typing import ArrayLike

from kurve.errors import MetricError
from kurve.metrics.passk import Floats


def chance_at_k(num_answers: int, ks: ArrayLike) -> Floats:
    """pass@k of uniform guesses among `num_answers` possible answers, fractions, [K].

    Raises:
        MetricError: fewer than 1 answer, or a k below 1.
    """
    k = np.asarray(ks, dtype=np.float64)
    if num_answers < 1:
        raise MetricError(f"need at least one possible answer, got {num_answers}")
    if k.size == 0 or k.min() < 1:
        raise MetricError(f"need at least one k and all of them >= 1, got {k.tolist()[:20]}")
    with np.errstate(divide="ignore"):  # one possible answer: every guess is right
        curve: Floats = -np.expm1(k * np.log1p(-1.0 / num_answers))
    return curve


def chance_adjusted(pass_at_k: ArrayLike, chance: ArrayLike) -> Floats:
    """(pass@k - g_k) / (1 - g_k): 0 is guessing, 1 is all solved, NaN where guessing solves all.

    Yona et al. 2024 (arXiv:2410.15466). Values below 0 are worse than guessing, and stay so.

    Args:
        pass_at_k: fractions, [K].
        chance: g_k at the same k, [K].

    Raises:
        MetricError: shapes that differ, or values outside 0..1.
    """
    value, guess = np.asarray(pass_at_k, dtype=np.float64), np.asarray(chance, dtype=np.float64)
    if value.shape != guess.shape:
        raise MetricError(f"need one chance a value, got shapes {value.shape} and {guess.shape}")
    if not np.all((value >= 0) & (value <= 1) & (guess >= 0) & (guess <= 1)):
        raise MetricError("need fractions from 0 to 1")
    room = 1 - guess
    adjusted: Floats = np.divide(value - guess, room, out=np.full(value.shape, np.nan), where=room > 0)
    return adjusted
