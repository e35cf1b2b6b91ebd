"""Read one row of a dataset: question, reference answer, id and whatever else its columns hold."""

import difflib
import hashlib
import math
import unicodedata
from collections.abc import Mapping
from decimal import Decimal

from kurve.benchmarks.answers import Gold, Normalizer
from kurve.errors import DataError
from kurve.types import Problem

Columns = Mapping[str, tuple[str, ...]]  # role -> columns to look in, in this order

REQUIRED = ("question", "answer")
OPTIONAL = ("unit", "tolerance", "multiple", "stratum")  # may be absent from a row
_ID_HEX = 16  # of the content hash; 64 bits


def problem(values: Mapping[str, object], mapping: Columns, normalize: Normalizer) -> tuple[Problem, str]:
    """The problem in a row, and its stratum (empty if there is none).

    Raises:
        DataError: a column is missing, a value is empty or of the wrong type, or `normalize` refuses the answer.
    """
    cells = {role: _cell(values, role, names) for role, names in mapping.items()}
    question = cells["question"]
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"the question must be text that is not empty, got {question!r:.80}")
    question = question.strip()
    text, several = _answer_text(cells["answer"])
    multiple = _flag(cells.get("multiple"))
    gold = Gold(
        text=text,
        unit=_unit(cells.get("unit")),
        tolerance=_tolerance(cells.get("tolerance")),
        multiple=several or multiple,
    )
    stratum = cells.get("stratum")
    problem_id = _id(cells["id"]) if "id" in cells else content_id(_encodable(question))
    problem = Problem(id=problem_id, question=_encodable(question), reference=normalize(gold))
    return problem, "" if _is_missing(stratum) else _encodable(str(stratum))


def _cell(values: Mapping[str, object], role: str, names: tuple[str, ...]) -> object:
    for name in names:
        if name in values:
            return values[name]
    if role in OPTIONAL:
        return None
    raise DataError(no_column(values, role, names))


def content_id(question: str) -> str:
    """Id of a problem without one in its dataset: a hash of its question, blind to spacing and Unicode form."""
    text = " ".join(unicodedata.normalize("NFC", question).split())
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_HEX]


def no_column(values: Mapping[str, object], role: str, names: tuple[str, ...]) -> str:
    """The message about a missing column."""
    known = sorted(values)
    near = difflib.get_close_matches(names[0], known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return (
        f"no column {' or '.join(map(repr, names))} for the {role}; the row has {', '.join(known) or 'no columns'}. "
        f"{hint}Set benchmark.columns.{role}=<column>"
    )


def _answer_text(value: object) -> tuple[str, bool]:
    """The reference answer as text, and whether it is a list of several."""
    items = value if isinstance(value, list | tuple) else [value]
    return ", ".join(map(_one_answer, items)) if items else _one_answer(None), len(items) > 1


def _one_answer(value: object) -> str:
    if isinstance(value, str) and value.strip():
        return _encodable(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return format(Decimal(repr(value)), "f")
    raise DataError(f"the answer must be text, a number or a list of them and not empty, got {value!r:.80}")


def _id(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
        return _encodable(str(value).strip())
    raise DataError(f"the id must be text or a whole number and not empty, got {value!r:.80}")


def _flag(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise DataError(f"whether there are several answers must be true or false, got {value!r:.80}")


def _unit(value: object) -> str:
    if _is_missing(value):
        return ""
    if isinstance(value, str):
        return _encodable(value.strip())
    raise DataError(f"the unit must be text, got {value!r:.80}")


def _tolerance(value: object) -> float | None:
    if _is_missing(value):
        return None
    try:
        tolerance = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except ValueError:
        tolerance = math.nan
    if not 0 <= tolerance < math.inf:
        raise DataError(f"the tolerance must be a number, 0 or more, got {value!r:.80}")
    return tolerance or None


def _is_missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _encodable(text: str) -> str:
    """The text, refused if no file, tokenizer or server could take it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"not valid Unicode: a lone surrogate at character {error.start} of {text[:40]!r}") from error
    return text
