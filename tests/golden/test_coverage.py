"""Sets of solvable problems of Yue et al. 2025 (arXiv:2504.13837 v2), Tables 4 and 5, with their exact McNemar test."""

import numpy as np
import pytest

from kurve.metrics.coverage_sets import coverage_sets
from kurve.types import Tally

AIME24 = (
    range(30),
    [0, 1, 4, 6, 7, 8, 9, 11, 12, 14, 15, 16, 17, 18, 19, 22, 23, 24, 25, 26, 27, 28, 29],
    [0, 1, 6, 7, 8, 9, 12, 14, 15, 16, 18, 22, 23, 24, 25, 26, 27, 28, 29],
)
LIVECODEBENCH = (
    range(400, 451),
    [400, 402, 403, 407, 409, 412, 413, 417, 418, 419, 422, 423, 427, 432, 433, 436, 438, 439, 440, 444, 445, 448, 449],
    [400, 402, 403, 407, 412, 413, 417, 418, 419, 422, 423, 427, 430, 433, 438, 439, 440, 444, 445, 449],
)


@pytest.mark.parametrize(
    ("table", "base_only", "tuned_only", "p_value"),
    [(AIME24, (4, 11, 17, 19), (), 0.125), (LIVECODEBENCH, (409, 432, 436, 448), (430,), 0.375)],
    ids=["table 4, AIME24", "table 5, LiveCodeBench"],
)
def test_solvable_sets_of_tables_4_and_5(
    table: tuple[range, list[int], list[int]], base_only: tuple[int, ...], tuned_only: tuple[int, ...], p_value: float
) -> None:
    problems, base, tuned = table

    def solving(which: list[int]) -> Tally:
        solved = np.array([int(problem in which) for problem in problems])
        return Tally(tuple(map(str, problems)), np.full(solved.size, 1024), solved, np.zeros_like(solved))

    found = coverage_sets(solving(base), solving(tuned))
    assert found.base_only == tuple(map(str, base_only))
    assert found.tuned_only == tuple(map(str, tuned_only))
    assert len(found.both) == len(base) - len(base_only)
    assert found.p_value == p_value
