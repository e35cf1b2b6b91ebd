"""Read large files a row at a time, each with its place: JSONL (also .gz), JSON documents, Parquet, CSV."""

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from kurve.benchmarks.files import parse_line
from kurve.errors import DataError

Values = Mapping[str, object]

MAX_DOCUMENT = 512 << 20  # bytes of a JSON document, which is held in memory as a whole
_HEAD = 1 << 16
_PARQUET_ROWS = 256  # a batch; responses are long
_KEY = re.compile(r'"([^"\\]{1,64})"\s*:')


@dataclass(slots=True)
class Meter:
    """How much of all files has been read."""

    total: int = 0  # bytes on disk
    before: int = 0  # bytes of the files that are finished
    done: int = 0

    def at(self, offset: int) -> None:
        """So far into the present file."""
        self.done = self.before + offset

    def finished(self, path: Path) -> None:
        """The file has been read to its end."""
        self.before += path.stat().st_size
        self.done = self.before


@dataclass(frozen=True, slots=True)
class Peek:
    """The beginning of a file."""

    path: Path
    kind: str  # jsonl, json (a document), parquet, csv, zip or other
    keys: frozenset[str] = frozenset()  # of the first row; columns; of a document those near its beginning
    row: Values = field(default_factory=dict)  # the first row of JSONL


def peek(path: Path) -> Peek:
    """What a file looks like, from its first bytes.

    Raises:
        DataError: it is unreadable, empty, or its first line is not what its name says.
    """
    head = _head(path)
    if head.startswith(b"PK\x03\x04"):
        return Peek(path, "zip")
    if head.startswith(b"PAR1"):
        return Peek(path, "parquet", frozenset(parquet_columns(path)))
    if not head.strip():
        raise DataError(f"{path} is empty")
    if path.name.lower().endswith(".csv"):
        return Peek(path, "csv", frozenset(next(iter(csv.reader([_text(head).splitlines()[0]])), [])))
    if head.lstrip()[:1] in (b"{", b"["):
        return _peek_json(path, head)
    return Peek(path, "other")


def json_rows(path: Path, meter: Meter | None = None) -> Iterator[tuple[str, Values]]:
    """The objects of a JSONL file, or of a file that is one JSON array, each with its place.

    Raises:
        DataError: the line that is not UTF-8, not JSON or no object; a truncated .gz.
    """
    if _head(path).lstrip()[:1] == b"[":
        yield from _items(path)
        return
    name = str(path)
    with _opened(path) as (file, raw):
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.isspace():
                continue
            place = f"{name}, line {number}"
            yield place, parse_line(line, place)
            if meter is not None and number % 256 == 0:
                meter.at(raw.tell())


def document(path: Path) -> object:
    """A JSON document as a whole.

    Raises:
        DataError: it is unreadable, not JSON, or too large to hold in memory.
    """
    size = path.stat().st_size
    if size > MAX_DOCUMENT:
        raise DataError(
            f"{path} is one JSON document of {size >> 20} MiB; at most {MAX_DOCUMENT >> 20} are read at once: write it "
            "as JSONL or Parquet, or an Inspect log as .eval (inspect log convert --to eval)"
        )
    try:
        with _opened(path) as (file, _):
            return json.loads(file.read().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error


def parquet_columns(path: Path) -> list[str]:
    """The names of a Parquet file's columns.

    Raises:
        DataError: it cannot be read.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error


def parquet_rows(path: Path, columns: Sequence[str], meter: Meter | None = None) -> Iterator[tuple[str, Values]]:
    """The rows of a Parquet file with these columns, a small batch in memory at a time.

    Raises:
        DataError: it is damaged.
    """
    import pyarrow
    import pyarrow.parquet

    number, size = 0, path.stat().st_size
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=list(columns)):
                for values in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", values
                if meter is not None:
                    meter.at(size * number // max(1, file.metadata.num_rows))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}, after row {number}: not readable as Parquet: {error}") from error


def csv_rows(path: Path, meter: Meter | None = None) -> Iterator[tuple[str, Values]]:
    """The rows of a CSV file by the names in its first line; cells that a short line lacks are left out.

    Raises:
        DataError: the line that is not CSV or not UTF-8.
    """
    csv.field_size_limit(sys.maxsize)  # the default refuses responses above 128 kB
    with _opened(path) as (file, raw):
        reader = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), strict=True)
        try:
            for values in reader:
                named = {name.strip(): cell for name, cell in values.items() if name is not None and cell is not None}
                yield f"{path}, line {reader.line_num}", named
                if meter is not None and reader.line_num % 64 == 0:
                    meter.at(raw.tell())
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: not CSV ({error})") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, after line {reader.line_num}: not UTF-8 ({error.reason})") from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The uncompressed content, and the file itself, whose position tells how far reading has come."""
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            yield (io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20) if compressed else raw), raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _head(path: Path) -> bytes:
    with _opened(path) as (file, _):
        return file.read(_HEAD).removeprefix(b"\xef\xbb\xbf")


def _text(head: bytes) -> str:
    return head.decode("utf-8", errors="replace")


def _peek_json(path: Path, head: bytes) -> Peek:
    if head.lstrip()[:1] == b"[":
        first = next(iter(_items(path)), None)
        return Peek(path, "jsonl", frozenset(first[1] if first else ()), first[1] if first else {})
    line = head.split(b"\n", 1)[0]
    if line.strip() in (b"{", b"{}") or (path.name.lower().endswith(".json") and b"\n{" not in head):
        return Peek(path, "json", frozenset(_KEY.findall(_text(head))))
    _, row = next(json_rows(path))
    return Peek(path, "jsonl", frozenset(row), row)


def _items(path: Path) -> Iterator[tuple[str, Values]]:
    found = document(path)
    assert isinstance(found, list)
    for number, item in enumerate(found, start=1):
        place = f"{path}, item {number}"
        if not isinstance(item, dict):
            raise DataError(f"{place}: expected a JSON object, got {type(item).__name__}: {item!r:.60}")
        yield place, item
