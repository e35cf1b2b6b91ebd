from dataclasses import replace
from pathlib import Path

import pytest

from kurve.store import SampleStore, VerdictInfo, VerdictStore, list_stores
from kurve.types import Outcome, Verdict
from tests.store.support import SPEC, sample


def test_the_stores_of_a_folder_are_listed(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        store.append_many([sample("p", 0), sample("p", 1), sample("q", 0)])
        with VerdictStore.open(store, "abc.d") as verdicts:
            verdicts.append(Verdict("p", 0, Outcome.ERROR))
        (tmp_path / "unrelated").mkdir()
        (info,) = list_stores(tmp_path)
        assert "process" in info.held_by
    assert (info.fingerprint, info.path, info.spec) == (store.fingerprint, store.folder, SPEC)
    assert (info.problems, info.samples, info.min_samples, info.max_samples) == (2, 3, 1, 2)
    assert info.verdicts == (VerdictInfo("abc.d", 1),)
    assert info.bytes > 100
    assert info.error == ""
    assert list_stores(tmp_path)[0].held_by == ""


@pytest.mark.parametrize("damaged", ["spec.json", "samples-0000.jsonl", "prompts-0000.jsonl"])
def test_a_damaged_store_is_a_row_with_its_error(tmp_path: Path, damaged: str) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        store.append(sample())
    with SampleStore.open(tmp_path, replace(SPEC, seed="1")):
        pass
    (store.folder / damaged).write_bytes(b"\xff\n")
    rows = {info.fingerprint: info for info in list_stores(tmp_path)}
    assert damaged in rows.pop(store.fingerprint).error
    assert [info.error for info in rows.values()] == [""]


def test_no_folder_is_no_stores(tmp_path: Path) -> None:
    assert list_stores(tmp_path / "absent") == []
