import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kurve.verifiers.extract import extract

BRACED = st.recursive(
    st.text("ab12 +-,\\", min_size=1, max_size=6),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda parts: "x{" + "".join(parts) + "}"),
    max_leaves=8,
)
PIECES = st.sampled_from(
    [
        "answer",
        " is ",
        "final ",
        "$",
        "$$",
        "\\[",
        "\\]",
        "\\boxed{",
        "\\fbox{",
        "{",
        "}",
        "5",
        "1e3",
        "\n",
        "#### ",
        "=",
        "%",
    ]
)


@given(BRACED.filter(lambda text: text.strip() != "" and "\\boxed" not in text))
def test_a_box_is_read_to_its_own_brace(content: str) -> None:
    found = extract("Let {x} be 1. \\boxed{" + content + "} as {we} said")
    assert found is not None
    assert found.boxed
    assert found.text == content.strip()


@given(st.lists(PIECES | st.text(max_size=4), max_size=60).map("".join))
@settings(max_examples=300)
def test_any_text_gives_a_passage_no_longer_than_it_needs_to_be(text: str) -> None:
    found = extract(text)
    if found is not None:
        assert found.text == found.text.strip()
        assert len(found.text) <= 4 * len(text) + 60


@given(st.integers(-(10**9), 10**9), st.text("abc .\n", max_size=30))
def test_what_comes_before_the_last_box_does_not_matter(number: int, prefix: str) -> None:
    found = extract(f"{prefix} \\boxed{{1}} {'and so it goes on and on ' * 4} $\\boxed{{{number}}}$.")
    assert found is not None
    assert found.text == str(number)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{1}, \boxed{2}", "1,2"),
        (r"\boxed{1} \boxed{1}", "1"),
        (r"$\boxed{50}$%", r"50\%"),
        (r"\boxed{5} and then \boxed{", "5"),
        (r"\boxed{5} and \boxed{ }", "5"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed {5}", "5"),
        ("work\n#### 72\n\nQuestion: what is 3?", "72"),
    ],
)
def test_the_answer_is_what_a_person_would_read(text: str, answer: str) -> None:
    found = extract(text)
    assert found is not None
    assert found.text == answer


def test_a_heading_is_not_a_gsm8k_answer() -> None:
    found = extract("#### Step 1: add\nThe answer is 7.")
    assert found is not None
    assert "7" in found.text
    assert "Step" not in found.text


@pytest.mark.parametrize(
    "unit",
    [
        "\\boxed{", "\\boxed{5}", "answer ", "final answer is ", "answer:", "answer = ", "$", "\\[", "#### 5", "{",
        "1 ",
        "final answer" + " " * 90, "1e5 ", "\n", "= (", "and ", "$$", "\\fbox{\\boxed{",
    ],
)  # fmt: skip
def test_the_time_is_linear_in_the_length(unit: str) -> None:
    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        start = time.process_time()
        extract(text)
        return time.process_time() - start

    seconds(1000)
    assert seconds(400_000) < 12 * max(seconds(100_000), 0.05)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>3 or 4?</think> <answer>5</answer>", "5"),
        ("<think>so</think> <answer> 5", "5"),
        (r"<answer> $\frac{1}{2}$ </answer>", r"\frac{1}{2}"),
        (r"<answer>the value is \boxed{7}</answer>", "7"),
        ("the answer is 3 <answer>5</answer>", "5"),
    ],
)
def test_the_tags_of_the_r1_template_hold_the_answer(text: str, expected: str) -> None:
    found = extract(text)
    assert found is not None
    assert found.text == expected


def test_empty_tags_hold_no_answer() -> None:
    assert extract("<answer> </answer>") is None
