"""What guessing would score, so that a curve at large k can be read: it rises for a model that knows nothing.

A uniform guess among A possible answers is right with the chance 1/A, so k guesses give 1 - (1 - 1/A)^k: on AIME, whose
answers are 000 to 999, 22.6 % at k = 256 and 64.1 % at k = 1,024.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kurve.errors import MetricError
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.measured import Measured
from kurve.metrics.passk import Floats
from kurve.types import Curve

GUESSED_SHARE = 0.05  # below which direct answers are guesses, appendix D.2 of Yue et al. 2025
_MOST = 0.99  # of guessing; beyond, what is left to a model is rounding and noise


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


def against_chance(curve: Curve, num_answers: int, pass_at: Mapping[int, Estimate]) -> Measured:
    """`chance_pass_at_k` and `chance_adjusted_pass_at_k` as curves, and at the k of `pass_at` as numbers.

    Band and intervals of the adjusted values are those of pass@k, adjusted: chance itself is known exactly. The
    adjusted curve ends where guessing solves 99 %.

    Args:
        curve: pass@k with its band.
        num_answers: possible answers of a problem, at least 2.
        pass_at: pass@k with its interval by k, those to show as numbers.

    Raises:
        MetricError: fewer than 2 possible answers.
    """
    if num_answers < 2:
        raise MetricError(f"a guess needs at least 2 possible answers, got {num_answers}")
    chance = chance_at_k(num_answers, curve.k)
    room = chance <= _MOST
    value, low, high = (chance_adjusted(edge[room], chance[room]) for edge in (curve.value, curve.low, curve.high))
    guessing = Curve(
        "chance_pass_at_k", curve.k, chance, chance, chance, np.zeros_like(curve.high_variance), curve.confidence
    )
    unsure = curve.high_variance[room]
    adjusted = Curve("chance_adjusted_pass_at_k", curve.k[room], value, low, high, unsure, curve.confidence)
    guesses = {k: float(chance_at_k(num_answers, [k])[0]) for k in pass_at}
    scalars: dict[str, float | Estimate] = {f"chance_pass_at_{k}": guess for k, guess in guesses.items()}
    scalars |= {f"chance_adjusted_pass_at_{k}": _adjusted(pass_at[k], g) for k, g in guesses.items() if g <= _MOST}
    return Measured(scalars, (guessing, adjusted) if room.any() else (guessing,), notes=_note(curve, chance))


def guessable(num_samples: ArrayLike, num_correct: ArrayLike, threshold: float = GUESSED_SHARE) -> NDArray[np.bool_]:
    """Problems that direct answers, without reasoning, hit by guessing: 0 < c/n < threshold, [P].

    Yue et al. 2025 (arXiv:2504.13837), appendix D.2: of 30 problems of AIME24 18 are left. A problem that is answered
    directly more often than that is known, not guessed.

    Args:
        num_samples: n of each problem, direct answers, [P].
        num_correct: c of each problem, [P].
        threshold: a fraction.

    Raises:
        MetricError: a threshold outside (0, 1], or counts that are none.
    """
    n, c = np.asarray(num_samples), np.asarray(num_correct)
    if not 0 < threshold <= 1:
        raise MetricError(f"need a threshold above 0 and up to 1, got {threshold}; {GUESSED_SHARE} is usual")
    if n.shape != c.shape or np.any((n < 1) | (c < 0) | (c > n)):
        raise MetricError("need one n >= 1 and one c from 0 to n a problem")
    found: NDArray[np.bool_] = (c > 0) & (c / n < threshold)
    return found


def _adjusted(estimate: Estimate, chance: float) -> Estimate:
    return Estimate(*chance_adjusted([estimate.value, estimate.low, estimate.high], [chance] * 3).tolist())


def _note(curve: Curve, chance: Floats) -> tuple[str, ...]:
    """From which k on guessing explains more than half of what is measured, if it does at the largest."""
    much = chance > curve.value / 2
    if not much[-1]:
        return ()
    first = int(curve.k[np.flatnonzero(~much)[-1] + 1]) if not much.all() else int(curve.k[0])
    since = f" (and more than half from k = {first} on)" if first < curve.k[-1] else ""
    return (
        f"Guessing uniformly among the possible answers gives pass@{curve.k[-1]} = {chance[-1]:.1%}, more than half of "
        f"the {curve.value[-1]:.1%} measured{since}: read chance_adjusted_pass_at_k beside it, or apply the guess "
        "filter.",
    )
