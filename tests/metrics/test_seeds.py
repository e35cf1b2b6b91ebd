import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.bootstrap import mean_interval, student_quantile
from kurve.metrics.paired import difference_interval
from kurve.metrics.seeds import over_seeds, seed_effect


def drawn(
    rng: np.random.Generator, *, seeds: int, problems: int, seed_sd: float, problem_sd: float, rest_sd: float
) -> np.ndarray:
    table = 0.05 + seed_sd * rng.standard_normal((seeds, 1)) + problem_sd * rng.standard_normal((1, problems))
    return np.clip(table + rest_sd * rng.standard_normal((seeds, problems)), -1, 1)


@pytest.mark.parametrize(
    ("seeds", "seed_sd", "problem_sd"), [(3, 0.03, 0.1), (5, 0.02, 0.1), (5, 0.0, 0.15), (4, 0.05, 0.02)]
)
def test_the_interval_holds_the_truth_as_often_as_it_says(seeds: int, seed_sd: float, problem_sd: float) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1500):
        table = drawn(rng, seeds=seeds, problems=80, seed_sd=seed_sd, problem_sd=problem_sd, rest_sd=0.1)
        found = seed_effect(table).change
        held += found.low <= 0.05 <= found.high
    assert 0.93 <= held / 1500 <= 0.995


def test_seeds_that_agree_leave_the_spread_of_problems() -> None:
    one = np.random.default_rng(1).uniform(-0.5, 0.5, 60)
    found = seed_effect(np.tile(one, (3, 1)))
    alone = difference_interval(one)
    assert found.seed_spread == 0
    assert (found.change.low, found.change.high) == pytest.approx((alone.low, alone.high))


def test_seeds_that_differ_widen_the_interval_and_are_named() -> None:
    rng = np.random.default_rng(2)
    alike, apart = (
        seed_effect(drawn(rng, seeds=5, problems=200, seed_sd=sd, problem_sd=0.1, rest_sd=0.05)) for sd in (0.0, 0.1)
    )
    assert apart.seed_spread == pytest.approx(0.1, rel=0.6)
    assert apart.change.high - apart.change.low > 3 * (alike.change.high - alike.change.low)


@pytest.mark.parametrize("table", [np.zeros((2, 10)), np.zeros((3, 1)), np.full((3, 5), 2.0), np.zeros(4)])
def test_what_says_nothing_of_seeds_is_refused(table: np.ndarray) -> None:
    with pytest.raises(MetricError):
        seed_effect(table)


def test_a_mean_over_seeds_has_the_interval_of_each_kind_of_chance() -> None:
    table = np.array([[0.2, 0.4, 0.9], [0.3, 0.5, 1.0], [0.1, 0.6, 0.8], [0.2, 0.5, 0.7]])
    found = over_seeds(table)
    means = table.mean(axis=1)
    half = student_quantile(1.959964, 4) * means.std(ddof=1) / 2
    assert found.value == pytest.approx(table.mean())
    assert found.by_seed == pytest.approx(means)
    assert found.problems == mean_interval(table.mean(axis=0))
    assert found.seeds is not None
    assert (found.seeds.low, found.seeds.high) == pytest.approx((table.mean() - half, table.mean() + half))
    effect = seed_effect(table)
    assert found.spread == effect.seed_spread
    assert found.both is not None
    assert found.both.low == min(max(effect.change.low, 0), found.problems.low)
    assert found.both.high == max(effect.change.high, found.problems.high)
    assert over_seeds(table - 1, signed=True).problems == difference_interval((table - 1).mean(axis=0))


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_establish_nothing_of_another_seed(seeds: int) -> None:
    found = over_seeds(np.full((seeds, 5), 0.25))
    assert (found.seeds, found.both, found.spread) == (None, None, None)
    assert found.value == 0.25
    assert found.problems.low < 0.25 < found.problems.high


@pytest.mark.parametrize("table", [np.zeros(3), np.zeros((0, 2)), np.full((3, 4), 1.5), np.full((3, 4), -0.5)])
def test_values_that_are_no_fractions_of_seeds_and_problems_are_refused(table: np.ndarray) -> None:
    with pytest.raises(MetricError):
        over_seeds(table)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.25])
@pytest.mark.parametrize("problems", [2, 500])
def test_seeds_and_problems_that_all_agree_make_nothing_certain(value: float, problems: int) -> None:
    found = over_seeds(np.full((4, problems), value))
    assert found.seeds is None
    assert found.problems == mean_interval(np.full(problems, value))
    assert found.both is not None
    assert found.both.low <= found.problems.low < found.problems.high <= found.both.high
    changed = seed_effect(np.full((4, problems), value)).change
    assert changed == difference_interval(np.full(problems, value))
    assert over_seeds(np.full((4, problems), value), signed=True).both == changed


@pytest.mark.parametrize("signed", [True, False])
def test_other_seeds_and_other_problems_are_never_surer_than_other_problems_alone(signed: bool) -> None:
    rng = np.random.default_rng(3)
    for rate in (0.001, 0.02, 0.5, 0.999):
        for problems in (2, 30, 300):
            found = over_seeds((rng.random((3, problems)) < rate).astype(float), signed=signed)
            assert found.both is not None
            assert found.both.low <= found.problems.low <= found.problems.high <= found.both.high
