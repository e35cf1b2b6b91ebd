"""Sampling that stops a problem early, and counts from which pass@k stays unbiased all the same.

A problem is drawn until it has at least `least` samples and `successes` (r) of them are correct, or `most` samples. How
many samples it gets then depends on how they fared, and 1 - C(n - c, k) / C(n, k) of all of them is biased upwards: the
last sample of a problem that was stopped is always correct.

The remedy is to leave that last success out. Given the point (n, c) where a problem ends, all orders of its samples
that lead there are equally likely, so the share of them that begin with k failures is an unbiased estimate of (1 - p)^k
for every k <= most (Rao and Blackwell; Girshick, Mosteller and Savage 1946, Ann. Math. Statist. 17, 13). Three kinds of
point:

- n = least or fewer: any order leads there; the share is C(n - c, k) / C(n, k).
- stopped later: the last sample is the r-th success, the others are in any order: C(n - 1 - k, r - 1) / C(n - 1, r - 1)
  (Haldane 1945, Biometrika 33, 222). This is C(n' - c', k) / C(n', k) with n' = n - 1 and c' = r - 1.
- the end, fewer than r successes: any order leads there, as at first.

So the usual estimator with n' and c' is the unbiased one. It is 1 for k above n' - c', also beyond n', up to `most`.
Estimates that need several successes, such as pass^k, are unbiased from n' and c' up to k = least: so many samples
every problem has. Everything is a function of the samples in the order of their indices, whatever was drawn beyond.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kurve.errors import MetricError
from kurve.metrics.passk import Floats, Ints, pass_at_k_of
from kurve.types import StoppingRule, Tally

FAILED = -1  # a result: its judgement failed, so it is neither a success nor a failure
_CELLS = 1 << 22  # of one block of exact probabilities, 32 MB


@dataclass(frozen=True, slots=True)
class Prefix:
    """The samples of a problem that count: those before index `length`."""

    length: int  # failed judgements included
    complete: bool  # False: the rule asks for more


@dataclass(frozen=True, slots=True)
class Expected:
    """What a rule makes of problems of known success probability, exactly."""

    num_samples: Floats  # mean number of samples, [P]
    pass_at_k: Floats  # mean of the estimate, [P, K]
    variance: Floats  # of the estimate when the problem is sampled again, [P, K]


def checked_rule(rule: StoppingRule) -> StoppingRule:
    """The rule, if it can be followed.

    Raises:
        MetricError: fewer than 2 successes (a problem stopped at its first success would be left with none), `least`
            below 2 or above `most`.
    """
    if rule.successes < 2:
        raise MetricError(f"need at least 2 successes before a problem is stopped, got {rule.successes}")
    if not 2 <= rule.least <= rule.most:
        raise MetricError(f"need 2 <= least <= most, got least = {rule.least} and most = {rule.most}")
    return rule


def default_successes(k: int, most: int) -> int:
    """Successes after which a problem says enough of pass@k, 1 + ceil(most / k).

    A problem with p = 1/k, whose pass@k is most in doubt, is then sampled about as long as with `most` fixed; problems
    with a larger p are stopped earlier, in proportion.
    """
    return 1 + math.ceil(most / k)


def counted_prefix(results: ArrayLike, rule: StoppingRule) -> Prefix:
    """The samples that count, a function of the results in the order of the samples' indices alone.

    Args:
        results: 1 correct, 0 not, -1 judgement failed, of the samples 0, 1, ... without a gap, [N].
        rule: failed judgements count towards its `most`, and neither towards `least` nor towards `successes`.
    """
    known = np.asarray(results, dtype=np.int8)[: rule.most]
    enough = (np.cumsum(known >= 0) >= rule.least) & (np.cumsum(known == 1) >= rule.successes)
    stops = np.flatnonzero(enough)
    if stops.size:
        return Prefix(int(stops[0]) + 1, complete=True)
    return Prefix(known.size, complete=known.size == rule.most)


def unbiased_tally(counted: Tally, rule: StoppingRule) -> Tally:
    """The counts that the usual estimators take, from those of the samples that count.

    Args:
        counted: n and c of each problem's `counted_prefix`.
        rule: by which it was stopped.

    Returns:
        n' and c' with `largest_k`: `most` less the failed judgements for problems that were stopped, n for the others.

    Raises:
        MetricError: counts that the rule cannot lead to, or a rule that cannot be followed.
    """
    checked_rule(rule)
    n, c = counted.num_samples, counted.num_correct
    stopped = c >= rule.successes
    late = stopped & (n > rule.least)
    wrong = np.flatnonzero((n > rule.most) | (late & (c > rule.successes)))
    if wrong.size:
        row = int(wrong[0])
        raise MetricError(
            f"problem {counted.problem_ids[row]!r} has n = {n[row]} and c = {c[row]}, where a problem is stopped at "
            f"{rule.successes} successes from n = {rule.least} on; count its samples up to there (counted_prefix)"
        )
    largest_k = np.where(stopped, np.maximum(rule.most - counted.num_errors, n), n)
    return Tally(counted.problem_ids, n - late, c - late, counted.num_errors, largest_k)


def expected(probability: ArrayLike, rule: StoppingRule, ks: ArrayLike) -> Expected:
    """Samples, mean and variance of the estimates under a rule, by summing over every point where a problem may end.

    For planning, and to see what a rule saves.

    Args:
        probability: p of each problem, [P].
        rule: whether fixed (`least` = `most`) or not.
        ks: up to `most`, [K].

    Raises:
        MetricError: a p outside 0..1, a rule that cannot be followed, or a k out of range.
    """
    p = np.asarray(probability, dtype=np.float64)
    if p.ndim != 1 or p.size == 0 or not np.all((p >= 0) & (p <= 1)):
        raise MetricError("need at least one success probability, all from 0 to 1")
    n, c = _ends(checked_rule(rule))
    ids = tuple(map(str, range(n.size)))
    counts = unbiased_tally(Tally(ids, n, c, np.zeros_like(n)), rule)
    values = pass_at_k_of(counts, ks)
    centre = values.mean(axis=0)  # so that the variance is no difference of large numbers
    step = max(1, _CELLS // n.size)
    blocks = [_end_probabilities(p[start : start + step], n, c, rule) for start in range(0, p.size, step)]
    chances = np.concatenate(blocks)  # [P, ends]
    mean, square = chances @ (values - centre), chances @ (values - centre) ** 2
    return Expected(chances @ n, mean + centre, np.maximum(square - mean**2, 0.0))


def _ends(rule: StoppingRule) -> tuple[Ints, Ints]:
    """n and c of every point where a problem may end."""
    early = np.arange(rule.successes, rule.least + 1)
    late = np.arange(max(rule.least + 1, rule.successes), rule.most + 1)
    last = np.arange(min(rule.successes, rule.most + 1))
    n = [np.full(early.size, rule.least), late, np.full(last.size, rule.most)]
    c = [early, np.full(late.size, rule.successes), last]
    return np.concatenate(n).astype(np.int64), np.concatenate(c).astype(np.int64)


def _end_probabilities(p: Floats, n: Ints, c: Ints, rule: StoppingRule) -> Floats:
    """Chance of each end for each p, [P, ends]: orders that lead there, times p^c (1 - p)^(n - c)."""
    from scipy import special

    late: NDArray[np.bool_] = (c >= rule.successes) & (n > rule.least)
    trials, hits = n - late, c - late  # orders: any, or the last one a success
    orders = special.gammaln(trials + 1) - special.gammaln(hits + 1) - special.gammaln(trials - hits + 1)
    logs = orders + special.xlogy(c, p[:, None]) + special.xlog1py(n - c, -p[:, None])
    chances: Floats = np.exp(logs)
    return chances
