import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.pareto import Standing, dominates, standings

PROBLEMS = 200


def trial(first: float, second: float, *, noise: float = 0.0, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.clip(mean + noise * rng.standard_normal(PROBLEMS), -1, 1) for mean in (first, second)]


def test_a_trial_dominates_what_is_nowhere_better_and_somewhere_worse() -> None:
    found = dominates([[0.5, 0.5], [0.4, 0.5], [0.6, 0.4], [0.5, 0.5]])
    assert found.tolist() == [
        [False, True, False, False],
        [False, False, False, False],
        [False, False, False, False],
        [False, True, False, False],
    ]


def test_what_is_worse_beyond_noise_is_dominated_and_within_noise_it_is_not_established() -> None:
    cube = [
        trial(0.6, 0.6),
        trial(0.3, 0.3),  # worse in both
        trial(0.599, 0.599, noise=0.3, seed=1),  # by less than anybody could tell
        trial(0.3, 0.9),  # better in one
        trial(0.6, 0.3),  # equal in one: it may be the better one there
    ]
    cube[2] = [values - values.mean() + 0.599 for values in cube[2]]
    assert standings(np.clip(cube, -1, 1)) == [
        Standing.FRONT, Standing.DOMINATED, Standing.NOT_ESTABLISHED, Standing.FRONT, Standing.NOT_ESTABLISHED
    ]  # fmt: skip


def test_problems_that_trials_share_cancel() -> None:
    hard = np.random.default_rng(0).uniform(-0.9, 0.8, PROBLEMS)
    assert standings([[hard + 0.05], [hard]]) == [Standing.FRONT, Standing.DOMINATED]


def test_a_trial_that_is_dominated_in_truth_is_rarely_called_so_by_chance_alone() -> None:
    rng = np.random.default_rng(3)
    called = 0
    for _ in range(200):
        cube = np.clip(0.4 + 0.2 * rng.standard_normal((2, 2, 60)), -1, 1)  # no true difference
        called += Standing.DOMINATED in standings(cube)
    assert called <= 4


@pytest.mark.parametrize("values", [np.zeros((2, 3)), np.zeros((0, 2, 5)), np.full((1, 1, 4), 1.5)])
def test_values_of_another_shape_or_range_are_refused(values: np.ndarray) -> None:
    with pytest.raises(MetricError):
        standings(values)
