import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.chance import chance_adjusted, chance_at_k


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
