"""Text that is drawn fits its place and says what it can."""

import pytest

from kurve.figures.words import distinct, fitted, readable, width, wrapped
from tests.figures.panels import HOSTILE


@pytest.mark.parametrize("name", [*HOSTILE, "W" * 60, "i" * 60])
@pytest.mark.parametrize("inches", [0.3, 1.0, 3.4])
def test_a_name_is_never_wider_than_its_place(name: str, inches: float) -> None:
    shown = fitted(name, 9, inches)
    assert width(shown, 9) <= inches
    assert shown
    assert "\n" not in shown


def test_a_name_that_fits_stays_as_it_is_and_one_that_does_not_keeps_both_ends() -> None:
    assert fitted("Qwen2.5-7B", 9, 3.0) == "Qwen2.5-7B"
    shown = fitted("Qwen2.5-Math-7B-Oat-Zero-checkpoint-450", 9, 1.2)
    assert shown.startswith("Qwen")
    assert shown.endswith("450")
    assert "…" in shown


def test_what_cannot_be_drawn_is_a_box_and_a_leading_underscore_is_kept() -> None:
    assert readable("a\ud800\x00b") == "a\u25a1\u25a1b"
    assert readable("_x") == "\u2009_x"
    assert readable("") == "\u25a1"
    assert readable("one\n two") == "one two"


def test_names_that_shortening_makes_the_same_get_a_number() -> None:
    shown = distinct([f"run-{'x' * 80}{number}-end-of-a-long-name" for number in range(3)], 9, 1.5)
    assert len(set(shown)) == 3
    assert all(width(one, 9) <= 1.5 for one in shown)


def test_a_caption_is_broken_between_words_and_keeps_all_of_them() -> None:
    text = "95 % bands for whole curves, problems like these; differences paired over problems"
    lines = wrapped(text, 8.5, 2.0)
    assert " ".join(lines) == text
    assert all(width(line, 8.5) <= 2.0 for line in lines)
