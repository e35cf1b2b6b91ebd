import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.passk import pass_at_k_per_problem
from kurve.metrics.selection import answer_entropy, best_of_k, majority_at_k

LABELS = [0, 0, 1, 1, 1, 2, -1, 3, -1]
RIGHT = [True, True, False, False, False, False, False, False, False]


def vote(labels: list[int], right: set[int]) -> float:
    counts = Counter(label for label in labels if label >= 0)
    if not counts:
        return 0.0
    top = [label for label, count in counts.items() if count == max(counts.values())]
    return sum(label in right for label in top) / len(top)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 9])
def test_a_vote_comes_close_to_the_mean_over_all_subsets(k: int) -> None:
    expected = np.mean([vote([LABELS[i] for i in draw], {0}) for draw in combinations(range(9), k)])
    found = majority_at_k(LABELS, RIGHT, [k], np.random.default_rng(0), subsets=20_000)[0]
    assert found == pytest.approx(expected, abs=0.02)


def test_all_samples_are_one_subset_and_a_tie_counts_its_share() -> None:
    rng = np.random.default_rng(0)
    assert majority_at_k([0, 0, 1, 1], [True, True, False, False], [4], rng)[0] == 0.5
    assert majority_at_k([0, 1, 2], [True, False, False], [3], rng)[0] == pytest.approx(1 / 3)
    assert majority_at_k([-1, -1], [False, False], [1, 2], rng).tolist() == [0, 0]


def test_the_same_generator_gives_the_same_votes() -> None:
    one, other = (majority_at_k(LABELS, RIGHT, [2, 3], np.random.default_rng(5)) for _ in range(2))
    assert one.tolist() == other.tolist()


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_best_of_k_is_the_mean_over_all_subsets(n: int) -> None:
    rng = np.random.default_rng(n)
    scores = rng.permutation(n).astype(float)
    right = rng.random(n) < 0.5
    for k in range(1, n + 1):
        draws = list(combinations(range(n), k))
        expected = np.mean([right[max(draw, key=lambda i: scores[i])] for draw in draws])
        assert best_of_k(scores, right, [k])[0] == pytest.approx(expected, abs=1e-12)


def test_equal_scores_share_and_a_perfect_score_gives_pass_at_k() -> None:
    assert best_of_k([1.0, 1.0, 1.0, 1.0], [True, False, False, False], [1, 2, 4]) == pytest.approx([0.25] * 3)
    right = np.arange(64) % 7 == 0
    found = best_of_k(right.astype(float), right, np.arange(1, 65))
    assert found == pytest.approx(pass_at_k_per_problem([64], [right.sum()], np.arange(1, 65))[0], abs=1e-12)


def test_entropy_counts_clusters_and_corrects_for_few_samples() -> None:
    assert answer_entropy([0, 0, 1, 1]) == pytest.approx(math.log(2) + 1 / 8)
    assert answer_entropy([4, 4, 4, -1]) == 0
    assert math.isnan(answer_entropy([-1]))
    assert math.isnan(answer_entropy([]))


@pytest.mark.parametrize(
    "call",
    [
        lambda rng: majority_at_k([0, 0], [True, False], [1], rng),
        lambda rng: majority_at_k([0], [True, False], [1], rng),
        lambda rng: majority_at_k([0, 1], [True, False], [3], rng),
        lambda rng: majority_at_k([0, 1], [True, False], [1], rng, subsets=0),
        lambda _: best_of_k([1.0], [True, False], [1]),
        lambda _: best_of_k([float("nan")], [True], [1]),
        lambda _: best_of_k([1.0], [True], [2]),
    ],
)
def test_what_cannot_be_is_refused(call: object) -> None:
    with pytest.raises(MetricError):
        call(np.random.default_rng(0))  # type: ignore[operator]  # a lambda
