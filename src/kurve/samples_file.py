"""samples.parquet: all judged samples of an evaluation, for readers that seek one problem's samples.

Samples are sorted by problem and index, in small row groups; the footer says how many each problem has
(`kurve.problems`: `[[id, rows], ...]` in the order of the file). So a page of samples costs the footer and one or two
row groups, whatever the size of the file. `samples_page.py` reads it.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from kurve.errors import DataError
from kurve.observations import ANSWER_CHARS, plain, shortened
from kurve.types import Sample, Verdict

NAME = "samples.parquet"
INDEX_KEY = "kurve.problems"
COLUMNS = ("id", "index", "outcome", "answer", "text", "finish_reason", "num_tokens")

_BLOCK = 1024  # samples of a problem that are sorted at once
_GROUP_ROWS, _GROUP_CHARS = 512, 4_000_000  # of a row group, at most
_BUFFER = 64_000_000  # characters in memory before they go to a temporary file


def write_samples(
    path: Path,
    problem_ids: Sequence[str],
    samples: Iterable[Sample],
    verdicts: Iterable[Verdict],
    *,
    most_chars: int | None = None,
) -> bool:
    """Write the samples that have a verdict, by problem and index.

    Memory stays bounded: what does not fit goes to a temporary file beside `path`. The file is whole or not there.

    Args:
        path: of the file; its folder exists.
        problem_ids: in their order in the file; samples of others are left out.
        samples: in any order.
        verdicts: in any order.
        most_chars: write nothing when the texts have more characters together.

    Returns:
        Whether the file was written.

    Raises:
        DataError: no space, or the folder cannot be written.
    """
    try:
        with _Sorter(problem_ids, path.parent) as sorter:
            if not _gather(sorter, samples, verdicts, most_chars):
                path.unlink(missing_ok=True)
                return False
            part = path.with_name(f".{path.name}.part")
            try:
                _write(part, problem_ids, sorter)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error}; make room, or keep a preview only") from error
    return True


def _gather(sorter: "_Sorter", samples: Iterable[Sample], verdicts: Iterable[Verdict], most_chars: int | None) -> bool:
    total = 0
    for sample in samples:
        total += len(sample.text)
        if most_chars is not None and total > most_chars:
            return False
        text = [0, sample.index, plain(sample.text), plain(sample.finish_reason[:40]), sample.num_tokens]
        sorter.add(sample.problem_id, sample.index, text)
    for verdict in verdicts:
        says = [1, verdict.index, verdict.outcome.value, shortened(verdict.answer, ANSWER_CHARS)]
        sorter.add(verdict.problem_id, verdict.index, says)
    return True


@dataclass(frozen=True, slots=True)
class _Row:
    index: int
    outcome: str
    answer: str
    text: str
    finish_reason: str
    num_tokens: int


class _Sorter:
    """Records by problem and block of indices, in memory up to a limit and then in a temporary file."""

    def __init__(self, problem_ids: Sequence[str], folder: Path) -> None:
        self._folder = folder
        self._known = {problem_id: set[int]() for problem_id in problem_ids}  # its blocks
        self._lines: dict[tuple[str, int], list[bytes]] = {}
        self._size = 0
        self._places: dict[tuple[str, int], list[tuple[int, int]]] = {}  # in the file: offset, bytes
        self._file: BinaryIO | None = None

    def __enter__(self) -> "_Sorter":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, problem_id: str, index: int, record: Sequence[object]) -> None:
        blocks = self._known.get(problem_id)
        if blocks is None:
            return
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        blocks.add(index // _BLOCK)
        self._lines.setdefault((problem_id, index // _BLOCK), []).append(line)
        self._size += len(line)
        if self._size > _BUFFER:
            self._spill()

    def rows(self, problem_id: str) -> Iterator[_Row]:
        """The samples of a problem that have a verdict, by index."""
        for block in sorted(self._known[problem_id]):
            texts: dict[int, list[Any]] = {}
            says: dict[int, list[Any]] = {}
            for kind, index, *rest in map(json.loads, self._block(problem_id, block)):
                (says if kind else texts)[index] = rest
            for index in sorted(texts.keys() & says.keys()):
                (outcome, answer), (text, finish_reason, num_tokens) = says[index], texts[index]
                yield _Row(index, outcome, answer, text, finish_reason, num_tokens)

    def _block(self, problem_id: str, block: int) -> Iterator[bytes]:
        for offset, length in self._places.get((problem_id, block), ()):
            assert self._file is not None
            self._file.seek(offset)
            yield from self._file.read(length).splitlines()
        yield from self._lines.get((problem_id, block), ())

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (closed by __exit__)
        offset = self._file.seek(0, 2)
        for key, lines in self._lines.items():
            data = b"".join(lines)
            self._file.write(data)
            self._places.setdefault(key, []).append((offset, len(data)))
            offset += len(data)
        self._lines, self._size = {}, 0


def _write(path: Path, problem_ids: Sequence[str], sorter: _Sorter) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = ("index", "num_tokens")
    schema = pa.schema([(name, pa.int64() if name in numbers else pa.string()) for name in COLUMNS])
    coded = ["id", "outcome", "finish_reason"]
    counts = dict.fromkeys(problem_ids, 0)

    def rows() -> Iterator[tuple[str, _Row]]:
        for problem_id in problem_ids:
            for row in sorter.rows(problem_id):
                counts[problem_id] += 1
                yield plain(problem_id), row

    with pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=coded, write_statistics=False, store_schema=False
    ) as writer:
        for group in _groups(rows()):
            columns = [[getattr(row, name) for _, row in group] for name in COLUMNS[1:]]
            writer.write_table(pa.table([[one for one, _ in group], *columns], schema=schema))
        places = [[plain(problem_id), count] for problem_id, count in counts.items()]
        writer.add_key_value_metadata({INDEX_KEY: json.dumps(places)})


def _groups(rows: Iterable[tuple[str, _Row]]) -> Iterator[list[tuple[str, _Row]]]:
    """Rows until they are many or long: small enough to be read for one page, large enough to keep the footer small."""
    held: list[tuple[str, _Row]] = []
    chars = 0
    for problem_id, row in rows:
        if held and (len(held) == _GROUP_ROWS or chars + len(row.text) > _GROUP_CHARS):
            yield held
            held, chars = [], 0
        held.append((problem_id, row))
        chars += len(row.text)
    if held:
        yield held
