"""TRL's DistillationTrainer on prompts whose tokens are those that a sampler sends."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import DistillationConfig, DistillationTrainer

from kurve.algorithms import Job
from kurve.algorithms.on_policy import check_prompts
from kurve.algorithms.trainers import weights
from kurve.algorithms.trainers.callback import Forward, HeldOut
from kurve.errors import ConfigError, TrainingError
from kurve.samplers.tokens import PromptTokenizer
from kurve.types import Message, Model, Prompt


class OnPolicyTrainer(DistillationTrainer):  # type: ignore[misc]  # TRL has no types
    """Encodes prompts with `encoder`; everything else is TRL's.

    Args:
        encoder: of the student.
        settings: of `trl.DistillationTrainer`.
    """

    def __init__(self, *, encoder: PromptTokenizer, **settings: Any) -> None:
        self._encoder = encoder
        super().__init__(**settings)

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self._encoder.encode(_prompt(one)) for one in prompts], None, {}


def make_trainer(job: Job, settings: Mapping[str, Any], folder: Path, *, teacher: Model) -> OnPolicyTrainer:
    """The trainer, the student loaded from `folder` and the teacher, ready to train.

    Raises:
        ConfigError: TRL refuses a value, there are too few prompts, they are too long, or the vocabularies differ.
        TrainingError: a model cannot be loaded.
    """
    teacher_folder = weights.local_folder(teacher)
    tokenizer = weights.load_tokenizer(folder)
    if weights.load_tokenizer(teacher_folder).get_vocab() != tokenizer.get_vocab():
        raise ConfigError(
            f"teacher {teacher.name} and student {job.model.name} have different vocabularies; on-policy distillation "
            "compares them token by token: take a teacher of the same family, or algorithm=distill_sft"
        )
    given = dict(settings.get("teacher_model_init_kwargs") or {})
    config = weights.make_config(
        DistillationConfig, job, {**settings, "teacher_model_init_kwargs": {"dtype": teacher.dtype, **given}}
    )
    check_prompts(len(job.prompts), settings, config.world_size)
    weights.check_context(job.model, job.prompts, config.max_completion_length)
    try:
        trainer = OnPolicyTrainer(
            encoder=PromptTokenizer(dataclasses.replace(job.model, path=str(folder), revision="")),
            model=str(folder),
            teacher_model=str(teacher_folder),
            args=config,
            train_dataset=Dataset.from_list([{"prompt": _row(prompt)} for prompt in job.prompts]),
            processing_class=tokenizer,
            peft_config=weights.adapter_config(job.lora),
            callbacks=[Forward(job.log), *job.callbacks],
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainingError(f"the distillation into {job.model.path} cannot be set up: {error}") from error
    for callback in job.callbacks:
        if isinstance(callback, HeldOut):
            callback.attach(trainer)
    return trainer


def _row(prompt: Prompt) -> str | list[dict[str, str]]:
    if prompt.messages:
        return [{"role": message.role, "content": message.content} for message in prompt.messages]
    return prompt.text


def _prompt(row: str | list[dict[str, str]]) -> Prompt:
    if isinstance(row, str):
        return Prompt("", text=row)
    return Prompt("", messages=tuple(Message(one["role"], one["content"]) for one in row))
