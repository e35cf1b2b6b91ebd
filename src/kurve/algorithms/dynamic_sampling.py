"""DAPO's dynamic sampling: which prompts come next and which groups of responses are kept.

All of it is pure and comes out the same on every process. A group are the responses to one prompt. A round draws
equally many groups on each process; a slot is a place for a group in the batch that is trained on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kurve.errors import TrainingError


def informative(verdicts: ArrayLike, *, group_size: int) -> NDArray[np.bool_]:
    """Groups with a right and a wrong response, [B / group_size]; only they have an advantage.

    0 < number right < number judged: Yu et al. 2025 (arXiv:2503.14476), eq. 11. A response without a verdict (NaN)
    counts neither way.

    Args:
        verdicts: 1 for right, 0 for wrong, [B], group after group.
        group_size: responses to one prompt.
    """
    groups = np.asarray(verdicts, dtype=np.float64).reshape(-1, group_size)
    return np.logical_and((groups > 0).any(axis=1), (groups <= 0).any(axis=1))


class PromptStream:
    """Rows of a dataset without end: each once a pass, every pass in an order of its own.

    `taken` is how far it is: all that a checkpoint needs to keep.

    Args:
        size: rows of the dataset.
        seed: decides the orders.
        shuffle: off, every pass is in the dataset's order.
    """

    def __init__(self, size: int, *, seed: int, shuffle: bool) -> None:
        self.taken = 0
        self._size, self._seed, self._shuffle = size, seed, shuffle
        self._pass, self._order = -1, np.arange(size)

    def take(self, count: int, *, without: set[int]) -> list[int]:
        """The next `count` rows, passing over those in `without`; fewer if the dataset has no others."""
        rows: dict[int, None] = {}  # in order
        available = self._size - len(without)
        while len(rows) < min(count, available):
            row = self._next()
            if row not in without:
                rows[row] = None
        return list(rows)

    def _next(self) -> int:
        number, position = divmod(self.taken, self._size)
        if number != self._pass and self._shuffle:
            self._order = np.random.default_rng([self._seed, number]).permutation(self._size)
        self._pass = number
        self.taken += 1
        return int(self._order[position])


@dataclass(frozen=True, slots=True)
class Drawn:
    """A group that was drawn."""

    round: int
    place: int  # among the groups of its process in that round


class Slots:
    """The groups each process trains on, filled round after round.

    Args:
        processes: how many train.
        groups: slots of each process.
    """

    def __init__(self, *, processes: int, groups: int) -> None:
        self._processes, self._groups = processes, groups
        self._kept: list[list[Drawn]] = [[] for _ in range(processes)]
        self._rest: list[list[Drawn]] = [[] for _ in range(processes)]
        self._rounds = self._informative = self._seen = 0

    @property
    def missing(self) -> int:
        """Open slots of the process that has most of them."""
        return self._groups - min(len(kept) for kept in self._kept)

    @property
    def unfilled(self) -> int:
        """Open slots of all processes together."""
        return sum(self._groups - len(kept) for kept in self._kept)

    @property
    def wanted(self) -> int:
        """Groups each process should draw next: as many as fill its slots at the share that was informative so far."""
        if not self._seen or not self._informative:
            return self._groups
        return min(self._groups, math.ceil(self.missing * self._seen / self._informative))

    def fill(self, mixed: ArrayLike) -> None:
        """Take the informative groups of a round, [processes * groups drawn by each], as far as slots are open."""
        rounds = np.asarray(mixed, dtype=bool).reshape(self._processes, -1)
        for process, of_process in enumerate(rounds):
            for place, useful in enumerate(of_process.tolist()):
                open_slot = len(self._kept[process]) < self._groups
                (self._kept if useful and open_slot else self._rest)[process].append(Drawn(self._rounds, place))
        self._rounds += 1
        self._seen += rounds.size
        self._informative += int(rounds.sum())

    def batch(self) -> list[list[Drawn]]:
        """What each process trains on, [processes][groups]: the kept groups, then uninformative ones in open slots.

        Raises:
            TrainingError: fewer groups were drawn than there are slots.
        """
        batch = [(kept + rest)[: self._groups] for kept, rest in zip(self._kept, self._rest, strict=True)]
        if any(len(groups) < self._groups for groups in batch):
            raise TrainingError(f"{self._groups} groups a process are trained on, but fewer were drawn")
        return batch


def pooled(metrics: Sequence[tuple[int, dict[str, list[float]]]]) -> dict[str, float]:
    """Metrics of several rounds as if they were one, keys as in TRL: means weighted by responses, extremes kept.

    Args:
        metrics: responses and what was measured, round after round; NaN is left out.
    """
    keys = dict.fromkeys(key for _, measured in metrics for key in measured)
    found = {key: [(rows, v) for rows, m in metrics for v in m.get(key, []) if not math.isnan(v)] for key in keys}
    return {key: _pool(key, entries) for key, entries in found.items() if entries}


def _pool(key: str, entries: list[tuple[int, float]]) -> float:
    values = [value for _, value in entries]
    name = key.rpartition("/")[2]
    if name.startswith("min"):
        return min(values)
    if name.startswith("max"):
        return max(values)
    if name == "num_tokens":  # a running total
        return values[-1]
    return sum(rows * value for rows, value in entries) / sum(rows for rows, _ in entries)
