"""The sheet as Parquet and CSV, and verdicts as Parquet.

CSV is for spreadsheets: UTF-8 with a mark at its beginning, and no text of a model can begin a formula there.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kurve.observations import plain
from kurve.review.rows import Row
from kurve.types import CotVerdict

COLUMNS = (
    "problem_id", "index", "question", "reference", "response", "answer", "accuracy", "num_samples", "num_correct",
    "verdict", "judge", "comment", "sample",
)  # fmt: skip
CELL = 32_000  # characters that a spreadsheet keeps of a cell
_FORMULA = re.compile(r"\s*[=+\-@]|[\t\r]")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a sheet says beside the texts."""

    model: bool  # which model each sample is of
    counts: bool  # how often the model solves the problem, which may give it away

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the table, in order."""
        return (*COLUMNS, "model") if self.model else COLUMNS


def cells(row: Row, shown: Shown) -> dict[str, object]:
    """The row by column, the verdict's columns empty."""
    known = {"accuracy": row.accuracy, "num_samples": row.num_samples, "num_correct": row.num_correct}
    return {
        "problem_id": plain(row.problem_id),
        "index": row.index,
        "question": plain(row.question),
        "reference": plain(row.reference),
        "response": plain(row.response),
        "answer": plain(row.answer),
        **(known if shown.counts else dict.fromkeys(known)),
        "verdict": "",
        "judge": "",
        "comment": "",
        "sample": row.sample,
    } | ({"model": plain(row.model)} if shown.model else {})


def sheet_parquet(rows: Sequence[Row], shown: Shown) -> bytes:
    """The sheet as Parquet."""
    table = [cells(row, shown) for row in rows]
    return _parquet({name: [line[name] for line in table] for name in shown.columns})


def sheet_csv(rows: Sequence[Row], shown: Shown) -> bytes:
    """The sheet as CSV; responses longer than a cell are cut in the middle."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(shown.columns)
    for row in rows:
        line = cells(row, shown)
        writer.writerow([_cell(line[name]) for name in shown.columns])
    return text.getvalue().encode("utf-8-sig")


def verdicts_parquet(verdicts: Sequence[CotVerdict], answers: Mapping[tuple[str, int], str]) -> bytes:
    """All verdicts of all judges, one a line, with the answer that the verifier read."""
    return _parquet(
        {
            "problem_id": [plain(one.problem_id) for one in verdicts],
            "index": [one.index for one in verdicts],
            "answer": [plain(answers.get((one.problem_id, one.index), "")) for one in verdicts],
            "judge": [plain(one.judge) for one in verdicts],
            "verdict": [str(one.soundness) for one in verdicts],
            "comment": [plain(one.comment) for one in verdicts],
        }
    )


def uncelled(text: str) -> str:
    """What a cell of our CSV said before it was kept from being a formula."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    if len(value) > CELL:
        half = (CELL - 100) // 2
        value = (
            f"{value[:half]}\n[... {len(value) - 2 * half} characters left out; see review.html ...]\n{value[-half:]}"
        )
    return f"'{value}" if _FORMULA.match(value) and not _NUMBER.fullmatch(value) else value


def _parquet(columns: Mapping[str, Sequence[object]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"index": pa.int64(), "num_samples": pa.int64(), "num_correct": pa.int64(), "accuracy": pa.float64()}
    table = pa.table({name: pa.array(values, kinds.get(name, pa.string())) for name, values in columns.items()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
