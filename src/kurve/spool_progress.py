"""What a person sees while a spool is sent: how much of a journal, the time left."""

import time
from typing import TextIO

from kurve.progress import Progress, duration


class SpoolProgress(Progress):
    """One journal while it is sent; thread-safe. A context manager that owns the display."""

    def __init__(self, name: str, *, stream: TextIO | None = None) -> None:
        super().__init__(missing={}, num_problems=0, stream=stream)
        self._name = name
        self._before: int | None = None  # bytes that were sent by an earlier start

    def at(self, sent: int, total: int) -> None:
        """So many bytes of the journal are sent, of so many."""
        with self._lock:
            self._newest = time.monotonic()
            if self._before is None:
                self._before = sent
            self._samples, self._total = sent, max(total, sent)  # what the bar of the base class shows

    def line(self) -> str:
        """Where the sending stands, in one line."""
        with self._lock:
            share = f" {self._samples / self._total:.0%}" if self._total else ""
            return f"sending {self._name}{share}, {self._time()}"

    def _time(self) -> str:
        elapsed = time.monotonic() - self._started
        done = self._samples - (self._before or 0)
        if done <= 0 or self._samples >= self._total:
            return f"{duration(elapsed)} so far"
        return f"{duration(elapsed / done * (self._total - self._samples))} left"
