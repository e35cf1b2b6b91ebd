import json

import numpy as np
import pytest

from kurve.errors import ConfigError
from kurve.metrics.passk import pass_at_k
from kurve.review.result import ReviewSettings, agreements, as_json, check_rule, cot_result, judged, scalars
from kurve.types import CotVerdict, Soundness, Tally

SETTINGS = ReviewSettings(draws=200)
S, U, Q, E = Soundness.SOUND, Soundness.UNSOUND, Soundness.UNSURE, Soundness.ERROR
TALLY = Tally(("a", "b", "c"), np.array([20, 20, 20]), np.array([2, 1, 15]), np.zeros(3, dtype=np.int64))
UNDER = np.array([True, True, False])


def said(judge: str, **by_sample: Soundness) -> dict[str, dict[tuple[str, int], CotVerdict]]:
    """Verdicts on samples named as a0, a1, b0."""
    return {judge: {(k[0], int(k[1])): CotVerdict(k[0], int(k[1]), judge, v) for k, v in by_sample.items()}}


CORRECT = frozenset({("a", 0), ("a", 1), ("b", 0)})


def test_verdicts_of_all_correct_samples_give_pass_at_k_of_the_sound_ones() -> None:
    found = judged(TALLY, UNDER, said("alice", a0=S, a1=U, b0=S), CORRECT)
    result = cot_result(found, "majority", SETTINGS)
    assert result.estimate.value == pytest.approx(pass_at_k([20, 20, 20], [1, 1, 15]))
    assert result.plain.value == pytest.approx(pass_at_k([20, 20, 20], [2, 1, 15]))
    assert result.most.value == pytest.approx(result.estimate.value)
    assert result.least.value == pytest.approx(pass_at_k([20, 20, 20], [1, 1, 0]))
    assert result.reviewed_estimate is not None
    assert result.reviewed_estimate.value == pytest.approx(pass_at_k([20, 20], [1, 1]))
    assert result.sound_share is not None
    assert result.sound_share.value == pytest.approx(0.75)


def test_a_failure_is_no_verdict_and_verdicts_on_other_samples_do_not_count() -> None:
    found = judged(TALLY, UNDER, said("m#1", a0=E, a1=S, b5=S), CORRECT)
    assert found.num_failed == 1
    counts = found.counts("all")
    assert counts.num_sound.tolist() == [1, 0, 0]
    assert counts.num_unsound.tolist() == [0, 0, 0]
    assert counts.num_open.tolist() == [1, 1, 15]


def test_rules_differ_where_judges_do() -> None:
    three = said("x", a0=S, a1=S, b0=S) | said("y", a0=S, a1=U, b0=U) | said("z", a0=S, a1=S, b0=Q)
    found = judged(TALLY, UNDER, three, CORRECT)
    assert [found.counts(rule).num_sound[:2].tolist() for rule in ("any", "majority", "all")] == [
        [2, 1],
        [2, 0],
        [1, 0],
    ]
    assert found.counts("majority").num_open[:2].tolist() == [0, 1]
    values = [cot_result(found, rule, SETTINGS).estimate.value[-1] for rule in ("all", "majority", "any")]
    assert values == sorted(values)


def test_agreement_is_given_for_every_pair_and_for_all() -> None:
    three = said("x", a0=S, a1=S, b0=S) | said("y", a0=S, a1=U) | said("z", b0=U)
    found = agreements(judged(TALLY, UNDER, three, CORRECT), SETTINGS)
    assert list(found) == ["x and y", "x and z", "all judges"]
    assert found["x and y"].observed == 0.5
    assert found["all judges"].num_samples == 3


def test_a_problem_with_a_verdict_is_reviewed_whatever_the_range() -> None:
    found = judged(TALLY, np.zeros(3, dtype=bool), said("alice", c0=U), frozenset({("c", 0)}))
    assert found.reviewed.tolist() == [False, False, True]


def test_the_document_is_json_with_everything_and_the_same_twice() -> None:
    found = judged(TALLY, UNDER, said("x", a0=S, b0=U) | said("y", a0=S), CORRECT)
    results = [cot_result(found, rule, SETTINGS) for rule in ("any", "majority", "all")]
    data = as_json(results, found, agreements(found, SETTINGS), SETTINGS)
    assert data == as_json(results, found, agreements(found, SETTINGS), SETTINGS)
    document = json.loads(data)
    assert document["judges"] == ["x", "y"]
    one = document["rules"]["majority"]
    assert one["problems"][0] == {"id": "a", "n": 20, "c": 2, "sound": 1, "unsound": 0, "open": 1}
    assert set(one["curves"]) == {
        "pass_at_k", "cot_pass_at_k", "cot_pass_at_k_least", "cot_pass_at_k_most", "pass_at_k_reviewed",
        "cot_pass_at_k_reviewed",
    }  # fmt: skip
    numbers = scalars(results[1], found)
    assert numbers == one["scalars"]
    assert numbers["cot_pass_at_20_least"] <= numbers["cot_pass_at_20"] <= numbers["cot_pass_at_20_most"]
    assert numbers["num_open_reviewed"] == 1


def test_a_rule_that_is_none_is_refused() -> None:
    assert check_rule("any") == "any"
    with pytest.raises(ConfigError, match="rule is 'most'; expected one of any, majority, all"):
        check_rule("most")
