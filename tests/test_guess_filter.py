import numpy as np

from kurve.guess_filter import GuessFilter, with_filter
from kurve.metrics.chance import guessable
from kurve.report import ReportSettings
from kurve.types import Tally
from tests.reports import C, report


def test_of_thirty_problems_eighteen_are_left_as_in_the_paper_where_twelve_are_guessed() -> None:
    direct = np.array([0] * 10 + [1] * 12 + [60] * 8)  # of 1,024: never, by chance, known
    assert int((~guessable(np.full(30, 1024), direct)).sum()) == 18


def left_out(count: int) -> GuessFilter:
    ids = tuple(f"q{place}" for place in range(count))
    return GuessFilter(
        "direct.jsonl", 0.05, Tally(ids, np.full(count, 64), np.ones(count, int), np.zeros(count, int)), 40
    )


def test_the_words_name_a_dozen_and_count_the_rest() -> None:
    assert left_out(1).words.endswith("by fewer than 5 % of the direct answers of direct.jsonl, but by some: q0.")
    assert left_out(15).words.endswith("q11 and 3 more.")
    assert "0 of 40 problems are left out" in left_out(0).words


def test_the_report_says_first_what_is_missing_and_shows_it_safely() -> None:
    made = with_filter(report([[C]], ReportSettings(1)), left_out(2), {"q0": "\x1b[31m" + "x" * 500})
    assert made.notes[0] == left_out(2).words
    assert made.scalars["num_guessable"] == 2
    table = made.tables[-1]
    assert table.rows[1] == ("q1", 64, 1, 1 / 64, "")
    assert "\x1b" not in str(table.rows[0][4])
    assert len(str(table.rows[0][4])) < 300


def test_an_empty_filter_leaves_an_empty_table() -> None:
    assert with_filter(report([[C]], ReportSettings(1)), left_out(0), {}).tables[-1].rows == ()
