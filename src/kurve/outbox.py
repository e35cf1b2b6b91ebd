"""What a training's journal still has to send: delivered in order, and how far it came."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kurve.errors import RejectedError, StoreError, TrackingError
from kurve.journal_file import FOLDER, REJECTED, RUN, RUNNING, SENDER_LOCK, SENT, Entry, Status, read_entries
from kurve.store.disk import write_atomically
from kurve.store.lock import WriterLock
from kurve.tracking import TimedPoint, Tracker

_CHUNK_POINTS = 500  # sent between two notes of how far it came
_LOCK_PATIENCE = 60.0  # seconds


@dataclass(slots=True)
class Progress:
    """How far one run has the journal."""

    points: int = 0  # bytes whose points and statuses were seen
    files: int = 0  # bytes whose files were seen
    status: Status | None = None  # the last one seen
    told: bool = True  # the run has that status


@dataclass(slots=True)
class Sent:
    """What one call of `send` delivered."""

    points: int = 0
    files: int = 0
    rejected: int = 0
    reasons: list[str] = field(default_factory=list)  # of what was rejected


class Outbox:
    """The unsent part of a journal, for one run of one tracker.

    It takes no lock: who sends holds `sender.lock`. The writer may append meanwhile.

    Args:
        training: the training's folder, in which the journal is.
    """

    def __init__(self, training: Path) -> None:
        self._training = training
        self._unsaved: dict[str, Progress] = {}  # by run, while the disk takes no note of it
        self.folder = training / FOLDER

    def send(self, tracker: Tracker, stop: Callable[[], bool] = lambda: False) -> Sent:
        """Deliver points, then files, then the status, until all is sent or `stop` says so.

        What the tracker rejects is written to `rejected.jsonl` and left behind.

        Raises:
            TrackingError: the tracker cannot be reached; what was delivered is remembered.
        """
        progress = self._load(run_key(tracker))
        sent = Sent()
        try:
            self._send_points(tracker, progress, sent, stop)
            self._send_files(tracker, progress, sent, stop)
            if not progress.told and progress.status is not None and not self._behind(progress):
                tracker.finish(progress.status.name, progress.status.time)
                progress.told = True
        finally:
            self._save(run_key(tracker), progress)
        return sent

    def deliver(self, tracker: Tracker, entries: Sequence[Entry], sent: Sent) -> None:
        """Send entries that the disk did not take, after `send` has sent all others.

        Raises:
            TrackingError: the tracker cannot be reached.
        """
        self._deliver_points(tracker, [point for entry in entries for point in entry.points], sent)
        for entry in entries:
            self._deliver_file(tracker, entry, sent)
        statuses = [entry.status for entry in entries if entry.status is not None]
        if statuses and statuses[-1].name != RUNNING:
            tracker.finish(statuses[-1].name, statuses[-1].time)

    def rest(self, run: str) -> tuple[int, int, bool]:
        """Points and files that are not sent yet, and whether the run's status is not.

        Args:
            run: as `run_key` names it.
        """
        progress = self._load(run)
        entries = list(read_entries(self.folder, progress.points))
        points = sum(len(entry.points) for entry in entries)
        files = sum(entry.file is not None for entry in read_entries(self.folder, progress.files))
        statuses = [entry.status for entry in entries if entry.status is not None]
        untold = statuses[-1].name != RUNNING if statuses else not progress.told
        return points, files, untold

    def is_empty(self, run: str) -> bool:
        """Whether nothing is left to send; cheaper than `rest`."""
        progress = self._load(run)
        return progress.told and not self._behind(progress)

    def last(self) -> tuple[Status | None, int]:
        """The journal's last status, and when its last line was written (ms since 1970; 0 if it is empty)."""
        status, written = None, 0
        for entry in read_entries(self.folder, 0):
            if entry.status is not None:
                status, written = entry.status, entry.status.time
            elif entry.points:
                written = entry.points[0].timestamp
        return status, written

    def run(self) -> tuple[str, str]:
        """Id and destination of the run that the journal belongs to; empty if there is none."""
        found = _read_json(self.folder / RUN)
        return str(found.get("run_id", "")), str(found.get("destination", ""))

    def remember_run(self, tracker: Tracker) -> None:
        """Write down which run the journal belongs to.

        Raises:
            OSError: the disk refuses.
        """
        run = {"run_id": tracker.run_id, "destination": tracker.destination}
        write_atomically(self.folder / RUN, json.dumps(run, indent=1).encode())

    def _send_points(self, tracker: Tracker, progress: Progress, sent: Sent, stop: Callable[[], bool]) -> None:
        for chunk in _chunks(read_entries(self.folder, progress.points)):
            for entry in chunk:
                if entry.complaint:
                    self._set_aside({"end": entry.end}, entry.complaint, sent)
            self._deliver_points(tracker, [point for entry in chunk for point in entry.points], sent)
            for status in (entry.status for entry in chunk if entry.status is not None):
                progress.status, progress.told = status, status.name == RUNNING
            progress.points = chunk[-1].end
            self._save(run_key(tracker), progress)
            if stop():
                return

    def _send_files(self, tracker: Tracker, progress: Progress, sent: Sent, stop: Callable[[], bool]) -> None:
        for entry in read_entries(self.folder, progress.files):
            if entry.file is not None and stop():
                return
            self._deliver_file(tracker, entry, sent)
            progress.files = entry.end
            if entry.file is not None:
                self._save(run_key(tracker), progress)

    def _deliver_points(self, tracker: Tracker, points: Sequence[TimedPoint], sent: Sent) -> None:
        """Send them together; when they are refused, find the bad ones by halving."""
        if not points:
            return
        try:
            tracker.log_points(points)
        except RejectedError as error:
            if len(points) == 1:
                [point] = points
                record = {"key": point.key, "value": _plain(point.value), "step": point.step, "time": point.timestamp}
                self._set_aside(record, str(error), sent)
                return
            half = len(points) // 2
            self._deliver_points(tracker, points[:half], sent)
            self._deliver_points(tracker, points[half:], sent)
        else:
            sent.points += len(points)

    def _deliver_file(self, tracker: Tracker, entry: Entry, sent: Sent) -> None:
        if entry.file is None:
            return
        path = self._training / entry.file.path
        try:
            tracker.log_files([path], entry.file.folder)
        except RejectedError as error:
            self._set_aside({"file": entry.file.path, "folder": entry.file.folder}, str(error), sent)
        else:
            sent.files += 1

    def _behind(self, progress: Progress) -> bool:
        """Whether the journal holds whole lines that were not seen."""
        return next(read_entries(self.folder, min(progress.points, progress.files)), None) is not None

    def _set_aside(self, record: Mapping[str, object], reason: str, sent: Sent) -> None:
        path = self.folder / REJECTED
        try:
            with path.open("a", encoding="ascii") as file:
                file.write(json.dumps({**record, "reason": reason}) + "\n")
        except OSError as error:
            raise TrackingError(f"cannot note in {path} what was refused ({reason}): {error}; free space") from error
        sent.rejected += 1
        sent.reasons.append(reason)

    def _load(self, run: str) -> Progress:
        if run in self._unsaved:
            return self._unsaved[run]
        found = _read_json(self.folder / SENT).get(run)
        if not isinstance(found, dict):
            return Progress()
        try:
            status = found["status"] and Status(str(found["status"]), int(found["time"]))
            return Progress(int(found["points"]), int(found["files"]), status or None, bool(found["told"]))
        except (KeyError, TypeError, ValueError):  # all is sent again, which adds nothing
            return Progress()

    def _save(self, run: str, progress: Progress) -> None:
        status = progress.status
        saved = _read_json(self.folder / SENT) | {
            run: {
                "points": progress.points,
                "files": progress.files,
                "status": status.name if status else "",
                "time": status.time if status else 0,
                "told": progress.told,
            }
        }
        try:
            write_atomically(self.folder / SENT, json.dumps(saved, indent=1).encode(), sync=False)
        except OSError:  # after a restart it is sent again, which adds nothing
            self._unsaved[run] = progress
        else:
            self._unsaved.pop(run, None)


def run_key(tracker: Tracker, run_id: str = "") -> str:
    """What names a run of any tracker; without an id, the tracker's own."""
    return f"{tracker.destination} {run_id or tracker.run_id}"


def send_all(training: Path, tracker: Tracker) -> Sent:
    """Send all that a training's journal still has to send into the run that it was started with.

    Raises:
        TrackingError: the training has no run, the tracker cannot be reached, or another process goes on sending.
    """
    outbox = Outbox(training)
    run_id, destination = outbox.run()
    if not run_id:
        raise TrackingError(
            f"{training} was tracked nowhere, so there is no run to send to; its log is {outbox.folder}"
        )
    lock = _sender_lock(outbox.folder)
    try:
        if outbox.is_empty(run_key(tracker, run_id)):
            return Sent()
        if tracker.run_id != run_id:
            tracker.attach(run_id)
        sent = outbox.send(tracker)
        if tracker.destination != destination:  # the server or its database has moved
            with suppress(OSError):  # all was sent; only what is said to be left would be wrong
                outbox.remember_run(tracker)
        return sent
    finally:
        lock.release()


def _sender_lock(folder: Path) -> WriterLock:
    """The right to send; a training that is sending gets some time to finish its round."""
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            return WriterLock(folder / SENDER_LOCK)
        except StoreError as error:
            if time.monotonic() > deadline:
                raise TrackingError(str(error)) from error


def _chunks(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    """Entries of a few hundred points together."""
    chunk: list[Entry] = []
    points = 0
    for entry in entries:
        chunk.append(entry)
        points += len(entry.points)
        if points >= _CHUNK_POINTS:
            yield chunk
            chunk, points = [], 0
    if chunk:
        yield chunk


def _plain(value: float) -> float | str:
    """JSON knows finite numbers only."""
    return value if value - value == 0 else str(value)


def _read_json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or lost in a crash: both mean that nothing is known
        return {}
    return found if isinstance(found, dict) else {}
