"""A log that keeps what a training measures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kurve.algorithms import Job


@dataclass
class KeptLog:
    """Every call, in order."""

    points: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of one step."""
        self.points.append((step, dict(values)))

    def keep(self, file: Path, folder: str) -> None:
        """A file of the run."""


def series(job: Job, key: str) -> dict[int, float]:
    """One number by step, of a job whose log is a `KeptLog`."""
    assert isinstance(job.log, KeptLog)
    return {step: values[key] for step, values in job.log.points if key in values}
