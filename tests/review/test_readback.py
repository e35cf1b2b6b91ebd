import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kurve.errors import ConfigError, DataError
from kurve.review.files import Shown, sheet_csv, sheet_parquet
from kurve.review.readback import Given, matched, read_sheet
from kurve.review.rows import Row, sample_id
from kurve.types import CotVerdict, Soundness

TEXT = 'multi\nline, "text"'
ROWS = [Row(sample_id("f", "007", i, TEXT), "007", i, "q", "4", TEXT, "4", 9, 2, "m", "f") for i in range(3)]
KNOWN = {row.sample: (0, (row.problem_id, row.index)) for row in ROWS}


def filled(tmp_path: Path, *words: str, name: str = "alice.csv", judge: str = "", delimiter: str = ",") -> Path:
    """The CSV sheet with these words in the verdict column, as a spreadsheet would save it."""
    import csv
    import io

    lines = list(csv.reader(io.StringIO(sheet_csv(ROWS, Shown(False, True)).decode("utf-8-sig"), newline="")))
    at, by = lines[0].index("verdict"), lines[0].index("judge")
    for line, word in zip(lines[1:], words, strict=False):
        line[at], line[by] = word, judge
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(lines)
    path = tmp_path / name
    path.write_bytes(text.getvalue().encode("utf-8-sig"))
    return path


def download(tmp_path: Path, *verdicts: object, **other: object) -> Path:
    path = tmp_path / "verdicts.json"
    path.write_text(json.dumps({"format": "kurve-review-1", "judge": "bob", "verdicts": verdicts} | other))
    return path


def entry(number: int, verdict: str, **other: object) -> dict[str, object]:
    row = ROWS[number]
    return {"sample": row.sample, "problem_id": "007", "index": row.index, "verdict": verdict} | other


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_filled_in_spreadsheet_is_read_whatever_its_delimiter(tmp_path: Path, delimiter: str) -> None:
    given = read_sheet(filled(tmp_path, "sound", "", " UNSURE ", delimiter=delimiter))
    assert [(one.soundness, one.judge) for one in given] == [
        (Soundness.SOUND, "alice"),
        (Soundness.UNSURE, "alice"),
    ]
    assert matched(given, KNOWN, "the store")[0] == (0, CotVerdict("007", 0, "alice", Soundness.SOUND))


def test_the_pages_download_and_parquet_are_read(tmp_path: Path) -> None:
    given = read_sheet(download(tmp_path, entry(0, "sound", comment="nice"), entry(1, ""), entry(2, "unsound")))
    assert [(one.judge, one.soundness, one.comment) for one in given] == [
        ("bob", Soundness.SOUND, "nice"),
        ("bob", Soundness.UNSOUND, ""),
    ]
    table = pq.read_table(pa.BufferReader(sheet_parquet(ROWS, Shown(False, True))))
    column = pa.array(["sound", None, "unsure"])
    path = tmp_path / "carol.parquet"
    pq.write_table(table.set_column(table.column_names.index("verdict"), "verdict", column), path)
    assert [(one.judge, one.soundness.value) for one in read_sheet(path)] == [("carol", "sound"), ("carol", "unsure")]


def test_an_unknown_word_is_refused_with_its_line_although_responses_have_line_breaks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"alice\.csv, line 4: the verdict is 'sond'.*did you mean sound"):
        read_sheet(filled(tmp_path, "sound", "sond"))
    with pytest.raises(DataError, match=r"verdicts\.json, verdict 2: the verdict is 'yes'"):
        read_sheet(download(tmp_path, entry(0, "sound"), entry(1, "yes")))


def test_a_sheet_of_other_samples_is_refused(tmp_path: Path) -> None:
    given = read_sheet(download(tmp_path, entry(0, "sound")))
    other = {sample_id("f", "007", 0, "another text"): (0, ("007", 0))}
    with pytest.raises(DataError, match=r"verdict 1: sample .* is not in the store.*another now"):
        matched(given, other, "the store")


def test_columns_that_were_moved_apart_are_refused_but_not_what_a_spreadsheet_does_to_numbers(tmp_path: Path) -> None:
    assert matched(read_sheet(download(tmp_path, entry(0, "sound", problem_id=7, index="0.0"))), KNOWN, "the store")
    with pytest.raises(DataError, match=r"index is '2', but sample .* belongs to '0'"):
        matched(read_sheet(download(tmp_path, entry(0, "sound", index=2))), KNOWN, "the store")


def test_a_verdict_given_twice_counts_once_and_two_that_differ_are_refused(tmp_path: Path) -> None:
    twice = read_sheet(download(tmp_path, entry(0, "sound"), entry(0, "sound")))
    assert len(matched(twice, KNOWN, "the store")) == 1
    differ = read_sheet(download(tmp_path, entry(0, "sound"), entry(0, "unsound")))
    with pytest.raises(DataError, match=r"verdict 2: bob says unsound of a sample that is sound in .*verdict 1"):
        matched(differ, KNOWN, "the store")
    others = [*twice[:1], Given("x", *_fields(twice[0], judge="eve"))]
    assert len(matched(others, KNOWN, "the store")) == 2


def _fields(one: Given, judge: str) -> tuple[str, str, str, str, Soundness, str]:
    return one.sample, one.problem_id, one.index, judge, Soundness.UNSOUND, ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{", "is not JSON"),
        ("a.json", b"[1]", "no format 'kurve-review-1'"),
        ("a.json", b'{"format": "kurve-review-1", "verdicts": [3]}', "verdict 1: expected an object"),
        (
            "a.json",
            b'{"format": "kurve-review-1", "verdicts": [{"sample": [], "verdict": "sound"}]}',
            "expected a text",
        ),
        ("a.csv", b"id,n,c\n1,2,3\n", "line 2: no sample and no verdict; expected a sheet of kurve review"),
        ("a.csv", "sample,verdict\n\u00e9,sound\n".encode("cp1252"), "CSV UTF-8"),
        ("a.csv", b'sample,verdict\n"s1,sound\n', "not CSV"),
        ("a.parquet", b"PAR1", "Parquet"),
    ],
)
def test_what_is_no_sheet_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_sheet(path)


def test_a_file_that_is_missing_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    for name in ("none.json", "a.xlsx"):
        with pytest.raises(ConfigError, match=r"\.json, \.csv, \.parquet"):
            read_sheet(tmp_path / name)


def test_a_response_longer_than_csvs_own_limit_is_read_and_the_limit_is_left_alone(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    path = tmp_path / "long.csv"
    path.write_text(f"sample,verdict,response\n{ROWS[0].sample},sound,{'x' * 300_000}\n")
    assert len(read_sheet(path)) == 1
    assert csv.field_size_limit() == before
