from fractions import Fraction

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.agreement import cohen_kappa, fleiss_kappa

# Fleiss 1971, the table that every textbook repeats: 10 subjects, 14 raters, 5 categories; kappa = 0.210.
TEXTBOOK = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_fleiss_kappa_is_that_of_the_textbook() -> None:
    verdicts = [[kind for kind, count in enumerate(row) for _ in range(count)] for row in TEXTBOOK]
    found = fleiss_kappa(verdicts, range(10), rng())
    assert found is not None
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(0.20993, abs=1e-5)
    assert found.kappa.low < found.kappa.value < found.kappa.high


def test_cohen_kappa_equals_its_definition_by_exact_arithmetic() -> None:
    first, second = [0, 0, 1, 2, 1, 0, -1, 2], [0, 1, 1, 2, 0, 0, 1, -1]
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a >= 0 and b >= 0]
    observed = Fraction(sum(a == b for a, b in pairs), len(pairs))
    chance = sum(
        Fraction(sum(a == kind for a, _ in pairs), len(pairs)) * Fraction(sum(b == kind for _, b in pairs), len(pairs))
        for kind in range(3)
    )
    found = cohen_kappa(first, second, range(8), rng())
    assert found is not None
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(float((observed - chance) / (1 - chance)))
    assert found.observed == pytest.approx(float(observed))
    assert found.num_samples == 6


def test_judges_who_agree_on_everything_get_an_interval_that_narrows_with_more_problems() -> None:
    lows = []
    for problems in (5, 20, 100):
        verdicts = np.tile([0, 1], problems // 2 + 1)[:problems]
        found = cohen_kappa(verdicts, verdicts, range(problems), rng())
        assert found is not None
        assert found.kappa is not None
        assert found.kappa.value == found.kappa.high == 1
        lows.append(found.kappa.low)
    assert lows == sorted(lows)
    assert lows[0] < 0.6 < 0.9 < lows[-1] < 1


def test_a_single_problem_and_a_single_kind_of_verdict_say_nothing() -> None:
    one = cohen_kappa([0, 1, 0], [0, 1, 1], [7, 7, 7], rng())
    assert one is not None
    assert one.kappa is not None
    assert (one.kappa.low, one.kappa.high) == (-1, 1)
    same = fleiss_kappa([[0, 0], [0, 0]], [0, 1], rng())
    assert same is not None
    assert same.kappa is None
    assert same.observed == 1


def test_judges_without_a_sample_in_common_have_no_agreement() -> None:
    assert cohen_kappa([0, -1], [-1, 0], [0, 1], rng()) is None
    assert fleiss_kappa([[0, -1], [-1, 1]], [0, 1], rng()) is None


def test_samples_of_one_problem_do_not_count_as_independent() -> None:
    first, second = np.array([0, 0, 1, 1, 0, 1] * 20), np.array([0, 0, 1, 0, 0, 1] * 20)
    alone = cohen_kappa(first, second, np.arange(120), rng())
    together = cohen_kappa(first, second, np.repeat(np.arange(6), 20), rng())
    assert alone is not None
    assert together is not None
    assert alone.kappa is not None
    assert together.kappa is not None
    assert together.kappa.high - together.kappa.low > 1.5 * (alone.kappa.high - alone.kappa.low)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(MetricError, match="one verdict of each judge"):
        cohen_kappa([0, 1], [0], [0, 1], rng())
    with pytest.raises(MetricError, match="one problem a sample"):
        fleiss_kappa([[0, 1]], [0, 1], rng())
