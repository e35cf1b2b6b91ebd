"""Read everything once before anything is written: what cannot be read is refused, and what is there is counted."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kurve.errors import DataError
from kurve.importers.identify import FromFile, OfBenchmark
from kurve.importers.imported import Imported, Importer, LeftOut, Options
from kurve.importers.reading import Meter

READING = 1  # raised when a file comes out differently, so that old imports are not mixed with new ones
NOT_IN_BENCHMARK = "not a problem of the benchmark"

Placed = tuple[Imported, str, int]  # a row, its problem's id and its index
Tick = Callable[[int], None]  # told how many rows have been read


@dataclass(slots=True)
class Survey:
    """What the files hold."""

    samples: int = 0
    ungraded: int = 0
    first_ungraded: str = ""  # its place
    extent: int = 0  # one more than the largest index
    problems: int = 0
    grader: str = ""
    graders: tuple[str, ...] = ()
    has_tokens: bool = False
    left_out: Counter[str] = field(default_factory=Counter)  # rows by reason
    example: dict[str, str] = field(default_factory=dict)  # place of the first row left out, by reason


@dataclass(frozen=True, slots=True)
class Source:
    """Files of one format and how they are read."""

    importer: Importer
    files: tuple[Path, ...]
    options: Options

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.files)

    def digest(self) -> str:
        """12 hex digits of all that decides what is read: the files' content in order, the format and the columns."""
        total = hashlib.sha256(f"{READING} {self.importer.NAME} {sorted(self.options.columns.items())}".encode())
        for path in self.files:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        return total.hexdigest()[:12]

    def rows(
        self, problems: FromFile | OfBenchmark, meter: Meter, left_out: Callable[[LeftOut], None]
    ) -> Iterator[Placed]:
        """Every sample with its problem and index, in the same order each time.

        Raises:
            DataError: a row that cannot be read, or whose index comes twice or is given only for some.
        """
        numbers = _Numbers()
        for path in self.files:
            for row in self.importer.read(path, self.options, meter):
                if isinstance(row, LeftOut):
                    left_out(row)
                elif (problem_id := problems.find(row)) is None:
                    left_out(LeftOut(row.place, NOT_IN_BENCHMARK))
                else:
                    yield row, problem_id, numbers.next(problem_id, row)
            meter.finished(path)


def survey(source: Source, problems: FromFile | OfBenchmark, meter: Meter, tick: Tick) -> Survey:
    """Read all rows and count them.

    Raises:
        DataError: a row cannot be read, is judged by another judge than the rest, or there is no sample at all.
    """
    found = Survey()

    def leave_out(row: LeftOut) -> None:
        found.left_out[row.reason] += 1
        found.example.setdefault(row.reason, row.place)

    for row, _, index in source.rows(problems, meter, leave_out):
        found.samples += 1
        found.extent = max(found.extent, index + 1)
        found.has_tokens |= row.num_tokens > 0
        if row.outcome is None:
            found.ungraded += 1
            found.first_ungraded = found.first_ungraded or row.place
        else:
            _same_judge(found, row)
        if found.samples % 1024 == 0:
            tick(found.samples)
    tick(found.samples)
    found.problems = len(problems.items)
    if not found.samples:
        raise DataError(_nothing(source.files, found))
    return found


def given_set(source: Source, found: Survey) -> str:
    """The name of the tool's own set of verdicts: the format, and the judge where the tool has several."""
    judge = re.sub(r"[^A-Za-z0-9_.]+", "_", found.grader)
    return f"{source.importer.NAME}.{judge}"[:64].strip(".") if judge else source.importer.NAME


def _same_judge(found: Survey, row: Imported) -> None:
    if not found.graders:
        found.grader, found.graders = row.grader, row.graders
    elif row.grader != found.grader:
        raise DataError(
            f"{row.place}: judged by {row.grader}, earlier ones by {found.grader}; name one that all have: grader=..."
        )


def _nothing(files: Sequence[Path], found: Survey) -> str:
    reasons = ", ".join(f"{count:,} rows: {reason}" for reason, count in found.left_out.items())
    return f"{files[0]} holds no sample to import" + (
        f" ({reasons}, first at {next(iter(found.example.values()))})" if reasons else ""
    )


class _Numbers:
    """Indices: those of the file, each once, or numbers in the order of the file."""

    def __init__(self) -> None:
        self._next: Counter[str] = Counter()
        self._given: dict[str, set[int]] = {}
        self._own: bool | None = None

    def next(self, problem_id: str, row: Imported) -> int:
        own = row.sample_index is not None
        if self._own is not None and own != self._own:
            raise DataError(f"{row.place}: some samples have an index and some have none; give it for all or for none")
        self._own = own
        if row.sample_index is None:
            self._next[problem_id] += 1
            return self._next[problem_id] - 1
        given = self._given.setdefault(problem_id, set())
        if row.sample_index in given:
            raise DataError(
                f"{row.place}: sample {row.sample_index} of problem {problem_id!r} was there already; to number "
                "them in the order of the file leave the column out: columns.index=false"
            )
        given.add(row.sample_index)
        return row.sample_index
