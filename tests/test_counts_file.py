import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kurve.counts_file import read_counts_file
from kurve.errors import ConfigError, DataError


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


LINES = '{"id": "a", "n": 8, "c": 3}\n\n{"c": 0, "id": 7, "n": 4.0, "errors": 2, "more": [1]}\n'


def test_jsonl_csv_and_parquet_give_the_same_counts(tmp_path: Path) -> None:
    compressed = tmp_path / "counts.jsonl.gz"
    compressed.write_bytes(gzip.compress(LINES.encode()))
    table = tmp_path / "counts.parquet"
    pq.write_table(pa.table({"id": ["a", "7"], "n": [8, 4], "c": [3, 0], "errors": [0, 2]}), table)
    files = [
        written(tmp_path / "counts.jsonl", LINES),
        compressed,
        table,
        written(tmp_path / "counts.csv", "\ufeffc,id,n , errors\r\n3,a,8,\r\n0,7,4,2\r\n"),
        written(tmp_path / "UPPER.CSV", 'id,n,c,errors,more\n"a",8,3,0\n7,4,0,2,x,y\n'),
    ]
    for file in files:
        tally = read_counts_file(file)
        assert tally.problem_ids == ("a", "7"), file
        assert tally.num_samples.tolist() == [8, 4]
        assert tally.num_correct.tolist() == [3, 0]
        assert tally.num_errors.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.jsonl", '{"id": "a", "n": 2, "c": 1}\n{"id": "b", "n": 2}\n', ["line 2", "no c", "found id, n"]),
        ("a.jsonl", '{"id": "a", "n": 2, "c": 3}\n', ["line 1", "n = 2 and c = 3", "c from 0 to n"]),
        ("a.jsonl", '{"id": "a", "n": 0, "c": 0}\n', ["n = 0", "at least 1"]),
        ("a.jsonl", '{"id": "a", "n": 2, "c": 1}\n{"id": "a", "n": 2, "c": 1}\n', ["line 2", "'a'", "line 1"]),
        ("a.jsonl", '{"id": null, "n": 2, "c": 1}\n', ["id is None"]),
        ("a.jsonl", '{"id": "a", "n": "x", "c": 1}\n', ["n is 'x'", "whole number"]),
        ("a.jsonl", '{"id": "a", "n": 2.5, "c": 1}\n', ["n is 2.5"]),
        ("a.jsonl", '{"id": "a", "n": true, "c": 1}\n', ["n is True"]),
        ("a.jsonl", '{"id": "a", "n": 1e300, "c": 1}\n', ["n is"]),
        ("a.jsonl", "[1]\n", ["line 1", "JSON object"]),
        ("a.jsonl", "", ["no rows"]),
        ("a.csv", "id,n,c\n", ["no rows"]),
        ("a.csv", "", ["no rows"]),
        ("a.csv", "id,n\na,2\n", ["line 2", "no c"]),
        ("a.csv", "id,n,c\na,2\n", ["line 2", "no c"]),
        ("a.csv", 'id,n,c\n"a,2,1\n', ["not CSV"]),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    with pytest.raises(DataError) as error:
        read_counts_file(written(tmp_path / name, text))
    for word in [str(tmp_path / name), *words]:
        assert word in str(error.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,n,c\n\xff,1,1\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_counts_file(path)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.jsonl"):
        read_counts_file(written(tmp_path / "a.txt", "x"))
