"""Read verdicts back: the page's JSON, or the sheet as CSV or Parquet with its verdict column filled in."""

import csv
import difflib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kurve.benchmarks.files import Row as FileRow
from kurve.benchmarks.files import read as read_rows
from kurve.errors import ConfigError, DataError
from kurve.observations import plain
from kurve.review.files import uncelled
from kurve.review.rows import Place
from kurve.store.reviews import MAX_JUDGE
from kurve.types import CotVerdict, Soundness

SUFFIXES = (".json", ".csv", ".parquet")
FORMAT = "kurve-review-1"  # of the page's JSON
WORDS = (Soundness.SOUND, Soundness.UNSOUND, Soundness.UNSURE)
_NEEDED = ("sample", "verdict")
_LONGEST_CELL = 1 << 30
_MOST_COMMENT = 10_000  # characters


@dataclass(frozen=True, slots=True)
class Given:
    """A verdict as a file gives it."""

    place: str  # file and line, for messages
    sample: str  # id of the row
    problem_id: str
    index: str
    judge: str
    soundness: Soundness
    comment: str


def read_sheet(path: Path) -> list[Given]:
    """The verdicts of one file; rows without a verdict are left out.

    A row that names no judge has that of the file, else the file's name without its ending.

    Raises:
        ConfigError: no such file, or another kind of file.
        DataError: unreadable, no sheet, or a word that is no verdict; file and line are named.
    """
    path = path.expanduser()
    if not path.is_file() or not path.name.lower().endswith(SUFFIXES):
        raise ConfigError(f"sheet={path} must be a file ending in {', '.join(SUFFIXES)} (looked in {Path.cwd()})")
    rows, judge = _json(path) if path.name.lower().endswith(".json") else (_table(path), "")
    return [given for row in rows if (given := _given(row, judge or path.stem)) is not None]


def matched(
    given: Iterable[Given], known: Mapping[str, tuple[int, Place]], stores: str
) -> list[tuple[int, CotVerdict]]:
    """The verdicts with the number of the store that each belongs to, every (judge, sample) once.

    Args:
        given: verdicts of one or several files.
        known: store and place of samples by the row's id.
        stores: what they are, for messages.

    Raises:
        DataError: a row of other samples, one whose columns were moved apart, or two verdicts of one judge that differ.
    """
    first: dict[tuple[str, str], Given] = {}
    found = []
    for one in given:
        if one.sample not in known:
            raise DataError(
                f"{one.place}: sample {one.sample!r} (problem {one.problem_id!r}, {one.index}) is not in {stores}; "
                "the sheet was made of other samples, or this one's text is another now; name the sheet's own stores"
            )
        store, place = known[one.sample]
        _check_place(one, place)
        before = first.setdefault((one.judge, one.sample), one)
        if before is one:
            found.append((store, CotVerdict(*place, one.judge, one.soundness, one.comment)))
        elif before.soundness is not one.soundness:
            raise DataError(
                f"{one.place}: {one.judge} says {one.soundness} of a sample that is {before.soundness} in "
                f"{before.place}; keep one of the two, or give the second judge another name"
            )
    return found


def _check_place(one: Given, place: Place) -> None:
    """Refuse a table in which only some columns were sorted; a spreadsheet may have turned `007` into 7."""
    for name, cell, stored in (("problem_id", one.problem_id, plain(place[0])), ("index", one.index, str(place[1]))):
        if cell and cell != stored and not _same_number(cell, stored):
            raise DataError(
                f"{one.place}: {name} is {cell!r}, but sample {one.sample} belongs to {stored!r}; the columns of the "
                "table were moved apart: restore it and sort whole rows only"
            )


def _same_number(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _given(row: FileRow, judge: str) -> Given | None:
    """The verdict in a row; None if it has none."""
    missing = [name for name in _NEEDED if name not in row.values]
    if missing:
        raise DataError(
            f"{row.place}: no {' and no '.join(missing)}; expected a sheet of kurve review with its columns sample and "
            f"verdict, found {', '.join(map(str, row.values)) or 'nothing'}"
        )
    word = _text(row, "verdict").lower()
    if not word:
        return None
    if word not in WORDS:
        near = difflib.get_close_matches(word, WORDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise DataError(f"{row.place}: the verdict is {word[:80]!r}; expected {', '.join(WORDS)} or nothing{hint}")
    named = _text(row, "judge") or judge
    if len(named) > MAX_JUDGE:
        raise DataError(f"{row.place}: the judge's name has {len(named)} characters; {MAX_JUDGE} are the limit")
    place, comment = (_text(row, "problem_id"), _text(row, "index")), _text(row, "comment")[:_MOST_COMMENT]
    return Given(row.place, _text(row, "sample"), *place, named, Soundness(word), comment)


def _text(row: FileRow, name: str) -> str:
    value = row.values.get(name)
    if value is None or isinstance(value, str | int | float):
        text = "" if value is None or value != value else str(value)  # NaN: an empty cell of pandas
        return uncelled(text.strip())
    raise DataError(f"{row.place}: {name} is {value!r:.80}; expected a text")


def _json(path: Path) -> tuple[list[FileRow], str]:
    """The rows of the page's download, and the judge it names."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    entries = document.get("verdicts") if isinstance(document, dict) else None
    if not isinstance(entries, list) or document.get("format") != FORMAT:
        raise DataError(f"{path} is not the download of a review page: no format {FORMAT!r} with a list of verdicts")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise DataError(f"{path}, verdict {number}: expected an object, got {entry!r:.80}")
    judge = document.get("judge")
    rows = [FileRow(f"{path}, verdict {number}", entry) for number, entry in enumerate(entries, start=1)]
    return rows, judge.strip() if isinstance(judge, str) else ""


def _table(path: Path) -> list[FileRow]:
    return read_rows(path)[0] if path.name.lower().endswith(".parquet") else list(_csv(path))


def _csv(path: Path) -> Iterator[FileRow]:
    """Rows with the line on which each begins; cells may hold line breaks."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as 'CSV UTF-8'") from error
    limit = csv.field_size_limit(_LONGEST_CELL)  # 131,072 by default: less than a long response
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
        names = [name.strip() for name in next(reader, [])]
        begins = reader.line_num + 1
        for cells in reader:
            if any(cells):
                yield FileRow(f"{path}, line {begins}", dict(zip(names, cells, strict=False)))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV ({error})") from error
    finally:
        csv.field_size_limit(limit)


def _delimiter(text: str) -> str:
    """Some spreadsheets save with semicolons or tabs."""
    header = text.partition("\n")[0]
    return max((",", ";", "\t"), key=header.count)
