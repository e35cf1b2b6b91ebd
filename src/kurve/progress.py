"""What a person sees while samples are drawn and judged: a live line on a terminal, plain lines elsewhere."""

import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kurve.types import Outcome, Sample, Score, Verdict

# Seconds between lines where there is no terminal; a study that shows its stages asks for more of them.
PLAIN_EVERY = float(os.environ.get("KURVE_PROGRESS_EVERY") or 10.0)


def original_stderr() -> TextIO:
    """A duplicate of stderr that stays on the terminal when the engine's output is sent to a file.

    In a notebook, whose stderr is no file, it is stderr itself.
    """
    try:
        sys.stderr.fileno()
    except (OSError, AttributeError):
        return sys.stderr
    return os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace", buffering=1)


class Progress:
    """Counts of one evaluation while it runs; thread-safe. A context manager that owns the display."""

    def __init__(self, *, missing: Mapping[str, int], num_problems: int, stream: TextIO | None = None) -> None:
        """`missing` is the number of samples still to draw for each problem that lacks some."""
        self._left = Counter(missing)
        self._total = sum(missing.values())
        self._num_problems = num_problems
        self._problems_done = num_problems - len(missing)
        self._samples = self._tokens = self._judged = self._correct = 0
        self._stage = "waiting for the first sample" if self._total else "all samples are stored"
        self._started = self._newest = time.monotonic()
        self._ready_at: float | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._stream = original_stderr() if stream is None else stream
        self._owned = stream is None and self._stream is not sys.stderr
        self._console = Console(file=self._stream, highlight=False)
        self._live: Live | None = None
        self._handlers: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        for handler in logging.getLogger("kurve").handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                self._handlers.append((handler, handler.setStream(self)))
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        else:
            self._thread = threading.Thread(target=self._print_lines, name="kurve-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for handler, stream in self._handlers:
            handler.setStream(stream)
        if self._live is not None:
            self._live.stop()
        if self._thread is not None:
            self._thread.join()
        self._console.print(Text(self.line()), soft_wrap=True)
        if self._owned:
            self._stream.close()

    def write(self, text: str) -> None:
        """Show a warning above the display: warnings of kurve and of the engine arrive here while it is on."""
        if text.strip():
            self._console.print(Text(text.rstrip()), soft_wrap=True)

    def flush(self) -> None:
        """Nothing is held back."""

    def stage(self, name: str) -> None:
        """What is going on now, in words."""
        with self._lock:
            self._stage = name

    def drawing_since(self, ready_at: float) -> None:
        """The engine has been drawing since this time.monotonic(): tokens/s and time left count from it."""
        with self._lock:
            if self._ready_at is None:
                self._ready_at = ready_at
                self._stage = "sampling"

    def sampled(self, sample: Sample | Score) -> None:
        """One more sample, or a score of one, is stored."""
        with self._lock:
            self._newest = time.monotonic()
            self._samples += 1
            self._tokens += sample.num_tokens
            if self._left[sample.problem_id] == 0:  # was under way when its problem had enough
                self._total += 1
                return
            self._left[sample.problem_id] -= 1
            self._problems_done += self._left[sample.problem_id] == 0

    def enough(self, problem_id: str) -> None:
        """No more samples of this problem are needed."""
        with self._lock:
            left = self._left.pop(problem_id, 0)
            self._total -= left
            self._problems_done += left > 0

    def judged(self, verdict: Verdict) -> None:
        """One more sample is judged."""
        with self._lock:
            self._judged += 1
            self._correct += verdict.outcome is Outcome.CORRECT

    @property
    def tokens(self) -> int:
        """Tokens drawn since the start."""
        return self._tokens

    @property
    def samples(self) -> int:
        """Samples drawn since the start."""
        return self._samples

    @property
    def newest(self) -> float:
        """time.monotonic() of the newest sample."""
        return self._newest

    @property
    def sampling_seconds(self) -> float:
        """Seconds from when the engine was ready to the newest sample; 0 before the first one."""
        return 0.0 if self._ready_at is None else self._newest - self._ready_at

    def line(self) -> str:
        """Where the evaluation stands, in one line."""
        with self._lock:
            parts = [f"{self._stage}: problems {self._problems_done}/{self._num_problems}"]
            if self._total:
                parts.append(f"samples {self._samples:,}/{self._total:,} ({self._samples / self._total:.0%})")
            if self._samples and self.sampling_seconds:
                parts.append(f"{self._tokens / self.sampling_seconds:,.0f} tokens/s")
            if self._judged:
                parts.append(
                    f"correct {self._correct:,} of {self._judged:,} judged ({self._correct / self._judged:.1%})"
                )
            parts.append(self._time())
        return ", ".join(parts)

    def _time(self) -> str:
        elapsed = time.monotonic() - self._started
        if not 0 < self._samples < self._total:
            return f"{duration(elapsed)} so far"
        left = self.sampling_seconds / self._samples * (self._total - self._samples)
        return f"{duration(left)} left"

    def _render(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        share = self._samples / self._total if self._total else 1.0
        width = 24
        filled = int(share * width)
        grid.add_row(Text("━" * filled, "green") + Text("━" * (width - filled), "dim"), Text(self.line()))
        return grid

    def _print_lines(self) -> None:
        self._console.print(Text(self.line()), soft_wrap=True)
        while not self._stop.wait(PLAIN_EVERY):
            self._console.print(Text(self.line()), soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds in words, as `2 min 05 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
