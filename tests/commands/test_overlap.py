import pytest

from kurve.benchmarks.rows import Benchmark
from kurve.commands.overlap import Asked, check_overlap, normalised, overlapping
from kurve.errors import ConfigError
from kurve.types import Answer, Problem

LONG = "Natalia sold clips to 48 of her friends in April. How many?"


def benchmark(*problems: tuple[str, str]) -> Benchmark:
    return Benchmark("held_out", tuple(Problem(i, q, Answer(("1",), "1")) for i, q in problems), "1", "here", 4)


def test_the_same_id_or_the_same_question_overlaps() -> None:
    asked = Asked([("a", "What is 2 + 2?"), ("b", "What is 3 + 3?")])
    held_out = benchmark(("a", "something else"), ("x", "what  is 3+3?\n"), ("y", "What is 3 - 3?"), ("z", "New?"))
    assert overlapping(asked, held_out) == ["a", "x"]


def test_spelling_that_changes_no_question_does_not_count() -> None:
    assert normalised("\uff37hat  IS\n2 + 2?") == normalised("what is 2+2?")
    assert normalised("2 + 2") != normalised("2 - 2")


def test_a_question_inside_a_whole_prompt_overlaps_when_it_is_long_enough() -> None:
    asked = Asked([("p", f"Solve this.\n{LONG}\nAnswer:"), ("q", "Solve this.\n1 + 1?\nAnswer:")], verbatim=True)
    assert overlapping(asked, benchmark(("x", LONG), ("y", "1 + 1?"), ("z", LONG.replace("48", "49")))) == ["x"]
    assert overlapping(Asked(asked.questions), benchmark(("x", LONG))) == []


def test_an_overlap_is_refused_with_how_many_and_counted_where_it_is_allowed() -> None:
    asked, held_out = Asked([("a", "?")]), benchmark(("a", "?"), ("b", "!"))
    with pytest.raises(ConfigError, match="1 of the 2 problems of held_out"):
        check_overlap(asked, [held_out], allowed=False)
    assert check_overlap(asked, [held_out, held_out], allowed=True) == 2
    assert check_overlap(Asked([("c", ".")]), [held_out], allowed=False) == 0
