"""What one process spools for one server: its journal, and the thread that sends it.

All threads of the process share it. A forked child writes a journal of its own.
"""

import logging
import os
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos import service_pb2

from kurve.errors import StoreError
from mlflow_plugins.kurve.spool import files, journal
from mlflow_plugins.kurve.spool.folder import ServerFolder, without_password
from mlflow_plugins.kurve.spool.ids import ids_in
from mlflow_plugins.kurve.spool.journal import Record, Writer
from mlflow_plugins.kurve.spool.sender import Sender
from mlflow_plugins.kurve.spool.wire import AwayError, DeniedError, Wire

PAUSE = 10.0  # seconds before a server that was away is asked again
OLDER_PAUSE, OLDER_EVERY = 5.0, 60.0  # between looks at journals that other processes left behind: in vain, or sent
LARGE = 256 << 20  # bytes of a journal and its copies, after which the process begins another
EXIT_SECONDS = 5.0  # that the end of a process waits for what is left to be sent, while the server answers

_POLL = 0.2  # seconds
_MOST_REMEMBERED = 256  # runs, as the server showed them last
_log = logging.getLogger(__name__)


class Spool:
    """The spool of this process for one server.

    Args:
        root: the folder of the spool; its part for this server is made with the first thing that is logged.
        uri: of the server.
    """

    def __init__(self, root: Path, uri: str) -> None:
        self.uri = uri
        self.folder = ServerFolder.of(root, uri)
        self.wire = Wire(uri)
        self.seen: OrderedDict[str, Any] = OrderedDict()  # MLflow's messages of runs, as the server showed them last
        self.experiments: dict[str, Any] = {}  # the same of experiments
        self._away_until = 0.0  # monotonic
        self._warned: set[str] = set()
        self._writer: Writer | None = None
        self._reset()

    @property
    def away(self) -> bool:
        """Whether the server could not be reached within the last seconds."""
        return time.monotonic() < self._away_until

    @property
    def pending(self) -> bool:
        """Whether this process has logged something that the server does not have yet."""
        writer = self._writer
        return writer is not None and writer.length > max(self._sent, self._sender.position(writer.folder))

    def put(self, record: Record) -> None:
        """Keep a record on disk, to be sent soon; on a disk that takes nothing, send it now.

        Raises:
            MlflowException: neither the disk nor the server takes it.
        """
        try:
            with self._mutex:
                self._own_writer().append(record)
        except OSError as error:
            self._send_now(record, error)
        else:
            self._wake_worker()

    def put_file(self, file: Path, uri: str, path: str) -> None:
        """Note a file, and copy it if the original will not stay; on a disk that takes nothing, send it now.

        Raises:
            OSError: it cannot be read.
            MlflowException: neither the disk nor the server takes it.
        """
        try:
            with self._mutex:
                folder = self._own_writer().folder
            record = files.noted(file, uri, path, folder)
        except OSError as error:
            self._send_now(files.by_path(file, uri, path), error)
        else:
            self.put(record)
            with self._mutex:
                if self._writer is not None and not record.body["file"]:
                    self._writer.copied += record.body["size"]

    def flush(self, seconds: float) -> bool:
        """Wait until what was logged so far is sent, the server is away, or the time is over; whether all is sent."""
        deadline = time.monotonic() + seconds
        while self.pending:
            if self.away or time.monotonic() > deadline or not self._wake_worker():
                return False
            with self._moved:
                self._moved.wait(_POLL)
        return True

    def note_away(self, error: AwayError) -> None:
        """Remember that the server does not answer, and say so once."""
        self._away_until = time.monotonic() + PAUSE
        if "away" not in self._warned:
            self._warned.add("away")
            what = "refuses this user" if isinstance(error, DeniedError) else "cannot be reached"
            _log.warning(
                "%s %s: what is logged is kept in %s and sent when it can be, at the latest by\n  kurve sync",
                without_password(self.uri),
                what,
                self.folder.path,
            )

    def note_back(self) -> None:
        """Remember that the server answers."""
        self._away_until = 0.0
        self._warned.discard("away")
        self._answers.set()

    def saw(self, run: Any) -> None:
        """Remember a run as the server shows it."""
        self.seen[str(run.info.run_id)] = run
        while len(self.seen) > _MOST_REMEMBERED:
            self.seen.popitem(last=False)

    def resolve(self, uri: str) -> str:
        """What the address of a provisional run's files is on the server; other addresses stay.

        Raises:
            MlflowException: the server cannot be reached, or does not know the run.
        """
        for provisional in ids_in(uri):
            run_id = self.folder.ids.get(provisional) or provisional
            shown = self.seen.get(run_id) or self.wire.call(service_pb2.GetRun, {"run_id": run_id}).run
            uri = uri.replace(files.artifacts_of(provisional), str(shown.info.artifact_uri))
        return uri

    def finish(self, seconds: float = EXIT_SECONDS) -> None:
        """Give the server some time to take what is left, unless it is away; remove a journal that was sent."""
        writer = self._writer
        if writer is None or writer.pid != os.getpid():
            return
        if not self.flush(seconds) and "away" not in self._warned:
            self._warn("left", f"not all of it is sent yet: {writer.folder} holds the rest for `kurve sync`")
        with self._mutex:
            self._stopped = True
            writer.close()
            self._writer = None
        journal.retire(writer.folder)

    def forget_parent(self) -> None:
        """In a forked child: the journal, the thread and the locks are the parent's."""
        if self._writer is not None:
            self._writer.forget()
            self._writer = None
        self.folder.ids.reset()
        self._reset()

    def _reset(self) -> None:
        self._mutex = threading.Lock()
        self._moved = threading.Condition()
        self._wake = threading.Event()
        self._answers = threading.Event()
        self._worker: threading.Thread | None = None
        self._stopped = False
        self._sent = 0  # bytes of the own journal
        self._sender = Sender(self.folder, self.wire, self._on_progress)
        self._older_at = 0.0  # monotonic; when journals that were left behind are looked at
        self.reading = threading.Lock()  # of what the journals say, for those who ask

    def _own_writer(self) -> Writer:
        """The journal to write to: a new one when the last has grown large and is sent."""
        last = self._writer
        if last is not None and last.length + last.copied > LARGE and last.length <= self._sent:
            last.close()
            journal.retire(last.folder)
            self._writer = None
        if self._writer is None:
            self.folder.make(self.uri)
            self._writer, self._sent, self._stopped = Writer.create(self.folder.path), 0, False
        return self._writer

    def _send_now(self, record: Record, full: OSError) -> None:
        """Send a record that the disk did not take, after all that it took."""
        self.flush(PAUSE)
        sender = Sender(self.folder, self.wire)
        try:
            if self.pending:
                raise AwayError("what was logged before is not sent yet")
            sender.deliver(record, self._writer.folder if self._writer else self.folder.path)
        except AwayError as error:
            raise MlflowException(
                f"cannot log to {without_password(self.uri)}: the spool {self.folder.path} takes nothing "
                f"({full.strerror}), and the server cannot be reached ({error}); free space, or set KURVE_SPOOL_DIR "
                "to another disk"
            ) from full
        for run in sender.made.values():
            self.saw(run)
        self._warn("disk", f"{self.folder.path} takes nothing ({full.strerror}): what is logged is sent at once")

    def _wake_worker(self) -> bool:
        """See to it that the thread runs and looks; whether it does."""
        self._wake.set()
        if self._worker is not None and self._worker.is_alive():
            return True
        with self._mutex:
            if self._worker is None or not self._worker.is_alive():
                worker = threading.Thread(target=self._work, name="kurve-spool", daemon=True)
                try:
                    worker.start()
                except RuntimeError:  # the interpreter is ending
                    return False
                self._worker = worker
        return True

    def _work(self) -> None:
        """Send what is new, later and later journals of processes that are gone, and try again while it is away."""
        while not self._stopped:
            self._wake.clear()
            self._answers.clear()
            try:
                self._send_left_behind()
                done = self._send_own()
            except AwayError as error:
                self.note_away(error)
                self._on_progress()
                self._answers.wait(PAUSE)
                continue
            except (OSError, StoreError) as error:
                self._warn("disk", f"{self.folder.path}: {error}; what is logged is sent later")
                self._answers.wait(PAUSE)
                continue
            self._wake.wait(None if done else _POLL)

    def _send_own(self) -> bool:
        """Send this process's journal; whether all is sent, and not by another process that is at it."""
        writer = self._writer
        if writer is None or writer.length <= self._sent:
            return True
        done = self._sender.send(writer.folder)
        if done:
            self._away_until = 0.0
            self._warned.discard("away")
        self._on_progress()
        return done

    def _send_left_behind(self) -> None:
        """Send older journals first: a run may have begun in one of them. One that fails does not hold this one up."""
        if time.monotonic() < self._older_at:
            return
        self._older_at = time.monotonic() + OLDER_PAUSE
        own = self._writer.folder if self._writer else None
        with suppress(AwayError):
            for folder in journal.journals(self.folder.path):
                if folder != own and not journal.is_sent(folder) and not journal.is_alive(folder):
                    self._sender.send(folder, lambda: self._stopped)
                    journal.retire(folder)
            self._older_at = time.monotonic() + OLDER_EVERY

    def _on_progress(self) -> None:
        """Tell those who wait how far it came."""
        writer = self._writer
        if writer is not None:
            self._sent = self._sender.position(writer.folder)
        for run in self._sender.made.values():
            self.saw(run)
        self._sender.made.clear()
        if self._sender.sent.reasons:
            reason = self._sender.sent.reasons[0]
            self._sender.sent.reasons.clear()
            self._warn(
                "refused", f"the server refused a part of the log, kept in quarantine in {self.folder.path}: {reason}"
            )
        with self._moved:
            self._moved.notify_all()

    def _warn(self, what: str, text: str) -> None:
        """Once for each kind of trouble."""
        if what not in self._warned:
            self._warned.add(what)
            _log.warning("%s", text)


def spool_for(root: Path, uri: str) -> Spool:
    """The one spool of this process for a server."""
    with _making:
        return _spools.setdefault((root, uri.rstrip("/")), Spool(root, uri))


def server_id(run_id: str) -> str | None:
    """The server's id of a run that began in a spool; None if no spool of this process knows it."""
    return next((found for spool in _all() if (found := spool.folder.ids.get(run_id)) is not None), None)


def is_away(uri: str) -> bool:
    """Whether this process spools for the server and could not reach it within the last seconds."""
    return any(spool.away for spool in _all() if spool.uri.rstrip("/") == uri.rstrip("/"))


def kept_in(uri: str) -> Path | None:
    """The folder of this process's spool for the server."""
    return next((spool.folder.path for spool in _all() if spool.uri.rstrip("/") == uri.rstrip("/")), None)


def finish_all() -> None:
    """End all spools of this process."""
    for spool in _all():
        spool.finish()


_spools: dict[tuple[Path, str], Spool] = {}
_making = threading.Lock()


def _all() -> list[Spool]:
    return list(_spools.values())


def _forget_parents() -> None:
    global _making
    _making = threading.Lock()
    for spool in _all():
        spool.forget_parent()


os.register_at_fork(after_in_child=_forget_parents)
