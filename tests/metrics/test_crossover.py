"""The crossover against hand-made curves and an enumeration of every resample."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.crossover import confidence_set, crossing_points, crossover
from kurve.metrics.paired import PairedDifference, paired_difference

K = np.array([1, 2, 4, 8])


def band_of(differences: Sequence[Sequence[float]], k: Sequence[int] = (1, 2, 4, 8)) -> PairedDifference:
    """The band of problems with these differences."""
    d = np.array(differences)
    return paired_difference((1 - d) / 2, (1 + d) / 2, k, np.random.default_rng(0))


def edges(low: Sequence[float], high: Sequence[float]) -> PairedDifference:
    """A band with these edges."""
    middle = (np.array(low) + np.array(high)) / 2
    return PairedDifference(K, middle, middle, middle, middle, np.array(low), np.array(high), 2.0, 0.95, 50)


@pytest.mark.parametrize(
    ("curve", "point"),
    [
        ([0.2, 0.1, -0.1, -0.3], 2 * 2**0.5),  # halfway between 2 and 4 in log k
        ([0.3, -0.1, -0.2, -0.3], 2**0.75),
        ([0.2, 0.0, -0.1, -0.3], 2.0),  # a tie, then a loss
        ([0.2, 0.1, 0.0, 0.0], np.inf),  # never below
        ([-0.2, -0.1, -0.1, -0.3], np.inf),  # below from the start: nothing is crossed
        ([-0.1, 0.1, -0.1, 0.3], 2 * 2**0.5),  # the first loss after a gain
        ([0.0, 0.0, 0.0, 0.0], np.inf),
        ([0.1, 1e-16, -1e-16, 0.0], np.inf),  # rounding is no crossing
    ],
)
def test_the_point_is_where_a_gain_turns_into_a_loss(curve: list[float], point: float) -> None:
    assert crossing_points(np.array([curve]), K)[0] == pytest.approx(point)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ([0.1, 0.1, -0.2, -0.3], [0.3, 0.3, 0.1, -0.1], (3, 8)),
        ([0.1, -0.1, -0.2, -0.3], [0.3, 0.3, 0.1, 0.1], (2, np.inf)),
        ([-0.1, -0.1, -0.2, -0.3], [0.3, 0.3, 0.1, 0.1], (1, np.inf)),
        ([0.1, 0.1, 0.1, 0.1], [0.3, 0.3, 0.3, 0.3], (9, np.inf)),  # a gain at every k: no crossing up to 8
        ([-0.3, -0.3, -0.3, -0.3], [-0.1, -0.1, -0.1, -0.1], (1, 1)),
        ([0.1, -0.1, 0.1, -0.3], [0.3, 0.1, 0.3, -0.1], (2, 8)),  # only the first run of gains counts
    ],
)
def test_the_confidence_set_is_read_from_the_band(
    low: list[float], high: list[float], expected: tuple[float, float]
) -> None:
    assert confidence_set(edges(low, high)) == expected


def test_the_bootstrap_agrees_with_every_resample_of_three_problems() -> None:
    d = np.array([[0.5, 0.2, -0.1, -0.4], [0.1, 0.1, 0.1, 0.1], [-0.2, -0.3, -0.3, -0.2]])
    exact = [crossing_points(d[list(rows)].mean(axis=0)[None, :], K)[0] for rows in product(range(3), repeat=3)]
    found = crossover(d, band_of(d.tolist()), np.random.default_rng(0), draws=20_000)
    assert found.probability == pytest.approx(np.isfinite(exact).mean(), abs=0.015)
    ordered = np.sort(exact)
    assert found.interval == (ordered[0], np.inf)


def test_no_crossing_counts_as_infinite_and_is_not_dropped() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.2, size=(40, 4))
    d = noise - noise.mean(axis=0) + [0.2, 0.1, 0.05, -0.02]
    found = crossover(d, band_of(d.tolist()), np.random.default_rng(0))
    assert 0.5 < found.probability < 0.975
    assert found.interval[1] == np.inf
    assert found.interval[0] < found.point


def test_a_clear_crossing_is_certain_and_its_interval_holds_the_point() -> None:
    rng = np.random.default_rng(2)
    d = rng.normal([0.3, 0.1, -0.1, -0.4], 0.1, size=(200, 4)).clip(-1, 1)
    found = crossover(d, band_of(d.tolist()), np.random.default_rng(0))
    assert found.probability == 1.0
    assert 2 < found.interval[0] < found.point < found.interval[1] < 4
    assert found.confidence_set == (3, 4)


def test_a_single_problem_leaves_everything_open() -> None:
    found = crossover([[0.5, 0.2, -0.1, -0.4]], band_of([[0.5, 0.2, -0.1, -0.4]]), np.random.default_rng(0))
    assert found.confidence_set == (1.0, np.inf)
    assert found.interval == (1.0, np.inf)
    assert np.isnan(found.probability)
    assert 2 < found.point < 4


def test_one_k_cannot_cross() -> None:
    d = [[0.5], [0.4], [0.6]]
    found = crossover(d, band_of(d, [1]), np.random.default_rng(0))
    assert (found.point, found.probability) == (np.inf, 0.0)


def test_the_seed_decides_the_bootstrap() -> None:
    d = np.random.default_rng(3).normal([0.2, 0.1, 0.0, -0.2], 0.3, size=(40, 4)).clip(-1, 1)
    band = band_of(d.tolist())
    first, again, other = (crossover(d, band, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_differences_of_another_band_and_too_few_draws_are_refused() -> None:
    band = band_of([[0.1] * 4] * 3)
    with pytest.raises(MetricError, match=r"\(3, 4\)"):
        crossover([[0.1] * 4] * 2, band, np.random.default_rng(0))
    with pytest.raises(MetricError, match="100 bootstrap draws"):
        crossover([[0.1] * 4] * 3, band, np.random.default_rng(0), draws=50)
