"""Whether two models differ on one single problem, for every problem, and how many such findings are false."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from kurve.errors import MetricError
from kurve.metrics.passk import Floats, Ints

_TIE = 1e-7  # relative: tables as likely as the observed one but for rounding count as extreme
_CELLS = 1 << 21  # of one block of tables, 16 MB


def fisher_exact(first_n: ArrayLike, first_c: ArrayLike, second_n: ArrayLike, second_c: ArrayLike) -> Floats:
    """Two-sided p of Fisher's exact test that both models solve the problem with the same probability, [P].

    The chance, given n of both and how many samples are correct in all, of a split that is no likelier than the one
    seen.

    Args:
        first_n: samples of one model, [P].
        first_c: correct ones, [P].
        second_n: samples of the other model, [P].
        second_c: correct ones, [P].

    Raises:
        MetricError: shapes that differ, n below 1, or c outside 0..n.
    """
    counts = [np.asarray(one, dtype=np.int64) for one in (first_n, first_c, second_n, second_c)]
    if len({one.shape for one in counts}) != 1 or counts[0].ndim != 1:
        raise MetricError(f"need one n and one c a problem of both models, got shapes {[one.shape for one in counts]}")
    n1, c1, n2, c2 = counts
    if np.any((n1 < 1) | (n2 < 1) | (c1 < 0) | (c2 < 0) | (c1 > n1) | (c2 > n2)):
        raise MetricError("need n >= 1 and c from 0 to n of every problem")
    if not n1.size:
        return np.zeros(0)
    distinct, place = np.unique(np.stack(counts), axis=1, return_inverse=True)
    p_values: Floats = _p_values(distinct)[place.reshape(-1)]
    return p_values


def false_discovery(p_values: ArrayLike) -> Floats:
    """Benjamini and Hochberg's (1995) adjusted p: calling all up to q a difference, a share of q of them is false, [P].

    Raises:
        MetricError: a p outside 0..1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise MetricError("need p values from 0 to 1")
    order = np.argsort(p)[::-1]
    scaled = p[order] * p.size / np.arange(p.size, 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1.0) if p.size else scaled
    return adjusted


def _p_values(distinct: Ints) -> Floats:
    """A block of problems at a time, over all splits of their correct samples."""
    widest = int(np.minimum(distinct[1] + distinct[3], distinct[0]).max()) + 1
    height = max(1, _CELLS // widest)
    blocks = [_block(distinct[:, start : start + height]) for start in range(0, distinct.shape[1], height)]
    return np.concatenate(blocks)


def _block(distinct: Ints) -> Floats:
    n1, c1, n2, c2 = distinct[:, :, None]
    correct = c1 + c2
    split = np.arange(int(np.minimum(correct, n1).max()) + 1)[None, :]  # correct samples of the first model
    possible = (split <= np.minimum(correct, n1)) & (correct - split <= n2)
    inside = np.where(possible, split, c1)
    log = _log_choose(n1, inside) + _log_choose(n2, correct - inside) - _log_choose(n1 + n2, correct)
    seen = _log_choose(n1, c1) + _log_choose(n2, c2) - _log_choose(n1 + n2, correct)
    extreme = possible & (log <= seen + _TIE)
    p_values: Floats = np.minimum(np.where(extreme, np.exp(log), 0.0).sum(axis=1), 1.0)
    return p_values


def _log_choose(n: Ints, k: Ints) -> Floats:
    log: Floats = special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0)
    return log
