from itertools import combinations
from math import comb

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.passk import pass_at_k_per_problem
from kurve.metrics.reliability import (
    cover_at_tau,
    covered,
    g_pass_at_k,
    g_pass_at_k_per_problem,
    mean_g_pass_at_k,
    mean_g_pass_at_k_per_problem,
    pass_hat_k,
    pass_hat_k_per_problem,
)
from kurve.types import Tally

PROBLEMS = [(n, c) for n in range(1, 9) for c in range(n + 1)]


def chance(n: int, c: int, k: int, needed: int) -> float:
    """By enumeration of all ways to draw k of n samples."""
    right = [i < c for i in range(n)]
    draws = list(combinations(range(n), k))
    return sum(sum(right[i] for i in draw) >= needed for draw in draws) / len(draws)


def test_pass_hat_k_is_the_chance_that_all_are_right() -> None:
    for n, c in PROBLEMS:
        ks = np.arange(1, n + 1)
        expected = [comb(c, int(k)) / comb(n, int(k)) for k in ks]
        assert pass_hat_k_per_problem([n], [c], ks)[0] == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("tau", [0.01, 0.2, 0.25, 0.5, 0.6, 0.75, 1.0])
def test_g_pass_counts_the_draws_with_enough_right_samples(tau: float) -> None:
    for n, c in PROBLEMS:
        for k in range(1, n + 1):
            needed = next(m for m in range(1, k + 1) if m >= tau * k - 1e-9)
            found = g_pass_at_k_per_problem([n], [c], k, [tau])[0, 0]
            assert found == pytest.approx(chance(n, c, k, needed), abs=1e-12)


def test_a_share_that_is_a_whole_number_of_samples_is_not_rounded_up() -> None:
    assert g_pass_at_k_per_problem([5], [1], 5, [0.2])[0, 0] == 1
    assert g_pass_at_k_per_problem([10], [7], 10, [0.7])[0, 0] == 1


def test_g_pass_has_pass_at_k_and_pass_hat_k_as_its_ends() -> None:
    n, c = np.array([64, 64, 48, 64]), np.array([0, 3, 48, 31])
    ends = g_pass_at_k_per_problem(n, c, 16, [1e-6, 1.0])
    assert ends[:, 0] == pytest.approx(pass_at_k_per_problem(n, c, [16])[:, 0], abs=1e-12)
    assert ends[:, 1] == pytest.approx(pass_hat_k_per_problem(n, c, [16])[:, 0], abs=1e-12)


@pytest.mark.parametrize("k", [2, 3, 4, 7])
def test_mean_g_pass_is_its_sum(k: int) -> None:
    for n, c in [(8, 0), (8, 3), (8, 5), (8, 8)]:
        expected = 2 / k * sum(chance(n, c, k, m) for m in range(-(-k // 2) + 1, k + 1))
        assert mean_g_pass_at_k_per_problem([n], [c], k)[0] == pytest.approx(expected, abs=1e-12)


def test_cover_counts_problems_at_or_above_the_threshold() -> None:
    n, c = [10, 10, 10, 3, 1000], [0, 3, 10, 1, 700]
    assert cover_at_tau(n, c, [0.001, 0.3, 1 / 3, 0.7, 1.0]).tolist() == [0.8, 0.8, 0.6, 0.4, 0.2]


def test_pass_at_k_with_replacement_is_a_weighted_mean_of_cover() -> None:
    n, c, k = np.full(50, 200), np.random.default_rng(0).integers(0, 201, 50), 8
    taus = (np.arange(20_000) + 0.5) / 20_000
    weighted = np.mean(k * (1 - taus) ** (k - 1) * cover_at_tau(n, c, taus))
    assert weighted == pytest.approx(np.mean(1 - (1 - c / n) ** k), abs=1e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: g_pass_at_k_per_problem([4], [2], 2, [0.0]),
        lambda: g_pass_at_k_per_problem([4], [2], 5, [0.5]),
        lambda: g_pass_at_k_per_problem([4], [5], 2, [0.5]),
        lambda: mean_g_pass_at_k_per_problem([4], [2], 1),
        lambda: cover_at_tau([], [], [0.5]),
        lambda: cover_at_tau([4], [2], [1.5]),
        lambda: pass_hat_k_per_problem([4], [5], [1]),
        lambda: pass_hat_k_per_problem([4], [2], [5]),
    ],
)
def test_what_cannot_be_is_refused(call: object) -> None:
    with pytest.raises(MetricError):
        call()  # type: ignore[operator]  # a lambda


def counted(n: list[int], c: list[int]) -> Tally:
    return Tally(tuple(map(str, range(len(n)))), np.array(n), np.array(c), np.zeros(len(n), dtype=np.int64))


def test_metrics_of_a_report_are_the_means_over_problems_with_their_intervals() -> None:
    tally = counted([32, 40, 32, 32], [0, 40, 16, 31])
    curve = pass_hat_k(tally)
    assert curve.k.tolist() == list(range(1, 33))
    assert curve.value == pytest.approx(
        pass_hat_k_per_problem(tally.num_samples, tally.num_correct, curve.k).mean(axis=0)
    )
    assert np.all((curve.low <= curve.value) & (curve.value <= curve.high))
    assert pass_hat_k(tally).low.tolist() == curve.low.tolist()
    half, mean = g_pass_at_k(tally, k=16, tau=0.5), mean_g_pass_at_k(tally, k=16)
    assert half is not None
    assert mean is not None
    each = g_pass_at_k_per_problem(tally.num_samples, tally.num_correct, 16, [0.5])
    assert half.value == pytest.approx(each.mean())
    assert half.low < half.value < half.high
    assert mean.value < half.value
    assert covered(tally, tau=0.5).value == 0.75
    assert covered(tally, tau=0.75).value == 0.5


def test_too_few_samples_for_k_leave_a_metric_out() -> None:
    assert g_pass_at_k(counted([8], [4]), k=16, tau=0.5) is None
    assert mean_g_pass_at_k(counted([8], [4]), k=16) is None
