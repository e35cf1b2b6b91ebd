"""Golds of the six benchmarks, as their files write them, and what a normaliser must make of them."""

import contextlib
import time

import pytest

from kurve.benchmarks.answers import NORMALIZERS, Gold, boxed, gsm8k, integer, last_boxed, latex
from kurve.errors import DataError
from kurve.types import Answer


def box(text: str) -> str:
    return f"so that $x = \\boxed{{{text}}}$ holds."


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4.5e33", r"4.5 \times 10^{33}"),
        ("4e33", r"4 \times 10^{33}"),
        ("1e-5", r"1 \times 10^{-5}"),
        ("1.70e4", r"1.70 \times 10^{4}"),
        ("2.88e-19", r"2.88 \times 10^{-19}"),
        ("np.arcsin(10/13)", r"\arcsin(10/13)"),
        ("np.log(2)", r"\ln(2)"),
        ("-1./3", "-1/3"),
        ("-3./2", "-3/2"),
        ("+2", "2"),
        ("56.0", "56"),
        ("0.10", "0.10"),
        ("3e^{-2t}", "3e^{-2t}"),
        ("e^{t} / 3", "e^{t} / 3"),
        ("I(0) e^{-\\frac{t}{R C}}\n", r"I(0) e^{-\frac{t}{R C}}"),
        (r"x_{0} \cos (\omega t)+$ $\dot{x}_{0}", r"x_{0} \cos (\omega t)+ \dot{x}_{0}"),
        (r"\frac{a M^{1 / 3}}{G M^{2 / 3}+b}", r"\frac{a M^{1 / 3}}{G M^{2 / 3}+b}"),
    ],
)
def test_minervas_boxed_answer_becomes_latex(text: str, value: str) -> None:
    answer = boxed(Gold(box("0") + box(text)))
    assert answer.values == (value,)
    assert answer.raw == text.strip()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("-2,-1,1,2", ("-2", "-1", "1", "2")),
        ("10,11,12,13,14,-2,-1,0,1,2", ("10", "11", "12", "13", "14", "-2", "-1", "0", "1", "2")),
        ("16,3,1,1", ("16", "3", "1", "1")),
        ("$69$,$84$", ("69", "84")),
        ("$221,$8$", ("221", "8")),
        ("$352146,362145,452136,562134$", ("352146", "362145", "452136", "562134")),
        ("$(1,8,19), (2,7,13), (4,5,7)$", ("(1,8,19)", "(2,7,13)", "(4,5,7)")),
        ("$(-\\frac{1}{2}, \\frac{7}{2})$", ("(-\\frac{1}{2}, \\frac{7}{2})",)),
        ("$a=2$, $a=-6-4 \\sqrt{2}$", ("a=2", "a=-6-4 \\sqrt{2}")),
        ("$x=\\pi k, \\frac{1}{3} \\pi+\\pi k$", ("\\pi k", "\\frac{1}{3} \\pi+\\pi k")),
        ("$f(x)=x,f(x)=-x$", ("f(x)=x", "f(x)=-x")),
    ],
)
def test_several_answers_in_one_gold_are_split_outside_brackets(text: str, values: tuple[str, ...]) -> None:
    assert latex(Gold(text, multiple=True)).values == values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$(-\\infty, 0) \\cup\\{1\\}$.", "(-\\infty, 0) \\cup\\{1\\}"),
        ("(-\\infty,-5)", "(-\\infty,-5)"),
        ("$t(0,4]$", "(0,4]"),
        ("$\\quad(2+\\sqrt{2}, 1+\\sqrt{2})$", "(2+\\sqrt{2}, 1+\\sqrt{2})"),
        ("$m_{\\max }=n^{2}-n-1$", "n^{2}-n-1"),
        ("$\\{1\\pm\\sqrt{5},-2\\}$", "\\{1\\pm\\sqrt{5},-2\\}"),
        ("10,\\!080", "10080"),
        ("11,\\! 111,\\! 111,\\! 100", "11111111100"),
        ("58,500", "58500"),
        (".35625", "0.35625"),
        ("\\text{(C)}", "\\text{(C)}"),
        ("\\begin{pmatrix} -1/3 \\\\ 2/3 \\end{pmatrix}", "\\begin{pmatrix} -1/3 \\\\ 2/3 \\end{pmatrix}"),
        ("52_8", "52_8"),
        ("]0, 1[", "]0, 1["),
        ("(1, 2", "(1, 2"),
        ("3,,4", "3,,4"),
        ("2, 3 and 5", "2, 3 and 5"),
        ("\\(\\frac{1}{2}\\)", "\\frac{1}{2}"),
        ("\\begin{pmatrix} 1 \\\\[2pt] 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\[2pt] 2 \\end{pmatrix}"),
        (
            "$f(x)=a x+b$, where $b$ is an arbitrary integer, and $a$ is positive",
            "f(x)=a x+b, where b is an arbitrary integer, and a is positive",
        ),
        ("\\left\\{x \\right.", "\\left\\{x \\right."),
    ],
)
def test_a_gold_with_one_value_stays_whole(text: str, value: str) -> None:
    assert latex(Gold(text)).values == (value,)


@pytest.mark.parametrize(
    ("gold", "values", "unit"),
    [
        (Gold("62.5%"), ("62.5",), "%"),
        (Gold("$8 \\%$"), ("8",), "%"),
        (Gold("$18.8^{\\circ}$"), ("18.8",), "^\\circ"),
        (Gold("90^\\circ"), ("90",), "^\\circ"),
        (Gold("$90^{\\circ}$,$60^{\\circ}$", multiple=True), ("90", "60"), "^\\circ"),
        (Gold("$\\angle B E A_{1}=90$,$\\angle A E B_{1}=90$", unit="^{\\circ}"), ("90", "90"), "^\\circ"),
        (Gold("$(45^{\\circ}, 60^{\\circ})$"), ("(45^{\\circ}, 60^{\\circ})",), ""),
        (Gold("\\sin 30^\\circ"), ("\\sin 30^\\circ",), ""),
        (Gold("864 \\mbox{ inches}^2"), ("864",), "inches^2"),
        (Gold("\\frac{270}7\\text{ degrees}"), ("\\frac{270}7",), "degrees"),
        (Gold("5.4 \\text{ cents}"), ("5.4",), "cents"),
        (Gold("\\$32,\\!348"), ("32348",), "\\$"),
        (Gold("\\$18.90"), ("18.90",), "\\$"),
        (Gold("$166$", unit="$cm^2$"), ("166",), "cm^2"),
        (Gold("3 \\text{ m}, 4 \\text{ s}"), ("3 \\text{ m}", "4 \\text{ s}"), ""),
    ],
)
def test_a_unit_is_kept_apart_from_the_value(gold: Gold, values: tuple[str, ...], unit: str) -> None:
    answer = latex(gold)
    assert (answer.values, answer.unit) == (values, unit)


def test_olympiadbenchs_error_becomes_the_absolute_tolerance() -> None:
    gold = Gold("4.2", unit="%", tolerance=0.1, multiple=False)
    assert latex(gold) == Answer(values=("4.2",), raw="4.2", unit="%", tolerance=0.1)


@pytest.mark.parametrize(
    ("text", "value"),
    [("025", "25"), ("000", "0"), ("27.0", "27"), ("-1.0", "-1"), ("1625", "1625"), ("$\\boxed{204}$", "204")],
)
def test_competition_answers_lose_padding_and_fraction(text: str, value: str) -> None:
    assert integer(Gold(text)).values == (value,)


@pytest.mark.parametrize("text", ["27.5", "x", "1/2", ".", "1,2"])
def test_a_competition_answer_that_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="expected a whole number"):
        integer(Gold(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2*3=<<2*3=6>>6\n#### 6", "6"),
        ("#### 1,450,000", "1450000"),
        ("#### -10", "-10"),
        ("#### $5", "5"),
        ("####  7. ", "7"),
    ],
)
def test_gsm8ks_answer_is_the_number_after_the_hashes(text: str, value: str) -> None:
    assert gsm8k(Gold(text)).values == (value,)


@pytest.mark.parametrize("text", ["no hashes: 5", "#### ", "#### five", "#### 5 eggs"])
def test_a_gsm8k_solution_without_a_final_number_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="#### <number>"):
        gsm8k(Gold(text))


def test_the_last_box_counts_escaped_braces_as_text() -> None:
    assert last_boxed(r"\boxed{1} then \boxed{\{2, \frac{3}{4}\}} end}") == r"\{2, \frac{3}{4}\}"
    assert last_boxed(r"\fbox {\\{a}}") == r"\\{a}"
    assert last_boxed("none") is None


def test_an_open_box_and_a_solution_without_a_box_are_refused() -> None:
    with pytest.raises(DataError, match="not closed"):
        boxed(Gold(r"\boxed{\frac{1}{2}"))
    with pytest.raises(DataError, match="no \\\\boxed"):
        boxed(Gold("the answer follows from the lemma. " * 20))
    with pytest.raises(DataError, match="empty"):
        boxed(Gold(r"\boxed{ }"))


@pytest.mark.parametrize("name", NORMALIZERS)
@pytest.mark.parametrize(
    "text",
    [
        "{" * 200_000,
        "\\boxed{" * 50_000,
        "(" * 100_000 + ")" * 100_000,
        "1," * 100_000,
        "." * 200_000,
        " " * 200_000 + "x" + " " * 200_000 + "%",
        "$" * 200_000,
        "1e" + "9" * 100_000,
        "9" * 200_000,
        "\\text{" * 50_000,
        "^" * 200_000,
        "^{ " * 100_000,
        "\\! " * 100_000,
        "\\angle" + " A" * 100_000,
        "-" * 100_000 + "1.",
        "\0" * 100_000,
        "aaaa " * 50_000,
        "$ ," * 100_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_hostile_golds_take_linear_time(name: str, text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(DataError):
        NORMALIZERS[name](Gold(text))
    assert time.process_time() - start < 2
