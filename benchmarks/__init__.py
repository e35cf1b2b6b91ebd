"""Speed as ratios against named alternatives, measured in the same run: `make bench`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measured ratio."""

    name: str
    ratio: float
    goal: float | None  # None: shown for comparison only
    detail: str  # what was timed against what
    at_most: bool = False  # the goal is an upper bound

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.goal is None or (self.ratio <= self.goal if self.at_most else self.ratio >= self.goal)
