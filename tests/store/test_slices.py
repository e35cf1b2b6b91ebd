from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurve.errors import StoreError
from kurve.store import SampleStore, Shard
from kurve.store.slices import cells, cells_name, missing, num_complete
from tests.store.support import SPEC, sample


def listed(shard: Shard) -> list[tuple[str, int]]:
    return [(problem_id, index) for problem_id, indices in cells(shard).items() for index in indices]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 144))
def test_the_shards_together_are_all_samples_once_in_their_order(problems: int, n: int, parts: int) -> None:
    ids = tuple(f"p{number}" for number in range(problems))
    parts = min(parts, problems * n)
    shards = [listed(Shard(ids, n, parts, number)) for number in range(parts)]
    assert [cell for shard in shards for cell in shard] == [(one, index) for one in ids for index in range(n)]
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert min(map(len, shards)) >= 1


@given(st.integers(2, 12), st.integers(1, 12), st.data())
def test_only_neighbours_share_a_problem_where_there_are_no_more_shards_than_problems(
    problems: int, n: int, data: st.DataObject
) -> None:
    ids = tuple(f"p{number}" for number in range(problems))
    parts = data.draw(st.integers(2, problems))
    held = [cells(Shard(ids, n, parts, number)) for number in range(parts)]
    shared = sum(len(set(one) & set(other)) for one, other in pairwise(held))
    assert sum(map(len, held)) == problems + shared
    assert shared < parts


@pytest.mark.parametrize(("number", "parts"), [(4, 4), (-1, 4), (0, 7), (0, 0)])
def test_a_shard_that_is_none_of_them_is_refused(number: int, parts: int) -> None:
    with pytest.raises(StoreError, match=rf"shard {number} of {parts} of 6 samples"):
        cells(Shard(("p", "q"), 3, parts, number))


def test_all_shards_have_one_name_that_says_what_they_draw_together() -> None:
    one = Shard(("p", "q"), 3, 2, 0)
    assert cells_name(one) == cells_name(replace(one, number=1))
    others = [replace(one, num_shards=3), replace(one, num_samples=4), replace(one, problem_ids=("q", "p"))]
    assert len({cells_name(other) for other in (one, *others)}) == 4


def test_a_shard_lacks_what_none_of_the_stores_has(tmp_path: Path) -> None:
    shard = Shard(("p", "q"), 4, 2, 0)
    with SampleStore.open(tmp_path / "1", SPEC) as one, SampleStore.open(tmp_path / "2", SPEC) as two:
        one.append_many([sample("p", 0), sample("p", 9), sample("q", 0)])
        two.append(sample("p", 2))
        assert missing(cells(shard), [one, two]) == {"p": (1, 3)}
        assert num_complete(one, shard) == 0
        one.append_many([sample("p", index) for index in (1, 2, 3)])
        assert missing(cells(shard), [one]) == {}
        assert num_complete(one, shard) == 1
