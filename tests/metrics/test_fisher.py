from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy import stats

from kurve.errors import MetricError
from kurve.metrics.fisher import false_discovery, fisher_exact


def exact(n1: int, c1: int, n2: int, c2: int) -> float:
    """By enumeration, in whole numbers."""
    correct, whole = c1 + c2, comb(n1 + n2, c1 + c2)
    splits = [comb(n1, one) * comb(n2, correct - one) for one in range(correct + 1)]
    return float(Fraction(sum(one for one in splits if one <= splits[c1]), whole))


def test_it_is_the_enumeration_for_all_small_tables() -> None:
    tables = [(n1, c1, n2, c2) for n1 in (1, 3, 6) for n2 in (1, 4) for c1 in range(n1 + 1) for c2 in range(n2 + 1)]
    assert fisher_exact(*np.array(tables).T) == pytest.approx([exact(*one) for one in tables], abs=1e-12)


def test_it_is_scipys_at_the_size_of_an_evaluation() -> None:
    rng = np.random.default_rng(0)
    c1, c2 = rng.integers(0, 1025, 40), rng.integers(0, 257, 40)
    found = fisher_exact(np.full(40, 1024), c1, np.full(40, 256), c2)
    expected = [
        stats.fisher_exact([[a, 1024 - a], [b, 256 - b]]).pvalue for a, b in zip(c1.tolist(), c2.tolist(), strict=True)
    ]
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_false_discovery_rate_is_that_of_benjamini_and_hochberg() -> None:
    p = [0.01, 0.04, 0.03, 0.005, 0.8]
    assert false_discovery(p) == pytest.approx(stats.false_discovery_control(p))
    assert false_discovery([]).size == 0
    assert np.all(false_discovery([1.0, 1.0]) == 1)


@pytest.mark.parametrize("counts", [([1], [2], [1], [0]), ([0], [0], [1], [0]), ([1, 2], [0], [1], [0])])
def test_counts_that_are_none_are_refused(counts: tuple[list[int], ...]) -> None:
    with pytest.raises(MetricError):
        fisher_exact(*counts)
    with pytest.raises(MetricError):
        false_discovery([1.5])
