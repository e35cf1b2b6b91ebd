import numpy as np
import pytest
from scipy import stats

from kurve.errors import MetricError
from kurve.metrics.bootstrap import Estimate, normal_quantile
from kurve.metrics.multiplicity import Interval, Multiplicity, claims
from kurve.metrics.strata import holm


def interval(z: float) -> Interval:
    """Of a normal estimate z with standard error 1."""
    return lambda confidence: Estimate(z, z - normal_quantile(confidence), z + normal_quantile(confidence))


def is_above_0(one: Estimate) -> bool:
    return one.low > 0


@pytest.mark.parametrize("seed", range(20))
def test_holm_by_intervals_takes_the_claims_of_holms_p_values(seed: int) -> None:
    z = np.random.default_rng(seed).normal(1.8, 1.2, size=6)
    tested = claims({str(i): interval(one) for i, one in enumerate(z)}, is_above_0, Multiplicity.HOLM, confidence=0.95)
    by_p = (holm(2 * stats.norm.sf(np.abs(z))) < 0.05) & (z > 0)
    assert [one.holds for one in tested.values()] == by_p.tolist()
    assert list(tested) == [str(i) for i in range(6)]


def test_a_claim_that_cannot_be_tried_makes_the_others_harder() -> None:
    alone = claims({"a": interval(2.1)}, is_above_0, Multiplicity.HOLM, confidence=0.95)
    beside = claims({"a": interval(2.1)}, is_above_0, Multiplicity.HOLM, confidence=0.95, untestable=1)
    assert (alone["a"].holds, beside["a"].holds) == (True, False)
    assert beside["a"].confidence == pytest.approx(0.975)


def test_a_fixed_sequence_ends_at_the_first_claim_that_does_not_hold() -> None:
    given = {"a": interval(2.0), "b": interval(1.9), "c": interval(9.0)}
    tested = claims(given, is_above_0, Multiplicity.FIXED_SEQUENCE, confidence=0.95)
    assert [one.holds for one in tested.values()] == [True, False, False]
    assert {one.confidence for one in tested.values()} == {0.95}
    apart = claims(given, is_above_0, Multiplicity.NONE, confidence=0.95)
    assert [one.holds for one in apart.values()] == [True, False, True]


def test_nothing_to_test_is_nothing_claimed_and_no_confidence_is_refused() -> None:
    for rule in Multiplicity:
        assert claims({}, is_above_0, rule, confidence=0.95) == {}
    with pytest.raises(MetricError, match="between 0 and 1"):
        claims({"a": interval(1)}, is_above_0, Multiplicity.HOLM, confidence=1.0)


@pytest.mark.parametrize("rule", [Multiplicity.HOLM, Multiplicity.FIXED_SEQUENCE])
def test_no_false_claim_is_made_more_often_than_the_confidence_says(rule: Multiplicity) -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for z in rng.standard_normal((2000, 4)):
        tested = claims({str(i): interval(one) for i, one in enumerate(z)}, is_above_0, rule, confidence=0.95)
        wrong += any(one.holds for one in tested.values())
    assert wrong / 2000 < 0.025 + 3 * np.sqrt(0.025 / 2000)
