from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from kurve.errors import ConfigError
from kurve.review.rows import Choice, Correct, Row, choose, ordered, sample_id, sheet_id
from kurve.types import Tally

HARD = Choice(above=0.0, below=0.05)


def tally(n: list[int], c: list[int]) -> Tally:
    ids = tuple(f"p{i}" for i in range(len(n)))
    return Tally(ids, np.array(n), np.array(c), np.zeros(len(n), dtype=np.int64))


def correct(places: dict[tuple[str, int], str]) -> Correct:
    return Correct("f" * 12, "model", places, tally([9], [9]), {}, {})


def row(problem_id: str, index: int, model: str = "m") -> Row:
    key = sample_id(model, problem_id, index, "text")
    return Row(key, problem_id, index, "q", "r", "text", "a", 100, 3, model, model)


def test_the_default_range_is_the_papers_with_both_ends_left_out() -> None:
    chosen = HARD.under_review(tally([100, 100, 100, 100, 40, 1000], [0, 1, 4, 5, 2, 49]))
    assert chosen.tolist() == [False, True, True, False, False, True]


def test_without_an_upper_bound_every_solved_problem_is_reviewed() -> None:
    assert Choice(above=0.0, below=None).under_review(tally([4, 4, 4], [0, 1, 4])).tolist() == [False, True, True]


@pytest.mark.parametrize(("above", "below"), [(0.1, 0.1), (-0.1, 0.5), (1.0, None), (0.3, 0.2)])
def test_a_range_that_holds_nothing_is_refused(above: float, below: float | None) -> None:
    with pytest.raises(ConfigError, match="0 <= above < below"):
        Choice(above=above, below=below)


def test_a_random_part_of_each_problem_is_nested_and_depends_on_the_seed_only() -> None:
    places = {(f"p{i}", j): "" for i in range(50) for j in range(10)}
    small, large = (set(choose(correct(places), replace(HARD, per_problem=m))) for m in (2, 5))
    assert len(small) == 100
    assert small < large
    assert small == set(choose(correct(dict(reversed(places.items()))), replace(HARD, per_problem=2)))
    assert small != set(choose(correct(places), replace(HARD, per_problem=2, seed=1)))
    assert len(choose(correct(places), HARD)) == 500


def test_the_random_part_is_uniform_over_a_problems_samples() -> None:
    places = {(f"p{i}", j): "" for i in range(4000) for j in range(5)}
    taken = np.bincount([index for _, index in choose(correct(places), replace(HARD, per_problem=1))], minlength=5)
    assert taken.sum() == 4000
    assert ((taken - 800) ** 2 / 800).sum() < 18.5  # chi squared, 4 degrees of freedom, p = 0.001


def test_a_blind_order_keeps_problems_together_and_mixes_models() -> None:
    rows = [row(f"p{i}", j, model) for model in ("base", "tuned") for i in range(20) for j in range(4)]
    shuffled = ordered(rows, HARD)
    assert sorted(shuffled, key=repr) == sorted(rows, key=repr)
    ids = [one.problem_id for one in shuffled]
    changes = sum(a != b for a, b in pairwise(ids))
    assert changes == 19
    models = [one.model for one in shuffled]
    assert 40 < sum(a != b for a, b in pairwise(models)) < 120
    assert shuffled == ordered(list(reversed(rows)), HARD)
    assert [one.model for one in ordered(rows, replace(HARD, blind=False))[:4]] == ["base"] * 4


def test_a_row_is_known_by_store_problem_index_and_text() -> None:
    parts = [("f", "p", 1, "t"), ("g", "p", 1, "t"), ("f", "q", 1, "t"), ("f", "p", 2, "t"), ("f", "p", 1, "u")]
    keys = {sample_id(*part) for part in parts}
    assert len(keys) == 5
    assert all(key.startswith("s") and len(key) == 17 for key in keys)
    assert sample_id("f", "p", 1, "\ud800") != sample_id("f", "p", 1, "\ud801")
    assert sheet_id([row("p", 1), row("p", 2)]) == sheet_id([row("p", 2), row("p", 1)])
