"""What a person sees while a study runs: its stages, live on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kurve.progress import PLAIN_EVERY, duration, original_stderr

_MARKS = {"waiting": "·", "running": "▸", "finished": "✓", "found": "✓", "failed": "✗"}
_STYLES = {"waiting": "dim", "running": "bold", "finished": "green", "found": "green", "failed": "red"}
_WORDS = {"found": "finished before"}


class StudyProgress:
    """The stages of one study; thread-safe. A context manager that owns the display."""

    def __init__(self, stages: Sequence[str], *, stream: TextIO | None = None) -> None:
        self._state = dict.fromkeys(stages, "waiting")
        self._detail = dict.fromkeys(stages, "")
        self._began: dict[str, float] = {}
        self._printed = dict.fromkeys(stages, 0.0)
        self._lock = threading.Lock()
        self._stream = original_stderr() if stream is None else stream
        self._owned = stream is None and self._stream is not sys.stderr
        self._console = Console(file=self._stream, highlight=False)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self.is_live:
            self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if self._owned:
            self._stream.close()

    @property
    def is_live(self) -> bool:
        """Whether a terminal shows the stages as they go."""
        return bool(self._console.is_terminal)

    def found(self, stage: str) -> None:
        """The stage was finished before."""
        self._set(stage, "found", "")
        self._print(stage, "finished before")

    def started(self, stage: str) -> None:
        """The stage's command was started."""
        self._began[stage] = time.monotonic()
        self._set(stage, "running", "starting")
        self._print(stage, "started")

    def said(self, stage: str, line: str) -> None:
        """The stage's command told where it stands; without a terminal, shown every ten seconds at most."""
        self._set(stage, "running", line)
        if time.monotonic() - self._printed[stage] >= PLAIN_EVERY:
            self._print(stage, line)

    def ended(self, stage: str, *, well: bool) -> None:
        """The stage's command ended."""
        took = f"{'finished' if well else 'failed'} after {duration(time.monotonic() - self._began[stage])}"
        self._set(stage, "finished" if well else "failed", took)
        self._print(stage, took)

    def _set(self, stage: str, state: str, detail: str) -> None:
        with self._lock:
            self._state[stage], self._detail[stage] = state, detail

    def _print(self, stage: str, text: str) -> None:
        if self._live is None:
            with self._lock:
                self._printed[stage] = time.monotonic()
                self._console.print(Text(f"[{stage}] {text}"), soft_wrap=True)

    def _render(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        grid.add_column()
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="ellipsis", no_wrap=True)
        with self._lock:
            rows = [(stage, state, self._detail[stage]) for stage, state in self._state.items()]
        for stage, state, detail in rows:
            shown = detail or _WORDS.get(state, state)
            if state == "running":
                shown = f"{duration(time.monotonic() - self._began[stage])}  {detail}"
            grid.add_row(Text(_MARKS[state], _STYLES[state]), Text(stage, _STYLES[state]), Text(shown, style="dim"))
        return grid
