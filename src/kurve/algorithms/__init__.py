"""Algorithms train a model: RLVR from verdicts, supervised from demonstrations. Each is named in `conf/algorithm/`.

Modules here are light settings that refuse bad ones early; `kurve.algorithms.trainers` holds the subclasses of TRL's
trainers, imported only when training starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kurve.types import Demonstration, Model, Problem, Prompt
from kurve.verifiers import Verifier


class Log(Protocol):
    """Takes what training measures; never raises, never waits."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of one step, keys without prefix (`reward`, `loss`, ...)."""

    def keep(self, file: Path, folder: str) -> None:
        """Keep a file with the run, under `folder`."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training: what to train, on what, and where it goes."""

    model: Model  # initial weights
    problems: Sequence[Problem]  # RLVR: what to solve; empty for supervised training
    prompts: Sequence[Prompt]  # one a problem, in the same order
    demonstrations: Sequence[Demonstration]  # supervised: what to imitate; empty for RLVR
    verifier: Verifier | None  # entered already; None for supervised training
    args: Mapping[str, Any]  # TRL's own arguments that all algorithms share; an algorithm's own win over them
    lora: Mapping[str, Any] | None  # arguments of peft.LoraConfig; None trains all weights
    seed: int
    folder: Path  # checkpoints go to folder/checkpoints, the result to folder/model
    log: Log
    callbacks: Sequence[Any] = ()  # further transformers.TrainerCallback


class Algorithm(Protocol):
    """Trains one model."""

    learns_from: str  # "verdicts" (problems and a verifier), "prompts" (problems alone) or "demonstrations"

    def check(self, args: Mapping[str, Any], *, processes: int) -> None:
        """Refuse settings that cannot work, without loading a model; `args` are the shared ones.

        Raises:
            ConfigError: an unknown argument with the nearest valid name, sizes that do not divide, ...
        """

    def train(self, job: Job, checkpoint: Path | None) -> None:
        """Train to the end, from `checkpoint` if there is one, and leave the result in `job.folder / "model"`.

        Raises:
            TrainingError: the model cannot be loaded or trained.
        """
