"""What a person sees while a model trains: the steps done, what they measure, the time left."""

import time
from collections.abc import Mapping
from typing import TextIO

from kurve.progress import Progress, duration

_SHOWN = ("reward", "loss")  # the first that a training measures


class TrainingProgress(Progress):
    """Steps of one training while it runs; thread-safe. A context manager that owns the display."""

    def __init__(self, *, stream: TextIO | None = None) -> None:
        super().__init__(missing={}, num_problems=0, stream=stream)
        self._stage = "loading"
        self._first: tuple[int, float] | None = None  # step and time.monotonic() when training began here
        self._values: dict[str, float] = {}

    def at(self, step: int, steps: int) -> None:
        """`step` of `steps` optimizer steps are done, those of earlier starts included."""
        with self._lock:
            self._newest = time.monotonic()
            if self._first is None:
                self._first = (step, self._newest)
                self._stage = "training"
            self._samples, self._total = step, steps  # what the bar of the base class shows

    def measured(self, values: Mapping[str, float]) -> None:
        """The newest numbers of the training."""
        with self._lock:
            self._values |= {key: values[key] for key in _SHOWN if key in values}

    def line(self) -> str:
        """Where the training stands, in one line."""
        with self._lock:
            parts = [self._stage]
            if self._total:
                parts[0] += f": step {self._samples:,}/{self._total:,} ({self._samples / self._total:.0%})"
            shown = next((key for key in _SHOWN if key in self._values), None)
            if shown is not None:
                parts.append(f"{shown} {self._values[shown]:.3f}")
            return ", ".join([*parts, self._time()])

    def _time(self) -> str:
        if self._first is None or not self._first[0] < self._samples < self._total:
            return f"{duration(time.monotonic() - self._started)} so far"
        step, since = self._first
        a_step = (self._newest - since) / (self._samples - step)
        return f"{duration(a_step * (self._total - self._samples))} left"
