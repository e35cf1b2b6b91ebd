import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kurve.errors import StoreError
from kurve.store import ReviewStore, SampleStore, list_judges
from kurve.types import CotVerdict, Soundness
from tests.store.support import SPEC, sample, small_disk

PROBLEM = "gsm8k/test/0"


@pytest.fixture
def samples(tmp_path: Path) -> SampleStore:
    with SampleStore.open(tmp_path, SPEC) as store:
        store.append_many(sample(PROBLEM, index) for index in range(4))
    return SampleStore.open_folder(store.folder)


def verdict(index: int = 0, soundness: Soundness = Soundness.SOUND, **other: str) -> CotVerdict:
    return replace(CotVerdict(PROBLEM, index, "alice", soundness), **other)  # type: ignore[arg-type]  # texts only


def test_verdicts_are_kept_by_judge_with_their_comments(samples: SampleStore) -> None:
    names = ["alice", "gpt@1f#1", "<b>\ud800\u202e</b>/../x", "\u5f20\u4e09"]
    for name in names:
        with ReviewStore.open(samples, name) as log:
            assert log.append(verdict(1, Soundness.UNSOUND, judge=name, comment="guessed\n\ud800"))
            assert not log.append(verdict(1, Soundness.UNSOUND, judge=name))
    assert list_judges(samples) == sorted(names)
    for name in names:
        [found] = ReviewStore.open(samples, name, read_only=True).verdicts().values()
        assert found == CotVerdict(PROBLEM, 1, name, Soundness.UNSOUND, "guessed\n\ud800")


def test_a_verdict_is_final_unless_it_is_revised_and_the_earlier_one_stays_on_record(samples: SampleStore) -> None:
    with ReviewStore.open(samples, "alice") as log:
        log.append(verdict())
        with pytest.raises(StoreError, match=r"already judged sample 0 .* as sound, and now as unsound"):
            log.append(verdict(soundness=Soundness.UNSOUND))
        assert log.append(verdict(soundness=Soundness.UNSOUND), revise=True)
        assert log.soundness(PROBLEM, 0) is Soundness.UNSOUND
    [path] = samples.folder.glob("cot-*.jsonl")
    assert len(path.read_bytes().splitlines()) == 2
    reopened = ReviewStore.open(samples, "alice", read_only=True)
    assert [one.soundness for one in reopened.verdicts().values()] == [Soundness.UNSOUND]


def test_unsure_and_error_give_way_and_an_error_never_replaces(samples: SampleStore) -> None:
    with ReviewStore.open(samples, "alice") as log:
        steps = (Soundness.ERROR, Soundness.UNSURE, Soundness.ERROR, Soundness.SOUND, Soundness.ERROR)
        assert [log.append(verdict(soundness=one)) for one in steps] == [True, True, False, True, False]
        assert log.soundness(PROBLEM, 0) is Soundness.SOUND


def test_a_verdict_on_a_sample_that_is_not_stored_and_a_nameless_judge_are_refused(samples: SampleStore) -> None:
    with ReviewStore.open(samples, "alice") as log, pytest.raises(StoreError, match="holds no sample 9"):
        log.append(verdict(9))
    with pytest.raises(StoreError, match="1 to 200 characters"):
        ReviewStore.open(samples, " ")
    with ReviewStore.open(samples, "alice"), pytest.raises(StoreError, match="being written by"):
        ReviewStore.open(samples, "alice")


def test_a_torn_last_line_costs_that_verdict_only(samples: SampleStore) -> None:
    with ReviewStore.open(samples, "alice") as log:
        for index in range(3):
            log.append(verdict(index))
    [path] = samples.folder.glob("cot-*.jsonl")
    path.write_bytes(path.read_bytes()[:-5])
    with ReviewStore.open(samples, "alice") as log:
        assert sorted(log.verdicts()) == [(PROBLEM, 0), (PROBLEM, 1)]
        log.append(verdict(2))
    assert len(ReviewStore.open(samples, "alice", read_only=True).verdicts()) == 3


def test_verdicts_do_not_count_on_a_text_that_is_another_now(samples: SampleStore, tmp_path: Path) -> None:
    with ReviewStore.open(samples, "alice") as log:
        log.append(verdict())
    other = tmp_path / "other"
    with SampleStore.open(other, SPEC) as store:
        store.append(sample(PROBLEM, 0, "another text"))
    for path in samples.folder.glob("cot-*.jsonl"):
        (store.folder / path.name).write_bytes(path.read_bytes())
    drawn_again = SampleStore.open_folder(store.folder)
    assert list_judges(drawn_again) == ["alice"]
    assert ReviewStore.open(drawn_again, "alice", read_only=True).verdicts() == {}


def test_what_was_appended_survives_kill_9(samples: SampleStore) -> None:
    program = f"""
from pathlib import Path
from kurve.store import ReviewStore, SampleStore
from kurve.types import CotVerdict, Soundness
log = ReviewStore.open(SampleStore.open_folder(Path({str(samples.folder)!r})), "alice")
for index in range(3):
    log.append(CotVerdict({PROBLEM!r}, index, "alice", Soundness.SOUND))
print("stored", flush=True)
input()
"""
    running = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"stored\n"
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    with ReviewStore.open(samples, "alice") as log:
        assert len(log.verdicts()) == 3


def test_a_full_disk_keeps_what_was_stored(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        with SampleStore.open(disk, SPEC) as store:
            store.append(sample(PROBLEM, 0))
            store.append(sample(PROBLEM, 1))
        with ReviewStore.open(store, "alice") as log:
            log.append(verdict(0))
            with pytest.raises(StoreError, match="free some space"):
                log.append(verdict(1, comment="x" * 400_000))
            assert log.append(verdict(1))
        assert len(ReviewStore.open(store, "alice", read_only=True).verdicts()) == 2
