import math
from statistics import NormalDist

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.paired import difference_interval
from kurve.metrics.power import settling
from kurve.types import Tally


def drawn(rng: np.random.Generator, p: np.ndarray, n: int) -> Tally:
    zeros = np.zeros(p.size, dtype=np.int64)
    return Tally(tuple(map(str, range(p.size))), np.full(p.size, n), rng.binomial(n, p), zeros)


def benchmark(rng: np.random.Generator, num_problems: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    base = rng.beta(1, 3, num_problems) * 0.8
    return base, np.clip(base + shift + 0.1 * rng.standard_normal(num_problems), 0, 1)


def found(rng: np.random.Generator, num_problems: int, n: int, shift: float, *, repeats: int) -> float:
    """How often the interval of pass@1 excludes 0."""
    hits = 0
    for _ in range(repeats):
        base, tuned = (drawn(rng, p, n) for p in benchmark(rng, num_problems, shift))
        change = difference_interval((tuned.num_correct - base.num_correct) / n)
        hits += change.low > 0 or change.high < 0
    return hits / repeats


def test_with_the_problems_it_asks_for_a_difference_is_found_with_the_stated_power() -> None:
    rng = np.random.default_rng(0)
    base, tuned = (drawn(rng, p, 16) for p in benchmark(rng, 20_000, 0.05))
    needed = settling(base, tuned, 1, power=0.8).problems
    assert 20 < needed < 400
    assert found(rng, int(needed), 16, 0.05, repeats=2000) == pytest.approx(0.8, abs=0.05)


def test_the_detectable_difference_is_found_with_the_stated_power() -> None:
    rng = np.random.default_rng(1)
    base, tuned = (drawn(rng, p, 16) for p in benchmark(rng, 100, 0.0))
    detectable = settling(base, tuned, 1, power=0.8).detectable
    assert found(rng, 100, 16, detectable + 0.005, repeats=2000) == pytest.approx(0.8, abs=0.12)


def test_with_the_samples_it_asks_for_the_spread_is_as_small_as_needed() -> None:
    rng = np.random.default_rng(2)
    p, q = benchmark(rng, 900, 0.006)
    n, power = 4, 0.8
    few = settling(drawn(rng, p, n), drawn(rng, q, n), 1, power=power)
    assert n < few.samples < math.inf
    many = int(few.samples)
    base, tuned = drawn(rng, p, many), drawn(rng, q, many)
    error = ((tuned.num_correct - base.num_correct) / many).std(ddof=1) / math.sqrt(p.size)
    reach = 1.96 + NormalDist().inv_cdf(power)
    assert abs(few.difference) / error == pytest.approx(reach, rel=0.15)


def test_more_samples_cannot_settle_what_problems_disagree_about() -> None:
    n, c = np.full(10, 100), np.array([100, 0] * 5)
    base = Tally(tuple("abcdefghij"), n, c, np.zeros(10, dtype=np.int64))
    tuned = Tally(base.problem_ids, n, np.array([0, 100] * 4 + [0, 0]), base.num_errors)
    open_one = settling(base, tuned, 1)
    assert open_one.samples == math.inf
    assert 10 < open_one.problems < math.inf


def test_what_cannot_be_known_is_said_so() -> None:
    zeros = np.zeros(3, dtype=np.int64)
    same = Tally(("a", "b", "c"), np.full(3, 8), np.array([1, 2, 3]), zeros)
    alike = settling(same, same, 1)
    assert alike.difference == 0
    assert math.isnan(alike.detectable)
    one = Tally(("a",), np.array([8]), np.array([1]), np.zeros(1, dtype=np.int64))
    assert settling(one, one, 1).detectable == math.inf
    shifted = Tally(same.problem_ids, same.num_samples, np.array([8, 2, 0]), zeros)
    assert math.isnan(settling(same, shifted, 5).samples)  # k > n / 2: the noise within problems has no estimate
    with pytest.raises(MetricError, match="power"):
        settling(same, shifted, 1, power=1)
