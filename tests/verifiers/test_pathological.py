"""Answers that break math-verify called plainly: none of them may turn a right answer into a wrong one."""

import random
import time

import pytest

from kurve.types import Outcome
from kurve.verifiers.math import MathVerifier
from tests.verifiers.samples import item, judge

_SHUFFLED = list(range(2000))
random.Random(7).shuffle(_SHUFFLED)
_ORDERED_SET = r"\{" + ",".join(map(str, range(2000))) + r"\}"
_SHUFFLED_SET = r"\{" + ",".join(map(str, _SHUFFLED)) + r"\}"
_FLOATS = "(" + ",".join(f"{i}.5" for i in range(500)) + ")"
_DIGITS = "7" * 200_000

RIGHT = {
    "set of 2,000 in another order": (_ORDERED_SET, rf"\boxed{{{_SHUFFLED_SET}}}"),
    "the same set of 2,000": (_ORDERED_SET, rf"\boxed{{{_ORDERED_SET}}}"),
    "tuple of 500 decimals": (_FLOATS, rf"\boxed{{{_FLOATS}}}"),
    "400 nested parentheses": ("5", r"\boxed{" + "(" * 400 + "5" + ")" * 400 + "}"),
    "400 nested braces": ("5", r"\boxed{" + "{" * 400 + "5" + "}" * 400 + "}"),
    "200,000 digits": (_DIGITS, rf"\boxed{{{_DIGITS}}}"),
    "200,000 digits with a dot": (_DIGITS, rf"\boxed{{{_DIGITS}.0}}"),
    "loop of 20,000 boxes": ("5", "".join(rf" \boxed{{{i}}}" for i in range(20_000)) + r" \boxed{5}"),
    "20,000 open boxes": ("5", r"\boxed{5} " + r"\boxed{" * 20_000),
    "tower that is its own reference": ("10^{10^{10}}", r"\boxed{10^{10^{10}}}"),
}
UNDECIDED = [
    pytest.param("1", r"\boxed{\binom{10^6}{5 \cdot 10^5}}", id="large binomial"),
    pytest.param("1", r"\boxed{10^{10^{10}}}", id="tower", marks=pytest.mark.slow),
    pytest.param("1", r"\boxed{(10^6)!}", id="large factorial", marks=pytest.mark.slow),
    pytest.param("2", r"\boxed{9^{9^{9^{9}}}}", id="power of powers", marks=pytest.mark.slow),
    pytest.param("2", r"\boxed{\sum_{n=1}^{10^9} \frac{1}{n^2}}", id="large sum", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] if n in ("400 nested braces", "tuple of 500 decimals") else [])
        for n in RIGHT
    ],
)
def test_a_right_answer_is_never_wrong_whatever_its_size(name: str, impatient: MathVerifier) -> None:
    verdict = judge(impatient, *RIGHT[name])
    assert verdict.outcome in (Outcome.CORRECT, Outcome.TIMEOUT, Outcome.ERROR)
    assert len(verdict.answer) <= 500


@pytest.mark.parametrize(("gold", "text"), UNDECIDED)
def test_an_answer_too_large_to_compute_is_never_correct_and_never_hangs(
    gold: str, text: str, impatient: MathVerifier
) -> None:
    start = time.monotonic()
    assert judge(impatient, gold, text).outcome in (Outcome.WRONG, Outcome.TIMEOUT, Outcome.ERROR)
    assert time.monotonic() - start < 40


def test_identical_answers_of_any_size_are_correct(impatient: MathVerifier) -> None:
    for name in ("the same set of 2,000", "200,000 digits", "tuple of 500 decimals", "tower that is its own reference"):
        assert judge(impatient, *RIGHT[name]).outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{" + "\udc80\x00\ud800" + "}",
        "\x00" * 1000 + "5",
        "answer is " * 20_000,
        "final answer is" + " " * 50_000 + "5",
        "$" * 50_000,
        "\\[" * 30_000,
        "#### " * 30_000,
        "{" * 100_000 + r"\boxed{5" + "}" * 100_000,
        "1 " * 200_000,
        "\\boxed{\\text{final answer is $5$. I hope}}" * 500,
        "= -(" * 30_000,
        "\n" * 100_000 + "5",
        "1e" * 50_000,
        "🎲٣٤" * 5000,
    ],
    ids=range(14),
)
def test_hostile_text_gets_a_verdict_and_does_not_stop_the_next_sample(text: str, impatient: MathVerifier) -> None:
    items = [item("99999", text), item("5", r"\boxed{5.0}")]
    start = time.monotonic()
    hostile, honest = impatient.verify(items)
    assert hostile.outcome is not Outcome.CORRECT
    assert honest.outcome is Outcome.CORRECT
    assert time.monotonic() - start < 30
