"""Says how far a training is, to whoever shows it."""

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback


class Steps(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Calls `at(steps done, steps in all)` when training begins and after each step, on the main process only."""

    def __init__(self, at: Callable[[int, int], None]) -> None:
        self._at = at

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the trainer."""
        self._tell(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the trainer."""
        self._tell(state)

    def _tell(self, state: Any) -> None:
        if state.is_world_process_zero:
            self._at(int(state.global_step), int(state.max_steps))
