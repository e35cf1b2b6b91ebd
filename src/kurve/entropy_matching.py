"""Find the temperature at which a model's token entropy equals another's: figure 17 of Yue et al. 2025.

The entropy is that of what tokens are really drawn from: the distribution after temperature, then min_p, top_k and
top_p, averaged over all tokens of the responses drawn at that temperature. The paper says "output entropy" and no more;
training libraries take temperature into account and no truncation, which is the same where nothing is truncated. This
one can be had without bias from the log-probabilities that an engine gives (see `commands/pilots.py`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from kurve.errors import ConfigError
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.token_entropy import EntropyDifference, TokenEntropies, entropy_difference, mean_token_entropy

DECIMALS = 3  # of a temperature
_GROWTH = 1.25  # of the temperature, until the wanted entropy lies between two of them
_NEGLIGIBLE = 0.5  # standard errors: nearer than that, the next step would follow noise


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Where a temperature is looked for, and how finely."""

    low: float = 0.1
    high: float = 2.0
    tolerance: float = 0.01  # width at which two temperatures with the entropy between them are near enough
    confidence: float = 0.95  # of intervals

    def __post_init__(self) -> None:
        """Refuse a range or a tolerance that cannot be.

        Raises:
            ConfigError: the setting as it is called on the command line.
        """
        if not 0 < self.low < self.high <= 100:
            raise ConfigError(
                f"sampling.match_entropy_range=[{self.low:g},{self.high:g}]; expected two temperatures above 0, "
                "at most 100, the lower one first"
            )
        if not 10**-DECIMALS <= self.tolerance <= 1:
            raise ConfigError(
                f"sampling.match_entropy_tolerance={self.tolerance:g}; expected a temperature from {10**-DECIMALS:g} "
                "to 1, as 0.01"
            )


@dataclass(frozen=True, slots=True)
class Step:
    """One temperature that was tried."""

    temperature: float
    entropy: Estimate  # of the tuned model there, nats a token
    difference: EntropyDifference  # from the base's


@dataclass(frozen=True, slots=True)
class Match:
    """The temperature that was found."""

    temperature: float  # one of the steps
    low: float  # interval of the temperature, from the entropies' uncertainty; NaN where it cannot be known
    high: float
    base: Estimate  # token entropy, nats
    steps: tuple[Step, ...]  # in the order in which they were tried

    @property
    def tuned(self) -> Step:
        """The step at the temperature found."""
        return next(step for step in self.steps if step.temperature == self.temperature)


def match_entropy(
    base: TokenEntropies, start: float, measure: Callable[[float], TokenEntropies], settings: SearchSettings
) -> Match:
    """Bracket the temperature, going away from `start` by a quarter at a time, then halve the bracket.

    It ends when the bracket is narrow enough, or when the entropies differ by less than half a standard error: a
    nearer temperature would fit the pilot's noise. High temperatures, whose responses may never end, are tried only
    where lower ones do not suffice.

    Args:
        base: the entropies to reach, [P].
        start: the temperature that the base was drawn at; the first to be tried.
        measure: the tuned model's entropies on the same problems at a temperature, [P].
        settings: range and tolerance.

    Raises:
        ConfigError: no temperature in the range gives the entropy.
        MetricError: the entropies cannot be measured.
    """
    search = _Search(base, measure, settings)
    first = search.tried(min(max(start, settings.low), settings.high))
    inside, outside = _bracket(search, first, settings)
    while not search.is_enough(inside, outside):
        middle = search.tried((inside.temperature + outside.temperature) / 2)
        inside, outside = (inside, middle) if _apart(inside, middle) else (middle, outside)
    best = min(search.steps, key=lambda step: (abs(step.difference.value), step.temperature))
    low, high = _interval(best, inside, outside)
    entropy = mean_token_entropy(base, confidence=settings.confidence)
    return Match(best.temperature, low, high, entropy, tuple(search.steps))


class _Search:
    """The steps so far."""

    def __init__(
        self, base: TokenEntropies, measure: Callable[[float], TokenEntropies], settings: SearchSettings
    ) -> None:
        self._base, self._measure, self._settings = base, measure, settings
        self.steps: list[Step] = []

    def tried(self, temperature: float) -> Step:
        """Measure at this temperature, rounded."""
        rounded, confidence = round(temperature, DECIMALS), self._settings.confidence
        drawn = self._measure(rounded)
        entropy = mean_token_entropy(drawn, confidence=confidence)
        step = Step(rounded, entropy, entropy_difference(drawn, self._base, confidence=confidence))
        self.steps.append(step)
        return step

    def is_enough(self, one: Step, other: Step) -> bool:
        """Whether a nearer temperature is not worth a step."""
        width = abs(one.temperature - other.temperature)
        return width < self._settings.tolerance + 0.5 * 10**-DECIMALS or any(map(_is_reached, (one, other)))


def _bracket(search: _Search, first: Step, settings: SearchSettings) -> tuple[Step, Step]:
    """Two neighbouring steps between which the entropy passes the wanted one."""
    rises = first.difference.value < 0
    limit = settings.high if rises else settings.low
    inside = first
    while True:
        if inside.temperature == round(limit, DECIMALS):
            if not _is_reached(inside):
                raise ConfigError(_no_solution(search.steps, settings, rises=rises))
            limit = settings.low if rises else settings.high  # where the start was, for a slope
        grown = inside.temperature * (_GROWTH if inside.temperature < limit else 1 / _GROWTH)
        outside = search.tried(min(max(grown, settings.low), settings.high))
        if _apart(inside, outside) or _is_reached(inside):
            return inside, outside
        inside = outside


def _apart(one: Step, other: Step) -> bool:
    """Whether the wanted entropy lies between the two."""
    return one.difference.value * other.difference.value <= 0


def _is_reached(step: Step) -> bool:
    return abs(step.difference.value) <= _NEGLIGIBLE * step.difference.error


def _interval(best: Step, one: Step, other: Step) -> tuple[float, float]:
    """The temperatures that the entropies' uncertainty allows, by the slope between the two steps nearest to it."""
    rise = one.difference.value - other.difference.value
    run = one.temperature - other.temperature
    if run == 0 or rise / run <= 0:
        return math.nan, math.nan
    ends = [best.temperature - edge * run / rise for edge in (best.difference.high, best.difference.low)]
    return max(ends[0], 0.0), ends[1]


def _no_solution(steps: list[Step], settings: SearchSettings, *, rises: bool) -> str:
    last = steps[-1]
    base = last.entropy.value - last.difference.value
    tried = ", ".join(f"{step.entropy.value:.4f} at T = {step.temperature:g}" for step in steps)
    ask = f"sampling.match_entropy_range=[{settings.low:g},{settings.high:g}]"
    side, other = ("above", "raise its upper end") if rises else ("below", "lower its lower end")
    return (
        f"no temperature in {ask} gives the tuned model the base's token entropy: the base's {base:.4f} nats a token "
        f"are {side} the tuned model's ({tried}); {other}, or compare at the same temperature"
    )
