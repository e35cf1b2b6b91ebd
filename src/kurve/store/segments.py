"""The files of one log: numbered segments, plain while in use and compressed once full, with an index beside them.

Segment 3 of log `samples` is `samples-0003.jsonl`, or `samples-0003.jsonl.zst` after sealing; while both exist the
compressed one counts. Whatever happens between two steps of sealing, one of them is whole.
"""

import errno
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import zstandard
from numpy.typing import NDArray

from kurve.errors import StoreError
from kurve.store.disk import disk_error, sync_folder, write_atomically
from kurve.store.records import DamagedLineError, read_id, read_key

_LEVEL = 3  # of zstd: 120 MB/s; level 6 is half as fast for 2 % less
_TAIL = 64  # bytes of a compressed segment that its index remembers; they end in the frame's checksum


@dataclass(frozen=True, slots=True)
class Contents:
    """The keys of one segment's records, in file order. N records of I problems."""

    ids: tuple[str, ...]  # [I]
    problem: NDArray[np.uint32]  # place in `ids`, [N]
    index: NDArray[np.uint32]  # [N]
    mark: NDArray[np.uint32]  # [N]
    tag: NDArray[np.uint8]  # [N]
    length: int  # bytes of whole lines, uncompressed


@dataclass(frozen=True, slots=True)
class Segment:
    """One numbered piece of a log."""

    folder: Path
    log: str
    number: int

    @property
    def plain(self) -> Path:
        """The file while in use."""
        return self.folder / f"{self.log}-{self.number:04d}.jsonl"

    @property
    def sealed(self) -> Path:
        """The file once compressed."""
        return self.folder / f"{self.log}-{self.number:04d}.jsonl.zst"

    @property
    def index(self) -> Path:
        """Which records the sealed file holds; made anew when it is lost."""
        return self.folder / f"{self.log}-{self.number:04d}.index"

    @property
    def present(self) -> Path:
        """The file that counts now."""
        return self.sealed if self.sealed.exists() else self.plain


def list_segments(folder: Path, log: str) -> list[Segment]:
    """The segments of a log by number, also while a writer seals one.

    Raises:
        StoreError: the folder cannot be read.
    """
    before = None
    while True:  # a listing taken during a rename may miss the file; two equal ones in a row cannot
        numbers = _numbers(folder, log)
        if numbers == before:
            return [Segment(folder, log, number) for number in numbers]
        before = numbers


def load(segment: Segment, *, last: bool, save_index: bool) -> Contents:
    """The keys of a segment, from its index when that fits, otherwise from every line.

    `last` is the segment that a crash may have left with a torn line at its end; the line is left out.

    Raises:
        StoreError: the segment is damaged or unreadable.
    """
    if segment.sealed.exists():
        indexed = _load_index(segment)
        if indexed is not None:
            return indexed
    data = read_data(segment)
    contents = scan(segment, data[: data.rfind(b"\n") + 1] if last else data)
    if save_index and segment.sealed.exists():
        try:
            write_atomically(segment.index, _dump_index(segment.sealed, contents), sync=False)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):  # the index only saves time
                raise disk_error(error, segment.index, "write") from error
    return contents


def read_data(segment: Segment) -> bytes:
    """The whole uncompressed content of a segment, torn end included.

    Raises:
        StoreError: the file is missing, unreadable or does not decompress.
    """
    for path in (segment.sealed, segment.plain, segment.sealed):  # sealed between the first two tries: the third
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise disk_error(error, path, "read") from error
        return data if path == segment.plain else _decompress(path, data)
    raise StoreError(f"{segment.plain} was removed while it was being read; open the store again")


def read_lines(segment: Segment, length: int) -> list[bytes]:
    """The lines in the first `length` uncompressed bytes, without newlines; not yet checked.

    Raises:
        StoreError: the segment is damaged, unreadable, or shorter than it was.
    """
    data = read_data(segment)
    if len(data) < length:
        raise StoreError(f"{segment.present} was cut while it was being read; open the store again")
    return data[:length].split(b"\n")[:-1]


def scan(segment: Segment, data: bytes) -> Contents:
    """The keys of all lines, each checked.

    Raises:
        StoreError: a line is not what was written.
    """
    ids: dict[bytes, int] = {}
    problem, index, mark, tag = [], [], [], []
    for number, line in enumerate(_lines(segment, data), start=1):
        try:
            key = read_key(line)
        except DamagedLineError as error:
            raise damaged_line(segment, number, error) from error
        problem.append(ids.setdefault(key.raw_id, len(ids)))
        index.append(key.sample_index)
        mark.append(key.mark)
        tag.append(key.tag)
    return Contents(
        tuple(read_id(raw) for raw in ids),
        np.array(problem, dtype=np.uint32),
        np.array(index, dtype=np.uint32),
        np.array(mark, dtype=np.uint32),
        np.array(tag, dtype=np.uint8),
        len(data),
    )


def seal(segment: Segment) -> None:
    """Replace the plain file by its compressed form and write the index.

    Raises:
        StoreError: the plain file is damaged.
        OSError: no space or a failing disk; the plain file still counts.
    """
    data = segment.plain.read_bytes()
    contents = scan(segment, data)
    write_atomically(segment.sealed, zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(data))
    segment.plain.unlink()
    sync_folder(segment.folder)
    write_atomically(segment.index, _dump_index(segment.sealed, contents), sync=False)


def finish_sealing(segment: Segment) -> None:
    """Remove the plain file that a crash left beside its compressed form.

    Raises:
        StoreError: the two do not hold the same.
    """
    if segment.sealed.exists() and segment.plain.exists():
        if _decompress(segment.sealed, segment.sealed.read_bytes()) != segment.plain.read_bytes():
            raise StoreError(
                f"{segment.plain} and {segment.sealed.name} differ; remove the one that is not yours to keep"
            )
        segment.plain.unlink()


def damaged_line(segment: Segment, number: int, why: Exception) -> StoreError:
    """The StoreError for a line that is not what was written."""
    path = segment.present
    what = "the file" if path == segment.sealed else f"line {number}"
    again = {"verdicts": "judged", "scores": "scored"}.get(segment.log.partition("-")[0], "drawn")
    return StoreError(
        f"{path} is damaged at line {number}: {why}; restore it from a copy, or delete {what}: what it held is then "
        f"{again} again and everything else stays"
    )


def _numbers(folder: Path, log: str) -> list[int]:
    name = re.compile(re.escape(log) + r"-(\d{4,})\.jsonl(?:\.zst)?")
    try:
        found = [name.fullmatch(path.name) for path in folder.iterdir()]
    except OSError as error:
        raise disk_error(error, folder, "read") from error
    return sorted({int(match[1]) for match in found if match})


def _lines(segment: Segment, data: bytes) -> Iterator[bytes]:
    lines = data.split(b"\n")
    if lines.pop():
        raise damaged_line(segment, len(lines) + 1, DamagedLineError("it is cut off, and it is not the log's last"))
    yield from lines


def _decompress(path: Path, data: bytes) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise StoreError(
            f"{path} is damaged: {error}; restore the file from a copy, or delete it: what it held is then drawn "
            "again and everything else stays"
        ) from error


def _identity(sealed: Path) -> tuple[int, str]:
    """Size and last bytes of a sealed file: enough to tell it from any other, without reading it."""
    with sealed.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        return size, file.read().hex()


def _dump_index(sealed: Path, contents: Contents) -> bytes:
    size, tail = _identity(sealed)
    header = {
        "format": 1,
        "size": size,
        "tail": tail,
        "length": contents.length,
        "records": len(contents.index),
        "ids": contents.ids,
    }
    words = (column.astype("<u4").tobytes() for column in (contents.problem, contents.index, contents.mark))
    body = json.dumps(header).encode("ascii") + b"\n" + b"".join(words) + contents.tag.tobytes()
    return b"%08x\n" % crc32(body) + body


def _load_index(segment: Segment) -> Contents | None:
    """The index of a sealed segment; None if it is absent, damaged, or of another file."""
    try:
        data = segment.index.read_bytes()
        size, tail = _identity(segment.sealed)
    except OSError:
        return None
    body = data[9:]
    if data[:9] != b"%08x\n" % crc32(body):
        return None
    line, _, columns = body.partition(b"\n")
    header = json.loads(line)
    if (header["format"], header["size"], header["tail"]) != (1, size, tail):
        return None
    n = header["records"]
    words = np.frombuffer(columns, dtype="<u4", count=3 * n).astype(np.uint32, copy=False)
    tags = np.frombuffer(columns, dtype=np.uint8, offset=12 * n)
    return Contents(tuple(header["ids"]), words[:n], words[n : 2 * n], words[2 * n :], tags, header["length"])
