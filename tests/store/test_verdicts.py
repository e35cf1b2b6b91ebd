from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kurve.errors import StoreError
from kurve.store import SampleStore, VerdictStore
from kurve.types import Outcome, Verdict
from tests.store.support import SPEC, sample


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SampleStore]:
    with SampleStore.open(tmp_path, SPEC) as opened:
        opened.append_many(sample("p", index) for index in range(4))
        yield opened


def verdict(index: int, outcome: Outcome = Outcome.CORRECT, answer: str = "4") -> Verdict:
    return Verdict("p", index, outcome, answer, Outcome.WRONG)


def test_verdicts_come_back_and_only_the_rest_is_missing(store: SampleStore) -> None:
    with VerdictStore.open(store, "abc") as verdicts:
        assert verdicts.missing(["p", "absent"], 10) == {"p": (0, 1, 2, 3)}
        assert verdicts.append_many([verdict(0, answer="\ud83d\ude00 \ud800"), verdict(2, Outcome.WRONG)]) == 2
    with VerdictStore.open(store, "abc") as verdicts:
        assert list(verdicts.verdicts()) == [verdict(0, answer="\ud83d\ude00 \ud800"), verdict(2, Outcome.WRONG)]
        assert verdicts.missing(["p"], 10) == {"p": (1, 3)}
        assert verdicts.missing(["p"], 2) == {"p": (1,)}
        assert verdicts.counts() == {"p": Counter({Outcome.CORRECT: 1, Outcome.WRONG: 1})}
        assert verdicts.counts(["p"], 1) == {"p": Counter({Outcome.CORRECT: 1})}
        assert verdicts.has("p", 0)
        assert not verdicts.has("p", 1)
    with VerdictStore.open(store, "other") as verdicts:
        assert verdicts.count() == 0


def test_an_error_gives_way_to_a_verdict_and_nothing_else_does(store: SampleStore) -> None:
    with VerdictStore.open(store, "abc") as verdicts:
        assert verdicts.append(verdict(0, Outcome.ERROR))
        assert not verdicts.append(verdict(0, Outcome.ERROR, "again"))
        assert verdicts.missing(["p"], 1) == {"p": (0,)}
        assert verdicts.missing(["p"], 1, retry_errors=False) == {}
        assert verdicts.append(verdict(0))
        assert not verdicts.append(verdict(0, answer="4.0"))
        assert not verdicts.append(verdict(0, Outcome.ERROR))
        with pytest.raises(StoreError, match="a verdict is final"):
            verdicts.append(verdict(0, Outcome.WRONG))
    with VerdictStore.open(store, "abc", read_only=True) as verdicts:
        assert list(verdicts.verdicts()) == [verdict(0)]
        assert verdicts.counts() == {"p": Counter({Outcome.CORRECT: 1})}


def test_an_error_and_its_successor_may_come_in_one_batch(store: SampleStore) -> None:
    with VerdictStore.open(store, "abc") as verdicts:
        assert verdicts.append_many([verdict(0, Outcome.ERROR), verdict(0)]) == 1
        assert list(verdicts.verdicts()) == [verdict(0)]


def test_a_verdict_without_its_sample_is_refused(store: SampleStore) -> None:
    with VerdictStore.open(store, "abc") as verdicts, pytest.raises(StoreError, match="holds no sample 9"):
        verdicts.append(verdict(9))


def test_the_verdict_on_a_text_that_was_lost_and_drawn_anew_does_not_count(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store, VerdictStore.open(store, "abc") as verdicts:
        store.append_many([sample("p", 0), sample("p", 1)])
        verdicts.append_many([verdict(0), verdict(1)])
    (store.folder / "samples-0000.jsonl").unlink()
    with SampleStore.open(tmp_path, SPEC) as store, VerdictStore.open(store, "abc") as verdicts:
        assert verdicts.count() == 0
        store.append_many([sample("p", 0), sample("p", 1, text="another")])
        assert verdicts.missing(["p"], 2) == {"p": (1,)}
        assert [v.index for v in verdicts.verdicts()] == [0]
        assert verdicts.append(verdict(1, Outcome.WRONG))
        assert list(verdicts.verdicts()) == [verdict(0), verdict(1, Outcome.WRONG)]


def test_two_verifiers_write_at_once_but_not_the_same_twice(store: SampleStore) -> None:
    with VerdictStore.open(store, "abc"), VerdictStore.open(store, "abd"):
        with pytest.raises(StoreError, match="is being written by"):
            VerdictStore.open(store, "abc")
        VerdictStore.open(store, "abc", read_only=True).close()


def test_a_full_verdict_log_is_sealed(store: SampleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kurve.store.log.SEGMENT_BYTES", 100)
    with VerdictStore.open(store, "abc") as verdicts:
        verdicts.append(verdict(0, Outcome.ERROR))
        for index in range(4):
            verdicts.append(verdict(index))
    assert len(list(store.folder.glob("verdicts-abc-*.zst"))) > 1
    with VerdictStore.open(store, "abc", read_only=True) as verdicts:
        assert list(verdicts.verdicts()) == [verdict(index) for index in range(4)]


@pytest.mark.parametrize("name", ["", "a/b", "a-b", "../x", "a" * 65])
def test_a_fingerprint_that_is_no_file_name_is_refused(store: SampleStore, name: str) -> None:
    with pytest.raises(StoreError, match="fingerprint"):
        VerdictStore.open(store, name)
