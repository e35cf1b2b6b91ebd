"""All that a report measures beyond pass@k: of the counts, of the single samples, against chance, beyond n."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from kurve.errors import ConfigError, MetricError
from kurve.metrics.answers import SampleMetric
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.extrapolation import check_reach
from kurve.metrics.measured import Measured
from kurve.types import Curve, Histogram, Responses, Table, Tally

MetricValue: TypeAlias = float | Estimate | Curve | Histogram | None
Metric: TypeAlias = Callable[[Tally], MetricValue]


@dataclass(slots=True)
class Collected:
    """What was measured so far; no two measurements share a key."""

    scalars: dict[str, float] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)
    histograms: list[Histogram] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, measured: Measured) -> None:
        """Take one measurement, called `name` where it is refused.

        Raises:
            MetricError: a key, a curve or a table of that name is there already, or a number is not finite.
        """
        self.scalars |= self._checked(name, named(measured.scalars))
        for given, kept in ((measured.curves, self.curves), (measured.tables, self.tables)):
            taken = {one.name for one in kept}
            for one in given:
                if one.name in taken:
                    raise MetricError(f"metric {name} would overwrite {one.name}; switch one of the two off")
        self.curves += measured.curves
        self.tables += measured.tables
        self.notes += measured.notes

    def _checked(self, name: str, scalars: dict[str, float]) -> dict[str, float]:
        for key, number in scalars.items():
            if key in self.scalars:
                raise MetricError(f"metric {name} would overwrite {key}; choose another key under report.metrics")
            if not np.isfinite(number):
                raise MetricError(f"metric {name} gave {key}={number}; return None where the metric does not apply")
        return scalars


def named(estimates: Mapping[str, float | Estimate]) -> dict[str, float]:
    """Numbers by key; an estimate's ends are `<key>_low` and `<key>_high`."""
    scalars: dict[str, float] = {}
    for name, value in estimates.items():
        if isinstance(value, Estimate):
            scalars |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        else:
            scalars[name] = float(value)
    return scalars


def add_metrics(collected: Collected, counts: Tally, metrics: Mapping[str, Metric | None]) -> None:
    """Apply the metrics of counts.

    Raises:
        MetricError: a metric refuses the counts, returns something else, or a key is taken.
    """
    for name, metric in metrics.items():
        if metric is None:
            continue
        value = _value(name, metric, counts)
        if value is None:
            collected.notes.append(f"{name} does not apply to these counts and is left out.")
        elif isinstance(value, Curve):
            collected.add(name, Measured(curves=(value,)))
        elif isinstance(value, Histogram):
            collected.histograms.append(value)
        else:
            collected.add(name, Measured({name: value}))


def add_sample_metrics(
    collected: Collected,
    responses: Sequence[Responses],
    metrics: Mapping[str, SampleMetric | None],
    *,
    ks: Sequence[int],
    confidence: float,
    seed: int,
) -> None:
    """Apply the metrics of single samples, each with a generator of its own: none depends on which others are on.

    Raises:
        MetricError: a metric refuses the samples, returns something else, or a key is taken.
    """
    for name, metric in metrics.items():
        if metric is None:
            continue
        try:
            value: object = metric(responses, rng=np.random.default_rng(seed), ks=ks, confidence=confidence)
        except MetricError as error:
            raise MetricError(f"metric {name}: {error}; report.sample_metrics.{name}=null switches it off") from error
        if not isinstance(value, Measured):
            raise MetricError(f"metric {name} returned {type(value).__name__}; a Measured is expected")
        collected.add(name, value)


def check_metrics(setting: str, metrics: object, takes: str) -> None:
    """Refuse what is no mapping of keys to functions, or null.

    Raises:
        ConfigError: with the setting and the key.
    """
    if not isinstance(metrics, Mapping):
        raise ConfigError(f"{setting} must map names to functions, got {metrics!r}")
    for name, metric in metrics.items():
        if not re.fullmatch(r"[A-Za-z][\w.-]*", str(name), flags=re.ASCII):
            raise ConfigError(f"{setting} has the key {name!r}; use letters, digits, '_', '-' and '.' (trackers do)")
        if metric is not None and not callable(metric):
            raise ConfigError(
                f"{setting}.{name} must be a function of {takes}, got {type(metric).__name__}; "
                "write {_target_: <function>, _partial_: true}"
            )


def check_sample_metrics(metrics: Mapping[str, SampleMetric | None], *, confidence: float) -> None:
    """Try each on one problem with one sample, so that a wrong setting of it shows before anything is sampled.

    Raises:
        ConfigError: a metric cannot be called with its settings.
    """
    one = np.zeros(1, dtype=np.int64)
    sample = Responses("p", one == 0, one, one, -np.ones(1), one + 1)
    for name, metric in metrics.items():
        if metric is None:
            continue
        try:
            metric((sample,), rng=np.random.default_rng(0), ks=(), confidence=confidence)
        except (MetricError, TypeError) as error:
            raise ConfigError(f"report.sample_metrics.{name}: {error}") from error


def checked_reach(ks: object, num_samples: int) -> tuple[int, ...]:
    """The k of `report.extrapolate`; null is none.

    Raises:
        ConfigError: no list of whole numbers above n and up to 100 n.
    """
    if ks is None:
        return ()
    if isinstance(ks, str) or not isinstance(ks, Sequence):
        raise ConfigError(f"report.extrapolate must be a list such as [2048,4096] or null, got {ks!r}")
    try:
        check_reach(ks, num_samples)
    except MetricError as error:
        raise ConfigError(f"report.extrapolate={list(ks)}: {error}") from error
    return tuple(ks)


def _value(name: str, metric: Metric, counts: Tally) -> MetricValue:
    try:
        value: object = metric(counts)
    except MetricError as error:
        raise MetricError(f"metric {name}: {error}; report.metrics.{name}=null switches it off") from error
    if isinstance(value, np.number | int):
        return float(value)
    if value is None or isinstance(value, float | Estimate | Curve | Histogram):
        return value
    raise MetricError(
        f"metric {name} returned {type(value).__name__}; a number, Estimate, Curve, Histogram or None is expected"
    )
