"""What a measurement of several numbers gives: values by key, curves, rows to read, and what to know first."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kurve.metrics.bootstrap import Estimate
from kurve.types import Curve, Table


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement; empty but for its notes where the data do not allow it."""

    scalars: Mapping[str, float | Estimate] = field(default_factory=dict)  # by the key that a tracker shows
    curves: tuple[Curve, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()  # sentences a reader must know before using the numbers
