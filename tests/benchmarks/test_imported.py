from pathlib import Path

import pytest

from kurve.benchmarks.imported import Item, lines, load, of_items, reference
from kurve.errors import ConfigError, DataError

ITEMS = (Item("b", "1 + 1?", "2"), Item("a", "What?", None))


def test_problems_read_back_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_bytes(lines(ITEMS))
    found = load(name="sums", path=tmp_path / "problems.jsonl")
    assert [(one.id, one.question, one.reference.values) for one in found.problems] == [
        ("a", "What?", ()),
        ("b", "1 + 1?", ("2",)),
    ]
    assert found.revision == of_items("sums", ITEMS, source="", num_samples=1).revision
    assert [one.id for one in load(name="sums", path=tmp_path / "problems.jsonl", limit=1).problems] == ["a"]


@pytest.mark.parametrize(
    ("gold", "values"),
    [
        ("She has 7 pears.\n#### 7", ("7",)),
        (r"So the answer is $\boxed{\frac{1}{2}}$.", (r"\frac{1}{2}",)),
        ("1,000", ("1000",)),
        ("x" * 400, ()),
        ("####", ()),
        (None, ()),
    ],
)
def test_reference_answers_of_any_dataset(gold: str | None, values: tuple[str, ...]) -> None:
    assert reference(gold).values == values


def test_a_damaged_file_and_a_limit_of_0_are_refused(tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text('{"id": 3, "question": "?", "answer": null}\n')
    with pytest.raises(DataError, match=r"line 1: expected id, question and answer as texts"):
        load(name="sums", path=tmp_path / "problems.jsonl")
    with pytest.raises(ConfigError, match=r"benchmark.limit is 0"):
        load(name="sums", path=tmp_path / "problems.jsonl", limit=0)
