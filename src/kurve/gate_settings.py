"""What a gate asks for: thresholds, checked; which of two gates asks for less; a gate read from its YAML file."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from kurve.errors import ConfigError
from kurve.metrics.multiplicity import Multiplicity

TARGET = "_target_"  # Hydra's key in conf/gate/*.yaml


@dataclass(frozen=True, slots=True)
class Gate:
    """What is asked for; None switches a check off.

    Raises:
        ConfigError: a threshold is impossible.
    """

    name: str
    benchmarks: tuple[str, ...] | None = None  # in the order of a fixed sequence; None: all that there is evidence of
    superiority_margin: float | None = None  # tuned - base pass@1 must lie above, a fraction
    non_inferiority_margin: float | None = None  # base - tuned pass@k must lie below, a fraction
    k: int | None = None  # the large k; None: 256, or the largest where n is smaller
    delta_se_cap: float | None = None  # base pass@k - tuned pass@1 must lie at or below, a fraction
    max_truncation_rate: float | None = None  # of the samples of either model
    max_error_rate: float | None = None  # of their judgements
    min_problems: int = 1
    min_samples: int = 1  # of each problem
    same_settings: bool = True  # both models were sampled and judged alike
    allow_unsafe_sandbox: bool = False
    multiplicity: str = "holm"  # over benchmarks: holm, fixed_sequence or none
    confidence: float = 0.95  # of a two-sided interval, a fraction
    draws: int = 4000  # behind the band
    seed: int = 0  # of those draws

    def __post_init__(self) -> None:
        """Take a list of benchmarks of any kind; refuse what cannot be asked for."""
        given: object = self.benchmarks
        if isinstance(given, str):
            raise ConfigError(f"gate.benchmarks is {given!r}; expected a list of names, as [math500]")
        if self.benchmarks is not None:
            object.__setattr__(self, "benchmarks", tuple(map(str, self.benchmarks)))
        _check_gate(self)

    @property
    def compares(self) -> bool:
        """Whether it asks for anything of the tuned model against its base."""
        return any(one is not None for one in (self.superiority_margin, self.non_inferiority_margin, self.delta_se_cap))

    @property
    def asks_nothing(self) -> bool:
        """Whether everything passes."""
        limits = (self.max_truncation_rate, self.max_error_rate)
        return not self.compares and self.benchmarks is None and all(one is None for one in limits)


def gate_json(gate: Gate) -> dict[str, object]:
    """The gate as plain values, for `gate_of`."""
    return {**dataclasses.asdict(gate), "benchmarks": list(gate.benchmarks) if gate.benchmarks is not None else None}


def gate_of(values: object, source: str) -> Gate:
    """The gate that plain values describe.

    Args:
        values: a mapping of settings to values, as in `conf/gate/*.yaml`.
        source: where they are from, for messages.

    Raises:
        ConfigError: they are no mapping, or a setting is unknown or impossible.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source} holds no gate; expected settings and values as in conf/gate/default.yaml")
    known = {field.name for field in dataclasses.fields(Gate)}
    given = {str(key): value for key, value in values.items() if key != TARGET}
    if unknown := sorted(set(given) - known):
        raise ConfigError(f"{source}: {', '.join(unknown)} is no setting of a gate; it has {', '.join(sorted(known))}")
    if not isinstance(given.get("name"), str):
        raise ConfigError(f"{source} does not name its gate; add name: <name>")
    benchmarks = given.get("benchmarks")
    if benchmarks is not None and not isinstance(benchmarks, list):
        raise ConfigError(f"{source}: benchmarks is {benchmarks!r}; expected a list of names")
    return Gate(**given)


def read_gate(path: Path) -> Gate:
    """The gate of a YAML file such as `conf/gate/default.yaml`; its `defaults` are not followed.

    Raises:
        ConfigError: there is no such file, or it holds no gate.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"cannot read the gate {path}: {error}; name a file such as conf/gate/default.yaml"
        ) from error
    return gate_of(values, str(path))


def gate_digest(gate: Gate) -> str:
    """16 hex digits of all that is asked for."""
    return hashlib.sha256(json.dumps(gate_json(gate), sort_keys=True).encode()).hexdigest()[:16]


def weaker_settings(gate: Gate, floor: Gate) -> list[str]:
    """What a gate asks less for than another one, one clause a setting; none: it is as strict or stricter."""
    rules: dict[str, Callable[[Gate, Gate], bool]] = {
        **{key: _below(key) for key in ("superiority_margin", "min_problems", "min_samples", "confidence", "draws")},
        **{key: _above(key) for key in _LIMITS},
        "k": lambda one, least: (one.k or _USUAL_K) < (least.k or _USUAL_K),
        "same_settings": lambda one, least: least.same_settings and not one.same_settings,
        "allow_unsafe_sandbox": lambda one, least: one.allow_unsafe_sandbox and not least.allow_unsafe_sandbox,
        "multiplicity": lambda one, least: _STRICT.index(one.multiplicity) < _STRICT.index(least.multiplicity),
        "benchmarks": lambda one, least: not set(least.benchmarks or ()) <= set(one.benchmarks or ()),
        "seed": lambda one, least: one.seed != least.seed,  # who may choose among seeds may choose the result
    }
    return [
        f"{key} is {_shown(getattr(gate, key))} and {_shown(getattr(floor, key))} is asked for"
        for key, is_weaker in rules.items()
        if is_weaker(gate, floor)
    ]


_LIMITS = ("non_inferiority_margin", "delta_se_cap", "max_truncation_rate", "max_error_rate")
_STRICT = ("none", "fixed_sequence", "holm")
_USUAL_K = 256


def _below(key: str) -> Callable[[Gate, Gate], bool]:
    return lambda one, floor: _number(one, key, -math.inf) < _number(floor, key, -math.inf)


def _above(key: str) -> Callable[[Gate, Gate], bool]:
    return lambda one, floor: _number(one, key, math.inf) > _number(floor, key, math.inf)


def _number(gate: Gate, key: str, absent: float) -> float:
    value = getattr(gate, key)
    return absent if value is None else float(value)


def _shown(value: object) -> str:
    return "null" if value is None else ", ".join(value) if isinstance(value, tuple) else str(value)


def _check_gate(gate: Gate) -> None:
    if not gate.name:
        raise ConfigError("gate.name is empty; give the gate a name")
    for key in ("superiority_margin", *_LIMITS):
        value = getattr(gate, key)
        if value is not None and (not _is_number(value) or not 0 <= value <= 1):
            raise ConfigError(
                f"gate.{key} is {value!r}; expected a fraction from 0 to 1, as 0.02, or null for no check"
            )
    for key in ("same_settings", "allow_unsafe_sandbox"):
        if not isinstance(getattr(gate, key), bool):
            raise ConfigError(f"gate.{key} is {getattr(gate, key)!r}; expected true or false")
    for key, least in (("min_problems", 1), ("min_samples", 1), ("draws", 100), ("seed", 0)):
        value = getattr(gate, key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"gate.{key} is {value!r}; expected a whole number from {least} on")
    if gate.k is not None and (isinstance(gate.k, bool) or not isinstance(gate.k, int) or gate.k < 1):
        raise ConfigError(f"gate.k is {gate.k!r}; expected a whole number from 1 on, or null for 256")
    if not _is_number(gate.confidence) or not 0.5 < gate.confidence < 1:
        raise ConfigError(f"gate.confidence is {gate.confidence!r}; expected a fraction above 0.5, as 0.95")
    rules = [rule.value for rule in Multiplicity]
    if gate.multiplicity not in rules:
        raise ConfigError(f"gate.multiplicity is {gate.multiplicity!r}; expected one of {', '.join(rules)}")
    names = gate.benchmarks
    if names is not None and (not names or len(set(names)) < len(names) or not all(names)):
        raise ConfigError(f"gate.benchmarks is {list(names)}; expected different names, or null for all there are")
    if gate.multiplicity == Multiplicity.FIXED_SEQUENCE and names is None and gate.compares:
        raise ConfigError("gate.multiplicity=fixed_sequence needs gate.benchmarks=[...], the most important one first")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
