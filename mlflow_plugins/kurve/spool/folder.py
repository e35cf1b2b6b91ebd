"""The folder of one server in a spool: its journals, and what all processes that log there share.

server.json   the server's address, without user and password
ids.txt       which id the server gave what had a provisional one
create.lock   held while a run is looked for and made, so that two senders do not make two
<journal>/    of one process, see `kurve.spool.journal`
"""

import fcntl
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from kurve.store.disk import write_atomically
from mlflow_plugins.kurve.spool import journal
from mlflow_plugins.kurve.spool.ids import is_made_here, translated
from mlflow_plugins.kurve.spool.journal import Record

SERVER, IDS, CREATE_LOCK = "server.json", "ids.txt", "create.lock"
_CREATES = ("CreateRun", "CreateExperiment")


class ServerFolder:
    """What a spool holds for one server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids = IdMap(path / IDS)

    @classmethod
    def of(cls, root: Path, uri: str) -> "ServerFolder":
        """The folder for the server at an address; nothing is made."""
        shown = without_password(uri)
        digest = hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        host = re.sub(r"[^\w.-]+", "-", urlsplit(shown).netloc, flags=re.ASCII).strip("-.")
        return cls(root / f"{host[:80] or 'server'}-{digest}")

    @property
    def uri(self) -> str:
        """The server's address without user and password; empty if it is not known."""
        try:
            return str(json.loads((self.path / SERVER).read_text(encoding="utf-8"))["uri"])
        except (OSError, ValueError, TypeError, KeyError):
            return ""

    def make(self, uri: str) -> None:
        """Make the folder, for this user alone.

        Raises:
            OSError: the disk refuses.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        if not (self.path / SERVER).exists():
            shown = json.dumps({"uri": without_password(uri)}).encode("ascii")
            write_atomically(self.path / SERVER, shown, mode=0o600)

    @contextmanager
    def creating(self) -> Iterator[None]:
        """The right to look for a run on the server and to make it, for one sender at a time."""
        file = os.open(self.path / CREATE_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def is_sent(self) -> bool:
        """Whether the server has all that the journals hold."""
        return all(journal.is_sent(folder) for folder in journal.journals(self.path))

    def created(self, provisional: str) -> Record | None:
        """The record that creates a run or an experiment; None if no journal has it."""
        for folder in journal.journals(self.path):
            for line in journal.read_lines(folder / journal.JOURNAL):
                if line.record is not None and line.record.id == provisional and line.record.api in _CREATES:
                    return line.record
        return None


class IdMap:
    """Which id the server gave what had a provisional one; a file that all processes of a spool share.

    A line is `<provisional> <the server's>`. What is lost of it is found again on the server, by the run's tag.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._known: dict[str, str] = {}
        self._read = 0  # bytes

    def get(self, provisional: str) -> str | None:
        """The server's id; None if it is not known."""
        with self._mutex:
            if provisional not in self._known:
                self._refresh()
            return self._known.get(provisional)

    def put(self, provisional: str, given: str) -> None:
        """Remember an id; on a full disk for this process only."""
        with self._mutex:
            self._known[provisional] = given
            try:
                self._append(f"{provisional} {given}\n".encode("ascii"))
            except OSError:  # the tag finds it again
                return

    def translate(self, text: str) -> str:
        """The text with the server's ids in place of all provisional ones that are known."""
        return translated(text, self.get)

    def names_of(self, known: str) -> set[str]:
        """All ids that mean the same run or experiment as this one."""
        given = self.get(known) or known
        with self._mutex:
            self._refresh()
            return {known, given, *(made for made, real in self._known.items() if real == given)}

    def reset(self) -> None:
        """Make the lock anew, in a forked child."""
        self._mutex = threading.Lock()

    def _append(self, line: bytes) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(file).st_size
            torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"  # a process was killed while it wrote
            os.write(file, b"\n" + line if torn else line)
            os.fsync(file)
        finally:
            os.close(file)

    def _refresh(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except OSError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode("ascii", "replace").splitlines():
            made, _, given = line.partition(" ")
            if is_made_here(made) and given:
                self._known.setdefault(made, given)


def without_password(uri: str) -> str:
    """An address without the user and the password in it."""
    parts = urlsplit(uri.rstrip("/"))
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
