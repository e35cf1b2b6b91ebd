"""Verdicts as rewards: which outcome earns what, what was cut off, and what is counted."""

from collections.abc import Sequence
from typing import Any, Self

import pytest

from kurve.errors import ConfigError
from kurve.rewards import REWARDS, VerdictReward
from kurve.types import Answer, Outcome, Problem, Sample, Verdict
from kurve.verifiers.countdown import CountdownVerifier

PROBLEMS = [Problem(name, f"What is {name}?", Answer((name,), raw=name)) for name in ("one", "two")]
END = 2


class Echo:
    """The outcome is what the response says; keeps what it was asked."""

    fingerprint = "echo"

    def __init__(self) -> None:
        self.asked: list[tuple[Problem, Sample]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def verify(self, items: Sequence[tuple[Problem, Sample]]) -> list[Verdict]:
        self.asked += items
        return [Verdict(sample.problem_id, sample.index, Outcome(sample.text)) for _, sample in items]


def judged(
    completions: Sequence[Any], ids: Sequence[Sequence[int]] | None = None, names: Sequence[str] | None = None
) -> tuple[list[Sample], list[float | None]]:
    """What the verifier was asked about responses of at most 4 tokens, and what they earned."""
    verifier = Echo()
    reward = VerdictReward(verifier, PROBLEMS, max_tokens=4, end_tokens=[END, 9])
    earned = reward(
        completions=completions,
        completion_ids=ids or [[5, END]] * len(completions),
        problem_id=names or ["one"] * len(completions),
        trainer_state=None,  # TRL passes more than is read
    )
    return [sample for _, sample in verifier.asked], earned


def test_only_a_correct_response_earns_1_and_one_without_a_verdict_earns_nothing_rather_than_0() -> None:
    expected = {"correct": 1, "wrong": 0, "no_answer": 0, "truncated": 0, "timeout": None, "error": None}
    _, earned = judged(list(expected))
    assert earned == list(expected.values())
    assert REWARDS.keys() == set(Outcome) == set(map(Outcome, expected))


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ([5, END], "stop"),
        ([5, 6, 7], "stop"),  # shorter than the limit: it ended, whatever its last token is
        ([5, 6, 7, END], "stop"),  # of full length, and ended by itself
        ([5, 6, 7, 9], "stop"),  # the other token that ends
        ([5, END, 6, 7], "length"),
        ([5, 6, 7, 8], "length"),
        ([], "stop"),
    ],
)
def test_a_response_is_cut_off_if_it_fills_the_limit_without_an_end(ids: list[int], reason: str) -> None:
    [sample], _ = judged(["wrong"], [ids])
    assert sample.finish_reason == reason
    assert sample.num_tokens == len(ids)


def test_texts_and_chats_are_judged_by_what_the_model_said() -> None:
    chat = [{"role": "assistant", "content": "cor"}, {"role": "assistant", "content": "rect"}]
    samples, earned = judged(["correct", [{"role": "assistant", "content": "wrong"}], chat])
    assert [sample.text for sample in samples] == ["correct", "wrong", "correct"]
    assert earned == [1, 0, 1]


def test_each_response_is_judged_against_its_own_problem() -> None:
    verifier = Echo()
    reward = VerdictReward(verifier, PROBLEMS, max_tokens=4)
    reward.judge(["wrong"] * 3, [[1]] * 3, ["two", "one", "two"])
    assert [problem for problem, _ in verifier.asked] == [PROBLEMS[1], PROBLEMS[0], PROBLEMS[1]]
    assert [(sample.problem_id, sample.index) for _, sample in verifier.asked] == [("two", 0), ("one", 1), ("two", 2)]


def test_the_share_of_every_outcome_is_logged_and_each_response_has_its_own_in_the_table() -> None:
    metrics: dict[str, float] = {}
    columns: dict[str, list[str]] = {}
    VerdictReward(Echo(), PROBLEMS, max_tokens=4)(
        completions=["correct", "error", "error", "timeout"],
        completion_ids=[[1]] * 4,
        problem_id=["one", "two", "one", "two"],
        log_metric=metrics.__setitem__,
        log_extra=columns.__setitem__,
    )
    shares = {"correct": 0.25, "error": 0.5, "timeout": 0.25, "wrong": 0, "no_answer": 0, "truncated": 0}
    assert metrics == {f"verdicts/{outcome}": share for outcome, share in shares.items()}
    assert columns == {
        "problem_id": ["one", "two", "one", "two"],
        "outcome": ["correct", "error", "error", "timeout"],
    }


def test_a_problem_that_is_not_known_is_refused_with_its_id() -> None:
    with pytest.raises(ConfigError, match="'three', which is none of the 2 problems"):
        judged(["wrong"], names=["three"])


def test_rows_that_do_not_match_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        judged(["wrong", "wrong"], names=["one"])


def test_the_verifier_of_an_evaluation_judges_training_the_same_way() -> None:
    problem = Problem("p", "4 7 7 8 -> 32 :", Answer(("32",), raw="32"))
    texts = ["7 - 7 = 1", "8 - 7 = 1 , 7 + 1 = 8 , 4 * 8 = 32", "eggs"]
    reward = VerdictReward(CountdownVerifier(), [problem], max_tokens=20)
    verdicts = reward.judge(texts, [[1, 2]] * 3, ["p"] * 3)
    samples = [(problem, Sample("p", place, text, "stop", 2)) for place, text in enumerate(texts)]
    assert verdicts == CountdownVerifier().verify(samples)
    earned = reward(completions=texts, completion_ids=[[1, 2]] * 3, problem_id=["p"] * 3)
    assert earned == [0, 1, 0]
    assert reward(completions=texts, completion_ids=[[1] * 20] * 3, problem_id=["p"] * 3) == [0, 0, 0]  # cut off
