"""PPO: a critic, generalised advantages, clipped losses. Schulman et al. 2017 (arXiv:1707.06347)."""

import functools
import os
from collections.abc import Mapping
from typing import Any

from kurve.algorithms import Job
from kurve.algorithms.advantages import gae
from kurve.algorithms.rlvr import Rlvr
from kurve.errors import ConfigError

_SHARDING = {"deepspeed": "ACCELERATE_USE_DEEPSPEED", "fsdp": "ACCELERATE_USE_FSDP"}


class Ppo(Rlvr):
    """Advantages of tokens (GAE, arXiv:1506.02438 eq. 16) from a critic that is trained beside the policy.

    The critic is a copy of the initial model with one output; it lies in each checkpoint and is no part of the result.
    The clipped policy loss (eq. 7) is TRL's, with its arguments in `conf/algorithm/ppo.yaml`.

    Args:
        gamma: discount of a token.
        lam: 1 gives the Monte Carlo return, 0 the one-step error.
        critic_learning_rate: None takes ten times the policy's; both follow the same schedule.
        value_coefficient: of the value loss beside the policy loss.
        value_clip: how far a prediction may move from the one at rollout before it no longer lowers the loss; None
            switches that off.
        settings: of `Rlvr`, without `advantage`.

    Raises:
        ConfigError: a setting is out of range.
    """

    def __init__(
        self,
        *,
        gamma: float = 1.0,
        lam: float = 1.0,
        critic_learning_rate: float | None = None,
        value_coefficient: float = 0.5,
        value_clip: float | None = 0.5,
        **settings: Any,
    ) -> None:
        for name, fraction in (("gamma", gamma), ("lam", lam)):
            if not 0 <= fraction <= 1:
                raise ConfigError(f"algorithm.{name}={fraction!r}; expected a number from 0 to 1")
        for name, amount in (("critic_learning_rate", critic_learning_rate), ("value_clip", value_clip)):
            if amount is not None and not amount > 0:
                raise ConfigError(f"algorithm.{name}={amount!r}; expected a number above 0, or null")
        if not value_coefficient > 0:
            raise ConfigError(f"algorithm.value_coefficient={value_coefficient!r}; expected a number above 0")
        super().__init__(advantage=functools.partial(gae, gamma=gamma, lam=lam), **settings)
        self.critic_learning_rate = critic_learning_rate
        self.value_coefficient = value_coefficient
        self.value_clip = value_clip

    def check(self, args: Mapping[str, Any], *, processes: int) -> None:
        """As every RLVR algorithm; and neither DeepSpeed nor FSDP, which would not shard the critic."""
        super().check(args, processes=processes)
        settings = self.settings(args)
        for name, variable in _SHARDING.items():
            if settings.get(name) or os.environ.get(variable, "").lower() in ("1", "true"):
                raise ConfigError(
                    f"algorithm=ppo trains its critic beside the policy and does not run under {name}; launch it with "
                    "conf/accelerate/ddp.yaml, with LoRA if memory is short, or take an algorithm without a critic"
                )

    def trainer_class(self) -> type:
        """The trainer with a critic."""
        from kurve.algorithms.trainers.ppo import PpoTrainer

        return PpoTrainer

    def extra_trainer_kwargs(self, job: Job) -> dict[str, Any]:
        """What the trainer takes besides TRL's own settings."""
        return {
            **super().extra_trainer_kwargs(job),
            "critic_learning_rate": self.critic_learning_rate,
            "value_coefficient": self.value_coefficient,
            "value_clip": self.value_clip,
        }
