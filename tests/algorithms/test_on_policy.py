import dataclasses
from pathlib import Path
from typing import Any

import pytest

from kurve.algorithms import Job
from kurve.algorithms.on_policy import OnPolicyDistillation
from kurve.errors import ConfigError
from kurve.samplers.tokens import PromptTokenizer
from kurve.types import Message, Model, Prompt
from tests.algorithms.kept_log import KeptLog, series
from tests.samplers.tiny import make_tiny_model

ARGS: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "per_device_train_batch_size": 16,
    "max_steps": 30,
    "learning_rate": 3e-3,
    "logging_steps": 1,
    "save_strategy": "no",
    "max_completion_length": 6,
    "beta": 1.0,
}
PROMPTS = [Prompt(f"p{i}", text=f"What is 2 + {i} ?") for i in range(16)]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model("student", str(make_tiny_model(tmp_path_factory.mktemp("student"))), dtype="float32")


@pytest.fixture(scope="module")
def teacher(student: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The student with other, larger weights: it disagrees, and says so with certainty."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("teacher")
    network = AutoModelForCausalLM.from_pretrained(student.path)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    network.save_pretrained(folder)
    AutoTokenizer.from_pretrained(student.path).save_pretrained(folder)
    return Model("teacher", str(folder), dtype="float32")


def make_job(model: Model, folder: Path, prompts: list[Prompt] = PROMPTS, **args: Any) -> Job:
    return Job(model, (), prompts, (), None, {**ARGS, **args}, None, 0, folder, KeptLog())


def test_the_student_comes_closer_to_the_teacher_on_its_own_responses(
    student: Model, teacher: Model, tmp_path: Path
) -> None:
    job = make_job(student, tmp_path)
    algorithm = OnPolicyDistillation(teacher=teacher)
    algorithm.check(ARGS, processes=1)
    algorithm.train(job, None)
    losses = list(series(job, "loss").values())
    assert len(losses) == ARGS["max_steps"]
    assert min(losses) >= 0  # a divergence
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_a_teacher_equal_to_the_student_has_nothing_to_teach(student: Model, tmp_path: Path) -> None:
    job = make_job(student, tmp_path, max_steps=1)
    OnPolicyDistillation(teacher=student).train(job, None)
    [loss] = series(job, "loss").values()
    assert loss == pytest.approx(0, abs=1e-6)


def test_prompts_reach_the_student_as_the_sampler_sends_them(student: Model, teacher: Model, tmp_path: Path) -> None:
    from kurve.algorithms.trainers.distill import make_trainer

    chat = [Prompt("c", messages=(Message("system", "Be brief."), Message("user", "2 + 2 ?")))] * 16
    encoder = PromptTokenizer(student)
    for prompts in (PROMPTS, chat):
        job = make_job(student, tmp_path, prompts)
        trainer = make_trainer(job, job.args, Path(student.path), teacher=teacher)
        rows = [trainer.train_dataset[i]["prompt"] for i in range(len(prompts))]
        ids, _, _ = trainer._tokenize_prompts(rows)
        assert ids == [encoder.encode(prompt) for prompt in prompts]


def test_fewer_prompts_than_a_step_takes_are_refused(student: Model, teacher: Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"32 distinct problems and there are 16"):
        OnPolicyDistillation(teacher=teacher).train(make_job(student, tmp_path, gradient_accumulation_steps=2), None)


def test_a_teacher_with_other_words_is_refused(student: Model, tmp_path: Path) -> None:
    import json

    folder = make_tiny_model(tmp_path / "other")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["!"], vocabulary["#"] = vocabulary["#"], vocabulary["!"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ConfigError, match="different vocabularies"):
        OnPolicyDistillation(teacher=Model("other", str(folder))).train(make_job(student, tmp_path), None)


def test_prompts_that_leave_no_room_are_refused(student: Model, teacher: Model, tmp_path: Path) -> None:
    short = dataclasses.replace(student, context=12)
    with pytest.raises(ConfigError, match="the context of"):
        OnPolicyDistillation(teacher=teacher).train(make_job(short, tmp_path), None)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"bta": 1}, "did you mean beta"),
        ({"teacher_model_name_or_path": "x"}, "decided by teacher"),
        ({"max_steps": 0}, "max_steps=0"),
    ],
)
def test_settings_that_cannot_work_are_refused(args: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        OnPolicyDistillation(teacher=Model("t", "t")).check({**ARGS, **args}, processes=1)


def test_an_adapter_is_no_teacher() -> None:
    with pytest.raises(ConfigError, match=r"teacher\.lora"):
        OnPolicyDistillation(teacher=Model("t", "t", lora="a"))
