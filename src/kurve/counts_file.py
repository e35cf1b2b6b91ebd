"""Per-problem counts from a file, by whatever tool they were made: `id`, `n` samples, `c` correct ones.

JSONL (also .gz), Parquet or CSV; `errors`, the samples whose judgement failed, may be given too and is not part of n.
So may `stratum`, the kind of the problem (subject, level, source), which may be left empty.
Our own reports keep the same as counts.jsonl and counts.parquet, after adaptive sampling with `largest_k`.
"""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kurve.benchmarks.files import SUFFIXES as ROW_SUFFIXES
from kurve.benchmarks.files import Row
from kurve.benchmarks.files import read as read_rows
from kurve.errors import DataError
from kurve.types import Tally

SUFFIXES = (*ROW_SUFFIXES, ".csv")
_NEEDED = ("id", "n", "c")
_MOST = 2**53  # whole numbers above it are not exact in every program that wrote them


def read_counts_file(path: Path) -> Tally:
    """The counts of a file, problems in the order of their lines.

    Raises:
        ConfigError: no such file, or another kind of file.
        DataError: the file, line and column that is missing or wrong, and what was expected.
    """
    rows = _csv_rows(path) if path.name.lower().endswith(".csv") else read_rows(path)[0]
    ids: list[str] = []
    counts: list[tuple[int, int, int, int]] = []
    strata: list[str] = []
    places: dict[str, str] = {}
    for row in rows:
        problem_id, one = _counts(row)
        if problem_id in places:
            raise DataError(f"{row.place}: id {problem_id!r} was there already in {places[problem_id]}; keep one line")
        places[problem_id] = row.place
        ids.append(problem_id)
        counts.append(one)
        strata.append(_stratum(row))
    n, c, errors, largest_k = np.array(counts, dtype=np.int64).T
    return Tally(
        tuple(ids),
        n,
        c,
        errors,
        largest_k=None if np.array_equal(largest_k, n) else largest_k,
        strata=tuple(strata) if any(strata) else (),
    )


def _counts(row: Row) -> tuple[str, tuple[int, int, int, int]]:
    missing = [name for name in _NEEDED if name not in row.values]
    if missing:
        raise DataError(
            f"{row.place}: no {' and no '.join(missing)}; expected id, n (samples) and c (correct ones), found "
            f"{', '.join(map(str, row.values)) or 'nothing'}"
        )
    problem_id = row.values["id"]
    if isinstance(problem_id, bool) or not isinstance(problem_id, str | int) or problem_id == "":
        raise DataError(f"{row.place}: id is {problem_id!r}; expected a text or a whole number")
    n, c = _whole(row, "n"), _whole(row, "c")
    errors = _whole(row, "errors") if row.values.get("errors") not in (None, "") else 0
    if not 0 <= c <= n or n < 1:
        raise DataError(f"{row.place}: n = {n} and c = {c}; expected n of at least 1 and c from 0 to n")
    largest_k = _whole(row, "largest_k") if row.values.get("largest_k") not in (None, "") else n
    if largest_k < n or (largest_k > n and c == 0):
        raise DataError(
            f"{row.place}: largest_k = {largest_k} with n = {n} and c = {c}; expected n, or more if c is above 0"
        )
    return str(problem_id), (n, c, errors, largest_k)


def _stratum(row: Row) -> str:
    value = row.values.get("stratum")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{row.place}: stratum is {value!r}; expected a text or a whole number, or nothing")
    return str(value).strip()


def _whole(row: Row, name: str) -> int:
    value = row.values[name]
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            value = row.values[name]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise DataError(f"{row.place}: {name} is {value!r}; expected a whole number from 0")
    return value


def _csv_rows(path: Path) -> list[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [Row(f"{path}, line {reader.line_num}", _named(values)) for values in reader]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV ({error})") from error
    if not rows:
        raise DataError(f"{path} holds no rows")
    return rows


def _named(values: Mapping[str | None, object]) -> dict[str, object]:
    """Columns by name; cells beyond the header and cells that a short line lacks are left out."""
    return {name.strip(): cell for name, cell in values.items() if name is not None and cell is not None}
