"""One process's journal: every mutation as a line, on disk before the call returns.

A folder `<time>-<pid>-<random>` holds

    journal.jsonl     the lines, in order; the only file that must not be lost
    sent.json         how many bytes of it the server has; without it all is sent again, which adds nothing
    quarantine.jsonl  what the server refused, with the reason (quarantine.trying while it is sent again)
    blobs/<sha256>    copies of small and of temporary files
    writer.lock       held by the process while it lives
    sender.lock       held by whoever sends

A line is the CRC-32 of the rest, 8 hex digits, a space, and a JSON object: `api` (the name of MLflow's request, or
`artifact`), its `body`, `time` (ms since 1970), for what creates something the provisional `id` and the name of its
`experiment`, and in quarantine the `reason`.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from zlib import crc32

from kurve.store.disk import sync_folder, write_atomically
from kurve.store.lock import WriterLock, holder

JOURNAL, SENT, BLOBS = "journal.jsonl", "sent.json", "blobs"
QUARANTINE, TRYING = "quarantine.jsonl", "quarantine.trying"
WRITER_LOCK, SENDER_LOCK = "writer.lock", "sender.lock"
ARTIFACT = "artifact"  # the api of a file
_SUM = 9  # bytes of a line's checksum and the space behind it


@dataclass(frozen=True, slots=True)
class Record:
    """One thing to tell the server."""

    api: str
    body: Mapping[str, Any]
    time: int  # ms since 1970
    id: str = ""  # provisional, of what it creates
    experiment: str = ""  # name of the experiment of a run that it creates, if known
    reason: str = ""  # why the server refused it

    @property
    def run_id(self) -> str:
        """The run that it is about; empty if it is about none."""
        return str(self.body.get("run_id", ""))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a journal; a damaged one has a complaint in place of a record."""

    end: int  # position behind it, in bytes
    record: Record | None
    complaint: str = ""


class Writer:
    """Appends to the journal of this process. It takes no lock against other threads: its owner does."""

    def __init__(self, folder: Path, lock: WriterLock, file: int) -> None:
        self.folder = folder
        self.length = 0  # bytes of whole lines
        self.copied = 0  # bytes of files that were copied beside it
        self.pid = os.getpid()
        self._lock = lock
        self._file = file
        self._torn = False

    @classmethod
    def create(cls, parent: Path) -> Self:
        """A new journal in the folder of its server.

        Raises:
            OSError: the disk refuses.
        """
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")  # their order is that in which they are sent
        folder = parent / f"{now}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        hidden = parent / f".{folder.name}"  # until it is locked: nobody may take it for one that was left behind
        hidden.mkdir(mode=0o700)
        for name in (WRITER_LOCK, SENDER_LOCK):
            (hidden / name).touch(mode=0o600)
        lock = WriterLock(hidden / WRITER_LOCK)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(hidden / JOURNAL, flags, 0o600)
        hidden.rename(folder)
        sync_folder(parent)
        return cls(folder, lock, file)

    def append(self, record: Record) -> None:
        """Write a line and push it to the disk.

        Raises:
            OSError: the disk refuses; nothing is left of the line.
        """
        line = encode(record)
        data = b"\n" + line if self._torn else line
        start = self.length
        try:
            _write_all(self._file, data)
            os.fdatasync(self._file)
        except OSError:
            self._cut(start)
            raise
        self._torn = False
        self.length = start + len(data)

    def close(self) -> None:
        """Let others see that the process has ended; what it wrote stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._lock.release()

    def forget(self) -> None:
        """Close the copies that a forked child got of its parent's files."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._lock.forget()

    def _cut(self, length: int) -> None:
        try:
            os.ftruncate(self._file, length)
        except OSError:  # the torn line is ended by the next one, so that it spoils no other
            self._torn = True
            self.length = os.fstat(self._file).st_size


def encode(record: Record) -> bytes:
    """The record as a line."""
    shown = {"api": record.api, "body": record.body, "time": record.time}
    shown |= {key: value for key in ("id", "experiment", "reason") if (value := getattr(record, key))}
    text = json.dumps(shown, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (crc32(text), text)


def read_lines(path: Path, start: int = 0) -> Iterator[Line]:
    """The whole lines from a position on; one that is still being written, or torn at the end, is left out."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        end = file.seek(start)
        while line := file.readline():
            if not line.endswith(b"\n"):
                return
            end += len(line)
            if line != b"\n":
                yield _decode(line, end)


def sent_bytes(folder: Path) -> int:
    """How much of a journal the server has."""
    try:
        return int(json.loads((folder / SENT).read_text(encoding="ascii"))["sent"])
    except (OSError, ValueError, TypeError, KeyError):  # all is sent again, which adds nothing
        return 0


def remember_sent(folder: Path, length: int) -> None:
    """Note how much of a journal the server has."""
    write_atomically(folder / SENT, json.dumps({"sent": length}).encode("ascii"), sync=False, mode=0o600)


def set_aside(folder: Path, record: Record) -> None:
    """Put a record that was refused into quarantine.

    Raises:
        OSError: the disk refuses.
    """
    file = os.open(folder / QUARANTINE, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"  # a process was killed while it wrote
        _write_all(file, b"\n" + encode(record) if torn else encode(record))
        os.fsync(file)
    finally:
        os.close(file)


def journals(parent: Path) -> list[Path]:
    """The journals in a server's folder, the oldest first."""
    try:
        return sorted(path for path in parent.iterdir() if path.name[0] != "." and (path / JOURNAL).exists())
    except FileNotFoundError:
        return []


def is_alive(folder: Path) -> bool:
    """Whether the process that writes the journal lives."""
    return bool(holder(folder / WRITER_LOCK))


def size_of(folder: Path) -> int:
    """Bytes of a journal; 0 when it is gone."""
    try:
        return (folder / JOURNAL).stat().st_size
    except FileNotFoundError:
        return 0


def is_sent(folder: Path) -> bool:
    """Whether the server has all whole lines of a journal."""
    sent = sent_bytes(folder)
    return size_of(folder) <= sent or next(read_lines(folder / JOURNAL, sent), None) is None


def retire(folder: Path) -> None:
    """Remove a journal that is sent, has nothing in quarantine, and whose process is gone."""
    kept = (folder / QUARANTINE).exists() or (folder / TRYING).exists()
    if not folder.exists() or kept or is_alive(folder) or not is_sent(folder):
        return
    hidden = folder.with_name(f".{folder.name}")  # first, so that nobody sees a half of it
    try:
        folder.rename(hidden)
    except FileNotFoundError:  # another process was quicker
        return
    shutil.rmtree(hidden, ignore_errors=True)


def _decode(line: bytes, end: int) -> Line:
    text = line[_SUM:-1]
    try:
        if int(line[: _SUM - 1], 16) != crc32(text):
            raise ValueError("its checksum is wrong")
        found = json.loads(text)
        body = dict(found["body"])
        names = {key: str(found.get(key, "")) for key in ("id", "experiment", "reason")}
        return Line(end, Record(str(found["api"]), body, int(found["time"]), **names))
    except (ValueError, TypeError, KeyError) as error:
        return Line(end, None, f"the line that ends at byte {end} is damaged: {error}")


def _write_all(file: int, data: bytes) -> None:
    written = os.write(file, data)
    while written < len(data):
        written += os.write(file, data[written:])
