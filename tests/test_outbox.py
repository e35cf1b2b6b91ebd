import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from kurve.dir_tracker import DirTracker
from kurve.errors import TrackingError
from kurve.journal import Journal
from kurve.journal_file import SENDER_LOCK, SENT
from kurve.outbox import Outbox, run_key, send_all
from kurve.store.lock import WriterLock
from kurve.tracking import NullTracker, TimedPoint
from tests.journals import Moody, logged, started, status


class Telling(DirTracker):
    """Files of a run, and in what order it was told what."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.told: list[str] = []

    def log_points(self, points: Sequence[TimedPoint]) -> None:
        self.told.append(f"{len(points)} points")
        super().log_points(points)

    def log_files(self, files: Sequence[Path], folder: str) -> None:
        self.told.append(folder)
        super().log_files(files, folder)

    def finish(self, status: str, ended: int | None = None) -> None:
        self.told.append(status)
        super().finish(status, ended)


def measured(training: Path, steps: int = 10) -> Path:
    """A journal with two points a step, a file after the first, and the end."""
    with Journal(training, NullTracker()) as journal:
        for step in range(steps):
            journal.log({"reward": step / 10, "loss": -step}, step)
            if step == 0:
                (training / "rollouts").mkdir(exist_ok=True)
                (training / "rollouts" / "step-0.parquet").write_text("rows")
                journal.keep(training / "rollouts" / "step-0.parquet", "rollouts")
    return training


def test_numbers_go_first_then_files_and_how_it_ended_last(tmp_path: Path) -> None:
    tracker = Telling(tmp_path / "runs")
    started(tracker)
    outbox = Outbox(measured(tmp_path / "training", 400))
    assert outbox.rest(run_key(tracker)) == (800, 1, True)
    sent = outbox.send(tracker)
    assert tracker.told == ["500 points", "300 points", "rollouts", "FINISHED"]
    assert (sent.points, sent.files, sent.rejected) == (800, 1, 0)
    assert outbox.rest(run_key(tracker)) == (0, 0, False)
    assert outbox.is_empty(run_key(tracker))
    assert outbox.send(tracker).points == 0
    assert tracker.told[-1] == "FINISHED"
    assert len(tracker.told) == 4


def test_sending_stops_between_two_requests_and_goes_on_there(tmp_path: Path) -> None:
    tracker = Telling(tmp_path / "runs")
    started(tracker)
    measured(tmp_path / "training", 400)
    Outbox(tmp_path / "training").send(tracker, lambda: True)
    assert tracker.told == ["500 points"]
    again = Outbox(tmp_path / "training")  # another process
    assert again.rest(run_key(tracker)) == (300, 1, True)
    again.send(tracker)
    assert tracker.told[1:] == ["300 points", "rollouts", "FINISHED"]


def test_what_arrived_before_the_tracker_went_away_is_remembered(tmp_path: Path) -> None:
    class Leaving(Telling):
        def log_points(self, points: Sequence[TimedPoint]) -> None:
            if self.told:
                raise TrackingError("the server is away")
            super().log_points(points)

    tracker = Leaving(tmp_path / "runs")
    started(tracker)
    outbox = Outbox(measured(tmp_path / "training", 400))
    with pytest.raises(TrackingError, match="away"):
        outbox.send(tracker)
    assert Outbox(tmp_path / "training").rest(run_key(tracker)) == (300, 1, True)


def test_each_run_has_its_own_rest(tmp_path: Path) -> None:
    outbox = Outbox(measured(tmp_path / "training"))
    first, second = started(DirTracker(tmp_path / "one")), started(DirTracker(tmp_path / "two"))
    outbox.send(first)
    assert outbox.rest(run_key(second)) == (20, 1, True)
    outbox.send(second)
    assert len(logged(first)) == len(logged(second)) == 20
    assert set(json.loads((outbox.folder / SENT).read_text())) == {run_key(first), run_key(second)}


def test_another_file_in_the_journals_place_is_read_from_its_beginning(tmp_path: Path) -> None:
    tracker = started(DirTracker(tmp_path / "runs"))
    outbox = Outbox(measured(tmp_path / "training"))
    outbox.send(tracker)
    (outbox.folder / "points.jsonl").unlink()
    measured(tmp_path / "training", 2)
    assert outbox.rest(run_key(tracker)) == (4, 1, True)
    outbox.send(tracker)
    assert len(logged(tracker)) == 24  # measured again, at another time


def test_a_disk_that_takes_no_note_of_what_was_sent_costs_nothing(tmp_path: Path) -> None:
    tracker = started(DirTracker(tmp_path / "runs"))
    outbox = Outbox(measured(tmp_path / "training"))
    (outbox.folder / SENT).mkdir()  # no file can take its place
    assert outbox.send(tracker).points == 20
    assert outbox.is_empty(run_key(tracker))
    assert outbox.send(tracker).points == 0
    send_from_scratch = Outbox(tmp_path / "training").send(tracker)
    assert send_from_scratch.points == 20
    assert len(logged(tracker)) == 20


def test_a_training_without_a_run_is_refused(tmp_path: Path) -> None:
    measured(tmp_path / "training")
    with pytest.raises(TrackingError, match="tracked nowhere"):
        send_all(tmp_path / "training", DirTracker(tmp_path / "runs"))


def test_one_sends_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = started(Moody(tmp_path / "runs"))
    outbox = Outbox(measured(tmp_path / "training"))
    outbox.remember_run(tracker)
    monkeypatch.setattr("kurve.outbox._LOCK_PATIENCE", 0.0)
    lock = WriterLock(outbox.folder / SENDER_LOCK)
    with pytest.raises(TrackingError, match="is being written by process"):
        send_all(tmp_path / "training", DirTracker(tmp_path / "runs"))
    lock.release()
    assert send_all(tmp_path / "training", DirTracker(tmp_path / "runs")).points == 20
    assert status(tracker) == "FINISHED"
