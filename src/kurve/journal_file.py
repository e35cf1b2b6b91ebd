"""The file that a training's journal is: its lines, read while another process may be writing them.

Everything is in `<training>/journal/`:

    points.jsonl    what the training measured, one line a call; the only file that must not be lost
    run.json        the run it belongs to, and where that run is
    sent.json       how far each run has it, in bytes; without it all is sent again, which adds nothing
    rejected.jsonl  what the tracker refused for good, with its reason
    writer.lock, sender.lock

A line of `points.jsonl` is a JSON object with `time` (ms since 1970) and one of: `step` and `values`, `file` and
`folder`, or `status` (RUNNING when a training starts or goes on, then FINISHED, FAILED or KILLED). Values that are not
finite are strings.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kurve.tracking import TimedPoint

FOLDER = "journal"
POINTS, RUN, SENT, REJECTED = "points.jsonl", "run.json", "sent.json", "rejected.jsonl"
WRITER_LOCK, SENDER_LOCK = "writer.lock", "sender.lock"
RUNNING = "RUNNING"


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file that belongs to the run."""

    path: str  # relative to the training's folder, or absolute
    folder: str  # of the artifacts


@dataclass(frozen=True, slots=True)
class Status:
    """What the training became."""

    name: str
    time: int  # ms since 1970


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal; a line that cannot be read has a complaint and nothing else."""

    end: int  # position behind it, in bytes
    points: tuple[TimedPoint, ...] = ()
    file: KeptFile | None = None
    status: Status | None = None
    complaint: str = ""


def read_entries(folder: Path, start: int) -> Iterator[Entry]:
    """The whole lines from a position on; a line that is still being written is left for later.

    Args:
        folder: of the journal.
        start: in bytes; one behind the end of the file starts from the beginning, since that is another file.
    """
    try:
        file = (folder / POINTS).open("rb")
    except FileNotFoundError:
        return
    with file:
        end = start if start <= file.seek(0, os.SEEK_END) else 0
        file.seek(end)
        while line := file.readline():
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield read_entry(line, end)


def read_entry(line: bytes, end: int) -> Entry:
    """A line of `points.jsonl`; a damaged one becomes a complaint."""
    try:
        record = json.loads(line)
        if "file" in record:
            return Entry(end, file=KeptFile(str(record["file"]), str(record["folder"])))
        if "status" in record:
            return Entry(end, status=Status(str(record["status"]), int(record["time"])))
        step, time = int(record["step"]), int(record["time"])
        values = {str(key): float(value) for key, value in record["values"].items()}
        return Entry(end, tuple(TimedPoint(key, value, step, time) for key, value in values.items()))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        return Entry(end, complaint=f"the line that ends at byte {end} is damaged ({error!r})")


def cut_torn_line(file: int) -> int:
    """Cut what follows the last newline; the length that is left, in bytes."""
    size = end = os.fstat(file).st_size
    block = 1 << 16
    while end:
        start = max(0, end - block)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)
    return end
