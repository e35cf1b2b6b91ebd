import pytest

from kurve.benchmarks.cells import content_id
from kurve.benchmarks.rows import Benchmark
from kurve.errors import DataError
from kurve.importers.identify import FromFile, OfBenchmark
from kurve.importers.imported import Imported
from kurve.types import Answer, Problem

QUESTIONS = {"p1": "How many pears has Ann in all?", "p2": "How many eggs do 7 boxes hold?"}
BENCHMARK = Benchmark(
    "sums", tuple(Problem(i, q, Answer(("7",), "7")) for i, q in QUESTIONS.items()), "1", "test", num_samples=4
)


def row(question: str = "", problem_id: str = "", gold: str | None = "7", prompt: str = "") -> Imported:
    return Imported("file, line 3", "text", question, problem_id, gold, prompt)


def test_a_problem_is_named_by_its_id_or_else_by_the_hash_of_its_question() -> None:
    problems = FromFile()
    assert problems.find(row("3 + 4?", "dataset/7")) == "dataset/7"
    assert problems.find(row("1 + 1?")) == problems.find(row("1  +\n1?")) == content_id("1 + 1?")
    assert [item.question for item in problems.items.values()] == ["3 + 4?", "1 + 1?"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (row("4 + 4?", "a"), "problem 'a' has the question '4 .*, but '3 .* at file, line 3"),
        (row("3 + 4?", "a", gold="8"), "problem 'a' has the reference answer '8', but '7'"),
        (row(), "neither an id nor a question says which problem"),
        (row("\ud800"), "not valid Unicode"),
        (row("fine", "\ud800"), "not valid Unicode"),
    ],
)
def test_rows_that_contradict_one_another_or_say_nothing_are_refused(second: Imported, message: str) -> None:
    problems = FromFile()
    problems.find(row("3 + 4?", "a"))
    with pytest.raises(DataError, match=message):
        problems.find(second)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row("How many  pears has\nAnn in all?"), "p1"),
        (row("Question: How many eggs do 7 boxes hold?\nAnswer:"), "p2"),
        (row(f"Q: {QUESTIONS['p1']} A: 7 Q: {QUESTIONS['p2']} A:"), "p2"),  # a shot, then the question
        (row("eggs?", prompt=f"Solve: {QUESTIONS['p2']}"), "p2"),
        (row("", "p1"), "p1"),
        (row("", "p3"), None),
        (row("Something else altogether?", "p1"), None),
        (row("Ann"), None),
    ],
)
def test_a_benchmarks_problem_is_found_by_its_question(given: Imported, expected: str | None) -> None:
    assert OfBenchmark(BENCHMARK).find(given) == expected


def test_the_benchmarks_own_words_are_kept() -> None:
    problems = OfBenchmark(BENCHMARK)
    problems.find(row("Q: How many eggs do 7 boxes hold? A:", prompt="sent"))
    assert {item.id: (item.question, item.prompt) for item in problems.items.values()} == {
        "p2": (QUESTIONS["p2"], "sent")
    }
