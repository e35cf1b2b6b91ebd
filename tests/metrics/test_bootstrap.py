"""Do the intervals hold the truth as often as they say?"""

from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from kurve.errors import MetricError
from kurve.metrics.bootstrap import (
    Estimate,
    expected_half_width,
    fixed_problems_interval,
    mean_band,
    mean_interval,
    student_interval,
)
from kurve.metrics.passk import pass_at_k_per_problem

Floats: TypeAlias = NDArray[np.float64]

N = 128
KS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128])
TABLE = pass_at_k_per_problem(np.full(N + 1, N), np.arange(N + 1), KS)  # pass@k by number correct


def bimodal(rng: np.random.Generator, size: int) -> Floats:
    """Success probabilities as on MATH: a fifth never solved, some almost always, the rest U-shaped."""
    kind = rng.random(size)
    usual = np.where(kind < 0.35, 1 - rng.beta(1, 60, size), rng.beta(0.4, 0.6, size))
    return np.where(kind < 0.2, 0.0, usual)


def hard(rng: np.random.Generator, size: int) -> Floats:
    """Success probabilities as on AIME: half never solved, most others rarely."""
    return np.where(rng.random(size) < 0.5, 0.0, rng.beta(0.25, 2.0, size))


POPULATIONS = {"bimodal": bimodal, "hard": hard}


def coverage(population: str, num_problems: int, repeats: int, seed: int) -> tuple[float, float]:
    """Share of repeats in which the pass@1 interval, and the whole band, hold the truth."""
    rng = np.random.default_rng(seed)
    draw = POPULATIONS[population]
    everyone = draw(rng, 400_000)
    truth = -np.expm1(KS[:, None] * np.log1p(-np.minimum(everyone, 1 - 1e-15))).mean(axis=1)
    points = bands = 0
    for _ in range(repeats):
        values = TABLE[rng.binomial(N, draw(rng, num_problems))]
        point = mean_interval(values[:, 0])
        low, high = mean_band(values, rng, draws=1000)
        points += point.low <= truth[0] <= point.high
        bands += bool(np.all((low <= truth) & (truth <= high)))
    return points / repeats, bands / repeats


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("num_problems", [30, 100, 500])
def test_intervals_and_bands_hold_the_truth_about_as_often_as_they_say(population: str, num_problems: int) -> None:
    repeats = 300
    tolerance = 3.5 * np.sqrt(0.95 * 0.05 / repeats)  # of a share of 0.95 in so many repeats
    for share in coverage(population, num_problems, repeats, seed=num_problems):
        assert 0.95 - tolerance <= share


@pytest.mark.slow
@pytest.mark.parametrize("num_problems", [30, 100, 500])
def test_nominal_95_percent_is_93_to_97_percent_for_bimodal_problems(num_problems: int) -> None:
    repeats = 4000
    noise = 2 * np.sqrt(0.95 * 0.05 / repeats)
    for share in coverage("bimodal", num_problems, repeats, seed=1):
        assert 0.93 - noise <= share <= 0.97 + noise


def test_the_interval_of_these_problems_holds_their_truth() -> None:
    rng = np.random.default_rng(5)
    p = bimodal(rng, 100)
    for k in (1, 8, 64):
        truth = float((1 - (1 - p) ** k).mean())
        held = 0
        for _ in range(400):
            estimate = fixed_problems_interval(np.full(100, N), rng.binomial(N, p), k)
            held += estimate.low <= truth <= estimate.high
        assert held / 400 >= 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / 400)


def test_these_problems_are_known_better_than_problems_like_these() -> None:
    rng = np.random.default_rng(6)
    counts = rng.binomial(N, bimodal(rng, 100))
    these, like_these = fixed_problems_interval(np.full(100, N), counts, 1), mean_interval(counts / N)
    assert these.value == pytest.approx(like_these.value)
    assert these.high - these.low < 0.2 * (like_these.high - like_these.low)


def test_many_problems_give_the_usual_t_interval() -> None:
    values = np.random.default_rng(0).beta(0.5, 0.5, 5000)
    estimate = mean_interval(values)
    half = 1.9604 * values.std(ddof=1) / np.sqrt(5000)
    assert estimate.low == pytest.approx(values.mean() - half, abs=2e-4)
    assert estimate.high == pytest.approx(values.mean() + half, abs=2e-4)


@pytest.mark.parametrize("num_problems", [2, 3, 30, 500])
def test_no_problem_solved_still_leaves_room_as_the_rule_of_three_does(num_problems: int) -> None:
    none, every = mean_interval([0.0] * num_problems), mean_interval([1.0] * num_problems)
    assert (none.low, every.high) == (0.0, 1.0)
    assert min(3.0 / num_problems, 0.7) < none.high < 1
    assert none.high == pytest.approx(1 - every.low)


def test_equal_values_between_0_and_1_still_have_a_width() -> None:
    estimate = mean_interval([0.4] * 30)
    assert estimate.low < 0.39
    assert estimate.high > 0.41


def test_one_problem_says_nothing_about_others() -> None:
    estimate = mean_interval([0.5])
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.0, 1.0)
    low, high = mean_band([[0.5, 1.0]], np.random.default_rng(0))
    assert (low.tolist(), high.tolist()) == ([0.0, 0.0], [1.0, 1.0])


def test_a_band_is_wider_than_the_pointwise_interval_and_stays_within_0_to_1() -> None:
    rng = np.random.default_rng(1)
    values = TABLE[rng.binomial(N, bimodal(rng, 40))]
    low, high = mean_band(values, rng)
    for column in range(len(KS)):
        point = mean_interval(values[:, column])
        assert 0 <= low[column] <= point.low <= point.value <= point.high <= high[column] <= 1


def test_a_band_over_degenerate_columns_is_wide_and_finite() -> None:
    values = np.column_stack([np.zeros(30), np.full(30, 0.1), np.ones(30), np.linspace(0, 1, 30)])
    low, high = mean_band(values, np.random.default_rng(0))
    assert np.all(np.isfinite(low) & np.isfinite(high) & (high - low > 0.02))
    low, high = mean_band(np.ones((4, 3)), np.random.default_rng(0))
    assert np.all((low < 0.7) & (high == 1.0))


def test_the_same_generator_state_gives_the_same_band_and_another_seed_another() -> None:
    values = TABLE[np.random.default_rng(2).integers(0, N + 1, 30)]
    first, again, other = (mean_band(values, np.random.default_rng(seed))[0] for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_these_problems_never_have_a_zero_width() -> None:
    for correct in ([0, 0, 0], [8, 8, 8], [0, 8, 8]):
        estimate = fixed_problems_interval([8, 8, 8], correct, 2)
        assert estimate.high > estimate.low


def test_these_problems_need_2k_samples() -> None:
    with pytest.raises(MetricError, match="2k samples"):
        fixed_problems_interval([8], [4], 5)


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [1.5], [-0.1], [[0.5]]])
def test_what_is_not_a_list_of_fractions_is_refused(values: list[float]) -> None:
    with pytest.raises(MetricError):
        mean_interval(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, float("nan")])
def test_an_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(MetricError, match="confidence"):
        mean_interval([0.5, 0.6], confidence=confidence)


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(MetricError, match="100 draws"):
        mean_band([[0.5], [0.6]], np.random.default_rng(0), draws=10)


def test_an_unbounded_mean_has_student_s_interval_cut_at_0() -> None:
    values = [0.0, 1.0, 5.0, 2.0]
    found = student_interval(values)
    assert isinstance(found, Estimate)
    low, high = stats.t.interval(0.95, 3, loc=2.0, scale=stats.sem(values))
    assert low < 0
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 0.0, high))
    assert student_interval([3.5]) == 3.5  # one problem says nothing of others
    for wrong in ([], [-1.0], [float("nan")], [[1.0]]):
        with pytest.raises(MetricError, match="finite values from 0 on"):
            student_interval(wrong)


@pytest.mark.parametrize("rates", [[0.0, 0.0, 0.0], [1.0, 1.0], [0.1, 0.7, 0.4, 0.0], [0.0, 1.0, 1.0, 0.0]])
def test_the_expected_width_for_as_many_problems_is_the_seen_one(rates: list[float]) -> None:
    seen = mean_interval(rates)
    assert expected_half_width(rates, len(rates)) == pytest.approx((seen.high - seen.low) / 2)
    assert expected_half_width(rates, 100 * len(rates)) < expected_half_width(rates, 10 * len(rates))


def test_of_fewer_than_two_problems_the_widest_interval_is_expected() -> None:
    widest = expected_half_width([], 100)
    assert widest == expected_half_width([0.5], 100) == pytest.approx(0.0973, abs=1e-4)
    assert all(expected_half_width(rates, 100) <= widest for rates in ([0, 0], [0.4, 0.6], [0, 1]))
    assert expected_half_width([0.5, 0.4], 1) == 0.5
