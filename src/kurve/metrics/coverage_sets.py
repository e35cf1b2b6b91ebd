"""Which problems one model solves and the other does not, and how much of that is chance.

A problem is solved if at least one of its n samples is correct. P problems. What a solved set can mean depends on n:
with another n, or the same n once more, the sets differ. The split-half null says by how much.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kurve.errors import MetricError
from kurve.metrics.passk import Floats, pass_at_k_per_problem
from kurve.types import Tally


@dataclass(frozen=True, slots=True)
class SplitHalf:
    """What two runs of one and the same model differ by, each with half of its samples."""

    num_samples: int  # of each half, of the problem that has fewest
    solved: float  # expected problems that one half solves
    only_one: float  # expected problems that one given half solves and the other does not


@dataclass(frozen=True, slots=True)
class CoverageSets:
    """Problems by who solves them, as in tables 4 and 5 of Yue et al. 2025 (arXiv:2504.13837)."""

    both: tuple[str, ...]  # ids, in the order of the base's problems
    base_only: tuple[str, ...]
    tuned_only: tuple[str, ...]
    neither: tuple[str, ...]
    p_value: float  # exact McNemar, two-sided
    base_null: SplitHalf | None  # None with fewer than 2 samples of some problem, or an adaptive number of them
    tuned_null: SplitHalf | None

    @property
    def support_retention(self) -> float:
        """SRR, share of the base's solved problems that the tuned model solves; NaN if the base solves none."""
        return _share(len(self.both), len(self.both) + len(self.base_only))

    @property
    def discovery_rate(self) -> float:
        """NDR, share of the tuned model's solved problems that the base does not solve; NaN if it solves none."""
        return _share(len(self.tuned_only), len(self.both) + len(self.tuned_only))

    @property
    def net_change_rate(self) -> float:
        """NSCR, (tuned only - base only) of all that either solves, -1..1; NaN if neither solves any.

        SRR, NDR and NSCR are those of Wu et al. 2025 (arXiv:2507.14843).
        """
        either = len(self.both) + len(self.base_only) + len(self.tuned_only)
        return _share(len(self.tuned_only) - len(self.base_only), either)


def coverage_sets(base: Tally, tuned: Tally) -> CoverageSets:
    """Compare what two models solve.

    Args:
        base: counts of the model before training, [P].
        tuned: counts of the same problems in the same order, [P].

    Raises:
        MetricError: other problems or another order, or counts that are none.
    """
    if base.problem_ids != tuned.problem_ids:
        raise MetricError("need the same problems in the same order for both models; pair them first")
    before, after = base.num_correct > 0, tuned.num_correct > 0

    def ids(chosen: ArrayLike) -> tuple[str, ...]:
        return tuple(base.problem_ids[place] for place in np.flatnonzero(chosen))

    only_base, only_tuned = ids(before & ~after), ids(~before & after)
    return CoverageSets(
        both=ids(before & after),
        base_only=only_base,
        tuned_only=only_tuned,
        neither=ids(~before & ~after),
        p_value=mcnemar(len(only_base), len(only_tuned)),
        base_null=_null(base),
        tuned_null=_null(tuned),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar test that each of two models is as likely to solve a problem that only one solves.

    Args:
        only_first: problems that only the first model solves.
        only_second: problems that only the second solves.

    Raises:
        MetricError: a count below 0.
    """
    if min(only_first, only_second) < 0:
        raise MetricError(f"need counts from 0, got {only_first} and {only_second}")
    total = only_first + only_second
    tail = sum(math.comb(total, fewer) for fewer in range(min(only_first, only_second) + 1))
    p_value: float = min(1.0, 2 * tail / 2**total)  # whole numbers up to the division: exact whatever the counts
    return p_value


def split_half(num_samples: ArrayLike, num_correct: ArrayLike) -> SplitHalf:
    """How much two random halves of one model's samples differ in what they solve, averaged over all splits.

    A half of m = floor(n / 2) samples solves nothing with the chance C(n - c, m) / C(n, m), and both halves only if
    c = 0. With an odd n one sample is in neither half. So the numbers are exact, and no split has to be drawn.

    Args:
        num_samples: n of each problem, at least 2, [P].
        num_correct: c of each problem, [P].

    Raises:
        MetricError: a problem with fewer than 2 samples, or counts as `pass_at_k` refuses them.
    """
    n, c = np.asarray(num_samples), np.asarray(num_correct)
    if n.size and n.min() < 2:
        raise MetricError(f"need at least 2 samples of every problem to split them, got n={n.min()}")
    halves = np.unique(n // 2)
    one, both = np.zeros(n.size), np.zeros(n.size)  # chance that a half, or either of them, solves the problem
    for half in halves:
        rows = n // 2 == half
        ks = [half, 2 * half]
        solved: Floats = pass_at_k_per_problem(n[rows], c[rows], ks)
        one[rows], both[rows] = solved[:, 0], solved[:, 1]
    return SplitHalf(int(halves[0]), float(one.sum()), float((both - one).sum()))


def support_threshold(num_samples: int, *, chance: float = 0.05) -> float:
    """The success probability that n samples without a success rule out, 1 - chance^(1/n), a fraction.

    A problem that was not solved may still have any probability below it: 1.2 % at n = 256 (Wu et al. 2025,
    arXiv:2507.14843, empirical support).

    Args:
        num_samples: n.
        chance: of missing a problem with just this probability.

    Raises:
        MetricError: n below 1, or a chance outside (0, 1).
    """
    if num_samples < 1 or not 0 < chance < 1:
        raise MetricError(f"need n >= 1 and a chance between 0 and 1, got n={num_samples}, chance={chance}")
    return -math.expm1(math.log(chance) / num_samples)


def empirical_support(tally: Tally) -> float:
    """The success probability that a problem without a correct sample may still have, at the smallest n; see
    `support_threshold`.
    """
    return support_threshold(int(tally.reach.min()))


def _null(tally: Tally) -> SplitHalf | None:
    if tally.num_samples.min() < 2 or tally.largest_k is not None:
        return None
    return split_half(tally.num_samples, tally.num_correct)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
