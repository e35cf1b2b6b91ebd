import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kurve.errors import ConfigError, DataError
from kurve.importers import rows
from kurve.types import Outcome
from tests.importers.reading_here import C, W, read

ROWS = [
    {"id": "a", "question": "3 + 4?", "gold": "7", "response": "seven: 7", "correct": 1, "num_tokens": 3},
    {"id": "a", "question": "3 + 4?", "gold": "7", "response": "eight", "correct": 0, "num_tokens": 1},
]


def write(path: Path, *, rows: list[dict[str, object]] | None = None) -> Path:
    given = [dict(row) for row in ROWS] if rows is None else rows
    lines = "".join(json.dumps(row) + "\n" for row in given)
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(given[0]))
            writer.writeheader()
            writer.writerows(given)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(given), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        path.write_text(lines)
    return path


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.parquet", "r.csv"])
def test_one_sample_a_row_of_every_kind_of_file(tmp_path: Path, name: str) -> None:
    samples, _ = read(write(tmp_path / name))
    assert [(one.problem_id, one.question, one.gold) for one in samples] == [("a", "3 + 4?", "7")] * 2
    assert [(one.text, one.outcome, one.num_tokens) for one in samples] == [("seven: 7", C, 3), ("eight", W, 1)]


def test_named_columns_come_before_usual_names(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", rows=[{"uid": 7, "text": "not this", "out": "this", "reward": 1.0, "id": "no"}])
    [one], _ = read(path, text="out", id="uid", correct="reward")
    assert (one.text, one.problem_id, one.outcome) == ("this", "7", C)


def test_a_role_can_be_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", rows=[{"id": "a", "text": "x", "index": 3, "correct": 0.5}])
    [one], _ = read(path, correct=None, index=None)
    assert (one.outcome, one.sample_index) == (None, None)


def test_a_list_of_responses_in_a_row_is_as_many_samples(tmp_path: Path) -> None:
    row = {"question": "3 + 4?", "responses": ["7", "8"], "correct": [True, False], "logprob_sum": [-1.5, -2]}
    samples, _ = read(write(tmp_path / "r.parquet", rows=[{**row, "logprob_sum": [-1.5, -2.0]}]))
    assert [(one.text, one.outcome, one.logprob_sum) for one in samples] == [("7", C, -1.5), ("8", W, -2.0)]


def test_long_cells_of_csv_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", rows=[{"id": "a", "text": 'He said "no",\n' * 50_000}])
    assert len(read(path)[0][0].text) == 14 * 50_000


@pytest.mark.parametrize(
    ("value", "outcome"),
    [("true", C), ("False", W), ("1.0", C), ("no_answer", Outcome.NO_ANSWER), ("", None), (None, None), ("pass", C)],
)
def test_the_ways_to_write_a_verdict(tmp_path: Path, value: object, outcome: Outcome | None) -> None:
    path = write(tmp_path / "r.jsonl", rows=[{"id": "a", "text": "x", "correct": value}])
    assert read(path)[0][0].outcome is outcome


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": 3}, r"line 3: text is 3; expected the text as text"),
        ({"correct": 0.5}, r"line 3: correct is 0.5; expected the verdict on one sample"),
        ({"index": -1}, r"line 3: index is -1; expected a whole number from 0"),
        ({"id": None}, r"line 3: id is None; expected the id"),
        ({"text": ["a", "b"], "correct": [1]}, r"line 3: correct has 1 values; expected a list of 2, one a response"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, row: dict[str, object], message: str
) -> None:
    good: dict[str, object] = {"id": "a", "text": "x", "correct": 1, "index": 0}
    path = write(tmp_path / "r.jsonl", rows=[good, {**good, "index": 1}, {**good, "index": 2, **row}])
    with pytest.raises(DataError, match=message):
        read(path)


@pytest.mark.parametrize("content", ['{"id": "a", "text": "x"}\n{"id": ', '{"id": "a", "text": "x"}\n[1]\n'])
def test_a_line_that_is_no_json_object_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.jsonl").write_text(content)
    with pytest.raises(DataError, match=r"r.jsonl, line 2: (not valid JSON|expected a JSON object)"):
        read(tmp_path / "r.jsonl")


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl.gz", rows=[{"id": f"p{n}", "text": f"{n * n} is it"} for n in range(20_000)])
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(DataError, match=r"r\.jsonl\.gz cannot be read"):
        read(path)


def test_columns_are_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", rows=[{"a": 1, "b": "x"}])
    with pytest.raises(ConfigError, match=r"columns.txt is not a role; did you mean text\?"):
        rows.columns_of(path, {"txt": "b"})
    with pytest.raises(DataError, match=r"no column 'c' for columns.text; it has a, b"):
        rows.columns_of(path, {"text": "c"})
    with pytest.raises(DataError, match=r"has the columns a, b; name those of the response and of the problem"):
        rows.columns_of(path, {"text": "b"})


def test_counts_belong_to_compare(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds counts, not samples; kurve compare reads it"):
        read(write(tmp_path / "r.csv", rows=[{"id": "a", "n": 4, "c": 2}]))
