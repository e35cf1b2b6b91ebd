import numpy as np
import pytest
from scipy import stats

from kurve.errors import MetricError
from kurve.metrics.paired import Change
from kurve.metrics.strata import LEAST, by_stratum, holm
from kurve.types import Tally


def tally(correct: list[int], strata: list[str] = [], n: int = 16) -> Tally:  # noqa: B006  # never changed
    size = len(correct)
    ids = tuple(f"p{i}" for i in range(size))
    return Tally(ids, np.full(size, n), np.array(correct), np.zeros(size, dtype=np.int64), strata=tuple(strata))


def test_each_stratum_is_compared_over_its_own_problems_and_the_largest_comes_first() -> None:
    strata = ["algebra"] * 30 + ["geometry"] * 40
    base = tally([4] * 30 + [8] * 40, strata)
    tuned = tally([8 + i % 3 for i in range(30)] + [4 + i % 3 for i in range(40)])
    geometry, algebra = by_stratum(base, tuned, 16)
    assert (geometry.name, geometry.num_problems, algebra.name, algebra.num_problems) == ("geometry", 40, "algebra", 30)
    assert algebra.at_1.change == pytest.approx(5 / 16)
    assert (algebra.at_1.verdict, geometry.at_1.verdict) == (Change.GAIN, Change.LOSS)
    assert algebra.words == "gain at k = 1, not established at k = 16"
    assert algebra.delta_se == pytest.approx(1 - 9 / 16)
    assert algebra.delta_se_interval is not None


def test_few_problems_establish_nothing_whatever_they_show() -> None:
    strata = ["few"] * (LEAST - 1) + ["enough"] * LEAST
    few, enough = reversed(by_stratum(tally([0] * 9, strata), tally([16] * 9), 16))
    assert few.num_problems == LEAST - 1
    assert few.at_1.change == enough.at_1.change == 1
    assert (few.at_1.interval, few.at_1.p_value, few.at_1.adjusted, few.delta_se_interval) == (None, None, None, None)
    assert few.at_1.verdict is Change.NOT_ESTABLISHED
    assert enough.at_1.adjusted == enough.at_1.p_value  # the only test there is


def test_a_p_value_below_alpha_is_an_interval_without_0() -> None:
    rng = np.random.default_rng(1)
    base = tally(rng.integers(0, 9, 400).tolist(), [f"s{i % 20}" for i in range(400)])
    tuned = tally((base.num_correct + rng.integers(-2, 4, 400)).clip(0, 16).tolist())
    for one in by_stratum(base, tuned, 8):
        for at in (one.at_1, one.headline):
            assert at.interval is not None
            assert at.p_value is not None
            assert (at.p_value < 0.05) == (at.interval.low > 0 or at.interval.high < 0)
            if at.verdict is not Change.NOT_ESTABLISHED:
                assert at.p_value < 0.05


def test_with_many_problems_the_p_value_is_that_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    base = tally(rng.integers(0, 17, 5000).tolist(), ["all"] * 5000)
    tuned = tally((base.num_correct + rng.integers(-1, 2, 5000)).clip(0, 16).tolist())
    [one] = by_stratum(base, tuned, 1)
    expected = stats.ttest_1samp((tuned.num_correct - base.num_correct) / 16, 0).pvalue
    assert one.at_1.p_value == pytest.approx(expected, abs=2e-3)
    assert one.at_1 == one.headline


def test_twenty_strata_without_a_change_are_rarely_called_one() -> None:
    rng, wrong = np.random.default_rng(3), 0
    for _ in range(100):
        chance = rng.beta(1, 3, 400)
        base = tally(rng.binomial(16, chance).tolist(), [f"s{i % 20}" for i in range(400)])
        tuned = tally(rng.binomial(16, chance).tolist())
        wrong += any(one.at_1.verdict is not Change.NOT_ESTABLISHED for one in by_stratum(base, tuned, 1))
    assert wrong <= 12  # 5 expected


def test_holm_equals_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@pytest.mark.parametrize("strata", [[], ["one"]])
def test_problems_without_strata_cannot_be_told_apart(strata: list[str]) -> None:
    with pytest.raises(MetricError, match="a stratum for each of 2 problems"):
        by_stratum(tally([1, 2], strata), tally([1, 2]), 1)


def test_what_is_no_p_value_is_refused() -> None:
    with pytest.raises(MetricError, match="p-values"):
        holm([0.5, 1.5])
