"""Read the rows of a local JSONL, JSONL.gz or Parquet file, each with the place it came from."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kurve.errors import ConfigError, DataError

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a dataset and where it stands, for messages."""

    place: str  # file and line, or dataset and row; from 1
    values: Mapping[str, object]


def read(path: Path) -> tuple[list[Row], str]:
    """All rows of a file, in order, and a digest of its content that compression does not change.

    Raises:
        ConfigError: no such file, or a suffix other than .jsonl, .jsonl.gz, .parquet.
        DataError: unreadable, empty or malformed; the message names file and line.
    """
    path = _existing(path)
    suffix = next((known for known in SUFFIXES if path.name.lower().endswith(known)), None)
    if suffix is None or not path.is_file():
        raise ConfigError(f"benchmark.path: {path} must be a file ending in {', '.join(SUFFIXES)}")
    try:
        content = path.read_bytes()
        if suffix == ".jsonl.gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    digest = f"sha256:{hashlib.sha256(content).hexdigest()[:16]}"
    rows = _parquet(path, content) if suffix == ".parquet" else _jsonl(path, content)
    if not rows:
        raise DataError(f"{path} holds no rows")
    return rows, digest


def parse_line(line: bytes, place: str) -> dict[str, object]:
    """The JSON object of one line; `place` names it in messages.

    Raises:
        DataError: not UTF-8, not JSON, or not an object.
    """
    try:
        values = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8 ({error.reason} at byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not valid JSON ({error}); each line must be one JSON object") from error
    if not isinstance(values, dict):
        raise DataError(f"{place}: expected a JSON object, got {type(values).__name__}: {line[:60]!r}")
    return values


def _existing(path: Path) -> Path:
    try:
        path = path.expanduser()
        exists = path.exists()
    except (OSError, RuntimeError) as error:  # no such user, a name too long
        raise ConfigError(f"benchmark.path: {str(path)[:200]!r} cannot be looked up: {error}") from error
    if not exists:
        raise ConfigError(f"benchmark.path: {path} does not exist (looked in {Path.cwd()})")
    return path


def _jsonl(path: Path, content: bytes) -> list[Row]:
    rows = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        values = parse_line(line, place)
        rows.append(Row(place, values))
    return rows


def _parquet(path: Path, content: bytes) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
        return [Row(f"{path}, row {number}", values) for number, values in enumerate(table.to_pylist(), start=1)]
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error
