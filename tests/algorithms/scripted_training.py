"""A tiny training: word problems, a model with random weights, a verifier that judges by rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from kurve.algorithms import Job
from kurve.benchmarks import arithmetic
from kurve.types import Model, Outcome, Problem, Prompt, Sample, Verdict
from kurve.verifiers import Verifier
from tests.samplers.tiny import make_tiny_model

ARGS: Mapping[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "per_device_train_batch_size": 16,
    "num_generations": 4,
    "max_completion_length": 8,
    "max_steps": 2,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "logging_steps": 1,
    "save_strategy": "no",
    "log_completions": False,
    "generation_kwargs": {"sequence_bias": [[[1], 4.0]]},  # responses end at different lengths
}


@dataclass
class RuleVerifier:
    """Right are responses whose characters add up to an even number; `fixed` problems always get one outcome."""

    fixed: Mapping[str, Outcome] = field(default_factory=dict)
    fingerprint: str = "rule"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def verify(self, items: Sequence[tuple[Problem, Sample]]) -> list[Verdict]:
        """One verdict an item, by rule."""
        return [
            Verdict(problem.id, sample.index, self.fixed.get(problem.id, by_rule(sample.text)))
            for problem, sample in items
        ]


def by_rule(text: str) -> Outcome:
    """What the verifier says of a response."""
    return Outcome.WRONG if sum(map(ord, text)) % 2 else Outcome.CORRECT


class SometimesFailing(RuleVerifier):
    """Fails on the responses whose characters add up to a multiple of 5."""

    def verify(self, items: Sequence[tuple[Problem, Sample]]) -> list[Verdict]:
        verdicts = super().verify(items)
        return [
            Verdict(v.problem_id, v.index, Outcome.ERROR) if sum(map(ord, sample.text)) % 5 == 0 else v
            for v, (_, sample) in zip(verdicts, items, strict=True)
        ]


@dataclass
class Record:
    """Keeps what a training logs."""

    points: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of one step."""
        self.points.append((step, dict(values)))

    def keep(self, file: Path, folder: str) -> None:
        """A file of the run."""
        self.files.append(file)


def logged(job: Job, key: str) -> list[float]:
    """The values of one number that a training logged, step after step."""
    assert isinstance(job.log, Record)
    return [values[key] for _, values in job.log.points if key in values]


def make_job(
    folder: Path,
    *,
    verifier: Verifier | None = None,
    problems: int = 16,
    seed: int = 0,
    lora: Mapping[str, Any] | None = None,
    **args: Any,
) -> Job:
    """A training in `folder` on the first word problems, with `args` over `ARGS`."""
    model = folder / "initial"
    if not model.exists():
        make_tiny_model(model)
    chosen = arithmetic.load(limit=problems).problems
    return Job(
        model=Model(name="tiny", path=str(model), dtype="float32"),
        problems=chosen,
        prompts=[Prompt(problem.id, text=problem.question) for problem in chosen],
        demonstrations=(),
        verifier=verifier or RuleVerifier(),
        args={**ARGS, **args},
        lora=lora,
        seed=seed,
        folder=folder,
        log=Record(),
    )


def record_batches(trainer: Any) -> list[dict[str, Any]]:
    """What each later rollout of a trainer hands to the loss, `rows` (of the dataset) and `rewards` with it."""
    batches: list[dict[str, Any]] = []
    rollout, score = trainer._rollout, trainer._generate_and_score_completions

    def recording_rollout(inputs: Any) -> Any:
        rows, output, rewards = rollout(inputs)
        batches.append({"rows": rows, "rewards": rewards})
        return rows, output, rewards

    def recording_score(inputs: Any) -> Any:
        output = score(inputs)
        batches[-1].update(output)
        return output

    trainer._rollout, trainer._generate_and_score_completions = recording_rollout, recording_score
    return batches


def texts(trainer: Any, batch: Mapping[str, Any]) -> list[str]:
    """The responses of a recorded batch, as the verifier reads them."""
    rows = zip(batch["completion_ids"], batch["completion_mask"], strict=True)
    return [trainer.processing_class.decode(ids[mask.bool()], skip_special_tokens=True) for ids, mask in rows]


def respond(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """Responses of 3 to 9 tokens that depend on the place in the batch and on the step only."""
    first = trainer.accelerator.process_index * len(prompts)
    responses = []
    for row in range(first, first + len(prompts)):
        rng = np.random.default_rng([row, trainer.state.global_step])
        responses.append(rng.integers(3, 250, size=3 + (row * 5) % 7).tolist())
    ids = trainer.processing_class(text=prompts)["input_ids"]
    return {"prompt_ids": ids, "completion_ids": responses, "logprobs": None}
