"""What a search varies, in Hydra's grammar: `choice(a,b)`, `range(8,65,8)`, `interval(1e-6,1e-4)`, `tag(log, ...)`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from kurve.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting and the values it may take: some, or all from `low` to `high`."""

    key: str  # with the prefix that was given, as ++training
    choices: tuple[str, ...] = ()  # as a command line writes them
    low: float = 0.0
    high: float = 0.0
    step: float | None = None  # None: any number, or any whole one
    whole: bool = False  # only whole numbers
    log: bool = False  # drawn evenly over the logarithm

    def word(self, value: object) -> str:
        """The override that sets a value."""
        return f"{self.key}={value}"

    def ends(self) -> list[str]:
        """Overrides at which the setting is checked before anything starts: every choice, or both ends."""
        if self.choices:
            return [self.word(choice) for choice in self.choices]
        return [self.word(int(end) if self.whole else end) for end in (self.low, self.high)]

    def about(self) -> dict[str, object]:
        """What makes two dimensions the same, as plain values."""
        return asdict(self) | {"choices": list(self.choices)}


@dataclass(frozen=True, slots=True)
class Space:
    """The overrides that all trials share, and what is varied."""

    fixed: tuple[str, ...]
    dimensions: tuple[Dimension, ...]

    def words(self, values: Mapping[str, object]) -> list[str]:
        """The overrides of a trial with these values by key."""
        return [*self.fixed, *(one.word(values[one.key]) for one in self.dimensions)]

    def probes(self) -> list[list[str]]:
        """Points at which all that can be wrong with a single setting shows: each end of each dimension once."""
        first = [one.ends()[0] for one in self.dimensions]
        points = [first]
        for at, one in enumerate(self.dimensions):
            points += [[*first[:at], word, *first[at + 1 :]] for word in one.ends()[1:]]
        return [[*self.fixed, *point] for point in points]


def space_of(overrides: Sequence[Override]) -> Space:
    """The search space that overrides describe; later ones win over earlier ones of the same key.

    Raises:
        ConfigError: nothing is varied, or by a form that has no place in a search.
    """
    latest = {one.key_or_group: one for one in overrides}
    fixed = tuple(str(one.input_line) for one in latest.values() if not one.is_sweep_override())
    dimensions = tuple(_dimension(one) for one in latest.values() if one.is_sweep_override())
    if not dimensions:
        raise ConfigError(
            "a search needs settings to vary, as training.learning_rate='tag(log, interval(1e-6,1e-4))' "
            "training.num_generations=8,16"
        )
    return Space(fixed, dimensions)


def _dimension(override: Override) -> Dimension:
    key, value = override.get_key_element(), override.value()
    if isinstance(value, ChoiceSweep):
        return Dimension(key, choices=tuple(str(one) for one in override.sweep_string_iterator()))
    if isinstance(value, IntervalSweep) and value.start is not None and value.end is not None:
        return _between(key, value, value.start, value.end, step=None)
    if isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        last = value.start + value.step * int((value.stop - value.start - 1e-12) // value.step)
        return _between(key, value, value.start, last, step=value.step)
    raise ConfigError(f"{override.input_line}: a search takes choice(...), a,b,c, range(...) and interval(...)")


def _between(key: str, value: Any, low: float, high: float, *, step: float | None) -> Dimension:
    log = "log" in value.tags
    whole = isinstance(low, int) and isinstance(high, int)
    if not low < high or (log and low <= 0):
        raise ConfigError(
            f"{key} is searched from {low} to {high}{' by its logarithm' if log else ''}; expected the smaller number "
            "first, and for the logarithm one above 0"
        )
    if log and step is not None and step != 1:
        raise ConfigError(f"{key}: tag(log, ...) goes with interval(...), or with range(...) in steps of 1")
    return Dimension(key, low=low, high=high, step=None if log else step, whole=whole, log=log)
