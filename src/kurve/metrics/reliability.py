"""How dependably a problem is solved: all of k samples right, most of them, or a given share of all.

P problems, n samples and c correct samples of one problem, K values of k, T thresholds. pass@k asks for one right
sample of k; pass^k asks for k of k; G-Pass@k for a share tau of k, with both as its ends; Cover@tau counts problems.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kurve.errors import MetricError
from kurve.metrics.bootstrap import Estimate, mean_band, mean_interval
from kurve.metrics.passk import Floats, Ints, checked_ks, fail_at_k_per_problem, high_variance, log_spaced
from kurve.types import Curve, Tally

_SLACK = 1e-9  # of tau * k before it is rounded up: 0.2 * 5 is 1, not 2


def pass_hat_k_per_problem(num_samples: ArrayLike, num_correct: ArrayLike, ks: ArrayLike) -> Floats:
    """pass^k, the chance that k samples drawn without replacement are all right, C(c, k) / C(n, k), [P, K].

    Yao et al. 2024 (arXiv:2406.12045).

    Raises:
        MetricError: counts as `pass_at_k` refuses them, or a k below 1 or above min(n).
    """
    n, c = np.asarray(num_samples), np.asarray(num_correct)
    if n.shape != c.shape or np.any(c > n):
        raise MetricError("need one n and one c <= n a problem")
    return fail_at_k_per_problem(n, n - c, ks)


def g_pass_at_k_per_problem(num_samples: ArrayLike, num_correct: ArrayLike, k: int, taus: ArrayLike) -> Floats:
    """G-Pass@k of each tau, the chance that at least ceil(tau * k) of k samples are right, [P, T].

    Liu et al. 2024 (arXiv:2412.13147), eq. 3; its authors advise n of 3k or more. tau towards 0 gives pass@k, 1 pass^k.

    Args:
        num_samples: n of each problem, [P].
        num_correct: c of each problem, [P].
        k: samples drawn without replacement, up to min(n).
        taus: shares in (0, 1], [T].

    Raises:
        MetricError: counts as `pass_at_k` refuses them, a k out of range, or a tau outside (0, 1].
    """
    shares = np.atleast_1d(np.asarray(taus, dtype=np.float64))
    if shares.size == 0 or not np.all((shares > 0) & (shares <= 1)):
        raise MetricError(f"need thresholds tau above 0 and up to 1, got {shares.tolist()[:8]}")
    needed = np.maximum(np.ceil(shares * k - _SLACK).astype(np.int64), 1)
    return _at_least(num_samples, num_correct, k, needed)


def mean_g_pass_at_k_per_problem(num_samples: ArrayLike, num_correct: ArrayLike, k: int) -> Floats:
    """mG-Pass@k, 2/k times the sum of the chances of at least m right samples for m from ceil(k/2) + 1 to k, [P].

    The mean of G-Pass@k over tau from 1/2 to 1, as Liu et al. 2024 (arXiv:2412.13147) evaluate it. It needs k >= 2.

    Raises:
        MetricError: as `g_pass_at_k_per_problem`, or k below 2.
    """
    if k < 2:
        raise MetricError(f"mG-Pass@k is a mean over more than half of k samples, so k must be at least 2, got {k}")
    needed = np.arange(-(-k // 2) + 1, k + 1)
    mean: Floats = 2 / k * _at_least(num_samples, num_correct, k, needed).sum(axis=1)
    return mean


def cover_at_tau(num_samples: ArrayLike, num_correct: ArrayLike, taus: ArrayLike) -> Floats:
    """Cover@tau, the share of problems of which at least a share tau of all samples is right, [T].

    Dragoi et al. 2025 (arXiv:2510.08325), with c / n in place of the success probability. pass@k is its mean over tau
    with the weight k (1 - tau)^(k - 1), so the two show the same from small to large tau.

    Raises:
        MetricError: no problems, c outside 0..n, or a tau outside (0, 1].
    """
    n, c = np.asarray(num_samples, dtype=np.int64), np.asarray(num_correct, dtype=np.int64)
    shares = np.atleast_1d(np.asarray(taus, dtype=np.float64))
    if n.size == 0 or n.shape != c.shape or np.any((n < 1) | (c < 0) | (c > n)):
        raise MetricError("need at least one problem, and n >= 1 and 0 <= c <= n for each")
    if shares.size == 0 or not np.all((shares > 0) & (shares <= 1)):
        raise MetricError(f"need thresholds tau above 0 and up to 1, got {shares.tolist()[:8]}")
    covered: Floats = _reached(n, c, shares).mean(axis=0)
    return covered


def pass_hat_k(tally: Tally, *, confidence: float = 0.95, draws: int = 2000, seed: int = 0) -> Curve:
    """pass^k over all k with its simultaneous band for problems like these."""
    ks = log_spaced(int(tally.num_samples.min()))
    values = pass_hat_k_per_problem(tally.num_samples, tally.num_correct, ks)
    low, high = mean_band(values, np.random.default_rng(seed), confidence=confidence, draws=draws)
    unsure = high_variance(tally.num_samples, ks)
    return Curve("pass_hat_k", ks, values.mean(axis=0), low, high, unsure, confidence)


def g_pass_at_k(tally: Tally, *, k: int, tau: float, confidence: float = 0.95) -> Estimate | None:
    """G-Pass@k at one tau for problems like these; None with fewer than k samples of some problem."""
    if tally.num_samples.min() < k:
        return None
    values = g_pass_at_k_per_problem(tally.num_samples, tally.num_correct, k, [tau])[:, 0]
    return mean_interval(values, confidence=confidence)


def mean_g_pass_at_k(tally: Tally, *, k: int, confidence: float = 0.95) -> Estimate | None:
    """mG-Pass@k for problems like these; None with fewer than k samples of some problem."""
    if tally.num_samples.min() < k:
        return None
    values = mean_g_pass_at_k_per_problem(tally.num_samples, tally.num_correct, k)
    return mean_interval(np.clip(values, 0.0, 1.0), confidence=confidence)


def covered(tally: Tally, *, tau: float, confidence: float = 0.95) -> Estimate:
    """Cover@tau for problems like these, see `cover_at_tau`."""
    enough = _reached(tally.num_samples, tally.num_correct, np.array([tau]))[:, 0]
    return mean_interval(enough, confidence=confidence)


def _reached(n: Ints, c: Ints, taus: Floats) -> NDArray[np.bool_]:
    """Whether c / n is tau or more, [P, T]."""
    reached: NDArray[np.bool_] = c[:, None] >= taus * n[:, None] - _SLACK
    return reached


def _at_least(num_samples: ArrayLike, num_correct: ArrayLike, k: int, needed: Ints) -> Floats:
    """Chance of at least so many right samples among k, hypergeometric, [P, T]."""
    from scipy.stats import hypergeom

    n, c = np.asarray(num_samples, dtype=np.int64), np.asarray(num_correct, dtype=np.int64)
    if n.size == 0 or n.shape != c.shape or np.any((n < 1) | (c < 0) | (c > n)):
        raise MetricError("need at least one problem, and n >= 1 and 0 <= c <= n for each")
    checked_ks([k], int(n.min()), why="G-Pass@k needs k samples of every problem")
    (n_distinct, c_distinct), inverse = np.unique(np.stack([n, c]), axis=1, return_inverse=True)
    table: Floats = hypergeom.sf(needed[None, :] - 1, n_distinct[:, None], c_distinct[:, None], k)
    return np.clip(table, 0.0, 1.0)[inverse.reshape(-1)]
