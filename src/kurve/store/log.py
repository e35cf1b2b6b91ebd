"""An append-only log of records, each stored once: the part that samples, prompts and verdicts share."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kurve.errors import StoreError
from kurve.store.disk import disk_error, link_or_copy, sync_folder
from kurve.store.keys import Keys
from kurve.store.lock import WriterLock
from kurve.store.records import DamagedLineError, Record, read_id, read_key
from kurve.store.segments import (
    Contents,
    Segment,
    damaged_line,
    finish_sealing,
    list_segments,
    load,
    read_lines,
    seal,
)

SEGMENT_BYTES = 8 << 20  # a plain segment is sealed past this; sealing takes 0.1 s, and opening reads at most this much
SYNC_SECONDS = 5.0  # what a power failure may cost while samples come; a killed process costs nothing


class Log:
    """The records of one log, and which of them are held.

    With a lock it appends, from any thread; without one it shows what was there when it was opened (`refresh` shows
    what came since). `unique` refuses a record that is stored twice; otherwise the last one counts.
    """

    def __init__(self, folder: Path, name: str, *, lock: WriterLock | None, unique: bool = True) -> None:
        """Open the log and find out what it holds; cut off a torn last line if a lock allows writing.

        Raises:
            StoreError: damaged, unreadable or read-only files.
        """
        self.folder = folder
        self.name = name
        self.keys = Keys()
        self.mutex = threading.RLock()
        self._lock = lock
        self._unique = unique
        self._lengths: dict[int, int] = {}  # bytes of whole lines by segment number
        self._file = -1
        self._broken = ""
        self._synced = time.monotonic()
        self.refresh()

    def refresh(self) -> None:
        """Read the keys again.

        Raises:
            StoreError: damaged or unreadable files.
        """
        with self.mutex:
            if self._lock is not None:
                self._tidy()
            keys, lengths = Keys(), {}
            segments = list_segments(self.folder, self.name)
            for segment in segments:
                last = segment is segments[-1]
                contents = load(segment, last=last, save_index=self._lock is not None)
                self._hold(keys, segment, contents)
                lengths[segment.number] = contents.length
            self.keys, self._lengths = keys, lengths
            if self._lock is not None and segments:
                self._cut(segments[-1])

    def write(self, records: Sequence[Record]) -> None:
        """Append records that are not yet held (the caller has checked, under `mutex`).

        When this returns they survive a kill of the process; when it raises StoreError, none of them is stored.

        Raises:
            StoreError: no lock, no space, or a failing disk.
        """
        self._check_writable()
        segment = self._segment()
        start = self._lengths[segment.number]
        data = b"".join(record.line for record in records)
        self._broken = "an append was interrupted"  # stays if Ctrl-C comes before the keys say what the file holds
        try:
            _write_all(self._file, data)
        except OSError as error:
            self._broken = self._roll_back(segment, start)
            raise disk_error(error, segment.plain, "append to") from error
        for record in records:
            self.keys.put(record.problem_id, record.sample_index, record.mark, record.tag)
        self._lengths[segment.number] = start + len(data)
        self._broken = ""
        self._look_after(segment)

    def adopt(self, other: "Log") -> frozenset[int]:
        """Make sealed segments of another log this one's too, without reading them: those with no record that it holds.

        Returns:
            Their numbers in the other log. Each is adopted whole or not at all, however the process ends.

        Raises:
            StoreError: no lock, no space, a failing disk, or a damaged index.
        """
        self._check_writable()
        adopted = []
        for number in sorted(other._lengths):
            theirs = Segment(other.folder, other.name, number)
            if theirs.sealed.exists():
                contents = load(theirs, last=False, save_index=False)
                if not self._holds_any(contents):
                    self._adopt(theirs, contents)
                    adopted.append(number)
        return frozenset(adopted)

    def read(self, wanted: Callable[[str, int, int, int], bool]) -> Iterator[bytes]:
        """The checked lines whose (problem id, index, mark, tag) is wanted, in the order they were stored.

        Raises:
            StoreError: a line is damaged, or a file changed under the reader.
        """
        return (line for _, _, _, _, line in self.records(wanted))

    def records(self, wanted: Callable[[str, int, int, int], bool], *, skip: Collection[int] = ()) -> Iterator[Record]:
        """`read` with what the log knows of each line, ready to be written to another log; `skip` numbers segments.

        Raises:
            StoreError: as `read`.
        """
        with self.mutex:
            lengths = list(self._lengths.items())
        ids: dict[bytes, str] = {}
        for number, length in lengths:
            if number in skip:
                continue
            segment = Segment(self.folder, self.name, number)
            for place, line in enumerate(read_lines(segment, length), start=1):
                try:
                    raw_id, index, mark, tag = read_key(line)
                except DamagedLineError as error:
                    raise damaged_line(segment, place, error) from error
                problem_id = ids.get(raw_id)
                if problem_id is None:
                    problem_id = ids[raw_id] = read_id(raw_id)
                if wanted(problem_id, index, mark, tag):
                    yield Record(problem_id, index, mark, tag, line + b"\n")

    def sync(self) -> None:
        """Push what was written to the disk: from then on it also survives a power failure.

        Raises:
            StoreError: the disk failed.
        """
        with self.mutex:
            if self._file >= 0:
                self._sync()

    def close(self) -> None:
        """Push everything to the disk and stop appending. The lock is its owner's to release.

        Raises:
            StoreError: the disk failed; what it says is lost is drawn again on the next start.
        """
        with self.mutex:
            if self._file >= 0:
                try:
                    self._sync()
                finally:
                    os.close(self._file)
                    self._file = -1
            self._lock = None

    def _check_writable(self) -> None:
        if self._lock is None or not self._lock.held:
            raise StoreError(f"{self.folder} is open for reading only (or closed); open it for writing to append")
        if self._broken:
            raise StoreError(f"{self.folder} cannot be written any more: {self._broken}; open the store again")

    def _holds_any(self, contents: Contents) -> bool:
        for problem_id, rows in _by_problem(contents):
            held, indices = self.keys.tags(problem_id), contents.index[rows]
            if held[indices[indices < len(held)]].any():
                return True
        return False

    def _adopt(self, theirs: Segment, contents: Contents) -> None:
        last = Segment(self.folder, self.name, max(self._lengths, default=-1))
        self._broken = "it was interrupted while it took a segment over"
        try:
            if last.number in self._lengths and not last.sealed.exists():
                self._end_segment(last)
            mine = Segment(self.folder, self.name, last.number + 1)
            mine.index.unlink(missing_ok=True)  # of an attempt that was cut short
            with contextlib.suppress(FileNotFoundError):  # a lost index is made anew
                link_or_copy(theirs.index, mine.index)
            link_or_copy(theirs.sealed, mine.sealed)
            sync_folder(self.folder)
        except OSError as error:
            raise disk_error(error, self.folder, "take a segment over to") from error
        self._hold(self.keys, mine, contents)
        self._lengths[mine.number] = contents.length
        self._broken = ""

    def _end_segment(self, segment: Segment) -> None:
        """Seal a segment, whatever its size."""
        if self._file >= 0:
            self._sync()
            os.close(self._file)
            self._file = -1
        _seal_if_possible(segment)

    def _hold(self, keys: Keys, segment: Segment, contents: Contents) -> None:
        for problem_id, rows in _by_problem(contents):
            indices = contents.index[rows]
            if self._unique:
                held = keys.tags(problem_id)
                twice = np.flatnonzero(held[indices[indices < len(held)]])
                if len(twice) or len(np.unique(indices)) < len(indices):
                    raise StoreError(
                        f"{segment.present} holds records of problem {problem_id!r} that another line already holds; "
                        "it looks copied from another store: remove it, and join stores with merge instead"
                    )
            keys.put_all(problem_id, indices, contents.mark[rows], contents.tag[rows])

    def _tidy(self) -> None:
        """Finish what a crash left half done."""
        try:
            for half in self.folder.glob(f"{self.name}-*.tmp"):
                half.unlink()
            for segment in list_segments(self.folder, self.name)[:-1]:
                finish_sealing(segment)
                if segment.plain.exists():  # an earlier full disk kept it from being sealed
                    _seal_if_possible(segment)
            for segment in list_segments(self.folder, self.name)[-1:]:
                finish_sealing(segment)
        except OSError as error:
            raise disk_error(error, self.folder, "tidy") from error

    def _cut(self, last: Segment) -> None:
        if not last.sealed.exists():
            length = self._lengths[last.number]
            try:
                if last.plain.stat().st_size > length:
                    os.truncate(last.plain, length)
            except OSError as error:
                raise disk_error(error, last.plain, "cut the torn last line off") from error

    def _segment(self) -> Segment:
        """The segment to append to, opened."""
        number = max(self._lengths, default=0)
        segment = Segment(self.folder, self.name, number)
        if self._file >= 0:
            return segment
        if number in self._lengths and (segment.sealed.exists() or self._lengths[number] >= SEGMENT_BYTES):
            segment = Segment(self.folder, self.name, number + 1)
        try:
            self._file = os.open(segment.plain, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            sync_folder(self.folder)
        except OSError as error:
            raise disk_error(error, segment.plain, "append to") from error
        self._lengths.setdefault(segment.number, 0)
        return segment

    def _look_after(self, segment: Segment) -> None:
        """Seal a full segment, and push what was written to the disk every few seconds."""
        if self._lengths[segment.number] >= SEGMENT_BYTES:
            self._end_segment(segment)
        elif time.monotonic() - self._synced >= SYNC_SECONDS:
            self._sync()

    def _sync(self) -> None:
        self._synced = time.monotonic()
        try:
            os.fsync(self._file)
        except OSError as error:
            self._broken = "the disk refused what was written in the last seconds"  # a second fsync would hide it
            raise disk_error(error, self.folder, "push to the disk") from error

    def _roll_back(self, segment: Segment, length: int) -> str:
        try:
            os.ftruncate(self._file, length)
        except OSError as error:
            return f"a half-written line could not be cut off {segment.plain} ({error.strerror})"
        return ""


def _by_problem(contents: Contents) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Each problem with the places of its records, in the order they were stored."""
    order = np.argsort(contents.problem, kind="stable")
    starts = np.flatnonzero(np.diff(contents.problem[order].astype(np.int64), prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        yield contents.ids[contents.problem[rows[0]]], rows


def _write_all(file: int, data: bytes) -> None:
    written = os.write(file, data)
    while written < len(data):
        written += os.write(file, data[written:])


def _seal_if_possible(segment: Segment) -> None:
    """A disk too full for the compressed copy leaves the plain one, which counts just as well."""
    try:
        seal(segment)
    except OSError:
        segment.sealed.with_name(segment.sealed.name + ".tmp").unlink(missing_ok=True)
