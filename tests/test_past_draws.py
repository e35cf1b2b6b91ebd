"""What stored samples tell, read from a real store."""

from pathlib import Path

import pytest

from kurve.past_draws import specs, stored_bytes, stored_lengths
from kurve.store import SampleStore
from kurve.types import Sample
from tests.store.support import SPEC


def fill(root: Path, samples: int, *, tokens: int = 7) -> Path:
    """A store of two problems with so many samples each; every text is new."""
    with SampleStore.open(root, SPEC) as store:
        for problem_id in ("a", "b"):
            store.append_many(
                Sample(problem_id, index, f"{problem_id} {index} " * 20, "stop", tokens + index)
                for index in range(samples)
            )
        return store.folder


def test_lengths_are_those_of_each_problem_without_samples_that_do_not_say(tmp_path: Path) -> None:
    folder = fill(tmp_path, 5, tokens=0)
    with SampleStore.open_folder(folder) as store:
        found = stored_lengths(store)
    assert {problem_id: lengths.tolist() for problem_id, lengths in found.items()} == {
        "a": [1, 2, 3, 4],
        "b": [1, 2, 3, 4],
    }


def test_of_very_many_samples_the_first_of_each_problem_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kurve.past_draws.MOST_READ", 6)
    with SampleStore.open_folder(fill(tmp_path, 5)) as store:
        assert {len(lengths) for lengths in stored_lengths(store).values()} == {3}


def test_bytes_are_those_after_compression_whether_compressed_yet_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fill(tmp_path / "plain", 100)
    monkeypatch.setattr("kurve.store.log.SEGMENT_BYTES", 15_000)
    sealed = fill(tmp_path / "sealed", 100)
    assert list(sealed.glob("samples-*.zst"))
    in_the_end, so_far = stored_bytes(plain, "samples"), stored_bytes(sealed, "samples")
    assert in_the_end < (plain / "samples-0000.jsonl").stat().st_size / 3
    assert so_far == pytest.approx(in_the_end, rel=0.5)
    assert stored_bytes(plain, "verdicts-none") == 0


def test_stores_are_found_with_their_settings_and_damaged_ones_left_out(tmp_path: Path) -> None:
    folder = fill(tmp_path, 1)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "spec.json").write_text("{")
    assert list(specs(tmp_path)) == [(folder, SPEC)]
    assert list(specs(tmp_path / "nothing")) == []
