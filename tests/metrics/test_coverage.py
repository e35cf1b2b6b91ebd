"""Solved problems and the accuracy histogram."""

import numpy as np
import pytest

from kurve.metrics.coverage import accuracy_histogram, solved_share, these_problems_pass_at_1
from kurve.types import Tally


def tally(n: list[int], c: list[int]) -> Tally:
    ids = tuple(f"p{i}" for i in range(len(n)))
    return Tally(ids, np.array(n), np.array(c), np.zeros(len(n), dtype=np.int64))


def test_a_problem_is_solved_by_one_correct_sample() -> None:
    estimate = solved_share(tally([8] * 4, [0, 1, 8, 0]))
    assert estimate.value == 0.5
    assert 0 < estimate.low < 0.5 < estimate.high < 1


def test_never_and_always_solved_have_bins_of_their_own() -> None:
    histogram = accuracy_histogram(tally([1000] * 6, [0, 1, 999, 1000, 1000, 500]))
    assert histogram.counts.tolist() == [1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2]
    assert histogram.edges.tolist() == [0, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1]


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_tenth_belongs_to_the_bin_below_it(tenths: int) -> None:
    counts = accuracy_histogram(tally([10, 30], [tenths, 3 * tenths])).counts
    assert counts[tenths] == 2


def test_one_sample_a_problem_gives_no_interval_for_these_problems() -> None:
    assert these_problems_pass_at_1(tally([1, 1], [0, 1])) is None
    estimate = these_problems_pass_at_1(tally([2, 2], [0, 1]))
    assert estimate is not None
    assert estimate.value == 0.25
