"""How far two accuracies of one problem differ by sampling alone."""

from math import comb

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.accuracy_noise import same_accuracy_limits


@pytest.mark.parametrize(("n", "m"), [(8, 8), (64, 16), (1, 1), (1024, 128)])
def test_the_limits_solve_the_score_equation_or_are_0_and_1(n: int, m: int) -> None:
    x = np.linspace(0, 1, 21)
    low, high = same_accuracy_limits(x, n, m)
    assert np.all((low >= 0) & (low <= x) & (x <= high) & (high <= 1))
    for limit in (low, high):
        inside = (limit > 1e-9) & (limit < 1 - 1e-9)
        p = (n * x + m * limit) / (n + m)
        score = (limit - x) ** 2 / (p * (1 - p) * (1 / n + 1 / m) + 1e-300)
        assert np.sqrt(score[inside]) == pytest.approx(1.959964, abs=1e-5)


def test_of_problems_that_did_not_change_about_one_in_twenty_lies_outside() -> None:
    n = 64
    for chance in (0.05, 0.3, 0.5, 0.9):
        weight = np.array([comb(n, c) * chance**c * (1 - chance) ** (n - c) for c in range(n + 1)])
        shares = np.arange(n + 1) / n
        low, high = same_accuracy_limits(shares, n, n)
        outside = (shares[None, :] < low[:, None] - 1e-12) | (shares[None, :] > high[:, None] + 1e-12)
        assert 0.02 < float((weight[:, None] * weight[None, :] * outside).sum()) < 0.07


def test_never_and_always_solved_problems_have_a_width_that_falls_with_n() -> None:
    few, many = (same_accuracy_limits([0.0, 1.0], n, n) for n in (8, 512))
    assert few[1][0] > many[1][0] > 0
    assert few[0][1] < many[0][1] < 1


def test_what_is_no_accuracy_is_refused() -> None:
    for accuracy, n in (([1.1], 8), ([float("nan")], 8), ([0.5], 0)):
        with pytest.raises(MetricError, match="accuracies from 0 to 1"):
            same_accuracy_limits(accuracy, n, 8)
