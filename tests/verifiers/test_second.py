import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurve.types import Answer, Outcome
from kurve.verifiers.second import normal_form, second_opinion


def opinion(gold: str | tuple[str, ...], answer: str, *, unit: str = "", tolerance: float | None = None) -> bool:
    values = gold if isinstance(gold, tuple) else (gold,)
    return second_opinion(Answer(values, str(gold), unit, tolerance), answer) is Outcome.CORRECT


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("5", "5.0"),
        (r"\frac{1}{2}", "0.5"),
        (r"\frac12", r"\dfrac{1}{2}"),
        ("1/3", "0.333333333"),
        ("1234", "1,234"),
        ("2.5", r"2\frac{1}{2}"),
        (r"4.5\times10^{33}", "4.5e33"),
        ("90", r"90^\circ"),
        (r"\left(3,\frac{\pi}{2}\right)", r"(3, \frac{\pi}{2})"),
        ("(1,0.5)", r"(1,\frac{1}{2})"),
        ("5", "x = 5"),
        (("2", "-2"), "-2, 2"),
        ("1,2,3", "3,1,2"),
        ("62.5\\%", "62.5"),
        ("-7", r"\text{−7}"),
        ("16", "2^4"),
        ("25", r"\$25"),
        (r"11\sqrt2", r"11\sqrt{2}"),
        (r"\text{(B)}", "B"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
    ],
)
def test_equal_values_and_spellings_are_correct(gold: str | tuple[str, ...], answer: str) -> None:
    assert opinion(gold, answer)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("5", "6"), ("5", ""), (("1", "2"), "1"), (("1", "2"), "1,1"), ("(1,2)", "(2,1)"), ("(1,2)", "[1,2]"),
        ("4.5\\times10^{33}", "4.4e33"), ("1/3", "0.33"), ("5", "9^{9^{9^{9}}}"), ("5", "1/0"), ("5", "0^{-1}"),
        ("5", "(" * 300 + "5" + ")" * 300), ("5", "\ud800\x00"),
    ],
)  # fmt: skip
def test_other_answers_are_wrong(gold: str | tuple[str, ...], answer: str) -> None:
    assert not opinion(gold, answer)


@given(st.fractions(max_denominator=10**6))
def test_a_fraction_equals_itself_in_every_notation(value: object) -> None:
    numerator, _, denominator = str(value).partition("/")
    denominator = denominator or "1"
    sign, digits = ("-", numerator[1:]) if numerator.startswith("-") else ("", numerator)
    assert opinion(str(value), rf"{sign}\frac{{{digits}}}{{{denominator}}}")
    assert opinion(rf"{sign}\dfrac{{{digits}}}{{{denominator}}}", f"{numerator}/{denominator}")


@given(st.text(max_size=80))
def test_any_text_gets_an_opinion(answer: str) -> None:
    second_opinion(Answer(("5", "6"), "5,6", "cm", 0.1), answer)


@pytest.mark.parametrize("unit", ["(", "{", "9^", "1,", "\\frac{", "-", " ", "\\text{", "1/"])
def test_a_long_answer_takes_no_long_time(unit: str) -> None:
    start = time.process_time()
    opinion("5", unit * 100_000)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    "same",
    [
        ["1/2", "0.5", r"\frac{1}{2}", r"\dfrac12", "$0.50$", " 2/4 "],
        ["1,234", "1234", "1{,}234", "1234.0"],
        ["x=3", "3", "3.0", "+3"],
        [r"\left(1, 2\right)", "(1,2)"],
        ["62.5%", r"62.5\%", "62.5"],
    ],
)
def test_equal_literals_have_one_normal_form(same: list[str]) -> None:
    assert len({normal_form(one) for one in same}) == 1


def test_what_is_not_equal_keeps_its_own_form() -> None:
    different = [
        "1/3",
        "0.333",
        "(1,2)",
        "(2,1)",
        r"\sqrt{2}",
        "2",
        "-2",
        "12",
        "1,2",
        "",
        "4+7=11,11*8=88",
        "11*8=88,4+7=11",
    ]
    assert len({normal_form(one) for one in different}) == len(different)
    assert normal_form("5 cm", "cm") == normal_form("5") != normal_form("5 cm")


@given(st.text(max_size=60))
def test_any_text_has_a_normal_form(text: str) -> None:
    assert normal_form(text) == normal_form(text.strip())


@given(st.text(alphabet="0123456789 +-*/=(),.", max_size=14))
def test_the_short_way_of_plain_answers_changes_no_form(text: str) -> None:
    assert normal_form(text) == normal_form(rf"\displaystyle{text}")


def test_sums_of_huge_fractions_have_a_form_too() -> None:
    assert normal_form("+".join(f"1/{base}^99" for base in (7, 11, 13, 17, 19, 23, 29, 31, 37, 41)))
