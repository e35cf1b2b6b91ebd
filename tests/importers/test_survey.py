import json
from pathlib import Path

import pytest

from kurve.errors import DataError
from kurve.importers import rows
from kurve.importers.identify import FromFile
from kurve.importers.imported import Options
from kurve.importers.reading import Meter
from kurve.importers.survey import Source, Survey, given_set, survey


def source(path: Path, *given: dict[str, object]) -> Source:
    path.write_text("".join(json.dumps({"id": "a", "text": "x", "correct": 1, **row}) + "\n" for row in given))
    return Source(rows, (path,), Options())


def surveyed(one: Source) -> Survey:
    return survey(one, FromFile(), Meter(), lambda _: None)


def test_samples_are_numbered_in_the_order_of_the_file_or_as_it_says(tmp_path: Path) -> None:
    unnumbered = source(tmp_path / "r.jsonl", {}, {"id": "b"}, {})
    numbers = [(problem, index) for _, problem, index in unnumbered.rows(FromFile(), Meter(), lambda _: None)]
    assert numbers == [("a", 0), ("b", 0), ("a", 1)]
    numbered = source(tmp_path / "s.jsonl", {"index": 5}, {"index": 0})
    assert surveyed(numbered).extent == 6


@pytest.mark.parametrize(
    ("second", "message"),
    [({"index": 0}, "line 2: sample 0 of problem 'a' was there already"), ({"index": None}, "line 2: index is None")],
)
def test_indices_come_once_and_for_all_samples(tmp_path: Path, second: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        surveyed(source(tmp_path / "r.jsonl", {"index": 0}, second))


def test_what_has_no_verdict_is_counted_and_the_first_is_named(tmp_path: Path) -> None:
    found = surveyed(source(tmp_path / "r.jsonl", {}, {"correct": None}, {"correct": None}))
    assert (found.samples, found.ungraded, found.problems) == (3, 2, 1)
    assert found.first_ungraded.endswith("line 2")


def test_the_digest_follows_content_format_and_columns_but_not_the_judge(tmp_path: Path) -> None:
    one = source(tmp_path / "r.jsonl", {})
    digests = {
        one.digest(),
        source(tmp_path / "r2.jsonl", {}).digest(),  # the same content under another name
        Source(rows, one.files, Options(grader="x")).digest(),
    }
    assert len(digests) == 1
    other = [Source(rows, one.files, Options(columns={"text": "id"})), source(tmp_path / "s.jsonl", {"text": "y"})]
    assert len(digests | {each.digest() for each in other}) == 3


def test_the_set_of_verdicts_is_named_after_tool_and_judge(tmp_path: Path) -> None:
    one = source(tmp_path / "r.jsonl", {})
    assert given_set(one, Survey()) == "rows"
    assert given_set(one, Survey(grader="maj@8/exact match")) == "rows.maj_8_exact_match"
