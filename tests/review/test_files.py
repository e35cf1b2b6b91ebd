import csv
import io
from pathlib import Path

import pyarrow.parquet as pq

from kurve.review.files import CELL, COLUMNS, Shown, sheet_csv, sheet_parquet, uncelled, verdicts_parquet
from kurve.review.rows import Row, sample_id
from kurve.types import CotVerdict, Soundness

SHOWN = Shown(model=False, counts=True)


def row(response: str = "so 4", problem_id: str = "p") -> Row:
    key = sample_id("f", problem_id, 3, response)
    return Row(key, problem_id, 3, "2 + 2?", "4", response, "4", 100, 3, "grpo", "f" * 12)


def read(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_the_sheet_has_the_same_columns_in_both_forms_with_an_empty_verdict() -> None:
    table = pq.read_table(io.BytesIO(sheet_parquet([row()], SHOWN)))
    [line] = read(sheet_csv([row()], SHOWN))
    assert tuple(table.column_names) == tuple(line) == COLUMNS
    [values] = table.to_pylist()
    assert values["accuracy"] == 0.03
    assert (values["verdict"], values["judge"], values["comment"]) == ("", "", "")
    assert (line["num_correct"], line["num_samples"], line["response"]) == ("3", "100", "so 4")


def test_a_blind_sheet_of_several_models_says_nothing_that_tells_them_apart() -> None:
    blind = Shown(model=False, counts=False)
    [values] = pq.read_table(io.BytesIO(sheet_parquet([row()], blind))).to_pylist()
    assert (values["accuracy"], values["num_samples"], values["num_correct"]) == (None, None, None)
    assert "grpo" not in sheet_csv([row()], blind).decode()
    named = pq.read_table(io.BytesIO(sheet_parquet([row()], Shown(model=True, counts=True)))).to_pylist()
    assert named[0]["model"] == "grpo"


def test_no_text_of_a_model_begins_a_formula_in_a_spreadsheet() -> None:
    attacks = ["=HYPERLINK(1)", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "  =1", "\t=1"]
    for text in attacks:
        [line] = read(sheet_csv([row(text)], SHOWN))
        assert line["response"].startswith("'"), text
        assert uncelled(line["response"]) == text
    [line] = read(sheet_csv([row("-3.5")], SHOWN))
    assert line["response"] == "-3.5"
    assert uncelled("'quoted'") == "'quoted'"


def test_what_breaks_readers_or_deceives_is_replaced_and_a_long_response_fits_its_cell() -> None:
    [line] = read(sheet_csv([row("a\ud800b\x00c\u202ed\r\n" + "x" * 100_000 + "END")], SHOWN))
    assert len(line["response"]) <= CELL
    assert line["response"].startswith("a?b\ufffdc\ufffdd\n")
    assert line["response"].endswith("END")
    assert "characters left out" in line["response"]
    [values] = pq.read_table(io.BytesIO(sheet_parquet([row("y" * 100_000)], SHOWN))).to_pylist()
    assert len(values["response"]) == 100_000


def test_the_table_of_verdicts_keeps_every_judge(tmp_path: Path) -> None:
    given = [
        CotVerdict("p", 0, "alice", Soundness.SOUND, "good"),
        CotVerdict("p", 0, "m@1#1", Soundness.ERROR, "no answer\ud800"),
    ]
    path = tmp_path / "verdicts.parquet"
    path.write_bytes(verdicts_parquet(given, {("p", 0): "4"}))
    found = pq.read_table(path).to_pylist()
    assert [(one["judge"], one["verdict"], one["answer"]) for one in found] == [
        ("alice", "sound", "4"),
        ("m@1#1", "error", "4"),
    ]
