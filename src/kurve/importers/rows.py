"""Plain rows by any program: JSONL (also .gz), Parquet or CSV; one sample a row, or lists in a row.

`columns` says which column has which role. A role that is not named is looked for under its usual names.
"""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kurve.errors import ConfigError, DataError
from kurve.importers.grades import outcome_of
from kurve.importers.imported import Facts, Imported, LeftOut, Options
from kurve.importers.reading import Meter, Peek, Values, csv_rows, json_rows, parquet_columns, parquet_rows, peek
from kurve.importers.values import gold_of, number_of

NAME = "rows"
ROLES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "problem_id", "unique_id", "task_id", "question_id"),
    "text": ("text", "response", "responses", "completion", "completions", "generation", "generations", "output"),
    "correct": ("correct", "is_correct", "passed", "outcome", "verdict", "score"),
    "question": ("question", "problem"),
    "answer": ("gold", "reference", "target", "expected_answer", "ground_truth", "gt", "answer"),
    "prompt": ("prompt",),
    "index": ("index", "sample_index"),
    "num_tokens": ("num_tokens", "num_generated_tokens", "completion_tokens"),
    "logprob": ("logprob_sum", "cumulative_logprob"),
    "finish_reason": ("finish_reason",),
    "predicted": ("predicted_answer", "pred", "extracted_answer"),
}
_LISTED = ("text", "correct", "index", "num_tokens", "logprob", "finish_reason", "predicted")  # [n] where texts are


def recognises(peek: Peek) -> bool:
    """Rows of any kind with a text, unless another format claims them."""
    return peek.kind in ("jsonl", "parquet", "csv") and bool(peek.keys.intersection(ROLES["text"]))


def gather(paths: Sequence[Path]) -> list[Path]:
    """Every file."""
    return list(paths)


def facts(path: Path) -> Facts:
    """Rows say nothing of all samples."""
    del path
    return Facts()


def columns_of(path: Path, given: Mapping[str, str | None]) -> dict[str, str]:
    """Role -> column of a file, those given and those found under their usual names.

    Raises:
        ConfigError: a role that there is not.
        DataError: a column that the file has not, none for the text, or neither an id nor a question.
    """
    for role in given:
        if role not in ROLES:
            near = difflib.get_close_matches(role, ROLES, n=1)
            raise ConfigError(
                f"columns.{role} is not a role; "
                + (f"did you mean {near[0]}?" if near else f"expected {', '.join(ROLES)}")
            )
    seen = peek(path)
    for role, column in given.items():
        if column is not None and column not in seen.keys:
            raise DataError(
                f"{path} has no column {column!r} for columns.{role}; it has {', '.join(sorted(seen.keys))}"
            )
    usual = {role: next((name for name in names if name in seen.keys), None) for role, names in ROLES.items()}
    free = {role: name for role, name in usual.items() if role not in given and name not in given.values()}
    found = {role: name for role, name in (free | dict(given)).items() if name is not None}
    if "text" not in found and {"n", "c"} <= seen.keys:
        raise DataError(
            f"{path} holds counts, not samples; kurve compare reads it: kurve compare base={path} tuned=..."
        )
    if "text" not in found or not {"id", "question"} & found.keys():
        raise DataError(
            f"{path} has the columns {', '.join(sorted(seen.keys))}; name those of the response and of the problem: "
            "columns.text=<column> and columns.id=<column> or columns.question=<column>"
        )
    return found


def read(path: Path, options: Options, meter: Meter) -> Iterator[Imported | LeftOut]:
    """Each sample of each row."""
    columns = columns_of(path, options.columns)
    for place, row in _rows(path, list(columns.values()), meter):
        cells = {role: row.get(column) for role, column in columns.items()}
        if isinstance(cells["text"], list):
            for one in _per_sample(cells, columns, place):
                yield _sample(one, columns, place)
        else:
            yield _sample(cells, columns, place)


def _rows(path: Path, columns: Sequence[str], meter: Meter) -> Iterator[tuple[str, Values]]:
    kind = peek(path).kind
    if kind == "parquet":
        return parquet_rows(path, [name for name in parquet_columns(path) if name in columns], meter)
    return csv_rows(path, meter) if kind == "csv" else json_rows(path, meter)


def _per_sample(cells: Mapping[str, object], columns: Mapping[str, str], place: str) -> Iterator[dict[str, object]]:
    """The cells of each sample of a row with lists."""
    texts = cells["text"]
    assert isinstance(texts, list)
    listed = {}
    for role in _LISTED:
        if (values := cells.get(role)) is None:
            continue
        if not isinstance(values, list) or len(values) != len(texts):
            held = f"{len(values)} values" if isinstance(values, list) else repr(values)
            raise DataError(f"{place}: {columns[role]} has {held:.60}; expected a list of {len(texts)}, one a response")
        listed[role] = values
    for number in range(len(texts)):
        yield {**cells, **{role: values[number] for role, values in listed.items()}}


def _sample(cells: Mapping[str, object], columns: Mapping[str, str], place: str) -> Imported:
    cell = cells.get
    return Imported(
        place,
        _text(cells, columns, "text", place),
        _text(cells, columns, "question", place) if "question" in columns else "",
        _id(cells["id"], columns, place) if "id" in columns else "",
        gold_of(cell("answer")),
        _text(cells, columns, "prompt", place) if cell("prompt") is not None else "",
        _whole(cells["index"], columns["index"], place) if "index" in columns else None,
        outcome_of(cells["correct"], place, columns["correct"]) if "correct" in columns else None,
        answer=_shown(cell("predicted")),
        finish_reason=_shown(cell("finish_reason")),
        num_tokens=_whole(cells["num_tokens"], columns["num_tokens"], place) if cell("num_tokens") else 0,
        logprob_sum=number_of(cell("logprob")),
    )


def _text(cells: Mapping[str, object], columns: Mapping[str, str], role: str, place: str) -> str:
    value = cells[role]
    if isinstance(value, str):
        return value
    raise DataError(f"{place}: {columns[role]} is {value!r:.60}; expected the {role} as text")


def _id(value: object, columns: Mapping[str, str], place: str) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise DataError(f"{place}: {columns['id']} is {value!r:.60}; expected the id, a text or a whole number")
    return str(value).strip()


def _whole(value: object, column: str, place: str) -> int:
    number = number_of(value)
    if number is None or number < 0 or not number.is_integer():
        raise DataError(f"{place}: {column} is {value!r:.60}; expected a whole number from 0")
    return int(number)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, default=str)
