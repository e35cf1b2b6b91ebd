"""What a training measures, on disk first and in the tracker soon after: nothing waits, nothing is lost.

A thread sends what the journal holds and tries again while the tracker is away; what it could not send by the end goes
with `kurve sync`. `kurve.journal_file` says what is where.
"""

import json
import logging
import math
import os
import shlex
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from kurve.errors import StoreError, TrackingError
from kurve.journal_file import (
    POINTS,
    REJECTED,
    RUNNING,
    SENDER_LOCK,
    WRITER_LOCK,
    cut_torn_line,
    read_entries,
    read_entry,
)
from kurve.outbox import Outbox, Sent, run_key
from kurve.store.lock import WriterLock
from kurve.tracking import Tracker, check_status, now_ms

MAX_HELD = 100_000  # lines kept in memory while the disk takes none

_LONGEST_PAUSE = 60.0  # seconds before trying again when the tracker is away
_LAST_PAUSE = 1.0  # the same at the end, when a person waits
_DISK_PAUSE = 1.0  # seconds before a disk that refused is asked again
_log = logging.getLogger(__name__)


class Journal:
    """The log of one training: `kurve.algorithms.Log`, to be used as a context manager.

    `log` and `keep` append a line and return; they never raise and never wait for the tracker. Leaving the block
    notes how the training ended (FINISHED, or FAILED or KILLED after an exception), unless `finish` did.

    A process killed in the middle loses at most the line it was writing. Not guarded against: a disk that hangs,
    since a line goes to it at once, and a file given to `keep` that is changed or removed before it was sent.

    A training that goes on from a checkpoint repeats the steps that were done after it was saved. What was measured in
    them the first time stays, since a tracker takes nothing back; a machine that computes otherwise the second time
    goes on from slightly other numbers than are shown.

    Args:
        folder: of the training; the journal is in its folder `journal`.
        tracker: after `start` or `attach`. Without a run (it could not be reached when a training went on), the run
            that the journal was started with is taken. With a tracker that keeps nothing, only the file is written.
        first_step: the step that a training goes on from: a number that the journal has for this step or a later one
            is not noted again. None notes everything.
        prefix: of the metrics' names, `train` makes `reward` into `train/reward`.
        patience: seconds that leaving the block may wait for the tracker.
        every: seconds between two sendings, and what a power failure may cost.
        pause: seconds before the next try when the tracker is away; they double up to a minute.
    """

    def __init__(
        self,
        folder: Path,
        tracker: Tracker,
        *,
        first_step: int | None = None,
        prefix: str = "train",
        patience: float = 20.0,
        every: float = 3.0,
        pause: float = 10.0,
    ) -> None:
        self._training = folder.absolute()
        self._tracker = tracker
        self._first_step = first_step
        self._noted: set[tuple[str, int]] = set()  # key and step of what an earlier start measured from there on
        self._prefix = f"{prefix}/" if prefix else ""
        self._patience = patience
        self._every, self._pause = every, pause
        self._outbox = Outbox(self._training)
        self._run_id = ""
        self._run = ""  # its key in the outbox
        self._file = -1
        self._length = 0  # bytes of whole lines in the file
        self._held: deque[bytes] = deque(maxlen=MAX_HELD)  # lines that the disk did not take yet
        self._disk_refused = -math.inf  # when
        self._mutex = threading.Lock()  # of all that writes
        self._wake = threading.Event()
        self._deadline = math.inf  # monotonic; set when the block is left
        self._thread: threading.Thread | None = None
        self._ended = False
        self._stack = ExitStack()
        self._warned: set[str] = set()

    def __enter__(self) -> Self:
        """Open the journal, cut off what a crash left of a last line, and start to send.

        Raises:
            StoreError: another process is training in this folder.
            TrackingError: the folder cannot be written, or the tracker has no run.
        """
        with ExitStack() as stack:
            try:
                self._outbox.folder.mkdir(parents=True, exist_ok=True)
                stack.callback(WriterLock(self._outbox.folder / WRITER_LOCK).release)
                self._open(stack)
            except OSError as error:
                raise TrackingError(
                    f"cannot write the training's journal in {self._outbox.folder}: {error}; free space or make the "
                    "folder writable"
                ) from error
            self._append({"status": RUNNING})
            if self._run_id:
                stack.enter_context(self._tracker.in_background())
                self._thread = threading.Thread(target=self._work, name="kurve-journal", daemon=True)
                self._thread.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Note how the training ended, and wait a while until all is sent."""
        with self._stack:
            if not self._ended:
                killed = isinstance(error, KeyboardInterrupt | SystemExit)
                self.finish("FINISHED" if error is None else "KILLED" if killed else "FAILED")
            self._deadline = time.monotonic() + self._patience
            self._wake.set()
            with self._mutex:
                self._write_held()
            try:
                if self._thread is not None:
                    self._thread.join(self._patience)
            finally:
                self._tell_what_is_left()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of one step; what is no number is left out, with one warning a key."""
        try:
            at = int(step)
        except (TypeError, ValueError, OverflowError):
            self._warn("step", f"nothing is logged at step {step!r}, which is no whole number")
            return
        numbers = {key: number for key, number in self._numbers(values).items() if (key, at) not in self._noted}
        if numbers:
            self._append({"step": at, "values": numbers})

    def keep(self, file: Path, folder: str) -> None:
        """Keep a file with the run, under `folder`; it must stay as it is until it was sent."""
        path = file.absolute()
        inside = path.is_relative_to(self._training)
        self._append({"file": str(path.relative_to(self._training) if inside else path), "folder": folder})

    def finish(self, status: str) -> None:
        """Note that the training is FINISHED, FAILED or KILLED; it is told once all else is sent.

        Raises:
            TrackingError: the status is none of the three.
        """
        check_status(status)
        self._ended = True
        self._append({"status": status})

    def _numbers(self, values: Mapping[str, float]) -> dict[str, float | str]:
        """Whole names and what JSON can hold; a value that is no number is left out."""
        numbers: dict[str, float | str] = {}
        for key, value in values.items():
            try:
                number = float(value)
            except (TypeError, ValueError, RuntimeError, OverflowError):  # RuntimeError: a tensor of several numbers
                self._warn(f"value {key}", f"{key} is not logged, since it is no number but {type(value).__name__}")
                continue
            numbers[f"{self._prefix}{key}"] = number if math.isfinite(number) else str(number)
        return numbers

    def _open(self, stack: ExitStack) -> None:
        path = self._outbox.folder / POINTS
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        stack.callback(self._close)
        self._length = cut_torn_line(self._file)
        if self._first_step is not None:
            entries = read_entries(self._outbox.folder, 0)
            points = (point for entry in entries for point in entry.points)
            self._noted = {(point.key, point.step) for point in points if point.step >= self._first_step}
        (self._outbox.folder / SENDER_LOCK).touch()
        if self._tracker.run_id:
            self._run_id = self._tracker.run_id
            self._outbox.remember_run(self._tracker)
        elif self._tracker.destination:
            self._run_id, destination = self._outbox.run()
            if not self._run_id or destination != self._tracker.destination:
                raise TrackingError("the training has no run; call start(run) of the tracker before its journal opens")
        self._run = run_key(self._tracker, self._run_id)

    def _close(self) -> None:
        with self._mutex:
            os.close(self._file)
            self._file = -1

    def _append(self, record: Mapping[str, object]) -> None:
        line = json.dumps({"time": now_ms(), **record}).encode() + b"\n"
        with self._mutex:
            if len(self._held) == MAX_HELD:
                self._warn("lost", f"the disk takes nothing and {MAX_HELD} lines are held: the oldest are given up")
            self._held.append(line)
            if time.monotonic() - self._disk_refused > _DISK_PAUSE:
                self._write_held()

    def _write_held(self) -> None:
        """Write the lines that are held, and keep those that the disk does not take."""
        if self._file < 0 or not self._held:
            return
        data, written = b"".join(self._held), 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError as error:
            whole = data.rfind(b"\n", 0, written) + 1
            self._drop_written(data.count(b"\n", 0, whole), whole)
            if written > whole:
                self._cut_after_failure()
            self._disk_refused = time.monotonic()
            self._warn("disk", f"{self._outbox.folder}: {error.strerror}; training goes on, metrics are kept in memory")
        else:
            self._drop_written(len(self._held), len(data))
            self._disk_refused = -math.inf

    def _drop_written(self, lines: int, length: int) -> None:
        self._length += length
        for _ in range(lines):
            self._held.popleft()

    def _cut_after_failure(self) -> None:
        try:
            os.ftruncate(self._file, self._length)
        except OSError:
            # The torn line is ended instead, so that it spoils no other; readers set it aside.
            self._held.appendleft(b"\n")
            self._length = os.lseek(self._file, 0, os.SEEK_END)

    def _work(self) -> None:
        """Send what is new every few seconds, later and later while the tracker is away."""
        pause = self._every
        while True:
            ending = self._wake.wait(pause)
            try:
                done = self._send()
            except TrackingError as error:
                self._warn("away", f"{error}\nTraining goes on; what it logs is sent when the tracker is back.")
                done, pause = False, min(max(2 * pause, self._pause), _LONGEST_PAUSE)
            else:
                if done and "away" in self._warned:
                    _log.warning("the tracker is back: %s", self._tracker.url)
                    self._warned.discard("away")
                pause = self._every
            if ending:
                if done or time.monotonic() + _LAST_PAUSE > self._deadline:
                    return
                time.sleep(_LAST_PAUSE)

    def _send(self) -> bool:
        """One round; whether nothing is left."""
        with self._mutex:
            self._write_held()
        self._sync()
        if self._outbox.is_empty(self._run) and not self._held:
            return True
        try:
            lock = WriterLock(self._outbox.folder / SENDER_LOCK)
        except StoreError:  # `kurve sync` is at it
            return False
        try:
            if not self._tracker.run_id:
                self._tracker.attach(self._run_id)
            sent = self._outbox.send(self._tracker, lambda: time.monotonic() > self._deadline)
            self._send_held(sent)
        finally:
            lock.release()
        if sent.rejected:
            where = self._outbox.folder / REJECTED
            self._warn("rejected", f"the tracker refused a part of the log, kept in {where}: {sent.reasons[0]}")
        return self._outbox.is_empty(self._run) and not self._held

    def _sync(self) -> None:
        """Make what is written survive a power failure; here and not in `log`, since it may take long."""
        with self._mutex:
            if self._file < 0:  # the block was left while a call hung
                return
            file = os.dup(self._file)
        try:
            os.fsync(file)
        except OSError as error:
            self._warn("sync", f"{self._outbox.folder}: {error.strerror}; a power failure may cost metrics")
        finally:
            os.close(file)

    def _send_held(self, sent: Sent) -> None:
        """What the disk does not take is sent from memory."""
        with self._mutex:
            held = list(self._held)
        if held and self._outbox.is_empty(self._run):
            self._outbox.deliver(self._tracker, [read_entry(line, 0) for line in held if line.strip()], sent)
            with self._mutex:
                while held and self._held and self._held[0] is held[0]:
                    self._held.popleft()
                    held.pop(0)

    def _tell_what_is_left(self) -> None:
        if self._held:
            self._warn("held", f"{len(self._held)} lines of metrics are lost: the disk and the tracker refused them")
        points, files, status = self._outbox.rest(self._run) if self._run_id else (0, 0, False)
        left = [f"{points} points"] * bool(points) + [f"{files} files"] * bool(files) + ["its status"] * status
        if left:
            _log.warning(
                "the run has not got all of this training yet; left: %s. When the tracker is back, send it with\n  %s",
                ", ".join(left),
                shlex.join(["kurve", "sync", str(self._training)]),
            )

    def _warn(self, what: str, text: str) -> None:
        """Once for each kind of trouble."""
        if what not in self._warned:
            self._warned.add(what)
            _log.warning("%s", text)


def close_abandoned(training: Path) -> bool:
    """Note KILLED, at the time of its last line, for a training whose process is gone without a word.

    Returns:
        Whether it was so; False if it ended in an orderly way or is running.

    Raises:
        TrackingError: the journal cannot be written.
    """
    outbox = Outbox(training)
    if not _says_running(outbox):
        return False
    try:
        lock = WriterLock(outbox.folder / WRITER_LOCK)
    except StoreError:  # it is running
        return False
    try:
        if not _says_running(outbox):  # it ended in an orderly way while the lock was waited for
            return False
        _, last = outbox.last()
        with (outbox.folder / POINTS).open("r+b") as file:
            file.seek(cut_torn_line(file.fileno()))
            file.write(json.dumps({"time": last, "status": "KILLED"}).encode() + b"\n")
    except OSError as error:
        raise TrackingError(f"cannot write {outbox.folder / POINTS}: {error}; make room or make it writable") from error
    finally:
        lock.release()
    return True


def _says_running(outbox: Outbox) -> bool:
    status, _ = outbox.last()
    return status is not None and status.name == RUNNING
