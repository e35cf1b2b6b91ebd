import math

import numpy as np
import pytest

from kurve.entropy_matching import Match, SearchSettings, match_entropy
from kurve.errors import ConfigError
from kurve.metrics.token_entropy import TokenEntropies

PROBLEMS = 400
LEVELS = np.linspace(0.5, 1.5, PROBLEMS)  # problems differ more than models do


class Tuned:
    """A model whose entropy a token is `slope` times the temperature, and what was asked of it."""

    def __init__(self, slope: float, noise: float = 0.0) -> None:
        self.slope, self.noise = slope, noise
        self.asked: list[float] = []

    def __call__(self, temperature: float) -> TokenEntropies:
        self.asked.append(temperature)
        shift = self.noise * np.random.default_rng(1).standard_normal(PROBLEMS)
        return TokenEntropies(10 * (self.slope * temperature * LEVELS + shift), np.full(PROBLEMS, 10.0))


def base_at(entropy: float) -> TokenEntropies:
    return TokenEntropies(10 * entropy * LEVELS, np.full(PROBLEMS, 10.0))


@pytest.mark.parametrize("slope", [0.25, 0.5, 0.9, 1.4, 3.0])
def test_the_temperature_at_which_the_entropies_are_equal_is_found(slope: float) -> None:
    found = match_entropy(base_at(0.6), 0.6, Tuned(slope, noise=0.01), SearchSettings(high=3.0))
    assert found.temperature == pytest.approx(0.6 / slope, abs=0.011)
    assert found.low <= 0.6 / slope <= found.high
    assert found.base.value == pytest.approx(0.6)


def test_high_temperatures_are_tried_only_where_they_are_needed() -> None:
    tuned = Tuned(0.85)
    match_entropy(base_at(0.6), 0.6, tuned, SearchSettings())
    assert tuned.asked[:2] == [0.6, 0.75]
    assert max(tuned.asked) == 0.75


def test_it_ends_with_a_narrow_bracket_and_never_repeats_a_temperature() -> None:
    tuned = Tuned(0.7123)
    settings = SearchSettings(tolerance=0.001)
    found = match_entropy(base_at(0.6), 0.6, tuned, settings)
    assert found.temperature == pytest.approx(0.6 / 0.7123, abs=0.001)
    assert len(set(tuned.asked)) == len(tuned.asked) <= 12


def test_it_ends_when_the_difference_is_noise() -> None:
    exact, noisy = Tuned(0.7123), Tuned(0.7123, noise=0.5)
    match_entropy(base_at(0.6), 0.6, exact, SearchSettings(tolerance=0.001))
    found = match_entropy(base_at(0.6), 0.6, noisy, SearchSettings(tolerance=0.001))
    assert len(noisy.asked) < len(exact.asked)
    assert abs(found.tuned.difference.value) <= 0.5 * found.tuned.difference.error
    assert found.low < 0.6 / 0.7123 < found.high
    assert found.high - found.low > 0.05


def test_the_same_model_is_matched_at_the_base_s_own_temperature_with_an_interval() -> None:
    found = match_entropy(base_at(0.6), 0.6, Tuned(1.0), SearchSettings())
    assert [found.temperature, found.low, found.high] == pytest.approx([0.6, 0.6, 0.6])


@pytest.mark.parametrize("slope", [0.2, 50.0])
def test_an_entropy_that_no_temperature_reaches_is_refused_and_says_what_was_tried(slope: float) -> None:
    with pytest.raises(ConfigError, match=r"no temperature in sampling\.match_entropy_range") as refused:
        match_entropy(base_at(0.6), 0.6, Tuned(slope), SearchSettings())
    assert ("raise its upper end" if slope < 1 else "lower its lower end") in str(refused.value)
    assert f"at T = {2.0 if slope < 1 else 0.1:g}" in str(refused.value)


@pytest.mark.parametrize(("slope", "start"), [(0.3, 0.6), (0.6 / 0.1, 0.1), (0.3, 2.0), (0.3, 5.0)])
def test_an_end_of_the_range_can_be_the_answer(slope: float, start: float) -> None:
    found = match_entropy(base_at(0.6), start, Tuned(slope), SearchSettings())
    assert found.temperature == pytest.approx(0.6 / slope, abs=1e-9)
    assert math.isfinite(found.low)


def test_an_entropy_that_falls_with_temperature_gives_no_interval() -> None:
    def odd(temperature: float) -> TokenEntropies:
        return base_at(0.6 if temperature == 0.6 else 0.6 - 0.1 * (temperature - 0.6))

    found: Match = match_entropy(base_at(0.6), 0.6, odd, SearchSettings())
    assert found.temperature == 0.6
    assert math.isnan(found.low)


@pytest.mark.parametrize(
    "settings",
    [{"low": 0.0}, {"low": 2.0, "high": 1.0}, {"high": 1000.0}, {"tolerance": 0.0}, {"tolerance": 2.0}],
)
def test_a_range_or_tolerance_that_cannot_be_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"sampling\.match_entropy_"):
        SearchSettings(**settings)
