import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurve.errors import MetricError
from kurve.metrics.likelihood import (
    clustered_mean,
    length_control,
    log_perplexity,
    mean_quantile,
    perplexity,
    problem_means,
    quantiles_within,
    summarise,
)


def test_perplexity_is_the_inverse_geometric_mean_of_token_probabilities() -> None:
    tokens = [Fraction(1, 2), Fraction(1, 8), Fraction(1, 4), Fraction(1, 1)]
    logprob = sum(math.log(p) for p in tokens)
    exact = 1 / math.prod(tokens)  # to the power of 1/4
    assert perplexity(log_perplexity([logprob], [4]))[0] ** 4 == pytest.approx(float(exact))
    assert log_perplexity([0.0], [1]).tolist() == [0.0]
    assert perplexity(0.0) == 1.0


def test_a_probability_far_below_the_smallest_double_has_its_perplexity() -> None:
    assert log_perplexity([-110.0 * 16_384], [16_384])[0] == pytest.approx(110.0)
    assert math.isfinite(perplexity(log_perplexity([-1e6], [1]))[0])
    assert perplexity([700.0])[0] == pytest.approx(math.exp(700.0))


@pytest.mark.parametrize(
    ("sums", "units"), [([], []), ([-1.0], [0]), ([0.1], [1]), ([-math.inf], [1]), ([math.nan], [1]), ([-1.0], [1, 2])]
)
def test_what_has_no_perplexity_is_refused(sums: list[float], units: list[int]) -> None:
    with pytest.raises(MetricError):
        log_perplexity(sums, units)


def test_a_summary_weighs_samples_in_quartiles_tokens_in_the_pool_and_problems_in_the_mean() -> None:
    found = summarise([-1.0, -4.0, -9.0, -2.0], [1, 2, 3, 2], [7, 7, 7, 3])  # 1, 2, 3 of one problem, 1 of another
    assert (found.num_samples, found.num_problems) == (4, 2)
    assert found.quartiles == (1.0, 1.5, 2.25)
    assert found.pooled == 16 / 8
    assert found.mean.value == 1.5
    # Two problem means, 1 and 2: standard error 1/2, t quantile of one degree 12.706.
    assert found.mean.high - found.mean.value == pytest.approx(12.7062 * 0.5, rel=1e-4)
    assert problem_means([1.0, 2.0, 3.0, 1.0], [7, 7, 7, 3]).tolist() == [1.0, 2.0]


def test_one_problem_says_nothing_of_others() -> None:
    assert clustered_mean(np.array([2.0])).low == -math.inf
    assert length_control([1.0, 2.0], [3, 4], [0, 0], is_other=[False, True]).adjusted.high == math.inf


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=20),
)
def test_a_quantile_counts_the_base_samples_below_and_half_of_the_ties(
    mine: list[tuple[int, int]], base: list[tuple[int, int]]
) -> None:
    problems, values = zip(*mine, strict=True)
    base_problems, base_values = zip(*base, strict=True)
    found = quantiles_within(values, problems, base_values, base_problems)
    for quantile, problem, value in zip(found, problems, values, strict=True):
        own = [other for which, other in base if which == problem]
        if not own:
            assert math.isnan(quantile)
            continue
        exact = Fraction(2 * sum(o < value for o in own) + sum(o == value for o in own), 2 * len(own))
        assert quantile == pytest.approx(float(exact))


def test_the_base_among_itself_is_at_one_half_on_average() -> None:
    values, problems = np.random.default_rng(0).normal(size=60), np.repeat(np.arange(6), 10)
    found = mean_quantile(quantiles_within(values, problems, values, problems), problems)
    assert found.value == pytest.approx(0.5)
    with pytest.raises(MetricError, match="both models"):
        mean_quantile([math.nan], [0])


def test_length_control_is_the_least_squares_fit_with_an_intercept_a_problem() -> None:
    rng = np.random.default_rng(1)
    problems = np.repeat(np.arange(5), 8)
    other = np.tile([False, True], 20)
    lengths = rng.integers(5, 50, 40) + 40 * other
    values = rng.normal(size=40) + problems
    dummies = (problems[:, None] == np.arange(5)).astype(float)
    design = np.column_stack([other, np.log(lengths), dummies])
    exact, *_ = np.linalg.lstsq(design, values, rcond=None)
    found = length_control(values, lengths, problems, is_other=other)
    assert found.adjusted.value == pytest.approx(exact[0])
    assert found.slope == pytest.approx(exact[1])
    assert found.raw.value == pytest.approx(values[other].mean() - values[~other].mean())
    residuals = values - design @ exact
    bread = np.linalg.inv(design.T @ design)
    scores = np.array([(design * residuals[:, None])[problems == p].sum(0) for p in range(5)])
    error = math.sqrt((bread @ scores.T @ scores @ bread)[0, 0] * 5 / 4)
    assert found.adjusted.high - found.adjusted.value == pytest.approx(2.7764 * error, rel=1e-4)


def test_a_difference_that_is_all_length_goes_away_at_equal_length() -> None:
    rng = np.random.default_rng(2)
    problems = np.repeat(np.arange(40), 20)
    other = np.tile([False, True], 400)
    lengths = rng.integers(10, 200, 800) * np.where(other, 3, 1)
    values = 2.0 - 0.3 * np.log(lengths) + 0.02 * rng.normal(size=800)
    found = length_control(values, lengths, problems, is_other=other)
    assert found.raw.high < -0.2
    assert found.adjusted.low < 0 < found.adjusted.high
    assert found.slope == pytest.approx(-0.3, abs=0.01)


def test_equal_lengths_leave_nothing_to_adjust_and_unpaired_problems_are_left_out() -> None:
    found = length_control([1.0, 2.0, 1.5, 3.5, 9.0], [7] * 5, [0, 0, 1, 1, 2], is_other=[0, 1, 0, 1, 1])
    assert found.num_problems == 2
    assert found.slope == 0
    assert found.adjusted.value == pytest.approx(1.5)
    with pytest.raises(MetricError, match="both models"):
        length_control([1.0], [1], [0], is_other=[True])


def test_the_interval_at_equal_length_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    problems, other = np.repeat(np.arange(30), 8), np.tile([False, True], 120)
    held = 0
    for _ in range(400):
        lengths = rng.integers(5, 60, 240)
        effect = 0.5 + 0.3 * rng.normal(size=30)[problems]  # differs from problem to problem
        values = rng.normal(size=30)[problems] + effect * other + 0.2 * np.log(lengths) + 0.3 * rng.normal(size=240)
        found = length_control(values, lengths, problems, is_other=other)
        held += found.adjusted.low <= 0.5 <= found.adjusted.high
    assert 0.92 <= held / 400 <= 0.98
