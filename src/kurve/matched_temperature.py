"""What was found about the temperature of samples that were drawn at a matched entropy, kept beside them.

matched_temperature.json    in the store's folder; the same document records a search, so that it is not repeated
"""

import dataclasses
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from kurve.entropy_matching import Match
from kurve.errors import StoreError
from kurve.store.disk import disk_error, write_atomically
from kurve.types import Report, Table

RECORD = "matched_temperature.json"
TABLE = "matched_temperature_steps"
_FORMAT = 1
_COLUMNS = (
    "temperature", "token_entropy", "low", "high", "difference", "difference_error", "difference_low",
    "difference_high",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MatchedTemperature:
    """A temperature at which a model's token entropy is that of a reference, and how it was found."""

    temperature: float
    temperature_low: float | None  # None where the entropies do not rise between the last two temperatures
    temperature_high: float | None
    reference: str  # the fingerprint of the base's samples
    reference_temperature: float
    base_entropy: tuple[float, float, float]  # value, low, high; nats a token
    tuned_entropy: tuple[float, float, float]  # at `temperature`
    steps: tuple[tuple[float, ...], ...]  # the columns of the table, in the order in which they were tried
    confidence: float
    num_problems: int
    samples: int  # of each problem, a step
    source: str  # of the base's entropy, in words

    @property
    def interval(self) -> str:
        """Of the temperature, in words."""
        if self.temperature_low is None or self.temperature_high is None:
            return "its uncertainty cannot be told from these steps"
        return f"{100 * self.confidence:g} % [{self.temperature_low:.3f}, {self.temperature_high:.3f}]"

    @property
    def sentence(self) -> str:
        """All of it for a person."""
        base, tuned = self.base_entropy, self.tuned_entropy
        return (
            f"Drawn at T = {self.temperature:g} ({self.interval}), where the model's token entropy is that of "
            f"{self.reference} at T = {self.reference_temperature:g}: {tuned[0]:.4f} [{tuned[1]:.4f}, {tuned[2]:.4f}] "
            f"and {base[0]:.4f} [{base[1]:.4f}, {base[2]:.4f}] nats a token, of what is drawn from, over "
            f"{self.num_problems:,} problems."
        )


def as_record(
    match: Match, *, reference: str, reference_temperature: float, confidence: float, num_problems: int, samples: int,
    source: str,
) -> MatchedTemperature:  # fmt: skip
    """What is kept of a finished search."""

    def number(value: float) -> float | None:
        return value if math.isfinite(value) else None

    steps = tuple(
        (s.temperature, s.entropy.value, s.entropy.low, s.entropy.high,
         s.difference.value, s.difference.error, s.difference.low, s.difference.high)
        for s in match.steps
    )  # fmt: skip
    tuned = match.tuned.entropy
    return MatchedTemperature(
        temperature=match.temperature,
        temperature_low=number(match.low),
        temperature_high=number(match.high),
        reference=reference,
        reference_temperature=reference_temperature,
        base_entropy=(match.base.value, match.base.low, match.base.high),
        tuned_entropy=(tuned.value, tuned.low, tuned.high),
        steps=steps,
        confidence=confidence,
        num_problems=num_problems,
        samples=samples,
        source=source,
    )


def write(path: Path, found: MatchedTemperature) -> None:
    """Keep it, whole or not at all.

    Raises:
        StoreError: the file cannot be written.
    """
    document = {"format": _FORMAT, **asdict(found), "columns": list(_COLUMNS)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")
    except OSError as error:
        raise disk_error(error, path, "write") from error


def read(path: Path) -> MatchedTemperature | None:
    """What `write` kept; None if there is nothing.

    Raises:
        StoreError: the file is damaged or of another version.
    """
    names = [field.name for field in dataclasses.fields(MatchedTemperature)]
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != _FORMAT:
            raise ValueError(f"format {document['format']!r}, expected {_FORMAT}")
        values = {name: document[name] for name in names}
        pairs = {name: tuple(map(float, values[name])) for name in ("base_entropy", "tuned_entropy")}
        steps = tuple(tuple(map(float, row)) for row in values["steps"])
        found = MatchedTemperature(**{**values, **pairs, "steps": steps})
        _ = found.sentence  # says by its formats whether the numbers are numbers
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, path, "read") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}); remove it, and the temperature is looked for again") from error
    return found


def with_matched_temperature(report: Report, folder: Path) -> Report:
    """The report with what is kept beside the samples of `folder`, if something is.

    Raises:
        StoreError: it is damaged.
    """
    found = read(folder / RECORD)
    if found is None or found.temperature != report.spec.temperature:
        return report
    scalars = {"matched_temperature": found.temperature}
    for name, value in (("low", found.temperature_low), ("high", found.temperature_high)):
        if value is not None:
            scalars[f"matched_temperature_{name}"] = value
    for name, (value, low, high) in (("base", found.base_entropy), ("tuned", found.tuned_entropy)):
        key = f"{name}_token_entropy"
        scalars |= {key: value, f"{key}_low": low, f"{key}_high": high}
    return dataclasses.replace(
        report,
        scalars={**report.scalars, **scalars},
        notes=(*report.notes, found.sentence),
        tables=(*report.tables, Table(TABLE, _COLUMNS, found.steps)),
    )
