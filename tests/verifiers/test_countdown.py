"""Each kind of response to a countdown problem, honest and hostile."""

import logging
from dataclasses import replace

import pytest

from kurve.types import Answer, Outcome, Problem, Sample, Verdict
from kurve.verifiers.countdown import CountdownVerifier

RIGHT = "4 + 7 = 11 , 11 - 7 = 4 , 4 * 8 = 32"
PROBLEM = Problem("p", "4 7 7 8 -> 32 :", Answer(("32",), raw="32"))


def judge(text: str, *, question: str = PROBLEM.question, finish: str = "stop") -> Verdict:
    target = question.split()[-2]
    problem = Problem("p", question, Answer((target,), raw=target))
    return CountdownVerifier().verify([(problem, Sample("p", 0, text, finish, 1))])[0]


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (PROBLEM.question, RIGHT),
        (PROBLEM.question, f" {RIGHT}\n"),  # engines leave a blank before the first word
        (PROBLEM.question, "7 + 4 = 11 , 11 - 7 = 4 , 8 * 4 = 32"),
        (PROBLEM.question, "7 / 7 = 1 , 4 * 8 = 32 , 1 * 32 = 32"),
        ("9 11 -> 99 :", "9 * 11 = 99"),
        ("2 5 -> 3 :", "5 - 2 = 3"),
    ],
)
def test_a_chain_that_reaches_the_target_is_correct(question: str, text: str) -> None:
    verdict = judge(text, question=question)
    assert verdict.outcome is Outcome.CORRECT
    assert verdict.answer == text.strip()


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (PROBLEM.question, "4 + 7 = 17 , 7 + 8 = 15 , 15 + 17 = 32"),  # 4 + 7 is 11
        (PROBLEM.question, "4 * 8 = 32"),  # two sevens unused
        (PROBLEM.question, "4 + 7 = 11 , 11 - 7 = 4"),  # 8 unused, and no target
        ("4 8 -> 16 :", "4 + 4 = 8 , 8 + 8 = 16"),  # 4 used twice, given once
        (PROBLEM.question, "4 * 8 = 32 , 7 + 32 = 39 , 39 - 7 = 32 , 32 / 1 = 32"),  # 1 was not given
        (PROBLEM.question, "4 + 8 = 12 , 12 - 7 = 5 , 5 + 7 = 12"),  # another target
        (PROBLEM.question, "4 * 8 = 32 , 32 * 7 = 224 , 224 / 7 = 32"),  # 224 is above 99
        (PROBLEM.question, f"{RIGHT} , 32 + 1 = 33"),  # goes on
        (PROBLEM.question, f"{RIGHT} , {RIGHT}"),
        ("3 7 -> 2 :", "7 / 3 = 2"),  # does not divide
        ("3 7 -> 4 :", "3 - 7 = 4"),  # below zero
        ("3 7 -> 5 :", "7 - 3 = 5"),
        ("3 7 -> 22 :", "3 * 7 = 22"),
    ],
)
def test_a_chain_that_breaks_a_rule_is_wrong(question: str, text: str) -> None:
    verdict = judge(text, question=question)
    assert verdict.outcome is Outcome.WRONG
    assert verdict.answer == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "32",
        "I cannot do this .",
        f"{RIGHT} done",
        f"solution : {RIGHT}",
        f"{RIGHT} ,",
        f"{RIGHT} , ",
        f"{RIGHT} .",
        RIGHT.replace(" , ", ","),
        RIGHT.replace(" , ", "\n"),
        RIGHT.replace(" ", ""),
        RIGHT.replace("=", "=="),
        RIGHT.replace("*", "x"),
        RIGHT.replace("7", "07"),
        RIGHT.replace("7", "+7"),
        RIGHT.replace("7", "7.0"),
        RIGHT.replace("32", "-32"),
        "7 - 7 = 0 , 4 * 8 = 32 , 0 + 32 = 32",
        "( 4 + 7 - 7 ) * 8 = 32",
    ],
)
def test_what_is_no_chain_of_equations_is_no_answer(text: str) -> None:
    verdict = judge(text)
    assert verdict.outcome is Outcome.NO_ANSWER
    assert verdict.answer == ""


@pytest.mark.parametrize("text", [RIGHT, RIGHT[:-3], "4 + 7 = 12", "", "nothing"])
def test_what_was_cut_at_the_token_limit_is_truncated_whatever_stands_there(text: str) -> None:
    assert judge(text, finish="length").outcome is Outcome.TRUNCATED


@pytest.mark.parametrize(
    "text",
    [
        f"4 + 7 = {'1' * 100_000}",
        f"{'9' * 100_000} * {'9' * 100_000} = 32",
        " , ".join(["4 + 7 = 11"] * 100_000),
        " , ".join([RIGHT] * 30_000),
        " , " * 100_000,
        "4 + " * 100_000,
        "4 + 7 = " * 100_000,
        " " * 500_000 + "4",
        RIGHT.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")),
        RIGHT.translate(str.maketrans("0123456789", "０１２３４５６７８９")),
        RIGHT.replace("7", "⑦"),
        RIGHT.replace("4", "४"),
        RIGHT.replace(" ", "\u00a0"),
        RIGHT.replace("-", "\u2212"),
        RIGHT.replace("11", "1\u200b1"),
        f"{RIGHT}\x00",
        f"\ud800{RIGHT}\udfff",
        "__import__('os').abort()",
    ],
    ids=range(18),
)
def test_a_hostile_response_is_never_correct_and_does_not_disturb_the_next(text: str) -> None:
    """Of any size: what takes more than linear time would not end here."""
    hostile, honest = CountdownVerifier().verify(
        [(PROBLEM, Sample("p", 0, text, "stop", 1)), (PROBLEM, Sample("p", 1, RIGHT, "stop", 1))]
    )
    assert hostile.outcome in (Outcome.WRONG, Outcome.NO_ANSWER)
    assert len(hostile.answer) <= 500
    assert honest.outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    "problem",
    [
        replace(PROBLEM, question="How much is 4 * 8 ?"),
        replace(PROBLEM, question=PROBLEM.question + " "),
        replace(PROBLEM, question="-> 32 :"),
        replace(PROBLEM, reference=Answer(("33",), raw="33")),
        replace(PROBLEM, reference=Answer(("32", "33"), raw="32, 33")),
        replace(PROBLEM, question="٤ 7 7 8 -> 32 :"),
    ],
)
def test_a_problem_of_another_benchmark_is_an_error_and_said_once(
    problem: Problem, caplog: pytest.LogCaptureFixture
) -> None:
    items = [(problem, Sample(problem.id, index, RIGHT, "stop", 1)) for index in range(3)]
    with caplog.at_level(logging.WARNING):
        found = CountdownVerifier().verify([*items, (PROBLEM, Sample("p", 3, RIGHT, "stop", 1))])
    assert [one.outcome for one in found] == [Outcome.ERROR] * 3 + [Outcome.CORRECT]
    [record] = caplog.records
    assert "3 of 4 samples answer no countdown problem" in record.getMessage()


def test_verdicts_come_in_the_order_of_the_samples_and_name_them() -> None:
    texts = [RIGHT, "4 * 8 = 32", "no", RIGHT]
    items = [(PROBLEM, Sample("p", 10 - place, text, "stop", 1)) for place, text in enumerate(texts)]
    with CountdownVerifier() as verifier:
        found = verifier.verify(items)
        assert verifier.verify([]) == []
    assert [one.index for one in found] == [10, 9, 8, 7]
    assert [one.outcome for one in found] == [Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER, Outcome.CORRECT]


def test_every_verifier_of_these_rules_has_the_same_fingerprint() -> None:
    """It names stored verdicts: with other rules they would have to be made again."""
    assert CountdownVerifier().fingerprint == CountdownVerifier().fingerprint == "04c1033948c1"
