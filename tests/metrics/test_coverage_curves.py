"""Expected sets of solved problems over k, against enumeration of every draw."""

from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.coverage_curves import coverage_over_k
from kurve.metrics.coverage_sets import coverage_sets, split_half
from kurve.types import Tally


def tally(n: list[int], c: list[int]) -> Tally:
    return Tally(tuple(map(str, range(len(n)))), np.array(n), np.array(c), np.zeros(len(n), dtype=np.int64))


def fails(n: int, c: int, k: int) -> Fraction:
    """Share of the draws of k of n samples without one of the c correct ones."""
    draws = list(combinations(range(n), k))
    return Fraction(sum(all(one >= c for one in draw) for draw in draws), len(draws))


def test_shares_equal_the_enumeration_of_all_draws_and_sum_to_one() -> None:
    base, tuned = tally([6, 5, 7, 6], [0, 1, 3, 6]), tally([5, 6, 6, 5], [2, 0, 1, 5])
    found = coverage_over_k(base, tuned, [1, 2, 5], np.random.default_rng(0), draws=100)
    for column, k in enumerate((1, 2, 5)):
        b = [fails(n, c, k) for n, c in zip(base.num_samples.tolist(), base.num_correct.tolist(), strict=True)]
        t = [fails(n, c, k) for n, c in zip(tuned.num_samples.tolist(), tuned.num_correct.tolist(), strict=True)]
        pairs = list(zip(b, t, strict=True))
        assert found.both[column] == pytest.approx(float(sum((1 - x) * (1 - y) for x, y in pairs) / 4), abs=1e-12)
        assert found.base_only.value[column] == pytest.approx(float(sum((1 - x) * y for x, y in pairs) / 4), abs=1e-12)
        assert found.tuned_only.value[column] == pytest.approx(float(sum(x * (1 - y) for x, y in pairs) / 4), abs=1e-12)
        assert found.neither[column] == pytest.approx(float(sum(x * y for x, y in pairs) / 4), abs=1e-12)
    whole = found.both + found.base_only.value + found.tuned_only.value + found.neither
    assert whole == pytest.approx([1.0, 1.0, 1.0], abs=1e-12)
    assert np.all(found.base_only.low <= found.base_only.value)
    assert np.all(found.base_only.value <= found.base_only.high)


def test_at_k_equal_to_n_they_are_the_observed_sets() -> None:
    base, tuned = tally([4] * 5, [0, 1, 2, 0, 4]), tally([4] * 5, [1, 0, 3, 0, 0])
    found = coverage_over_k(base, tuned, [4], np.random.default_rng(0), draws=100)
    sets = coverage_sets(base, tuned)
    assert found.base_only.value[0] * 5 == pytest.approx(len(sets.base_only))
    assert found.tuned_only.value[0] * 5 == pytest.approx(len(sets.tuned_only))
    assert found.both[0] * 5 == pytest.approx(len(sets.both))
    assert found.chance_k.size == 0  # needs 2k samples


def test_chance_is_what_two_disjoint_draws_of_the_base_differ_by() -> None:
    base = tally([6, 6], [1, 4])
    found = coverage_over_k(base, tally([6, 6], [0, 0]), [1, 2, 3, 6], np.random.default_rng(0), draws=100)
    assert found.chance_k.tolist() == [1, 2, 3]
    for place, k in enumerate((1, 2, 3)):
        share = Fraction(0)
        for c in (1, 4):
            pairs = [
                (first, second)
                for first in combinations(range(6), k)
                for second in combinations(sorted(set(range(6)) - set(first)), k)
            ]
            hits = sum(any(one < c for one in first) and all(one >= c for one in second) for first, second in pairs)
            share += Fraction(hits, len(pairs)) / 2
        assert found.chance[place] == pytest.approx(float(share), abs=1e-12)
    assert found.chance[2] * 2 == pytest.approx(split_half([6, 6], [1, 4]).only_one)


def test_a_k_above_the_fewest_samples_is_refused() -> None:
    with pytest.raises(MetricError, match="k=5"):
        coverage_over_k(tally([6], [1]), tally([4], [1]), [5], np.random.default_rng(0))


def test_a_model_that_was_sampled_adaptively_is_refused() -> None:
    fixed = tally([6, 6], [1, 2])
    adaptive = replace(fixed, largest_k=np.array([6, 8]))
    for pair in ((fixed, adaptive), (adaptive, fixed)):
        with pytest.raises(MetricError, match="sampled adaptively"):
            coverage_over_k(*pair, [1, 2], np.random.default_rng(0), draws=100)
