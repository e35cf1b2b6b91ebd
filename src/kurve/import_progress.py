"""What a person sees while samples of other tools are imported: how much has been read and stored, the time left."""

import time
from typing import TextIO

from kurve.importers.reading import Meter
from kurve.progress import Progress, duration


class ImportProgress(Progress):
    """One import while it runs; thread-safe. A context manager that owns the display."""

    def __init__(self, *, total_bytes: int, stream: TextIO | None = None) -> None:
        """`total_bytes` is the size of all files, each of which is read twice: to check it and to store it."""
        super().__init__(missing={}, num_problems=0, stream=stream)
        self._bytes = max(1, total_bytes)
        self._total = 2 * self._bytes
        self._rows = 0
        self._passes_done = 0
        self._stage = "checking"
        self._meter = Meter()

    def begin(self, stage: str) -> Meter:
        """A new pass over the files; the meter is given to whoever reads them."""
        with self._lock:
            self._stage = stage
            self._samples = self._passes_done * self._bytes
            self._passes_done += 1
            self._rows = 0
            self._meter = Meter(total=self._bytes)
            return self._meter

    def rows(self, count: int) -> None:
        """So many rows of this pass are done."""
        with self._lock:
            self._newest = time.monotonic()
            self._rows = count
            self._samples = (self._passes_done - 1) * self._bytes + min(self._meter.done, self._bytes)

    def line(self) -> str:
        """Where the import stands, in one line."""
        with self._lock:
            parts = [f"{self._stage}: {self._rows:,} samples"]
            if self._samples < self._total:
                parts.append(f"{self._samples / self._total:.0%}")
            if self._judged:
                parts.append(f"judged {self._judged:,}, correct {self._correct / self._judged:.1%}")
            return ", ".join([*parts, self._time()])

    def _time(self) -> str:
        elapsed = time.monotonic() - self._started
        if not 0 < self._samples < self._total:
            return f"{duration(elapsed)} so far"
        return f"{duration(elapsed / self._samples * (self._total - self._samples))} left"
