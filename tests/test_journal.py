import json
import logging
import threading
import time
from pathlib import Path

import pytest

from kurve.dir_tracker import DirTracker
from kurve.errors import StoreError, TrackingError
from kurve.journal import Journal
from kurve.outbox import send_all
from kurve.tracking import NullTracker
from tests.journals import Moody, lines, logged, started, status
from tests.tracking_samples import run_info


def ten_steps(journal: Journal, first: int = 0) -> None:
    for step in range(first, first + 10):
        journal.log({"reward": step / 10, "loss": -step}, step)


def wait_until(condition: "object", seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]  # a lambda
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_what_is_logged_is_on_disk_at_once_and_in_the_tracker_at_the_end(tmp_path: Path) -> None:
    tracker = started(DirTracker(tmp_path / "runs"))
    rollouts = tmp_path / "training" / "rollouts" / "step_5.parquet"
    rollouts.parent.mkdir(parents=True)
    rollouts.write_bytes(b"PAR1")
    before = time.time_ns() // 1_000_000
    with Journal(tmp_path / "training", tracker, every=60) as journal:
        ten_steps(journal)
        journal.keep(rollouts, "rollouts")
        assert [line["step"] for line in lines(tmp_path / "training") if "step" in line] == list(range(10))
        assert logged(tracker) == []
    expected = [
        (f"train/{key}", step, value) for step in range(10) for key, value in (("reward", step / 10), ("loss", -step))
    ]
    assert logged(tracker) == expected
    stamps = [json.loads(line)["timestamp"] for line in (Path(tracker.url) / "points.jsonl").read_text().splitlines()]
    assert stamps[::2] == [line["time"] for line in lines(tmp_path / "training") if "step" in line]
    assert before <= min(stamps)
    assert (Path(tracker.url) / "artifacts" / "rollouts" / "step_5.parquet").read_bytes() == b"PAR1"
    assert status(tracker) == "FINISHED"


def test_the_thread_sends_while_the_training_runs(tmp_path: Path) -> None:
    tracker = started(DirTracker(tmp_path / "runs"))
    with Journal(tmp_path / "training", tracker, every=0.05) as journal:
        ten_steps(journal)
        wait_until(lambda: len(logged(tracker)) == 20)
        assert status(tracker) == "RUNNING"


def test_a_tracker_that_is_away_costs_nothing_and_catches_up_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Moody(tmp_path / "runs")
    tracker.start(run_info())
    tracker.away = True
    with Journal(tmp_path / "training", tracker, every=0.05, pause=0.1) as journal:
        ten_steps(journal)
        wait_until(lambda: tracker.calls >= 3)
        tracker.away = False
        wait_until(lambda: "the tracker is back:" in caplog.text)
        assert len(logged(tracker)) == 20
        tracker.away = True
        ten_steps(journal, 10)
        calls = tracker.calls
        wait_until(lambda: tracker.calls > calls)
        tracker.away = False
    assert [step for key, step, _ in logged(tracker) if key == "train/loss"] == list(range(20))
    told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert ["the server is away" in text for text in told] == [
        True,
        False,
        True,
        False,
    ]  # once an outage, and that it is over
    assert status(tracker) == "FINISHED"


def test_a_tracker_that_stays_away_costs_the_patience_and_the_rest_is_sent_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Moody(tmp_path / "runs")
    tracker.start(run_info())
    tracker.away = True
    journal = Journal(tmp_path / "my training", tracker, every=0.05, pause=0.1, patience=0.5)
    with journal:
        ten_steps(journal)
        left = time.monotonic()
    assert time.monotonic() - left < 3
    assert (
        f"20 points, its status. When the tracker is back, send it with\n  kurve sync '{tmp_path}/my training'"
        in caplog.text
    )
    tracker.away = False
    ended = lines(tmp_path / "my training")[-1]
    sent = send_all(tmp_path / "my training", DirTracker(tmp_path / "runs"))
    assert sent.points == 20
    assert len(logged(tracker)) == 20
    assert status(tracker) == "FINISHED"
    assert json.loads((Path(tracker.url) / "run.json").read_text())["ended"] == ended["time"]
    assert send_all(tmp_path / "my training", DirTracker(tmp_path / "runs")).points == 0


def test_a_tracker_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    tracker = Moody(tmp_path / "runs")
    tracker.start(run_info())
    tracker.hangs.clear()
    try:
        entered = time.monotonic()
        with Journal(tmp_path / "training", tracker, every=0.01, patience=0.5) as journal:
            ten_steps(journal)
            wait_until(lambda: tracker.calls)
            ten_steps(journal, 10)
            assert time.monotonic() - entered < 5
        assert time.monotonic() - entered < 6
        assert len(lines(tmp_path / "training")) == 22
    finally:
        tracker.hangs.set()


def test_what_the_tracker_refuses_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Moody(tmp_path / "runs")
    tracker.start(run_info())
    with Journal(tmp_path / "training", tracker) as journal:
        ten_steps(journal)
        journal.log({"good": 1.0, "bad": 2.0}, 10)
        journal.keep(tmp_path / "absent.parquet", "rollouts")
        ten_steps(journal, 11)
    found = logged(tracker)
    assert len(found) == 41
    assert ("train/good", 10, 1.0) in found
    rejected = [json.loads(line) for line in (tmp_path / "training/journal/rejected.jsonl").read_text().splitlines()]
    assert [row.get("key", row.get("file")) for row in rejected] == ["train/bad", str(tmp_path / "absent.parquet")]
    assert rejected[0]["reason"] == "bad is no name"
    assert "refused a part" in caplog.text
    assert status(tracker) == "FINISHED"


def test_a_damaged_line_is_set_aside(tmp_path: Path) -> None:
    tracker = started(DirTracker(tmp_path / "runs"))
    with Journal(tmp_path / "training", NullTracker()) as journal:
        ten_steps(journal)
    path = tmp_path / "training" / "journal" / "points.jsonl"
    text = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*text[:3], b"\x00\x00\xff{\n", b'{"time": 1, "values": 3}\n', *text[3:]]))
    with Journal(tmp_path / "training", tracker):
        pass
    assert len(logged(tracker)) == 20
    assert len((tmp_path / "training/journal/rejected.jsonl").read_text().splitlines()) == 2


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    tracker = started(DirTracker(tmp_path / "runs"))
    with Journal(tmp_path / "training", tracker) as journal:
        ten_steps(journal)
    path = tmp_path / "training" / "journal" / "points.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"time": 1700000000000, "step": 3, "val')
    with Journal(tmp_path / "training", tracker) as journal:
        journal.log({"reward": 2.0}, 10)
    assert path.read_bytes().startswith(whole)
    assert len(lines(tmp_path / "training")) == 12 + 3
    assert len(logged(tracker)) == 21


def test_values_that_are_no_finite_numbers_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = started(DirTracker(tmp_path / "runs"))
    values = {"nan": float("nan"), "inf": float("inf"), "text": "high", "none": None, "fine": 1.5, "\udcff@": 2}
    with Journal(tmp_path / "training", tracker) as journal:
        for step in range(3):
            journal.log(values, step)  # type: ignore[arg-type]  # what a careless caller passes
        journal.log({"fine": 1.0}, None)  # type: ignore[arg-type]  # as above
    assert {key for key, _, _ in logged(tracker)} == {"train/fine", "train/\udcff@"}
    told = [record.message for record in caplog.records]
    assert sum("text" in message for message in told) == 1
    assert lines(tmp_path / "training")[1]["values"] == {
        "train/nan": "nan", "train/inf": "inf", "train/fine": 1.5, "train/\udcff@": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "expected"), [(ValueError("boom"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(1), "KILLED")]
)
def test_how_the_block_ends_is_how_the_run_ends(tmp_path: Path, error: BaseException, expected: str) -> None:
    tracker = started(DirTracker(tmp_path / "runs"))
    with pytest.raises(type(error)), Journal(tmp_path / "training", tracker):
        raise error
    assert status(tracker) == expected


def test_a_status_of_an_earlier_start_does_not_end_the_run_that_goes_on(tmp_path: Path) -> None:
    tracker = Moody(tmp_path / "runs")
    tracker.start(run_info())
    tracker.away = True
    with Journal(tmp_path / "training", tracker, patience=0) as journal:
        ten_steps(journal)
        journal.finish("KILLED")
    again = started(DirTracker(tmp_path / "runs"))
    with Journal(tmp_path / "training", again, every=0.02) as journal:
        wait_until(lambda: len(logged(again)) == 20)
        ten_steps(journal, 10)
        wait_until(lambda: len(logged(again)) == 40)
        assert status(again) == "RUNNING"
        with pytest.raises(TrackingError, match="DONE"):
            journal.finish("DONE")
    assert status(again) == "FINISHED"


def test_steps_that_are_done_again_after_a_crash_are_noted_once(tmp_path: Path) -> None:
    tracker = started(DirTracker(tmp_path / "runs"))
    with Journal(tmp_path / "training", tracker, first_step=0) as journal:
        journal.log({"holdout": 0.25}, 0)
        ten_steps(journal, 1)
    again = started(DirTracker(tmp_path / "runs"))
    with Journal(tmp_path / "training", again, first_step=6) as journal:
        ten_steps(journal, 7)  # from the checkpoint of step 6: 7 to 10 are there, 11 to 16 are new
        journal.log({"reward": -1.0, "seconds": 3.0}, 10)
    rewards = [(step, value) for key, step, value in logged(again) if key == "train/reward"]
    assert rewards == [(step, step / 10) for step in range(1, 17)]
    assert [step for key, step, _ in logged(again) if key == "train/seconds"] == [10]
    with Journal(tmp_path / "training", again, first_step=0) as journal:  # no checkpoint was left
        journal.log({"holdout": 0.25}, 0)
    assert sum(key == "train/holdout" for key, _, _ in logged(again)) == 1


def test_a_run_made_anew_gets_the_whole_training(tmp_path: Path) -> None:
    with Journal(tmp_path / "training", NullTracker()) as journal:
        ten_steps(journal)
    first, second = started(DirTracker(tmp_path / "one")), started(DirTracker(tmp_path / "two"))
    for tracker in (first, second):
        with Journal(tmp_path / "training", tracker) as journal:
            journal.log({"reward": 1.0}, 10)
    assert len(logged(first)) == 21
    assert len(logged(second)) == 22


def test_a_training_goes_on_without_asking_a_tracker_that_is_away(tmp_path: Path) -> None:
    tracker = started(DirTracker(tmp_path / "runs"))
    with Journal(tmp_path / "training", tracker) as journal:
        ten_steps(journal)
    with Journal(tmp_path / "training", DirTracker(tmp_path / "runs")) as journal:  # no start, no attach
        ten_steps(journal, 10)
    assert len(logged(tracker)) == 40
    with pytest.raises(TrackingError, match="call start"), Journal(tmp_path / "training", DirTracker(tmp_path)):
        pass


def test_what_was_noted_as_sent_may_be_lost(tmp_path: Path) -> None:
    tracker = started(DirTracker(tmp_path / "runs"))
    with Journal(tmp_path / "training", tracker) as journal:
        ten_steps(journal)
    (tmp_path / "training" / "journal" / "sent.json").write_text('{"half')
    assert send_all(tmp_path / "training", DirTracker(tmp_path / "runs")).points == 20
    assert len(logged(tracker)) == 20


def test_a_folder_takes_one_training_at_a_time_and_must_be_writable(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "training", NullTracker()),
        pytest.raises(StoreError, match="is being written by process"),
        Journal(tmp_path / "training", NullTracker()),
    ):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match="make the folder writable"), Journal(tmp_path / "file", NullTracker()):
        pass


def test_sending_from_two_sides_at_once_adds_nothing_twice(tmp_path: Path) -> None:
    tracker = started(DirTracker(tmp_path / "runs"))
    stop = threading.Event()

    def sync() -> None:
        while not stop.is_set():
            send_all(tmp_path / "training", DirTracker(tmp_path / "runs"))

    other = threading.Thread(target=sync)
    with Journal(tmp_path / "training", tracker, every=0.01) as journal:
        other.start()
        for step in range(400):
            journal.log({"reward": step}, step)
            time.sleep(0.002)
        stop.set()
        other.join()
    assert sorted(step for _, step, _ in logged(tracker)) == list(range(400))
