"""One writer at a time: an exclusive lock that the system frees when its process ends, however it ends.

It does not guard against a file system without working `flock` (old NFS), and readers take no lock.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
import weakref
from datetime import UTC, datetime
from pathlib import Path

from kurve.errors import StoreError
from kurve.store.disk import disk_error

_PATIENCE = 0.5  # seconds; `holder` takes the lock for an instant, which must not look like a second writer
_held: "weakref.WeakSet[WriterLock]" = weakref.WeakSet()


class WriterLock:
    """The exclusive right to append to one log, held until `release`."""

    def __init__(self, path: Path, *, patience: float = _PATIENCE) -> None:
        """Take the lock, within `patience` seconds; `math.inf` waits for as long as it takes.

        Raises:
            StoreError: another process (or this one) holds it, named in the message; or the folder is read-only.
        """
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise disk_error(error, path, "lock") from error
        try:
            self._acquire(patience)
        except BaseException:  # whatever it was, the file must not stay open
            os.close(self._file)
            raise
        _held.add(self)

    @property
    def held(self) -> bool:
        """False after `release`, and in a forked child: the lock stays with the parent."""
        return self._file >= 0

    def release(self) -> None:
        """Let the next writer in."""
        if self.held:
            with contextlib.suppress(OSError):  # the text only informs; the lock itself goes with the file
                os.ftruncate(self._file, 0)
            self.forget()

    def forget(self) -> None:
        """Close this copy of the lock: a child that outlives its parent must not keep the parent's lock alive."""
        if self.held:
            os.close(self._file)
            self._file = -1

    def _acquire(self, patience: float) -> None:
        deadline, pause = time.monotonic() + patience, 0.02
        while not _try_flock(self._file, fcntl.LOCK_EX, self.path):
            if time.monotonic() > deadline:
                raise StoreError(
                    f"{self.path.parent} is being written by {_describe(self.path)}; "
                    "wait until it has finished or stop it, then start again (reading is possible at any time)"
                )
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        owner = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        with contextlib.suppress(OSError):  # a full disk must not keep the finished samples from being judged
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, owner.encode("ascii"), 0)


def holder(path: Path) -> str:
    """Who holds the lock, in words; empty if nobody does."""
    try:
        with path.open("rb") as file:
            return "" if _try_flock(file.fileno(), fcntl.LOCK_SH, path) else _describe(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise disk_error(error, path, "read") from error


def _try_flock(file: int, kind: int, path: Path) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise StoreError(
            f"cannot lock {path}: {error.strerror}; put the stores on a file system that supports flock"
        ) from error
    return True


def _describe(path: Path) -> str:
    try:
        owner = json.loads(path.read_text(encoding="ascii", errors="replace"))
        return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()


os.register_at_fork(after_in_child=_forget_all)
