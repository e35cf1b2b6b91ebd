"""RLVR: reinforcement learning from verdicts. An algorithm is an advantage estimator and TRL's arguments."""

import difflib
import functools
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kurve.algorithms import Job
from kurve.algorithms.advantages import Estimator
from kurve.algorithms.arguments import check_arguments, check_batch, one_update_a_generation, prompts_a_generation
from kurve.errors import ConfigError
from kurve.types import Prompt

_NO_EFFECT = {  # TRL's arguments whose work the estimator does
    "scale_rewards": "algorithm.advantage decides how rewards become advantages (algorithm.advantage.scale of GRPO)",
    "multi_objective_aggregation": "rewards are summed with reward_weights and then go to algorithm.advantage",
}


class Rlvr:
    """Trains a model on the verdicts of its own responses, with TRL's GRPOTrainer and the advantages of `advantage`.

    Args:
        advantage: an estimator of `kurve.algorithms.advantages`.
        args: arguments of trl.GRPOConfig that this algorithm needs; they win over the shared ones of `training`.
        kl_in_reward: take TRL's `beta` times each token's KL off the reward, and have no KL term in the loss.
        rollouts_every: steps between two tables of responses that are kept with the run; `log_completions` turns them
            off altogether.

    Raises:
        ConfigError: a setting is out of range.
    """

    learns_from = "verdicts"

    def __init__(
        self,
        *,
        advantage: Estimator,
        args: Mapping[str, Any],
        kl_in_reward: bool = False,
        rollouts_every: int = 50,
        **unknown: Any,  # a subclass passes on what it does not know itself
    ) -> None:
        for name in unknown:
            known = [*inspect.signature(type(self)).parameters, *inspect.signature(Rlvr).parameters]
            known = [one for one in known if one not in ("settings", "unknown")]
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean algorithm.{near[0]}?" if near else f"it takes: {', '.join(known)}"
            raise ConfigError(f"algorithm.{name} is not a setting of {type(self).__name__}; {hint}")
        if isinstance(rollouts_every, bool) or not isinstance(rollouts_every, int) or rollouts_every < 1:
            raise ConfigError(f"algorithm.rollouts_every={rollouts_every!r}; expected a whole number of steps from 1")
        self.advantage = advantage
        self.args = dict(args)
        self.kl_in_reward = kl_in_reward
        self.rollouts_every = rollouts_every

    def check(self, args: Mapping[str, Any], *, processes: int) -> None:
        """Refuse unknown arguments, batches without whole groups, and a KL penalty that cannot act."""
        check_arguments("GRPOConfig", args, "training")
        check_arguments("GRPOConfig", self.args)
        settings = self.settings(args)
        for name, instead in _NO_EFFECT.items():
            if name in settings:
                raise ConfigError(f"{name} has no effect in kurve: {instead}; leave it out")
        check_batch(settings, processes)
        if self.kl_in_reward:
            self._check_penalty(float(settings.get("beta") or 0.0))

    def settings(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that TRL gets: the shared `args` and, over them, the algorithm's own."""
        return {**args, **self.args}

    def train(self, job: Job, checkpoint: Path | None) -> None:
        """Train on `job.problems` and leave the model in `job.folder / "model"`; see `Algorithm.train`."""
        from kurve.algorithms.trainers import weights

        trainer = self.make_trainer(job)
        weights.run(trainer, checkpoint)
        weights.save_result(trainer, job, weights.local_folder(job.model))

    def make_trainer(self, job: Job) -> Any:
        """The trainer, its model loaded, ready to train.

        Raises:
            ConfigError: TRL refuses a value, too few problems for one batch, or prompts too long for the context.
            TrainingError: the model cannot be loaded.
        """
        from datasets import Dataset
        from trl import GRPOConfig

        from kurve.algorithms.trainers import weights
        from kurve.algorithms.trainers.callback import Forward, HeldOut

        folder = weights.local_folder(job.model)
        tokenizer = weights.load_tokenizer(folder)
        settings = self.settings(job.args)
        processes = int(os.environ.get("WORLD_SIZE", "1"))  # set by accelerate launch and torchrun
        check_enough(len(job.problems), prompts_a_generation(settings, processes))
        config = weights.make_config(GRPOConfig, job, one_update_a_generation(settings, processes))
        rows = [_row(prompt, tokenizer) for prompt in job.prompts]
        weights.check_context(job.model, job.prompts, config.max_completion_length)
        trainer = self.trainer_class()(
            model=str(folder),
            args=config,
            reward_funcs=self.reward_functions(job, max_tokens=config.max_completion_length, folder=folder),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=weights.adapter_config(job.lora),
            callbacks=[Forward(job.log), *job.callbacks],
            on_rollouts=_keep_in(job),
            **self.extra_trainer_kwargs(job),
        )
        for callback in job.callbacks:
            if isinstance(callback, HeldOut):
                callback.attach(trainer)
        return trainer

    def trainer_class(self) -> type:
        """The subclass of `trainers.rollout.RolloutTrainer` that trains."""
        from kurve.algorithms.trainers.rollout import RolloutTrainer

        return RolloutTrainer

    def extra_trainer_kwargs(self, job: Job) -> dict[str, Any]:
        """What the trainer takes besides TRL's own settings."""
        return {
            "estimator": self.advantage,
            "kl_in_reward": self.kl_in_reward,
            "rollouts_every": self.rollouts_every,
        }

    def reward_functions(self, job: Job, *, max_tokens: int, folder: Path) -> list[Callable[..., Any]]:
        """TRL reward functions whose sum, weighted by `reward_weights`, is the reward; the verdict comes first."""
        from kurve.algorithms.trainers import weights
        from kurve.rewards import VerdictReward

        if job.verifier is None:
            raise ConfigError("RLVR needs a verifier; name one with verifier=...")
        ends = weights.end_tokens(folder, weights.load_tokenizer(folder))
        return [VerdictReward(job.verifier, job.problems, max_tokens=max_tokens, end_tokens=ends)]

    def _check_penalty(self, beta: float) -> None:
        if beta <= 0:
            raise ConfigError(
                f"algorithm.kl_in_reward is on but beta={beta:g}; give algorithm.args.beta, such as 0.001"
            )
        function = self.advantage
        while isinstance(function, functools.partial):
            function = function.func
        if "penalty" not in inspect.signature(function).parameters:
            raise ConfigError(
                f"algorithm.kl_in_reward: {function.__name__} gives one advantage a response and cannot take a penalty "
                "a token; leave it off and set beta, which adds the KL term to the loss"
            )


def check_enough(problems: int, prompts: int) -> None:
    """Refuse fewer problems than one generation holds prompts: TRL would drop the incomplete batch and never train.

    Raises:
        ConfigError: both numbers, and what to change.
    """
    if problems < prompts:
        raise ConfigError(
            f"one generation takes {prompts} distinct problems and there are {problems}; lower "
            "per_device_train_batch_size or gradient_accumulation_steps, raise num_generations, or give more problems"
        )


def _row(prompt: Prompt, tokenizer: Any) -> dict[str, Any]:
    """A row of the training set; what TRL makes of it are the same tokens that the samplers make of the prompt."""
    if prompt.messages:
        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        return {"prompt": messages, "problem_id": prompt.problem_id}
    text, bos = prompt.text, tokenizer.bos_token
    if bos and text.startswith(bos) and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]:
        text = text.removeprefix(bos)  # TRL's call of the tokenizer would write a second one
    return {"prompt": text, "problem_id": prompt.problem_id}


def _keep_in(job: Job) -> Callable[[Path], None]:
    """Moves a table of responses to the run's folder and has it kept."""

    def keep(file: Path) -> None:
        folder = job.folder / "rollouts"
        folder.mkdir(parents=True, exist_ok=True)
        kept = file.rename(folder / file.name.replace("completions_", "step-"))
        job.log.keep(kept, "rollouts")

    return keep
