"""Single samples, gathered in any order."""

import random

import numpy as np

from kurve.metrics.answers import clusters
from kurve.responses import Gathered
from kurve.types import Answer, Outcome, Problem, Responses, Sample, Verdict

HOSTILE = ["\ud800", "\x00", "{" * 500, "<script>", "=1+1", "\u202e1", "9" * 500, "\\frac" * 90]


def gathered(verdicts: list[Verdict], samples: list[Sample], *, unit: str = "") -> Responses:
    gathering = Gathered([Problem("p", "?", Answer(("1",), "1", unit))])
    for verdict in verdicts:
        gathering.judged(0, verdict)
    for sample in samples:
        gathering.drawn(0, sample)
    [found] = gathering.responses()
    return found


def test_verdicts_and_samples_meet_by_index_whatever_their_order() -> None:
    verdicts = [Verdict("p", i, Outcome.CORRECT if i % 3 == 0 else Outcome.WRONG, str(i % 5)) for i in range(40)]
    samples = [Sample("p", i, f"text {i % 7}", "stop", i + 1, logprob_sum=-float(i)) for i in range(40)]
    first = gathered(verdicts, samples)
    random.Random(0).shuffle(verdicts)
    random.Random(1).shuffle(samples)
    again = gathered(verdicts, samples)
    for name in ("correct", "answer", "text", "logprob", "num_tokens"):
        assert np.array_equal(getattr(first, name), getattr(again, name)), name
    assert first.num_tokens.tolist() == list(range(1, 41))
    assert first.answer[:6].tolist() == [0, 1, 2, 3, 4, 0]
    assert first.text[:8].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]


def test_a_failed_judgement_is_no_sample_and_what_was_not_read_is_not_known() -> None:
    outcomes = [Outcome.ERROR, Outcome.TRUNCATED, Outcome.NO_ANSWER, Outcome.TIMEOUT, Outcome.WRONG]
    found = gathered([Verdict("p", i, one, "7") for i, one in enumerate(outcomes)], [Sample("p", 4, "t", "stop", 3)])
    assert found.correct.tolist() == [False] * 4
    assert found.answer.tolist() == [-1, -1, 0, 0]  # what was cut off or not found has none, whatever was written down
    assert found.text.tolist() == [-1, -1, -1, 0]
    assert found.num_tokens.tolist() == [0, 0, 0, 3]
    assert np.isnan(found.logprob).all()


def test_answers_are_equal_by_value_and_the_reference_s_unit_does_not_count() -> None:
    written = ["1/2", "0.5", r"\frac{1}{2}", "$0.5$", "0.5 cm", "0.50001"]
    found = gathered([Verdict("p", i, Outcome.WRONG, one) for i, one in enumerate(written)], [], unit="cm")
    assert found.answer.tolist() == [0, 0, 0, 0, 0, 1]


def test_an_empty_answer_is_no_vote_and_is_counted() -> None:
    verdicts = [
        Verdict("p", 0, Outcome.WRONG, ""),
        Verdict("p", 1, Outcome.WRONG, "  "),
        Verdict("p", 2, Outcome.CORRECT),
    ]
    found = gathered(verdicts, [])
    assert found.num_unnamed == 2
    assert clusters(found).tolist() == [-1, -1, 0]


def test_hostile_answers_are_only_numbers() -> None:
    found = gathered([Verdict("p", i, Outcome.WRONG, one) for i, one in enumerate(HOSTILE)], [])
    assert found.answer.tolist() == list(range(len(HOSTILE)))


def test_a_problem_without_a_sample_is_empty() -> None:
    assert gathered([], []).correct.size == 0
