"""Numbers that others published."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kurve.metrics.passk import pass_at_k, pass_at_k_per_problem


def published(n: int, c: int, k: int) -> float:
    """The estimator as printed in Chen et al. 2021 (arXiv:2107.03374), fig. 3."""
    if n - c < k:
        return 1.0
    wrong: NDArray[np.float64] = 1.0 - k / np.arange(n - c + 1, n + 1)
    return float(1.0 - np.prod(wrong))


def test_the_published_estimator_gives_the_same_curve() -> None:
    rng = np.random.default_rng(0)
    n = rng.integers(200, 260, 40)
    c = rng.binomial(n, rng.beta(0.4, 0.6, 40))
    expected = [np.mean([published(int(a), int(b), k) for a, b in zip(n, c, strict=True)]) for k in range(1, 201)]
    assert pass_at_k(n, c)[:200] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("k", "percent"), [(256, 22.6), (1_024, 64.1)])
def test_guessing_an_aime_answer_already_has_this_pass_at_k(k: int, percent: float) -> None:
    """One of 1,000 answers at random, in the limit of many samples: 1 - 0.999^k."""
    (value,) = pass_at_k_per_problem([10_000_000], [10_000], [k])[0]
    assert round(100 * float(value), 1) == percent


def test_two_samples_none_correct_have_no_pass_at_5_instead_of_1() -> None:
    assert published(2, 0, 5) == 1.0
    assert pass_at_k([2], [0]).tolist() == [0.0, 0.0]
