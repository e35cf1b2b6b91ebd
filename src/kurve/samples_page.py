"""Pages of one problem's samples out of samples.parquet, without reading the rest of the file.

The file may come from anybody who may log to a run, so that its footer is checked before anything is read by it.
"""

import bisect
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from kurve.errors import DataError
from kurve.samples_file import COLUMNS, INDEX_KEY

MOST_GROUP = 256_000_000  # bytes of a row group, uncompressed, that is read


@dataclass(frozen=True, slots=True)
class SamplesIndex:
    """Where the samples of each problem are; made once a file, as reading the footer takes most of the time."""

    path: Path
    footer: Any  # pyarrow's FileMetaData
    rows: dict[str, range]  # of each problem
    ends: tuple[int, ...]  # row behind the last one of each row group


@dataclass(frozen=True, slots=True)
class StoredSample:
    """One row of the file."""

    index: int
    outcome: str
    answer: str
    text: str
    finish_reason: str
    num_tokens: int


@dataclass(frozen=True, slots=True)
class SamplesPage:
    """Some of a problem's samples."""

    samples: tuple[StoredSample, ...]
    total: int  # that fit the filter
    outcomes: dict[str, int]  # of all samples of the problem


def read_index(path: Path) -> SamplesIndex:
    """The footer of a file that `write_samples` wrote.

    Raises:
        DataError: it is another file, or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _as_data_error(path):
        footer = pq.read_metadata(path)
        names = [footer.schema.column(place).name for place in range(footer.num_columns)]
        if names != list(COLUMNS):
            raise DataError(f"{path.name} has the columns {', '.join(names[:20])}; expected {', '.join(COLUMNS)}")
        counts = json.loads((footer.metadata or {})[INDEX_KEY.encode()])
        ends = tuple(accumulate(footer.row_group(place).num_rows for place in range(footer.num_row_groups)))
        starts = [0, *accumulate(int(count) for _, count in counts)]
        if any(int(count) < 0 for _, count in counts) or starts[-1] != footer.num_rows:
            raise pa.ArrowInvalid("its index does not fit its rows")
    rows = {
        str(problem_id): range(start, start + int(count))
        for (problem_id, count), start in zip(counts, starts, strict=False)
    }
    return SamplesIndex(path, footer, rows, ends)


def read_page(index: SamplesIndex, problem_id: str, *, outcome: str = "", offset: int = 0, limit: int) -> SamplesPage:
    """Samples of a problem by index; none of a problem that the file does not know.

    Args:
        index: of the file.
        problem_id: whose samples.
        outcome: only samples with this outcome; empty takes all.
        offset: how many that fit are skipped.
        limit: how many are read at most.

    Raises:
        DataError: the file is damaged, or was changed since.
    """
    rows = index.rows.get(problem_id, range(0))
    with _as_data_error(index.path):
        outcomes = _column(index, rows, "outcome")
        fitting = [row for row, one in zip(rows, outcomes, strict=True) if not outcome or one == outcome]
        samples = _samples(index, fitting[offset : offset + limit])
    return SamplesPage(tuple(samples), len(fitting), dict(Counter(outcomes)))


def read_sample(index: SamplesIndex, problem_id: str, sample_index: int) -> StoredSample | None:
    """One sample by its index; None if the file does not have it.

    Raises:
        DataError: the file is damaged, or was changed since.
    """
    rows = index.rows.get(problem_id, range(0))
    with _as_data_error(index.path):
        numbers = _column(index, rows, "index")
        place = bisect.bisect_left(numbers, sample_index)
        if place == len(numbers) or numbers[place] != sample_index:
            return None
        return next(iter(_samples(index, [rows[place]])))


def _column(index: SamplesIndex, rows: range, name: str) -> list[Any]:
    """A short column of some successive rows."""
    if not rows:
        return []
    groups = _groups(index, rows)
    first = index.ends[groups[0] - 1] if groups[0] else 0
    column = _open(index).read_row_groups(groups, columns=[name]).column(name)
    return list(column.slice(rows.start - first, len(rows)).to_pylist())


def _samples(index: SamplesIndex, rows: Sequence[int]) -> Iterator[StoredSample]:
    """Whole rows, ascending, one row group in memory at a time."""
    wanted: dict[int, list[int]] = {}
    for row in rows:
        wanted.setdefault(bisect.bisect_right(index.ends, row), []).append(row)
    for group, members in wanted.items():
        size = index.footer.row_group(group).total_byte_size
        if size > MOST_GROUP:
            raise DataError(f"{index.path.name} has a row group of {size:,} bytes; expected at most {MOST_GROUP:,}")
        first = index.ends[group - 1] if group else 0
        table = _open(index).read_row_group(group, columns=list(COLUMNS[1:]))
        for row in table.take([member - first for member in members]).to_pylist():
            yield StoredSample(**row)


def _groups(index: SamplesIndex, rows: range) -> list[int]:
    return list(range(bisect.bisect_right(index.ends, rows.start), bisect.bisect_left(index.ends, rows.stop) + 1))


def _open(index: SamplesIndex) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(index.path, metadata=index.footer, pre_buffer=False)


@contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path.name} holds no samples that can be read: {error}; log the evaluation again") from error
