"""The seam: TRL's GRPOTrainer with the advantages of one of our estimators. All RLVR algorithms train through it.

Private methods of TRL 1.16 are overridden: `_calculate_rewards`, whose result is the reward of the batch of all
processes, `_generate_and_score_completions`, whose advantages are replaced, and `_get_per_token_logps_and_entropies`,
which needs no backward pass where the advantage is 0. `tests/contract/test_trl.py` fails when TRL renames one or stops
calling it. B are the responses of all processes, rank after rank and group after group;
b those of this process; T tokens; F reward functions.

A subclass overrides `_rollout` (which responses are trained on), `_advantages` (what they are credited with) or
`_compute_loss`; distribution over processes and TRL's log of completions stay here.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from trl import GRPOTrainer

from kurve.algorithms.advantages import Estimator, Floats
from kurve.errors import TrainingError

Inputs: TypeAlias = list[dict[str, Any]]  # dataset rows of this process, one a response, [b]
Output: TypeAlias = dict[str, Any]  # what TRL's loss reads: completion_ids, completion_mask [b, t], ...


class RolloutTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL has no types
    """Trains with the advantages that `estimator` gives to the rewards of the whole batch.

    Args:
        estimator: rewards [B] -> advantages, [B] or [B, T].
        kl_in_reward: take `beta` times each token's log(pi_old / pi_ref) off the reward instead of adding a KL term to
            the loss; the estimator must take `penalty` and `mask`.
        rollouts_every: write TRL's table of completions every so many steps, if `args.log_completions` is on.
        on_rollouts: is called with the file of each such table, on the main process.
        settings: of `trl.GRPOTrainer`.
    """

    _step: int  # TRL's: forward and backward passes so far
    beta: float  # TRL's: coefficient of the KL term
    log_completions: bool  # TRL's: whether the next call of `log` writes the table of completions

    def __init__(
        self,
        *,
        estimator: Estimator,
        kl_in_reward: bool = False,
        rollouts_every: int = 50,
        on_rollouts: Callable[[Path], None] | None = None,
        **settings: Any,
    ) -> None:
        self._estimator = estimator
        self._kl_in_reward = kl_in_reward
        self._rollouts_every, self._on_rollouts = rollouts_every, on_rollouts
        self._reward_table: torch.Tensor | None = None  # [B, F]
        self._silent: torch.Tensor | None = None  # responses that cannot move the weights, [b]; while a loss is made
        super().__init__(**settings)
        self._writes_rollouts = self.log_completions

    @property
    def group_size(self) -> int:
        """Responses to one prompt, in training or in evaluation."""
        size: int = self.num_generations if self.model.training else self.num_generations_eval
        return size

    def _rollout(self, inputs: Inputs) -> tuple[Inputs, Output, Floats]:
        """Respond to this process's prompts and judge the responses: rows and output of this process, rewards [B].

        The rewards are NaN where any reward function gave none. Collective: every process calls it equally often.
        """
        output = super()._generate_and_score_completions(inputs)
        table, self._reward_table = self._reward_table, None
        if table is None:
            raise TrainingError("TRL judged a batch without _calculate_rewards; kurve needs trl 1.16 (pip show trl)")
        summed = (table * self.reward_weights.to(table.device)).sum(dim=1)
        return inputs, output, np.asarray(summed.tolist(), dtype=np.float64)

    def _advantages(self, rewards: Floats, inputs: Inputs, output: Output) -> Floats:
        """Advantages of the whole batch from its rewards [B]: [B], or [B, T] one a token, T as in `_gathered`."""
        settings: dict[str, Any] = {}
        if self._kl_in_reward:
            settings = {"penalty": self._kl_penalty(output), "mask": self._gathered(output["completion_mask"])}
        advantages: Floats = self._estimator(rewards, group_size=self.group_size, **settings)
        return advantages

    def _generate_and_score_completions(self, inputs: Inputs) -> Output:
        inputs, output, rewards = self._rollout(inputs)
        advantages = self._advantages(rewards, inputs, output)
        output["advantages"] = self._local(advantages, output)
        self._log_advantages(advantages, output)
        return output

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        table: torch.Tensor = super()._calculate_rewards(*args, **kwargs)
        self._reward_table = table
        return table

    def _gathered(self, values: torch.Tensor) -> NDArray[Any]:
        """Values of all processes from this one's: [b] -> [B], or [b, t] -> [B, T], right-padded with 0 to the longest.

        Collective: every process must call it.
        """
        if values.dim() > 1:
            values = self.accelerator.pad_across_processes(values, dim=1)
        gathered = self.accelerator.gather(values).detach().cpu()
        array: NDArray[Any] = (gathered.double() if gathered.is_floating_point() else gathered).numpy()
        return array

    def _local(self, values: Floats, output: Output) -> torch.Tensor:
        """This process's rows of values of the whole batch: [B] -> [b], or [B, T] -> [b, t]."""
        mask = output["completion_mask"]
        rows, columns = mask.shape
        first = self.accelerator.process_index * rows
        mine = values[first : first + rows]
        if mine.ndim == 2:
            mine = mine[:, :columns]
        return torch.tensor(mine, dtype=torch.float32, device=self.accelerator.device)

    def _log_advantages(self, advantages: Floats, output: Output) -> None:
        """Put ours into TRL's table of completions, which holds its own; of tokens' advantages the mean."""
        if advantages.ndim == 2:
            mask = self._gathered(output["completion_mask"])
            advantages = (advantages * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
        log = self._logs["advantages"]
        for _ in range(min(len(advantages), len(log))):
            log.pop()
        log.extend(advantages.tolist())

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        if not self._step and self.state.global_step:
            # TRL counts passes from 0 again after a resume and would drift against the prompts' repeats.
            self._step = self.state.global_step * self.args.gradient_accumulation_steps
        return super()._prepare_inputs(generation_batch)

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        beta = self.beta
        if self._kl_in_reward:
            self.beta = 0.0  # the reward has it already
        self._silent = self._without_gradient(inputs["advantages"])
        try:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
        finally:
            self.beta, self._silent = beta, None
        return loss

    def _without_gradient(self, advantages: torch.Tensor) -> torch.Tensor | None:
        """The responses, [b], whose loss is 0 whatever the weights are; None to treat all alike.

        Several processes must all do the same passes, and each has other such responses.
        """
        if self.beta or self.accelerator.num_processes > 1:
            return None
        silent = (advantages == 0).reshape(len(advantages), -1).all(dim=1)
        return silent if silent.any() and not silent.all() else None

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, *args: Any, **settings: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """TRL's numbers for all responses; those of silent ones are computed without their gradient."""
        forward = super()._get_per_token_logps_and_entropies
        silent = self._silent
        per_row = [value for value in settings.values() if not (value is None or isinstance(value, bool | int))]
        if silent is None or per_row or settings.get("compute_aux_loss") or not torch.is_grad_enabled():
            found: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None] = forward(
                model, input_ids, attention_mask, *args, **settings
            )
            return found
        logps, entropies, _ = forward(model, input_ids[~silent], attention_mask[~silent], *args, **settings)
        with torch.no_grad():
            others, their_entropies, _ = forward(model, input_ids[silent], attention_mask[silent], *args, **settings)
        place = torch.cat([torch.nonzero(~silent), torch.nonzero(silent)]).reshape(-1).argsort()
        joined = None if entropies is None else torch.cat([entropies, their_entropies])[place]
        return torch.cat([logps, others])[place], joined, None

    def _kl_penalty(self, output: Output) -> Floats:
        """beta * log(pi_old / pi_ref) of each token of the batch, 0 outside the responses, [B, T]; logs its mean."""
        old = output.get("old_per_token_logps")
        if old is None:
            old = self._log_probabilities(output)
        mask = self._gathered(output["completion_mask"]).astype(bool)
        kl = np.where(mask, self._gathered(old - output["ref_per_token_logps"]), 0.0)
        mode = "train" if self.model.training else "eval"
        self._metrics[mode]["kl"].append(float(kl.sum() / max(mask.sum(), 1)))
        penalty: Floats = self.beta * kl
        return penalty

    def _log_probabilities(self, output: Output) -> torch.Tensor:
        """Log-probabilities of the responses' tokens under the model as it is, nats, [b, t]."""
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        attention = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        size = self.args.per_device_train_batch_size
        with torch.no_grad():
            found = self._get_per_token_logps_and_entropies(
                self.model, ids, attention, output["completion_ids"].size(1), batch_size=size
            )
        logps: torch.Tensor = found[0]
        return logps

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as TRL does, and its table of completions every `rollouts_every` steps only."""
        step = self.state.global_step
        wanted = self._writes_rollouts and "loss" in logs and (step == 1 or step % self._rollouts_every == 0)
        self.log_completions = wanted
        super().log(logs, start_time)
        if wanted and self._on_rollouts and self.accelerator.is_main_process:
            self._on_rollouts(Path(self.args.output_dir, "completions", f"completions_{step:05d}.parquet"))
