"""Unbiased pass@k, Chen et al. 2021 (arXiv:2107.03374), for every k at once and exact to rounding.

P problems, n samples and c correct samples of one problem, K values of k. The chance that k samples drawn without
replacement are all wrong is q_k = C(n - c, k) / C(n, k) = prod_{j<k} (1 - c / (n - j)), and pass@k = 1 - q_k. The
product is summed as logarithms: `log1p` and `expm1` keep the relative accuracy when pass@k is tiny, which
1 - prod(...) loses, and differences of lgamma lose five digits at n = 1,024 and ten at n = 100,000.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kurve.errors import MetricError
from kurve.types import Tally

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

_CELLS = 1 << 16  # of one block of rows, so that a block stays in the processor's cache
_LONGEST = 10_000_000  # entries of the longest curve that is a sensible thing to hold


def pass_at_k(num_samples: ArrayLike, num_correct: ArrayLike, *, largest_k: ArrayLike | None = None) -> Floats:
    """Unbiased pass@k for every k at once, averaged over problems.

    1 - C(n - c, k) / C(n, k), eq. 1 of Chen et al. 2021 (arXiv:2107.03374), to 1e-12 relative for n up to 100,000.
    The estimate is unbiased only if n was fixed before sampling; if sampling stopped at a success, use the counts that
    `metrics.adaptive` makes of it.

    Args:
        num_samples: n, samples drawn for each problem, [P].
        num_correct: c, how many of them are correct, [P].
        largest_k: of which pass@k is known, [P]; None: n. Beyond n, pass@k is 1 (see `metrics.adaptive`).

    Returns:
        pass@1 .. pass@min(largest_k) as fractions, [min(largest_k)]; entry k - 1 is pass@k.

    Raises:
        MetricError: no problems, a problem with no samples, c outside 0..n, counts that are not whole numbers, or a
            largest_k below n, or above it for a problem without a correct sample.
    """
    n, c = _counts(num_samples, num_correct)
    longest = _reach(n, c, largest_k)
    if longest > _LONGEST:
        raise MetricError(
            f"a whole curve of {longest:,} k was asked for, the limit is {_LONGEST:,}; "
            "use pass_at_k_per_problem with the k you need"
        )
    (n_distinct, c_distinct), repeats = np.unique(np.stack([n, c]), axis=1, return_counts=True)
    total = np.zeros(longest)
    for rows, solved in _blocks(n_distinct, c_distinct, longest):
        width, weights = solved.shape[1], repeats[rows].astype(np.float64)
        total[:width] += weights @ solved
        total[width:] += weights.sum()
    total /= n.size
    total[0] = np.mean(c / n)
    curve: Floats = np.minimum(np.maximum.accumulate(total), 1.0)  # rounding must not make a curve fall
    return curve


def pass_at_k_of(tally: Tally, ks: ArrayLike) -> Floats:
    """Unbiased pass@k of each problem of a tally, however its number of samples came about, fractions, [P, K].

    Raises:
        MetricError: as `pass_at_k_per_problem`.
    """
    return pass_at_k_per_problem(tally.num_samples, tally.num_correct, ks, largest_k=tally.largest_k)


def pass_at_k_per_problem(
    num_samples: ArrayLike, num_correct: ArrayLike, ks: ArrayLike, *, largest_k: ArrayLike | None = None
) -> Floats:
    """Unbiased pass@k of each problem, as fractions, [P, K]; column j belongs to ks[j].

    Raises:
        MetricError: bad counts as in `pass_at_k`, or a k below 1 or above min(n), or above min(largest_k) if given.
    """
    n, c = _counts(num_samples, num_correct)
    wanted = checked_ks(ks, _reach(n, c, largest_k))
    (n_distinct, c_distinct), inverse = np.unique(np.stack([n, c]), axis=1, return_inverse=True)
    table = np.zeros((n_distinct.size, wanted.size))
    for rows, solved in _blocks(n_distinct, c_distinct, int(wanted.max())):
        reached = wanted <= solved.shape[1]
        table[np.ix_(rows, reached)] = solved[:, wanted[reached] - 1]
        table[np.ix_(rows, ~reached)] = 1.0
    table[:, wanted == 1] = (c_distinct / n_distinct)[:, None]
    gathered: Floats = table[inverse.reshape(-1)]
    return gathered


def fail_at_k_per_problem(num_samples: ArrayLike, num_correct: ArrayLike, ks: ArrayLike) -> Floats:
    """Chance that k samples of a problem are all wrong, 1 - pass@k, as fractions, [P, K].

    Keeps the relative accuracy where pass@k rounds to 1.

    Raises:
        MetricError: bad counts as in `pass_at_k`, or a k below 1 or above min(n).
    """
    n, c = _counts(num_samples, num_correct)
    wanted = checked_ks(ks, int(n.min()))
    return np.exp(_log_fail_table(n, c, wanted))


def sampling_variance(
    num_samples: ArrayLike, num_correct: ArrayLike, ks: ArrayLike, *, largest_k: ArrayLike | None = None
) -> Floats:
    """Unbiased estimate of how far a problem's pass@k moves when it is sampled again, q_k^2 - q_2k, [P, K].

    E[q_2k] = (1 - p)^2k = E[q_k]^2 in any design with unbiased q, and needs 2k samples: no unbiased estimate exists
    for larger k.

    Raises:
        MetricError: bad counts as in `pass_at_k`, or 2k above min(n), or above min(largest_k) if given.
    """
    n, c = _counts(num_samples, num_correct)
    wanted = checked_ks(
        ks, _reach(n, c, largest_k) // 2, why="the variance of pass@k needs 2k samples of every problem"
    )
    logs = _log_fail_table(n, c, np.concatenate([wanted, 2 * wanted]))
    once, twice = logs[:, : wanted.size], logs[:, wanted.size :]
    possible = np.isfinite(once)
    ratio = np.subtract(twice, 2 * once, out=np.zeros_like(once), where=possible)
    return np.where(possible, np.exp(2 * once) * -np.expm1(ratio), 0.0)


def log_spaced(n: int, at_most: int = 320) -> Ints:
    """Values of k that show a whole curve over log2 k: strictly increasing, from 1 to n.

    All of 1..n if they are few enough; else all k <= 32, then equal steps of log2 k that hit every power of two, and
    n. The steps do not depend on n beyond their number per octave, so that curves of different n share most k.

    Raises:
        MetricError: n < 1, or at_most leaves no room for the powers of two.
    """
    if n < 1:
        raise MetricError(f"need at least one sample to have a k, got n={n}")
    if n <= at_most:
        return np.arange(1, n + 1)
    for head in (32, 1):
        for steps in range(at_most, 0, -1):
            octaves = np.arange(n.bit_length() * steps + 1) / steps
            ks = np.unique(np.concatenate([np.arange(1, min(head, n) + 1), np.rint(2**octaves).astype(np.int64), [n]]))
            ks = ks[ks <= n]
            if ks.size <= at_most:
                return ks
    raise MetricError(f"{at_most} values of k cannot hold the powers of two up to {n}; allow more")


def high_variance(num_samples: ArrayLike, ks: ArrayLike) -> NDArray[np.bool_]:
    """Whether k > n/2 for some problem, [K]: few samples decide such a pass@k (at k = n it is 'any correct')."""
    n, _ = _counts(num_samples, np.zeros_like(np.asarray(num_samples)))
    fewest = int(n.min())
    mask: NDArray[np.bool_] = 2 * checked_ks(ks, fewest) > fewest
    return mask


def checked_ks(ks: ArrayLike, largest: int, why: str = "pass@k needs k samples of every problem") -> Ints:
    """The values of k as integers, [K].

    Raises:
        MetricError: none given, not whole numbers, below 1, or above `largest`.
    """
    wanted = _whole("k", ks)
    if wanted.size == 0 or wanted.min() < 1:
        raise MetricError(f"need at least one k and all of them >= 1, got {wanted.tolist()[:20]}")
    if wanted.max() > largest:
        raise MetricError(
            f"{why}: k={wanted.max()} was asked for and k <= {largest} is possible; draw more samples or drop larger k"
        )
    return wanted


def _counts(num_samples: ArrayLike, num_correct: ArrayLike) -> tuple[Ints, Ints]:
    n, c = _whole("num_samples", num_samples), _whole("num_correct", num_correct)
    if n.shape != c.shape:
        raise MetricError(f"need one n and one c a problem, got {n.size} of num_samples and {c.size} of num_correct")
    if n.size == 0:
        raise MetricError("need at least one problem, got none")
    bad = np.flatnonzero((n < 1) | (c < 0) | (c > n))
    if bad.size:
        row = int(bad[0])
        raise MetricError(
            f"need n >= 1 and 0 <= c <= n for every problem, got n={n[row]}, c={c[row]} at position {row} "
            f"({bad.size} such); leave problems without samples out or sample them"
        )
    return n, c


def _reach(n: Ints, c: Ints, largest_k: ArrayLike | None) -> int:
    """The largest k that all problems allow."""
    if largest_k is None:
        return int(n.min())
    largest = _whole("largest_k", largest_k)
    if largest.shape != n.shape or np.any((largest < n) | ((largest > n) & (c == 0))):
        raise MetricError(
            f"need one largest_k a problem, n or, with a correct sample, more; got {largest[:8].tolist()} "
            f"for n = {n[:8].tolist()} and c = {c[:8].tolist()}"
        )
    return int(largest.min())


def _whole(name: str, values: ArrayLike) -> Ints:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise MetricError(f"{name} must be a flat list of whole numbers: {error}") from error
    if array.ndim != 1:
        raise MetricError(f"{name} must be a flat list of whole numbers, got an array of shape {array.shape}")
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iufb":
        raise MetricError(f"{name} must hold whole numbers, got {array.dtype}: {str(values)[:80]}")
    if array.dtype.kind == "f" and not np.all(np.isfinite(array) & (array == np.rint(array))):
        raise MetricError(f"{name} must hold whole numbers, got {array[array != np.rint(array)][:5].tolist()}")
    if np.abs(array.astype(np.float64)).max() > 2**53:
        raise MetricError(f"{name} must stay below 2**53, got {array.max()}")
    return array.astype(np.int64)


def _blocks(n: Ints, c: Ints, longest: int) -> Iterator[tuple[Ints, Floats]]:
    """Rows with c > 0 a block at a time, and their pass@1 .. pass@width; beyond the width all of them are 1."""
    rows = np.flatnonzero(c)
    rows = rows[np.argsort((n - c)[rows], kind="stable")]  # rows that reach 1 at about the same k share a block
    height = max(1, _CELLS // longest)
    for start in range(0, rows.size, height):
        block = rows[start : start + height]
        width = min(longest, int((n - c)[block].max()) + 1)
        terms = n[block, None] - np.arange(width, dtype=np.float64)  # samples left after each draw
        with np.errstate(divide="ignore"):  # log1p(-1): no wrong sample is left, or none at all
            np.divide(-c[block, None].astype(np.float64), terms, out=terms)  # chance, negated, that the next is correct
            np.maximum(terms, -1.0, out=terms)
            np.cumsum(np.log1p(terms, out=terms), axis=1, out=terms)
        yield block, np.negative(np.expm1(terms, out=terms), out=terms)


def _log_fail_table(n: Ints, c: Ints, ks: Ints) -> Floats:
    (n_distinct, c_distinct), inverse = np.unique(np.stack([n, c]), axis=1, return_inverse=True)
    longest = int(ks.max())
    rows = [_log_fail(int(a), int(b), longest)[ks - 1] for a, b in zip(n_distinct, c_distinct, strict=True)]
    table: Floats = np.stack(rows)[inverse.reshape(-1)]
    return table


def _log_fail(n: int, c: int, longest: int) -> Floats:
    """ln q_1 .. ln q_longest of one problem, [longest], to an absolute 1e-13 even where it is -700."""
    log_fail = np.full(longest, -np.inf)
    left = n - np.arange(min(longest, n - c), dtype=np.float64)
    likely_wrong = left >= 2 * c
    terms = np.where(likely_wrong, np.log1p(-np.minimum(c / left, 0.5)), np.log((left - c) / left))
    sums = np.cumsum(terms)
    before = np.concatenate([[0.0], sums[:-1]])
    added = sums - before
    lost = (before - (sums - added)) + (terms - added)  # Knuth's two-sum: what each addition rounded away
    log_fail[: left.size] = sums + np.cumsum(lost)
    return log_fail
