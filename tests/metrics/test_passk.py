"""pass@k against exact rational arithmetic."""

import time
from collections.abc import Sequence
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.passk import (
    fail_at_k_per_problem,
    high_variance,
    log_spaced,
    pass_at_k,
    pass_at_k_per_problem,
    sampling_variance,
)


def exact_fail(n: int, c: int, k: int) -> Fraction:
    """C(n - c, k) / C(n, k), by symmetry over the smaller of c and k."""
    return Fraction(comb(n - k, c), comb(n, c)) if c < k else Fraction(comb(n - c, k), comb(n, k))


def assert_close(got: float, exact: Fraction) -> None:
    assert abs(Fraction(got) - exact) <= exact * Fraction(1, 10**12)


def test_the_four_values_of_the_readme() -> None:
    assert pass_at_k([4, 4], [0, 2]) == pytest.approx([1 / 4, 5 / 12, 1 / 2, 1 / 2], abs=1e-15)


@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_pass_at_k_equals_its_binomial_definition(n: int) -> None:
    for c in range(n + 1):
        exact = [1 - Fraction(comb(n - c, k), comb(n, k)) for k in range(1, n + 1)]
        assert pass_at_k([n], [c]) == pytest.approx([float(x) for x in exact], abs=1e-12)


def test_every_n_up_to_40_is_exact_to_rounding() -> None:
    for n in range(1, 41):
        counts, ks = np.arange(n + 1), np.arange(1, n + 1)
        values = pass_at_k_per_problem(np.full(n + 1, n), counts, ks)
        fails = fail_at_k_per_problem(np.full(n + 1, n), counts, ks)
        for c in range(n + 1):
            for k in range(1, n + 1):
                exact = Fraction(comb(n - c, k), comb(n, k))
                assert abs(Fraction(values[c, k - 1]) - (1 - exact)) <= (1 - exact) * Fraction(1, 10**14)
                assert abs(Fraction(fails[c, k - 1]) - exact) <= exact * Fraction(1, 10**13)


@pytest.mark.parametrize("n", [1_024, 10_000, 100_000])
def test_tiny_success_and_tiny_failure_are_exact_to_1e_12_relative(n: int) -> None:
    correct = [1, 2, 3, 17, n // 1000 + 1, n // 100]
    ks = [1, 2, 3, 10, 97, n // 50]
    values = pass_at_k_per_problem([n] * len(correct), correct, ks)
    fails = fail_at_k_per_problem([n] * len(correct), correct, ks)
    for i, c in enumerate(correct):
        for j, k in enumerate(ks):
            exact = exact_fail(n, c, k)
            assert_close(values[i, j], 1 - exact)
            assert_close(fails[i, j], exact)


@pytest.mark.parametrize(("n", "c"), [(1_024, 1_020), (10_000, 9_995), (100_000, 99_997), (100_000, 50_000)])
def test_failure_stays_exact_when_nearly_every_sample_is_correct(n: int, c: int) -> None:
    ks = [k for k in (1, 2, 3, 5, 40, 300) if k <= n - c]
    fails = fail_at_k_per_problem([n], [c], ks)[0]
    for k, got in zip(ks, fails, strict=True):
        assert_close(float(got), exact_fail(n, c, k))


def test_the_end_of_a_long_curve_is_exact() -> None:
    n, c = 100_000, 3
    curve = pass_at_k([n], [c])
    fails = fail_at_k_per_problem([n], [c], [99_990, 99_997, 99_998])[0]
    for k in (1, 50_000, 99_990, 99_997, 99_998, 100_000):
        assert_close(float(curve[k - 1]), 1 - exact_fail(n, c, k))
    assert_close(float(fails[0]), exact_fail(n, c, 99_990))
    assert_close(float(fails[1]), exact_fail(n, c, 99_997))
    assert fails[2] == 0.0


def test_ragged_problems_are_averaged_up_to_the_smallest_n() -> None:
    counts = [(5, 2), (9, 0), (17, 17), (6, 1)]
    exact = [float(sum(1 - Fraction(comb(n - c, k), comb(n, k)) for n, c in counts) / 4) for k in range(1, 6)]
    assert pass_at_k([n for n, _ in counts], [c for _, c in counts]) == pytest.approx(exact, rel=1e-14)


def test_the_mean_equals_the_mean_of_the_problems() -> None:
    rng = np.random.default_rng(3)
    n = rng.integers(300, 400, 700)
    c = rng.binomial(n, rng.beta(0.3, 0.5, 700))
    ks = np.arange(1, n.min() + 1)
    assert pass_at_k(n, c) == pytest.approx(pass_at_k_per_problem(n, c, ks).mean(axis=0), rel=1e-13)


def test_columns_follow_the_order_of_the_ks_asked_for() -> None:
    shuffled = pass_at_k_per_problem([8, 8], [1, 8], [8, 1, 4, 1])
    assert shuffled.tolist() == [[1.0, 0.125, 0.5, 0.125], [1.0, 1.0, 1.0, 1.0]]


def test_pass_at_k_grows_with_k_and_with_c() -> None:
    n, ks = 300, np.arange(1, 301)
    table = pass_at_k_per_problem(np.full(n + 1, n), np.arange(n + 1), ks)
    assert np.all(np.diff(table, axis=1) >= -1e-15)
    assert np.all(np.diff(table, axis=0) >= -1e-15)
    assert np.all(np.diff(pass_at_k(np.full(n + 1, n), np.arange(n + 1))) >= 0)


def test_pass_at_1_is_the_share_correct_and_pass_at_n_is_any_correct() -> None:
    n = np.full(1_001, 1_000)
    table = pass_at_k_per_problem(n, np.arange(1_001), [1, 1_000])
    assert np.array_equal(table[:, 0], np.arange(1_001) / 1_000)
    assert np.array_equal(table[:, 1], np.arange(1_001) > 0)


def test_a_curve_never_leaves_0_to_1() -> None:
    assert np.all(pass_at_k([7] * 11, [7] * 11) == 1.0)
    assert np.all(pass_at_k([7] * 11, [0] * 11) == 0.0)


@pytest.mark.parametrize(
    ("n", "c"),
    [
        ([], []),
        ([0], [0]),
        ([4], [5]),
        ([4], [-1]),
        ([4], [1.5]),
        ([4.0], [float("nan")]),
        ([float("inf")], [1]),
        ([4, 4], [1]),
        ([[4, 4]], [[1, 1]]),
        ([4, [4]], [1, 1]),
        (["4"], ["1"]),
        ([None], [1]),
        (4, 2),
        ([2**60], [1]),
        ([10**30], [1]),
    ],
)
def test_impossible_counts_are_refused(n: Sequence[int], c: Sequence[int]) -> None:
    with pytest.raises(MetricError):
        pass_at_k(n, c)


def test_a_refusal_names_the_first_bad_problem() -> None:
    with pytest.raises(MetricError, match=r"n=4, c=5 at position 1 \(1 such\)"):
        pass_at_k([4, 4], [4, 5])


def test_a_curve_too_long_to_hold_is_refused_before_it_is_made() -> None:
    with pytest.raises(MetricError, match="pass_at_k_per_problem"):
        pass_at_k([10**12], [1])
    assert pass_at_k_per_problem([10**12], [10**11], [1, 2])[0] == pytest.approx([0.1, 0.19])


@pytest.mark.parametrize("k", [0, -1, 3, 1.5])
def test_more_draws_than_samples_and_other_impossible_k_are_refused(k: int) -> None:
    with pytest.raises(MetricError):
        pass_at_k_per_problem([2, 5], [0, 5], [k])


def test_a_problem_with_two_samples_has_no_pass_at_5() -> None:
    with pytest.raises(MetricError, match="k=5 was asked for and k <= 2 is possible"):
        pass_at_k_per_problem([2], [0], [5])


def test_whole_numbers_in_floats_and_small_integers_are_accepted() -> None:
    assert pass_at_k(np.array([4.0]), np.array([2], dtype=np.uint8))[0] == 0.5


def test_the_variance_estimate_is_unbiased() -> None:
    n, p, ks = 9, 0.3, [1, 2, 3, 4]
    counts = np.arange(n + 1)
    weight = np.array([comb(n, c) * p**c * (1 - p) ** (n - c) for c in counts])
    values = pass_at_k_per_problem(np.full(n + 1, n), counts, ks)
    true = weight @ (values - weight @ values) ** 2
    assert weight @ sampling_variance(np.full(n + 1, n), counts, ks) == pytest.approx(true, rel=1e-12)


def test_the_variance_of_a_k_above_half_n_is_refused() -> None:
    with pytest.raises(MetricError, match="2k samples"):
        sampling_variance([9], [3], [5])


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 320, 321, 322, 640, 1_024, 1_025, 10_000, 100_000, 9_999_999])
def test_log_spaced_ks_are_few_and_hold_what_people_look_for(n: int) -> None:
    ks = log_spaced(n)
    assert ks.size <= 320
    assert np.all(np.diff(ks) > 0)
    powers = [2**i for i in range(n.bit_length()) if 2**i <= n]
    assert {1, n, *powers, *range(1, min(n, 32) + 1)} <= set(ks.tolist())
    if n > 5_000:
        assert np.diff(np.log2(ks[ks > 256])).max() < 0.1


def test_log_spaced_with_little_room_keeps_the_powers_of_two() -> None:
    assert log_spaced(1_000, at_most=11).tolist() == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000]
    with pytest.raises(MetricError):
        log_spaced(1_000, at_most=10)
    with pytest.raises(MetricError):
        log_spaced(0)


def test_k_above_half_the_fewest_samples_is_high_variance() -> None:
    assert high_variance([8, 20], [1, 4, 5, 8]).tolist() == [False, False, True, True]


def test_thirty_problems_with_100_000_samples_take_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 100_001, 30)
    started = time.perf_counter()
    assert pass_at_k([100_000] * 30, counts).size == 100_000
    assert time.perf_counter() - started < 1.0
