"""The trainer of DAPO: draws prompts until every group of the batch has right and wrong responses.

B are the responses of all processes, b those of this one, as in `rollout`.
"""

import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kurve.algorithms.advantages import Floats
from kurve.algorithms.dynamic_sampling import PromptStream, Slots, informative, pooled
from kurve.algorithms.trainers.aside import Measured, metrics_aside
from kurve.algorithms.trainers.merging import merged
from kurve.algorithms.trainers.rollout import Inputs, Output, RolloutTrainer
from kurve.errors import TrainingError

_STREAM = "prompts.json"  # in a checkpoint: how far the stream of prompts is
_Column = tuple[str, str]  # of TRL's table of completions: where it is kept, and its name there


@dataclass(frozen=True, slots=True)
class _Round:
    """Responses that were drawn together."""

    inputs: Inputs  # of this process
    output: Output
    rewards: Floats  # of all processes
    verdicts: Floats
    table: dict[_Column, list[Any]]  # of all processes
    measured: Measured


class DapoTrainer(RolloutTrainer):
    """Trains on groups with right and wrong responses; others are dropped and their slots filled from fresh prompts.

    The prompts come from a stream of their own that gives each row of the training set once a pass, since a batch
    consumes more of them than TRL's sampler deals out; no batch draws a prompt twice. After `max_rounds`, or when the
    training set has no more prompts for a batch, uninformative groups stay with advantage 0.

    Verdicts decide what is informative, not the punishment of length. TRL's metrics (`reward`, lengths, ...) describe
    all responses that were drawn, so that they compare with other algorithms'; its table of completions holds those
    that are trained on. Logged: `dynamic_sampling/rounds`, `/prompts` (drawn for the batch), `/uninformative` (groups
    in the batch that teach nothing) and `/reward` (of the batch). Every process must hold whole groups.

    Args:
        max_rounds: how often a batch may draw; 1 keeps whatever comes.
        settings: of `RolloutTrainer`; the first reward function gives the verdicts.
    """

    def __init__(self, *, max_rounds: int, **settings: Any) -> None:
        self._max_rounds = max_rounds
        self._verdicts: Floats = np.empty(0)  # of the last batch, [B]
        super().__init__(**settings)
        self.stream = PromptStream(len(self.train_dataset), seed=self.args.seed, shuffle=self.shuffle_dataset)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        table = super()._calculate_rewards(*args, **kwargs)
        self._verdicts = table[:, 0].double().cpu().numpy()
        return table

    def _rollout(self, inputs: Inputs) -> tuple[Inputs, Output, Floats]:
        if not self.model.training:
            return super()._rollout(inputs)
        processes = self.accelerator.num_processes
        slots = Slots(processes=processes, groups=len(inputs) // self.group_size)
        rounds: list[_Round] = []
        drawn: set[int] = set()
        while slots.missing and len(rounds) < self._max_rounds:
            groups = min(slots.wanted, (len(self.train_dataset) - len(drawn)) // processes)
            if not groups:
                break
            prompts = self.stream.take(groups * processes, without=drawn)
            drawn |= set(prompts)
            rounds.append(self._draw(prompts))
            slots.fill(informative(rounds[-1].verdicts, group_size=self.group_size))
        self._log_rounds(rounds, slots, len(drawn))
        return self._batch(rounds, slots)

    def _draw(self, prompts: list[int]) -> _Round:
        """Respond to rows of the training set, an equal part of them on each process."""
        each, size = len(prompts) // self.accelerator.num_processes, self.group_size
        first = self.accelerator.process_index * each
        mine = [self.train_dataset[row] for row in prompts[first : first + each]]
        for column in self._columns().values():
            column.clear()
        with metrics_aside(self) as measured:
            inputs, output, rewards = super()._rollout([dict(row) for row in mine for _ in range(size)])
        table = {name: list(column) for name, column in self._columns().items()}
        return _Round(inputs, output, rewards, self._verdicts, table, measured)

    def _batch(self, rounds: list[_Round], slots: Slots) -> tuple[Inputs, Output, Floats]:
        """What is trained on: rows and output of this process, rewards [B]."""
        size, me = self.group_size, self.accelerator.process_index
        kept = slots.batch()
        rows = [(group.round, group.place * size + i) for group in kept[me] for i in range(size)]
        everywhere = [  # rounds hold the rows of all processes one after another
            (group.round, process * len(rounds[group.round].inputs) + group.place * size + i)
            for process, groups in enumerate(kept)
            for group in groups
            for i in range(size)
        ]
        for name, column in self._columns().items():
            column.clear()
            column.extend(rounds[r].table[name][row] if name in rounds[r].table else None for r, row in everywhere)
        output = merged([r.output for r in rounds], rows, pad_token=self._tokenizer.pad_token_id)
        output["num_items_in_batch"] = self.accelerator.gather(output["completion_mask"].sum()).sum()
        self._verdicts = np.array([rounds[r].verdicts[row] for r, row in everywhere])
        rewards = np.array([rounds[r].rewards[row] for r, row in everywhere])
        if self.model.training and np.isfinite(rewards).any():
            self._metrics["train"]["dynamic_sampling/reward"].append(float(np.nanmean(rewards)))
        return [rounds[r].inputs[row] for r, row in rows], output, rewards

    def _advantages(self, rewards: Floats, inputs: Inputs, output: Output) -> Floats:
        useful = informative(self._verdicts, group_size=self.group_size).repeat(self.group_size)
        return np.where(useful, super()._advantages(rewards, inputs, output), 0.0)

    def _log_rounds(self, rounds: list[_Round], slots: Slots, prompts: int) -> None:
        metrics = self._metrics["train"]
        for name, value in pooled([(len(drawn.rewards), drawn.measured) for drawn in rounds]).items():
            metrics[name].append(value)
        metrics["dynamic_sampling/rounds"].append(len(rounds))
        metrics["dynamic_sampling/prompts"].append(prompts)
        metrics["dynamic_sampling/uninformative"].append(slots.unfilled)

    def _columns(self) -> dict[_Column, deque[Any]]:
        """TRL's table of completions, column by column."""
        whole = ("prompt", "completion", "advantages")
        found: dict[_Column, deque[Any]] = {(name, ""): self._logs[name] for name in whole}
        for part in ("rewards", "extra"):
            found |= {(part, name): column for name, column in self._logs[part].items()}
        return found

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.args.should_save:
            Path(output_dir, _STREAM).write_text(json.dumps({"taken": self.stream.taken}), encoding="utf-8")
        super()._save_optimizer_and_scheduler(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            kept = Path(checkpoint, _STREAM)
            if not kept.is_file():
                raise TrainingError(f"{checkpoint} has no {_STREAM}: it is no checkpoint of algorithm=dapo")
            self.stream.taken = int(json.loads(kept.read_text(encoding="utf-8"))["taken"])
        super()._load_optimizer_and_scheduler(checkpoint)
