"""DAPO: clip-higher, token-level loss, dynamic sampling, overlong punishment. Yu et al. 2025 (arXiv:2503.14476)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kurve.algorithms import Job
from kurve.algorithms.local_groups import check_local_groups
from kurve.algorithms.rlvr import Rlvr
from kurve.errors import ConfigError


class Dapo(Rlvr):
    """Group-normalised advantages (eq. 9) on batches in which every prompt has right and wrong responses (eq. 11).

    The clip range (eq. 10), the token-level loss (eq. 12) and the absence of a KL term are TRL's arguments, in
    `conf/algorithm/dapo.yaml`.

    Args:
        max_rounds: how often a batch may draw prompts; what is still open then is filled with uninformative groups,
            whose advantage is 0. 1 switches dynamic sampling off.
        overlong_fraction: last part of `max_completion_length` in which length is punished, 0 at its start to -1 at
            its end (eq. 13); 0 switches the punishment off. The paper's is 4,096 of 20,480 tokens.
        overlong_weight: of the punishment in the reward. The paper's rewards are 1 and -1, ours 1 and 0: half of the
            punishment is the same in ours, and a right response stays above every wrong one.
        settings: of `Rlvr`.

    Raises:
        ConfigError: a setting is out of range.
    """

    def __init__(
        self, *, max_rounds: int = 10, overlong_fraction: float = 0.2, overlong_weight: float = 0.5, **settings: Any
    ) -> None:
        if isinstance(max_rounds, bool) or not isinstance(max_rounds, int) or max_rounds < 1:
            raise ConfigError(f"algorithm.max_rounds={max_rounds!r}; expected a whole number of at least 1")
        if not 0 <= overlong_fraction <= 1:
            raise ConfigError(f"algorithm.overlong_fraction={overlong_fraction!r}; expected a fraction from 0 to 1")
        if overlong_weight < 0:
            raise ConfigError(f"algorithm.overlong_weight={overlong_weight!r}; expected 0 or more")
        super().__init__(**settings)
        self.max_rounds = max_rounds
        self.overlong_fraction = overlong_fraction
        self.overlong_weight = overlong_weight

    def check(self, args: Mapping[str, Any], *, processes: int) -> None:
        """As every RLVR algorithm; and each process needs whole groups, since it refills its own."""
        super().check(args, processes=processes)
        check_local_groups(self.settings(args), processes, algorithm="DAPO")

    def settings(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that TRL gets: as for every RLVR algorithm, and the punishment's weight."""
        weights = {"reward_weights": [1.0, self.overlong_weight]} if self.overlong_fraction else {}
        return {**weights, **super().settings(args)}

    def reward_functions(self, job: Job, *, max_tokens: int, folder: Path) -> list[Callable[..., Any]]:
        """The verdict and, if it is on, the punishment of length."""
        functions = super().reward_functions(job, max_tokens=max_tokens, folder=folder)
        if not self.overlong_fraction:
            return functions
        from trl.rewards import get_soft_overlong_punishment

        last = max(1, round(self.overlong_fraction * max_tokens))
        return [*functions, get_soft_overlong_punishment(max_completion_len=max_tokens, soft_punish_cache=last)]

    def trainer_class(self) -> type:
        """The trainer that draws until a batch is informative."""
        from kurve.algorithms.trainers.dapo import DapoTrainer

        return DapoTrainer

    def extra_trainer_kwargs(self, job: Job) -> dict[str, Any]:
        """What the trainer takes besides TRL's own settings."""
        return {**super().extra_trainer_kwargs(job), "max_rounds": self.max_rounds}
