"""samples.parquet written and read back in pages."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kurve import samples_file, samples_page
from kurve.errors import DataError
from kurve.samples_file import COLUMNS, INDEX_KEY, write_samples
from kurve.samples_page import StoredSample, read_index, read_page, read_sample
from kurve.types import Outcome, Sample, Verdict

N = 1300  # more than one block and several row groups
IDS = ("a", "many", "none", "last")
COUNTS = {"a": 3, "many": N, "none": 0, "last": 7}
OUTCOMES = tuple(Outcome)


def samples() -> list[Sample]:
    found = [Sample(one, i, f"text {one} {i}", "stop", i) for one, n in COUNTS.items() for i in range(n)]
    random.Random(0).shuffle(found)
    return found


def verdicts() -> list[Verdict]:
    return [
        Verdict(one, i, OUTCOMES[i % len(OUTCOMES)], f"answer {i}") for one, n in COUNTS.items() for i in range(n)[::-1]
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    assert write_samples(tmp_path / "samples.parquet", IDS, samples(), verdicts())
    return tmp_path / "samples.parquet"


@pytest.mark.parametrize("outcome", ["", *OUTCOMES])
@pytest.mark.parametrize("problem", IDS)
def test_pages_hold_every_sample_of_a_problem_once_by_index(path: Path, problem: str, outcome: str) -> None:
    index = read_index(path)
    expected = [i for i in range(COUNTS[problem]) if not outcome or OUTCOMES[i % len(OUTCOMES)] == outcome]
    found: list[StoredSample] = []
    offset = 0
    while (page := read_page(index, problem, outcome=outcome, offset=offset, limit=311)).samples:
        assert page.total == len(expected)
        found += page.samples
        offset += 311
    assert [one.index for one in found] == expected
    assert all(one.text == f"text {problem} {one.index}" and one.num_tokens == one.index for one in found)
    assert all(one.answer == f"answer {one.index}" and one.finish_reason == "stop" for one in found)


def test_a_page_counts_all_outcomes_of_the_problem_whatever_is_shown(path: Path) -> None:
    page = read_page(read_index(path), "last", outcome="wrong", limit=1)
    assert page.outcomes == {outcome.value: 1 + (place == 0) for place, outcome in enumerate(OUTCOMES)}


def test_one_sample_is_found_by_its_index(path: Path) -> None:
    index = read_index(path)
    found = read_sample(index, "many", 1029)
    assert found is not None
    assert found.text == "text many 1029"
    assert read_sample(index, "many", N) is None
    assert read_sample(index, "unknown", 0) is None


def test_a_page_reads_no_more_than_the_row_groups_it_shows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = read_index(path)
    assert len(index.ends) > 2
    read: list[int] = []
    whole = pq.ParquetFile.read_row_group

    def counting(self: pq.ParquetFile, group: int, **settings: object) -> pa.Table:
        read.append(group)
        return whole(self, group, **settings)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counting)
    read_page(index, "many", offset=600, limit=10)
    assert len(read) == 1


def test_what_does_not_fit_into_memory_goes_over_the_disk_to_the_same_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples_file, "_BUFFER", 10_000)
    other = tmp_path / "spilled" / "samples.parquet"
    other.parent.mkdir()
    assert write_samples(other, IDS, samples(), verdicts())
    assert other.read_bytes() == path.read_bytes()
    assert [one.name for one in other.parent.iterdir()] == ["samples.parquet"]


def test_samples_without_a_verdict_and_of_other_problems_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    drawn = [Sample("a", 0, "x", "stop", 1), Sample("a", 1, "y", "stop", 1), Sample("b", 0, "z", "stop", 1)]
    judged = [Verdict("a", 1, Outcome.CORRECT), Verdict("a", 5, Outcome.CORRECT), Verdict("b", 0, Outcome.CORRECT)]
    assert write_samples(path, ["a"], drawn, judged)
    index = read_index(path)
    assert [one.text for one in read_page(index, "a", limit=9).samples] == ["y"]
    assert read_page(index, "b", limit=9).total == 0


def test_more_text_than_wanted_leaves_no_file(path: Path) -> None:
    assert not write_samples(path, IDS, samples(), verdicts(), most_chars=1000)
    assert not list(path.parent.iterdir())


def test_text_that_no_file_can_hold_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    text = "a\ud800b\x00c\u202ed\n"
    assert write_samples(path, [text], [Sample(text, 0, text, text, 1)], [Verdict(text, 0, Outcome.WRONG, text)])
    [problem] = read_index(path).rows
    [found] = read_page(read_index(path), problem, limit=1).samples
    assert found.text == found.answer == "a?b�c�d\n"


def test_no_space_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="make room"):
        write_samples(tmp_path / "missing" / "samples.parquet", IDS, samples(), verdicts())


def lying(path: Path, index: object, rows: int = 2) -> Path:
    columns = {name: [0] * rows if name in ("index", "num_tokens") else ["x"] * rows for name in COLUMNS}
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata({INDEX_KEY: json.dumps(index)}), path)
    return path


@pytest.mark.parametrize(
    "index", [[["x", 3]], [["x", 1]], [["x", -1], ["y", 3]], [["x"]], {"x": 2}, [["x", "many"]], None, 5]
)
def test_a_file_whose_index_lies_is_refused(tmp_path: Path, index: object) -> None:
    with pytest.raises(DataError, match=r"samples\.parquet holds no samples that can be read"):
        read_index(lying(tmp_path / "samples.parquet", index))


def test_other_files_are_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no Parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other")
    (tmp_path / "cut").write_bytes(path.read_bytes()[:-40])
    for name in ("text", "other", "cut", "missing"):
        with pytest.raises(DataError):
            read_index(tmp_path / name)


def test_a_row_group_that_would_fill_the_memory_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples_page, "MOST_GROUP", 100)
    with pytest.raises(DataError, match="row group"):
        read_page(read_index(path), "many", limit=1)
