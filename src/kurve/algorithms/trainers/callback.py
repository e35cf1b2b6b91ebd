"""What a training reports while it runs: TRL's numbers, and pass@k on held-out problems."""

import contextlib
import math
from collections.abc import Sequence
from typing import Any

from accelerate.utils import gather_object
from transformers import TrainerCallback
from trl.models import unwrap_model_for_generation

from kurve.algorithms import Log
from kurve.errors import ConfigError
from kurve.metrics.passk import pass_at_k_per_problem
from kurve.samplers.tokens import PromptTokenizer
from kurve.samplers.transformers_draw import draw
from kurve.types import Decoding, Model, Outcome, Problem, Prompt, Sample
from kurve.verifiers import Verifier

_FAILED = (Outcome.ERROR, Outcome.TIMEOUT)


class Forward(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Hands every finite number that the trainer logs to `log`, with its step, on the main process only."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Called by the trainer."""
        if state.is_world_process_zero and logs:
            self._log.log(_numbers(logs), state.global_step)


class HeldOut(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Measures pass@k on held-out problems every so many steps, sampling the model as it is with transformers.

    Before the first step and then every `every` steps it logs `holdout/pass_at_1` and `holdout/pass_at_<n>`, fractions,
    and `holdout/failed`, the share of samples without a verdict. Those are left out, and with them, for pass@n, their
    problem. Each sample has its own random numbers, so training goes on as it would without. Processes share the
    problems. These are not the problems on which models are compared later.

    Args:
        model: whose tokenizer encodes the prompts: the initial model.
        problems: held out of training, [P].
        prompts: one a problem, in the same order.
        verifier: entered already.
        decoding: how tokens are drawn.
        log: receives the numbers.
        num_samples: n, samples drawn for each problem.
        every: steps between two measurements.
        batch_size: samples drawn at once.
        seed: of the samples; the same ones at every measurement.

    Raises:
        ConfigError: no problems, or a number below 1.
    """

    def __init__(
        self,
        *,
        model: Model,
        problems: Sequence[Problem],
        prompts: Sequence[Prompt],
        verifier: Verifier,
        decoding: Decoding,
        log: Log,
        num_samples: int = 8,
        every: int = 50,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        for name, value in (("num_samples", num_samples), ("every", every), ("batch_size", batch_size)):
            if value < 1:
                raise ConfigError(f"holdout.{name}={value}; expected 1 or more")
        if not problems:
            raise ConfigError("holdout has no problems; give some, or leave it out")
        encode = PromptTokenizer(model).encode
        self._items = [
            (problem, encode(prompt), (seed * len(problems) + row) * num_samples)
            for row, (problem, prompt) in enumerate(zip(problems, prompts, strict=True))
        ]
        self._verifier, self._decoding, self._log = verifier, decoding, log
        self._num_samples, self._every, self._batch_size = num_samples, every, batch_size
        self._trainer: Any = None

    def attach(self, trainer: Any) -> None:
        """Name the trainer whose model is measured."""
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure the initial model; called by the trainer."""
        if state.global_step == 0:
            self._measure(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure when it is time; called by the trainer."""
        if state.global_step % self._every == 0:
            self._measure(state.global_step)

    def _measure(self, step: int) -> None:
        if self._trainer is None:
            raise ConfigError("holdout was given to a trainer that does not support it")
        accelerator = self._trainer.accelerator
        mine = self._items[accelerator.process_index :: accelerator.num_processes]
        counts = gather_object([self._counts(mine)]) if accelerator.num_processes > 1 else [self._counts(mine)]
        if accelerator.is_main_process:
            self._log.log(self._summary([count for part in counts for count in part]), step)

    def _counts(self, items: Sequence[tuple[Problem, list[int], int]]) -> list[tuple[int, int]]:
        """(judged samples, correct ones) of each problem."""
        rows = [(problem, ids, seed + i) for problem, ids, seed in items for i in range(self._num_samples)]
        texts = self._draw([(ids, seed) for _, ids, seed in rows])
        samples = [
            (problem, Sample(problem.id, i % self._num_samples, one.text, one.finish_reason, one.num_tokens))
            for i, ((problem, _, _), one) in enumerate(zip(rows, texts, strict=True))
        ]
        outcomes = [verdict.outcome for verdict in self._verifier.verify(samples)]
        n = self._num_samples
        groups = [outcomes[start : start + n] for start in range(0, len(outcomes), n)]
        return [(sum(o not in _FAILED for o in group), group.count(Outcome.CORRECT)) for group in groups]

    def _draw(self, rows: Sequence[tuple[list[int], int]]) -> list[Any]:
        trainer = self._trainer
        whole = trainer._dist.summon_full_params if hasattr(trainer, "_dist") else contextlib.nullcontext
        drawn: list[Any] = []
        was_training = trainer.model.training
        with (
            unwrap_model_for_generation(
                trainer.model_wrapped,
                trainer.accelerator,
                gradient_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs,
            ) as network,
            whole(trainer.model_wrapped),
        ):
            network.eval()
            for start in range(0, len(rows), self._batch_size):
                batch = list(rows[start : start + self._batch_size])
                drawn += draw(network, trainer.processing_class, self._decoding, batch, with_entropy=False)
        trainer.model.train(was_training)
        return drawn

    def _summary(self, counts: Sequence[tuple[int, int]]) -> dict[str, float]:
        wanted = len(counts) * self._num_samples
        found = {"holdout/failed": 1 - sum(n for n, _ in counts) / wanted}
        for k in sorted({1, self._num_samples}):
            enough = [(n, c) for n, c in counts if n >= k]
            if enough:
                n, c = zip(*enough, strict=True)
                found[f"holdout/pass_at_{k}"] = float(pass_at_k_per_problem(n, c, [k]).mean())
        return found


def _numbers(logs: dict[str, Any]) -> dict[str, float]:
    """The finite numbers among what a trainer logs."""
    numbers = {key: float(value) for key, value in logs.items() if isinstance(value, int | float)}
    return {key: value for key, value in numbers.items() if math.isfinite(value)}
