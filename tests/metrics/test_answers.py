"""Votes, confidence and diversity over all problems."""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.answers import best_by_logprob, clusters, diversity, majority
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.measured import Measured
from kurve.metrics.selection import majority_at_k
from kurve.types import Responses


def responses(
    name: str,
    right: Sequence[int],
    answers: Sequence[int],
    *,
    logprobs: Sequence[float] | None = None,
    tokens: Sequence[int] | None = None,
    unnamed: int = 0,
) -> Responses:
    n = len(right)
    return Responses(
        name,
        np.array(right, dtype=bool),
        np.array(answers, dtype=np.int64),
        np.arange(n),
        np.full(n, np.nan) if logprobs is None else np.array(logprobs, dtype=float),
        np.full(n, 10) if tokens is None else np.array(tokens),
        unnamed,
    )


def value(measured: Measured, key: str) -> float:
    found = measured.scalars[key]
    return found.value if isinstance(found, Estimate) else found


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_all_correct_answers_are_one_cluster_and_wrong_ones_keep_theirs() -> None:
    one = responses("p", [1, 1, 0, 0, 0, 1], [4, 5, 4, 7, -1, -1])
    label = clusters(one)
    assert label[[0, 1, 5]].tolist() == [0, 0, 0]
    assert len({int(label[2]), int(label[3]), 0}) == 3
    assert label[4] == -1


def test_the_vote_is_the_mean_over_problems_with_ties_as_shares() -> None:
    tie = responses("tie", [1, 1, 0, 0], [0, 1, 2, 2])  # two spellings of one right answer against two equal wrong ones
    sure = responses("sure", [1, 1, 1, 1], [0, 0, 0, 0])
    lost = responses("lost", [0, 0, 0, 0], [0, 0, 0, -1])
    found = majority([tie, sure, lost], rng=rng())
    assert value(found, "maj_at_4") == pytest.approx((0.5 + 1 + 0) / 3)
    [curve] = found.curves
    assert curve.name == "maj_at_k"
    assert curve.k.tolist() == [1, 2, 4]
    assert curve.value[0] == pytest.approx((2 / 4 + 1 + 0) / 3)  # one sample votes for itself
    assert np.all((curve.low <= curve.value) & (curve.value <= curve.high))


def test_a_single_problem_gives_what_the_function_of_one_problem_gives() -> None:
    one = responses("p", [1, 0, 0, 1, 0, 0, 1, 0], [0, 1, 1, 0, 2, -1, 0, 3])
    expected = majority_at_k(clusters(one), one.correct, [1, 2, 4, 8], rng())
    assert majority([one], rng=rng()).curves[0].value == pytest.approx(expected)


def test_ragged_problems_share_the_k_that_all_have_and_the_numbers_asked_for() -> None:
    found = majority([responses("a", [1] * 9, [0] * 9), responses("b", [0] * 5, [1] * 5)], rng=rng(), ks=(3, 7))
    assert found.curves[0].k.tolist() == [1, 2, 3, 4, 5]
    assert {key for key in found.scalars if not key.endswith(("low", "high"))} == {"maj_at_3", "maj_at_5"}
    assert value(found, "maj_at_3") == 0.5


def test_one_sample_is_enough() -> None:
    found = majority([responses("a", [1], [0])], rng=rng())
    assert found.scalars["maj_at_1"] == Estimate(1.0, 0.0, 1.0)


def test_verdicts_that_do_not_say_what_was_wrong_leave_no_vote_to_count() -> None:
    silent = responses("p", [1, 0, 0, 0], [-1, -1, -1, -1], unnamed=3)
    for metric in (majority, diversity):
        found = metric([silent], rng=rng())
        assert not found.scalars
        assert "3 verdicts say that an answer is wrong, but not what it was" in found.notes[0]
    spoken = responses("p", [1, 0, 0, 0], [0, 1, 2, -1], unnamed=1)
    assert "1 wrong answers without a text have no vote" in majority([spoken], rng=rng()).notes[0]


@pytest.mark.parametrize("score", ["mean", "sum"])
def test_the_likeliest_of_k_is_the_mean_over_all_subsets(score: str) -> None:
    right, logprobs, tokens = [1, 0, 0, 1, 1], [-8.0, -3.0, -20.0, -9.5, -2.5], [40, 3, 40, 10, 2]
    scores = [lp / (t if score == "mean" else 1) for lp, t in zip(logprobs, tokens, strict=True)]
    one = responses("p", right, [0] * 5, logprobs=logprobs, tokens=tokens)
    found = best_by_logprob([one], rng=rng(), ks=(3,), score=score)  # type: ignore[arg-type]  # both are allowed
    draws = list(combinations(range(5), 3))
    expected = np.mean([right[max(draw, key=lambda i: scores[i])] for draw in draws])
    assert value(found, f"best_of_3_by_{score}_logprob") == pytest.approx(expected)
    assert found.curves[0].name == f"best_of_k_by_{score}_logprob"


def test_samples_without_a_logprob_are_left_out_and_said() -> None:
    part = responses("p", [1, 0, 1], [0, 1, 0], logprobs=[-1.0, float("nan"), -2.0])
    found = best_by_logprob([part], rng=rng())
    assert found.curves[0].k.tolist() == [1, 2]
    assert "leaves out 1 samples" in found.notes[0]
    none = responses("q", [1, 0], [0, 1])
    assert best_by_logprob([none], rng=rng()) == Measured()  # an engine that gives none: nothing to say
    assert "1 problems have no sample with" in best_by_logprob([part, none], rng=rng()).notes[0]


def test_diversity_is_counted_by_hand() -> None:
    one = responses("p", [1, 1, 0, 0], [0, 1, 2, 2])
    other = responses("q", [0, 0, 0, 0], [3, 3, 3, -1])
    found = diversity([one, other], rng=rng())
    entropy = math.log(2) + 1 / 8  # two clusters of two, Miller-Madow
    assert value(found, "answer_entropy") == pytest.approx((entropy + 0) / 2)
    assert value(found, "effective_answers") == pytest.approx((math.exp(entropy) + 1) / 2)
    assert value(found, "distinct_answers") == 1.5
    assert value(found, "distinct_correct_answers") == 2  # of the problem that is solved
    assert value(found, "distinct_correct_responses") == 2
    [table] = found.tables
    assert table.columns == (
        "id", "n", "answered", "distinct_answers", "answer_entropy", "largest_share", "distinct_correct_answers",
        "distinct_correct_responses",
    )  # fmt: skip
    assert table.rows[1] == ("q", 4, 3, 1, 0.0, 1.0, 0, 0)


def test_a_model_that_never_answers_has_no_entropy() -> None:
    found = diversity([responses("p", [0, 0], [-1, -1]), responses("q", [0], [-1])], rng=rng())
    assert not found.scalars
    assert found.tables[0].rows[0] == ("p", 2, 0, 0, None, None, 0, 0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: majority([], rng=rng()),
        lambda: majority([responses("p", [1], [0])], rng=rng(), subsets=0),
        lambda: best_by_logprob([responses("p", [1], [0])], rng=rng(), score="max"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_refused(call: object) -> None:
    with pytest.raises(MetricError):
        call()  # type: ignore[operator]  # a lambda
