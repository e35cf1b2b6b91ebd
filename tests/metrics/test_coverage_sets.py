import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binomtest

from kurve.errors import MetricError
from kurve.metrics.coverage_sets import coverage_sets, empirical_support, mcnemar, split_half, support_threshold
from kurve.types import Tally


def tally(counts: dict[str, int], n: int = 8) -> Tally:
    return Tally(
        tuple(counts), np.full(len(counts), n), np.array(list(counts.values())), np.zeros(len(counts), dtype=np.int64)
    )


def test_each_problem_is_in_the_set_that_its_solvers_say() -> None:
    base = tally({"a": 1, "b": 8, "c": 3, "d": 0, "e": 0, "f": 2})
    tuned = tally({"a": 8, "b": 0, "c": 1, "d": 0, "e": 5, "f": 0})
    found = coverage_sets(base, tuned)
    assert (found.both, found.base_only, found.tuned_only, found.neither) == (("a", "c"), ("b", "f"), ("e",), ("d",))
    assert found.support_retention == 2 / 4
    assert found.discovery_rate == 1 / 3
    assert found.net_change_rate == -1 / 5
    assert found.p_value == mcnemar(2, 1)


def test_shares_of_nothing_are_not_a_number() -> None:
    found = coverage_sets(tally({"a": 0}), tally({"a": 0}))
    assert math.isnan(found.support_retention)
    assert math.isnan(found.discovery_rate)
    assert math.isnan(found.net_change_rate)
    assert found.p_value == 1


def test_problems_in_another_order_are_refused() -> None:
    with pytest.raises(MetricError, match="pair them first"):
        coverage_sets(tally({"a": 1, "b": 0}), tally({"b": 1, "a": 0}))


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 3), (7, 2), (2, 7), (40, 61), (1500, 1400)])
def test_mcnemar_is_the_two_sided_binomial_test(first: int, second: int) -> None:
    expected = 1.0 if first == second == 0 else binomtest(first, first + second).pvalue
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(MetricError, match="from 0"):
        mcnemar(-1, 2)


@pytest.mark.parametrize("n", [2, 3, 6, 7])
def test_the_split_half_null_is_the_mean_over_all_splits(n: int) -> None:
    half = n // 2
    for c in range(n + 1):
        right = np.arange(n) < c
        splits = [
            (right[list(first)].any(), right[list(second)].any())
            for first in combinations(range(n), half)
            for second in combinations([i for i in range(n) if i not in first], half)
        ]
        found = split_half([n], [c])
        assert found.num_samples == half
        assert found.solved == pytest.approx(np.mean([one for one, _ in splits]), abs=1e-12)
        assert found.only_one == pytest.approx(np.mean([one and not other for one, other in splits]), abs=1e-12)


def test_the_split_half_null_adds_up_over_problems_of_different_n() -> None:
    n, c = np.array([2, 9, 4, 9]), np.array([1, 2, 0, 9])
    each = [split_half([a], [b]) for a, b in zip(n, c, strict=True)]
    found = split_half(n, c)
    assert found.solved == pytest.approx(sum(one.solved for one in each))
    assert found.only_one == pytest.approx(sum(one.only_one for one in each))
    assert found.num_samples == 1


def test_a_problem_with_one_sample_cannot_be_split() -> None:
    with pytest.raises(MetricError, match="at least 2"):
        split_half([4, 1], [1, 0])


@pytest.mark.parametrize(("n", "expected"), [(128, 2.3e-2), (256, 1.2e-2), (1024, 2.9e-3), (8192, 3.66e-4)])
def test_the_support_threshold_is_that_of_the_paper(n: int, expected: float) -> None:
    found = support_threshold(n)
    assert found == pytest.approx(expected, rel=0.05)  # printed with two or three digits
    assert (1 - found) ** n == pytest.approx(0.05)


def test_ragged_counts_have_the_threshold_of_the_fewest_samples() -> None:
    ragged = Tally(("a", "b"), np.array([8, 256]), np.array([0, 3]), np.array([0, 0]))
    assert empirical_support(ragged) == support_threshold(8)
