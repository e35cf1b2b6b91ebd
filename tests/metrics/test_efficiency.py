"""delta SE against exact rational arithmetic."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.efficiency import delta_se, headline_k
from kurve.types import Tally


def tally(n: list[int], c: list[int]) -> Tally:
    ids = tuple(f"p{i}" for i in range(len(n)))
    return Tally(ids, np.array(n), np.array(c), np.zeros(len(n), dtype=np.int64))


def test_it_is_the_bases_pass_at_k_minus_the_tuned_models_pass_at_1() -> None:
    base, tuned = tally([8, 6, 9], [1, 0, 3]), tally([5, 16, 4], [5, 4, 0])
    solved = [1 - Fraction(comb(n - c, 4), comb(n, 4)) for n, c in ((8, 1), (6, 0), (9, 3))]
    right = [Fraction(1), Fraction(1, 4), Fraction(0)]
    exact = sum((b - t for b, t in zip(solved, right, strict=True)), Fraction(0)) / 3
    estimate = delta_se(base, tuned, 4)
    assert estimate.value == pytest.approx(float(exact), abs=1e-15)
    assert -1 <= estimate.low < estimate.value < estimate.high <= 1


def test_the_interval_is_paired() -> None:
    """A tuned model that reaches its base's pass@k on every problem has no gap to be unsure of."""
    n, c = [64] * 200, ([64] * 100 + [0] * 100)
    same, shuffled = tally(n, c), tally(n, list(reversed(c)))
    paired, crossed = delta_se(same, same, 64), delta_se(same, shuffled, 64)
    assert paired.value == crossed.value == 0
    assert paired.high < 0.1 * crossed.high


@pytest.mark.parametrize(("base_n", "tuned_n", "k"), [(1024, 1024, 256), (128, 1024, 128), (1024, 16, 16), (1, 4, 1)])
def test_k_is_256_or_what_both_allow(base_n: int, tuned_n: int, k: int) -> None:
    assert headline_k(tally([base_n + 1, base_n], [0, 0]), tally([tuned_n, tuned_n + 5], [0, 0])) == k


def test_a_k_beyond_the_bases_samples_is_refused() -> None:
    with pytest.raises(MetricError, match="k=9"):
        delta_se(tally([8, 9], [0, 0]), tally([64, 64], [1, 1]), 9)
