import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kurve.errors import StoreError
from kurve.store import SampleStore, Shard, list_stores
from kurve.store.shards import DRAWS, begin, take_leftovers, take_over, turn
from kurve.store.slices import cells, cells_name, missing, num_complete
from tests.store.support import SPEC, sample, small_disk

HALVES = [Shard(("p", "q"), 4, 2, number) for number in (0, 1)]


@contextmanager
def common(root: Path) -> Iterator[SampleStore]:
    with SampleStore.open(root, SPEC) as store, turn(store.folder):
        yield store


@contextmanager
def common_in_turn(root: Path) -> Iterator[SampleStore]:
    """As a shard's process does: wait for the others first, then open the store."""
    [folder] = [path.parent for path in root.glob("*/spec.json")]
    with turn(folder), SampleStore.open(root, SPEC) as store:
        yield store


def begun(root: Path, shard: Shard) -> SampleStore:
    """A shard at work, after its process let go of the common store."""
    with common(root) as store:
        own = begin(store, shard)
    assert own is not None
    return own


def fill(own: SampleStore, shard: Shard) -> None:
    own.append_many(sample(one, index) for one, indices in cells(shard).items() for index in indices)


def held(store: SampleStore) -> list[tuple[str, int]]:
    return sorted((one.problem_id, one.index) for one in store.samples())


def shards_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("*/shards/*"))


ALL = [(one, index) for one in ("p", "q") for index in range(4)]


def test_a_store_takes_its_shards_over_and_nothing_is_left_of_them(tmp_path: Path) -> None:
    owns = [begun(tmp_path, shard) for shard in HALVES]
    for own, shard in zip(owns, HALVES, strict=True):
        fill(own, shard)
        (own.folder / DRAWS).write_text(f'{{"tokens": {shard.number}}}\n')
    assert [info.samples for info in list_stores(tmp_path)] == [0]  # shards are no stores of their own
    for done, own in enumerate(owns):
        with common(tmp_path) as store:
            assert take_over(store, own) == 4
            assert num_complete(store, HALVES[0]) == done + 1
    with SampleStore.open(tmp_path, SPEC, read_only=True) as store:
        assert held(store) == ALL
        assert (store.folder / DRAWS).read_text() == '{"tokens": 0}\n{"tokens": 1}\n'
        assert not (store.folder / "shards").exists()


def test_a_listing_tells_that_shards_are_at_work(tmp_path: Path) -> None:
    with begun(tmp_path, HALVES[0]), begun(tmp_path, HALVES[1]):
        assert [info.held_by for info in list_stores(tmp_path)] == ["2 shards at work"]
    assert [info.held_by for info in list_stores(tmp_path)] == [""]


def test_a_shard_goes_on_with_what_its_killed_process_left(tmp_path: Path) -> None:
    own = begun(tmp_path, HALVES[0])
    own.append(sample("p", 1))
    with (own.folder / "samples-0000.jsonl").open("ab") as file:
        file.write(b'{"p":"p","i":2,"t":"torn')
    own.close()
    again = begun(tmp_path, HALVES[0])
    with again, SampleStore.open(tmp_path, SPEC, read_only=True) as store:
        assert missing(cells(HALVES[0]), [store, again]) == {"p": (0, 2, 3)}


def test_a_shard_that_the_store_has_makes_no_folder(tmp_path: Path) -> None:
    with common(tmp_path) as store:
        fill(store, HALVES[1])
        assert begin(store, HALVES[1]) is None
    assert shards_in(tmp_path) == []


def test_one_process_works_on_a_shard_and_none_beside_it_on_all(tmp_path: Path) -> None:
    own = begun(tmp_path, HALVES[0])
    with pytest.raises(StoreError, match=r"0000-of-2-\w+ is being written by process"):
        begun(tmp_path, HALVES[0])
    with common(tmp_path) as store:
        for others in ("", cells_name(replace(HALVES[0], num_shards=3))):
            with pytest.raises(StoreError, match=r"being drawn in shards: 0000-of-2-\w+ by process \d+.*wait"):
                take_leftovers(store, but=others)
        take_leftovers(store, but=cells_name(HALVES[1]))
    own.close()


def test_who_starts_next_takes_over_what_others_left(tmp_path: Path) -> None:
    for shard in HALVES:
        with begun(tmp_path, shard) as own:
            own.append(sample(next(iter(cells(shard))), 2))
    stranger = next(tmp_path.glob("*/shards")) / "notes"
    stranger.mkdir()
    with common(tmp_path) as store:
        take_leftovers(store, but=cells_name(HALVES[0]))
        assert len(shards_in(tmp_path)) == 3
        take_leftovers(store)
        assert held(store) == [("p", 2), ("q", 2)]
    assert shards_in(tmp_path) == ["notes"]


def test_samples_that_both_have_are_taken_once_and_different_ones_refused(tmp_path: Path) -> None:
    own = begun(tmp_path, HALVES[0])
    own.append_many([sample("p", 0), sample("p", 1)])
    with common(tmp_path) as store:
        store.append(sample("p", 1, text="another"))
        with pytest.raises(StoreError, match=r"other samples of problem 'p'.*1 of them: 1\).*remove the former"):
            take_over(store, own)
        assert held(store) == [("p", 1)]
    own.close()
    with begun(tmp_path, HALVES[0]) as again:
        assert held(again) == [("p", 0), ("p", 1)]
    other = begun(tmp_path / "b", HALVES[0])
    fill(other, HALVES[0])
    with common(tmp_path / "b") as store:
        store.append(sample("p", 3))
        assert take_over(store, other) == 3


def test_a_shard_without_a_sample_is_taken_over_too(tmp_path: Path) -> None:
    own = begun(tmp_path, HALVES[0])
    (own.folder / "spec.json").unlink()  # killed before it was written
    own.close()
    with common(tmp_path) as store:
        take_leftovers(store)
    assert shards_in(tmp_path) == []


def test_what_was_being_removed_is_removed_by_the_next(tmp_path: Path) -> None:
    own = begun(tmp_path, HALVES[0])
    own.close()
    own.folder.rename(own.folder.with_name(f".merged-{own.folder.name}"))
    (own.folder.with_name(f".merged-{own.folder.name}") / "spec.json").unlink()
    with common(tmp_path) as store:
        take_leftovers(store)
    assert shards_in(tmp_path) == []


def test_a_full_disk_keeps_the_shard_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "200k") as disk:
        own = begun(disk, HALVES[0])
        own.append_many(sample("p", index, text=random.Random(index).randbytes(10_000).hex()) for index in range(4))
        balloon = disk / "balloon"
        balloon.write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize - 20_000))
        with common(disk) as store, pytest.raises(StoreError, match="free some space"):
            take_over(store, own)
        own.close()
        balloon.unlink()
        with common(disk) as store:
            take_leftovers(store)
            assert held(store) == ALL[:4]


def _merge(root: Path) -> None:
    with common(root) as store:
        take_leftovers(store)


def test_a_merge_killed_at_any_moment_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kurve.store.samples._CHUNK", 2_000)  # many writes
    monkeypatch.setattr("kurve.store.log.SEGMENT_BYTES", 20_000)  # and many segments, some of them adopted
    big = Shard(("p",), 1_500, 1, 0)
    with begun(tmp_path, big) as own:
        fill(own, big)
    moment, kills = random.Random(3), 0
    for _ in range(5):
        process = multiprocessing.get_context("fork").Process(target=_merge, args=(tmp_path,))
        process.start()
        time.sleep(moment.uniform(0.005, 0.1))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
    assert kills >= 1
    _merge(tmp_path)
    with SampleStore.open(tmp_path, SPEC, read_only=True) as store:
        assert held(store) == [("p", index) for index in range(1_500)]
    assert shards_in(tmp_path) == []


def test_shards_that_finish_at_the_same_moment_are_all_taken_over(tmp_path: Path) -> None:
    shards = [Shard(("p", "q"), 100, 4, number) for number in range(4)]
    owns = [begun(tmp_path, shard) for shard in shards]
    for own, shard in zip(owns, shards, strict=True):
        fill(own, shard)
        own.close()
    processes = [multiprocessing.get_context("fork").Process(target=_finish, args=(tmp_path, one)) for one in shards]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    with SampleStore.open(tmp_path, SPEC, read_only=True) as store:
        assert store.missing(("p", "q"), 100) == {}


def _finish(root: Path, shard: Shard) -> None:
    with common_in_turn(root) as store:
        own = begin(store, shard)
        assert own is not None
        take_over(store, own)
