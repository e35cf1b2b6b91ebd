"""The trainer of PPO: a critic beside the policy, in the same optimiser.

B are the responses of all processes, b those of this one; T and t tokens, as in `rollout`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from transformers import TrainerCallback
from trl.trainer.utils import disable_dropout_in_model

from kurve.algorithms.advantages import Floats, whitened
from kurve.algorithms.trainers.critic import Critic
from kurve.algorithms.trainers.rollout import Inputs, Output, RolloutTrainer
from kurve.errors import ConfigError

_TIMES_THE_POLICY = 10  # learning rate: published recipes take 1e-5 for the critic and 1e-6 for the policy


class PpoTrainer(RolloutTrainer):
    """Advantages a token from a critic, whose loss is added to the policy's.

    What the critic predicted at rollout travels with the batch through TRL's shuffling and splitting. The critic is
    wrapped by nothing: its gradients are averaged over the processes before each step of the optimiser. Logged:
    `value/loss`, `value/clip_ratio`, `value/mean`, `value/explained_variance` and `value/grad_norm`.

    Args:
        critic_learning_rate: None takes ten times the policy's.
        value_coefficient: of the value loss.
        value_clip: range of the clipped value loss; None switches clipping off.
        settings: of `RolloutTrainer`; the estimator gives advantages and returns from `values` and `mask`.

    Raises:
        ConfigError: DeepSpeed or FSDP is on.
    """

    def __init__(
        self,
        *,
        critic_learning_rate: float | None = None,
        value_coefficient: float = 0.5,
        value_clip: float | None = 0.5,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            raise ConfigError("algorithm=ppo does not run under DeepSpeed or FSDP; launch it with plain DDP")
        self._critic_learning_rate = critic_learning_rate or _TIMES_THE_POLICY * self.args.learning_rate
        self._value_coefficient, self._value_clip = value_coefficient, value_clip
        self.critic = Critic(self.model)
        disable_dropout_in_model(self.critic)  # a prediction must be the same at rollout and in the loss
        if self.args.gradient_checkpointing:
            self.critic.backbone.gradient_checkpointing_enable(self.args.gradient_checkpointing_kwargs)
        self.add_callback(_ClearCritic(self.critic))

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The policy's optimiser, with groups of their own for the critic."""
        is_new = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if is_new:
            trained, decaying = self.critic.trained(), set(self.get_decay_parameter_names(self.critic))
            for decay, wanted in ((self.args.weight_decay, True), (0.0, False)):
                weights = [weight for name, weight in trained.items() if (name in decaying) == wanted]
                optimizer.add_param_group({"params": weights, "lr": self._critic_learning_rate, "weight_decay": decay})
        return optimizer

    def _advantages(self, rewards: Floats, inputs: Inputs, output: Output) -> Floats:
        predicted = self._predicted(output)
        values, mask = self._gathered(predicted), self._gathered(output["completion_mask"]).astype(bool)
        given: dict[str, Any] = {"values": values, "mask": mask}
        if self._kl_in_reward:
            given["penalty"] = self._kl_penalty(output)
        found: Any = self._estimator(rewards, **given)
        advantages, returns = found
        scored = mask & np.isfinite(rewards)[:, None]
        output["old_values"], output["returns"] = predicted, self._local(returns, output)
        output["value_mask"] = self._local(scored, output)
        output["num_values"] = torch.tensor(float(scored.sum()), device=predicted.device)
        self._log_fit(values[scored], returns[scored])
        return whitened(advantages, scored)

    def _predicted(self, output: Output) -> torch.Tensor:
        """What the critic predicts before each token of this process's responses, [b, t]."""
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        attention = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        size, tokens = self.args.per_device_train_batch_size, output["completion_ids"].size(1)
        self.critic.eval()
        with torch.no_grad(), self.accelerator.autocast():
            parts = [
                self.critic(part, seen, tokens)
                for part, seen in zip(ids.split(size), attention.split(size), strict=True)
            ]
        return torch.cat(parts)

    def _log_fit(self, values: Floats, returns: Floats) -> None:
        """How well the critic predicts what the responses earned; both of the scored tokens of the whole batch."""
        metrics = self._metrics["train" if self.model.training else "eval"]
        if returns.size:
            metrics["value/mean"].append(float(values.mean()))
        if returns.size and returns.var() > 0:
            metrics["value/explained_variance"].append(float(1 - (returns - values).var() / returns.var()))

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        return super()._compute_loss(model, inputs) + self._value_coefficient * self._value_loss(inputs)

    def _value_loss(self, inputs: Mapping[str, Any]) -> torch.Tensor:
        """This micro-batch's part of the batch's clipped value loss; TRL's token-level policy loss is scaled the same.

        The mean over all scored tokens of max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2) / 2.
        """
        mode = "train" if self.model.training else "eval"
        old, returns, mask = inputs["old_values"], inputs["returns"], inputs["value_mask"]
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        self.critic.train(mode == "train")
        with self.accelerator.autocast():
            values = self.critic(ids, attention, inputs["completion_ids"].size(1))
        error, clipped = clipped_errors(values, old=old, returns=returns, clip=self._value_clip)
        total = (error * mask).sum()
        share = inputs["num_values"].clamp(min=1.0) / self.accelerator.num_processes
        if mode == "train":
            share = share * self.current_gradient_accumulation_steps / self.args.steps_per_generation
        self._log_loss(mode, torch.stack([total, (clipped * mask).sum(), mask.sum()]).detach())
        return total / share

    def _log_loss(self, mode: str, sums: torch.Tensor) -> None:
        error, clipped, count = self.accelerator.reduce(sums, reduction="sum").tolist()
        self._metrics[mode]["value/loss"].append(error / max(count, 1.0))
        self._metrics[mode]["value/clip_ratio"].append(clipped / max(count, 1.0))

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """TRL's, and the critic's gradients averaged over the processes when the optimiser is about to step."""
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if self.accelerator.sync_gradients and self.accelerator.num_processes > 1:
            for weight in self.critic.trained().values():
                gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
                weight.grad = self.accelerator.reduce(gradient, reduction="mean")
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        # accelerate has just unscaled all of the optimiser's gradients, and would refuse to do so twice.
        of_critic = clip_grad_norm_(self.critic.trained().values(), self.args.max_grad_norm)
        self._metrics["train"]["value/grad_norm"].append(float(of_critic))
        return norm

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.args.should_save:
            self.critic.save(Path(output_dir))
        super()._save_optimizer_and_scheduler(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.critic.load(Path(checkpoint))
        super()._load_optimizer_and_scheduler(checkpoint)


def clipped_errors(
    values: torch.Tensor, *, old: torch.Tensor, returns: torch.Tensor, clip: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Half the squared error of each prediction, not below that of the prediction clipped to old +- clip, [b, t].

    The value loss of PPO's implementations (2017 baselines). Also 1 where the clipped one counts, [b, t].
    """
    error = (values - returns) ** 2
    if clip is None:
        return error / 2, torch.zeros_like(error)
    bounded = (old + (values - old).clamp(-clip, clip) - returns) ** 2
    return torch.maximum(error, bounded) / 2, (bounded > error).float().detach()


class _ClearCritic(TrainerCallback):  # type: ignore[misc]  # transformers' types are not read
    """transformers clears the gradients of its model only."""

    def __init__(self, critic: Critic) -> None:
        self._critic = critic

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self._critic.zero_grad()
