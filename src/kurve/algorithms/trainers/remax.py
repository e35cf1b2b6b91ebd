"""The trainer of ReMax: one greedy response to each prompt is judged too, and is the baseline of the others."""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from kurve.algorithms.advantages import Floats
from kurve.algorithms.trainers.aside import metrics_aside
from kurve.algorithms.trainers.rollout import Inputs, Output, RolloutTrainer


class RemaxTrainer(RolloutTrainer):
    """Gives the estimator `greedy`, the rewards of the greedy responses, one a prompt of the whole batch.

    The greedy responses come from the same weights and the same engine (transformers or vLLM) as the others, and are
    not trained on. Logged: `greedy/reward` and their lengths in tokens. Every process must hold whole groups.
    """

    def _advantages(self, rewards: Floats, inputs: Inputs, output: Output) -> Floats:
        baseline: dict[str, Any] = {"greedy": self._greedy_rewards(inputs[:: self.group_size])}
        advantages: Floats = self._estimator(rewards, group_size=self.group_size, **baseline)
        return advantages

    def _greedy_rewards(self, rows: Inputs) -> Floats:
        """Rewards of the greedy responses to this process's prompts and all others', rank after rank, [B / group].

        NaN where any reward function gave none. Collective: every process must call it.
        """
        prompts = [row["prompt"] for row in rows]
        with metrics_aside(self) as measured, self._greedily():
            _, completion_ids, _, completions, *_ = self._generate(prompts)
            table = self._calculate_rewards(rows, prompts, completions, completion_ids)
        self._reward_table = None
        self._pending_metrics.clear()  # of the greedy responses' verdicts: the table and metrics are of the others
        self._pending_extra_logs.clear()
        greedy: Floats = (table * self.reward_weights.to(table.device)).sum(dim=1).double().cpu().numpy()
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name in ("mean_length", "clipped_ratio"):
            metrics[f"greedy/{name}"] += measured[f"completions/{name}"]
        if np.isfinite(greedy).any():
            metrics["greedy/reward"].append(float(np.nanmean(greedy)))
        return greedy

    @contextmanager
    def _greedily(self) -> Iterator[None]:
        """Inside the block, generation takes the likeliest token and gives one response to each prompt."""
        with ExitStack() as stack:
            stack.enter_context(_changed(self, num_generations=1, num_generations_eval=1))
            if self.use_vllm:
                # vLLM takes temperature 0 as greedy; the other settings of sampling then do nothing.
                given = self.vllm_generation.generation_kwargs
                kept = {name: value for name, value in given.items() if name not in ("temperature", "n")}
                stack.enter_context(_changed(self.vllm_generation, temperature=0.0, generation_kwargs=kept))
            else:
                config = copy.deepcopy(self.generation_config)
                config.update(do_sample=False, temperature=None, top_p=None, top_k=None, min_p=None)
                stack.enter_context(_changed(self, generation_config=config))
            yield


@contextmanager
def _changed(thing: Any, **attributes: Any) -> Iterator[None]:
    """Attributes of an object have other values inside the block."""
    before = {name: getattr(thing, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(thing, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(thing, name, value)
