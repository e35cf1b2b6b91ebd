import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.chance import against_chance, chance_adjusted, chance_at_k, guessable
from kurve.types import Curve


def test_guessing_an_aime_answer_scores_what_the_paper_s_readers_found() -> None:
    at = chance_at_k(1000, [1, 256, 1024])
    assert at == pytest.approx([0.001, 0.226, 0.641], abs=5e-4)


@pytest.mark.parametrize("answers", [2, 5, 1000])
def test_chance_is_that_of_independent_guesses(answers: int) -> None:
    ks = np.arange(1, 40)
    assert chance_at_k(answers, ks) == pytest.approx(1 - (1 - 1 / answers) ** ks, abs=1e-12)


def test_a_single_answer_is_always_right() -> None:
    assert chance_at_k(1, [1, 9]).tolist() == [1, 1]


def test_adjusted_runs_from_0_for_guessing_to_1_for_all() -> None:
    guess = np.array([0.2, 0.5, 0.5, 1.0, 0.5])
    found = chance_adjusted([0.2, 1.0, 0.25, 1.0, 0.75], guess)
    assert found[:3].tolist() == [0, 1, -0.5]
    assert np.isnan(found[3])
    assert found[4] == 0.5


@pytest.mark.parametrize(
    "call",
    [
        lambda: chance_at_k(0, [1]),
        lambda: chance_at_k(5, [0]),
        lambda: chance_at_k(5, []),
        lambda: chance_adjusted([0.5], [0.5, 0.5]),
        lambda: chance_adjusted([1.5], [0.5]),
    ],
)
def test_what_cannot_be_is_refused(call: object) -> None:
    with pytest.raises(MetricError):
        call()  # type: ignore[operator]  # a lambda


def flat_curve(values: list[float], ks: list[int]) -> Curve:
    value = np.array(values)
    return Curve("pass_at_k", np.array(ks), value, value / 2, np.minimum(1, value * 1.5), np.zeros(len(ks), bool), 0.95)


def test_a_curve_is_laid_beside_chance_and_adjusted_for_it_with_its_band() -> None:
    found = against_chance(
        flat_curve([0.1, 0.6], [1, 256]), 1000, {1: Estimate(0.1, 0.05, 0.2), 256: Estimate(0.6, 0.5, 0.7)}
    )
    guessing, adjusted = found.curves
    assert guessing.value == pytest.approx([0.001, 0.226], abs=5e-4)
    assert guessing.low is guessing.high
    assert adjusted.name == "chance_adjusted_pass_at_k"
    g = chance_at_k(1000, [256])[0]
    assert adjusted.low[1] == pytest.approx((0.3 - g) / (1 - g))
    at_256 = found.scalars["chance_adjusted_pass_at_256"]
    assert isinstance(at_256, Estimate)
    assert (at_256.value, at_256.low) == pytest.approx(((0.6 - g) / (1 - g), (0.5 - g) / (1 - g)))
    assert not found.notes  # 22.6 % is less than half of 60 %


def test_guessing_that_explains_more_than_half_is_said() -> None:
    found = against_chance(
        flat_curve([0.0, 0.3], [1, 256]), 1000, {1: Estimate(0, 0, 0.1), 256: Estimate(0.3, 0.2, 0.4)}
    )
    assert "pass@256 = 22.6%, more than half of the 30.0% measured" in found.notes[0]


def test_where_guessing_solves_all_nothing_is_adjusted() -> None:
    found = against_chance(flat_curve([0.5, 1.0], [1, 1024]), 2, {1: Estimate(0.5, 0.4, 0.6), 1024: Estimate(1, 1, 1)})
    assert found.curves[1].k.tolist() == [1]
    assert "chance_adjusted_pass_at_1024" not in found.scalars
    assert found.scalars["chance_pass_at_1024"] == 1
    with pytest.raises(MetricError, match="at least 2"):
        against_chance(flat_curve([0.5], [1]), 1, {})


def test_a_problem_is_guessed_if_direct_answers_hit_it_but_seldom() -> None:
    n, c = [100, 100, 100, 100, 1, 20], [0, 1, 4, 5, 1, 1]
    assert guessable(n, c).tolist() == [False, True, True, False, False, False]
    assert guessable(n, c, 0.06).tolist() == [False, True, True, True, False, True]
    for wrong in ({"threshold": 0.0}, {"threshold": 1.5}):
        with pytest.raises(MetricError, match="threshold"):
            guessable(n, c, **wrong)
    with pytest.raises(MetricError, match="from 0 to n"):
        guessable([1], [2])
