"""RLVR: what is refused, what reaches the model, what is logged and kept, and how a training goes on."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from kurve.algorithms import Job
from kurve.algorithms.advantages import global_batch, group_normalised, leave_one_out
from kurve.algorithms.dapo import Dapo
from kurve.algorithms.remax import Remax
from kurve.algorithms.rlvr import Rlvr
from kurve.errors import ConfigError, TrainingError
from kurve.samplers.tokens import PromptTokenizer
from kurve.types import Message, Outcome, Prompt
from tests.algorithms.scripted_training import Record, RuleVerifier, logged, make_job, record_batches

make_grpo = functools.partial(Rlvr, advantage=group_normalised, args={"loss_type": "grpo"})
SIZES = {"per_device_train_batch_size": 8, "num_generations": 4}


def never_judged(folder: Path, **args: Any) -> Job:
    """A training whose verifier fails on every response."""
    ids = [problem.id for problem in make_job(folder).problems]
    return make_job(folder, verifier=RuleVerifier(dict.fromkeys(ids, Outcome.ERROR)), **args)


@pytest.mark.parametrize(
    ("algorithm", "settings", "message"),
    [
        (
            Rlvr,
            {"rollout_every": 5},
            r"algorithm\.rollout_every is not a setting of Rlvr; did you mean .*rollouts_every",
        ),
        (Rlvr, {"xyz": 5}, "it takes: advantage, args, kl_in_reward, rollouts_every"),
        (Dapo, {"max_round": 5}, r"not a setting of Dapo; did you mean algorithm\.max_rounds"),
        (Remax, {"kl_in_rewards": True}, r"not a setting of Remax; did you mean algorithm\.kl_in_reward"),
        (Rlvr, {"rollouts_every": 0}, "rollouts_every=0; expected a whole number of steps from 1"),
        (Rlvr, {"rollouts_every": True}, "rollouts_every=True"),
        (Rlvr, {"rollouts_every": 2.5}, r"rollouts_every=2\.5"),
    ],
)
def test_settings_that_do_not_exist_or_are_out_of_range_are_refused(
    algorithm: type[Rlvr], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        algorithm(advantage=leave_one_out, args={}, **settings)


@pytest.mark.parametrize(
    ("own", "shared", "message"),
    [
        ({"loss_typ": "grpo"}, {}, r"algorithm\.args\.loss_typ: trl\.GRPOConfig has no such argument; .* loss_type"),
        ({}, {"temperatur": 1}, r"training\.temperatur: trl\.GRPOConfig has no such argument; .* temperature"),
        ({}, {"output_dir": "x"}, r"training\.output_dir is decided by paths\.models"),
        ({"scale_rewards": "none"}, {}, r"scale_rewards has no effect in kurve: .*advantage\.scale"),
        ({}, {"multi_objective_aggregation": "sum_then_normalize"}, "multi_objective_aggregation has no effect"),
        ({"num_generations": 3}, {}, "num_generations=3 does not divide the 8 responses"),
    ],
)
def test_arguments_that_cannot_work_are_refused_with_where_they_stand(
    own: dict[str, Any], shared: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Rlvr(advantage=leave_one_out, args=own).check({**SIZES, **shared}, processes=1)


def test_a_penalty_in_the_reward_needs_a_coefficient_and_an_estimator_that_takes_it() -> None:
    penalised = functools.partial(Rlvr, kl_in_reward=True)
    with pytest.raises(ConfigError, match=r"beta=0; give algorithm\.args\.beta"):
        penalised(advantage=global_batch, args={}).check(SIZES, processes=1)
    advantage = functools.partial(group_normalised, scale="group")  # as Hydra hands it over
    with pytest.raises(ConfigError, match=r"group_normalised gives one advantage a response .* leave it off"):
        penalised(advantage=advantage, args={"beta": 0.1}).check(SIZES, processes=1)
    penalised(advantage=functools.partial(global_batch), args={"beta": 0.1}).check(SIZES, processes=1)
    penalised(advantage=global_batch, args={}).check({**SIZES, "beta": 0.1}, processes=1)


def test_an_algorithms_own_arguments_win_over_the_shared_ones(tmp_path: Path) -> None:
    algorithm = Rlvr(advantage=leave_one_out, args={"epsilon": 0.3, "loss_type": "dr_grpo"})
    assert algorithm.settings({"epsilon": 0.1, "beta": 0.2}) == {"epsilon": 0.3, "loss_type": "dr_grpo", "beta": 0.2}
    trainer = algorithm.make_trainer(make_job(tmp_path, epsilon=0.1))
    assert (trainer.epsilon_low, trainer.loss_type) == (0.3, "dr_grpo")


def test_fewer_problems_than_a_generation_takes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes 4 distinct problems and there are 3"):
        make_grpo().make_trainer(make_job(tmp_path, problems=3))


def test_a_prompt_that_leaves_no_room_for_a_response_is_refused_with_its_problem(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    lengths = [len(PromptTokenizer(job.model).encode(prompt)) for prompt in job.prompts]
    longest = job.prompts[lengths.index(max(lengths))].problem_id
    short = dataclasses.replace(job, model=dataclasses.replace(job.model, context=max(lengths) + 7))
    with pytest.raises(ConfigError, match=rf"'{longest}' is {max(lengths)} tokens long; with max_completion_length=8"):
        make_grpo().make_trainer(short)
    fits = dataclasses.replace(job, model=dataclasses.replace(job.model, context=max(lengths) + 8))
    make_grpo().make_trainer(fits)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    with pytest.raises(ConfigError, match="RLVR needs a verifier"):
        make_grpo().make_trainer(dataclasses.replace(job, verifier=None))
    with pytest.raises(ConfigError, match=r"model\.lora=a: training starts from whole weights"):
        make_grpo().make_trainer(dataclasses.replace(job, model=dataclasses.replace(job.model, lora="a")))
    empty = dataclasses.replace(job.model, path=str(tmp_path))
    with pytest.raises(TrainingError, match="no tokenizer can be loaded"):
        make_grpo().make_trainer(dataclasses.replace(job, model=empty))


def test_trls_own_refusals_become_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trl\.GRPOConfig refuses a value .*no-such is not a valid Sched"):
        make_grpo().make_trainer(make_job(tmp_path, lr_scheduler_type="no-such"))
    with pytest.raises(ConfigError, match=r"lora: .*no_such"):
        make_grpo().make_trainer(make_job(tmp_path, lora={"no_such": 1}))


def test_prompts_reach_the_model_as_the_samplers_send_them(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    encoder = PromptTokenizer(job.model)
    chat = [Prompt(p.id, messages=(Message("system", "Brief."), Message("user", p.question))) for p in job.problems]
    with_start = [Prompt(p.id, text=f"<s>{p.question}") for p in job.problems]  # the template wrote it out
    for prompts in (list(job.prompts), chat, with_start):
        trainer = make_grpo().make_trainer(dataclasses.replace(job, prompts=prompts))
        rows = [trainer.train_dataset[row]["prompt"] for row in range(len(prompts))]
        ids, _, _ = trainer._tokenize_prompts(rows)
        assert ids == [encoder.encode(prompt) for prompt in prompts]
        assert [row.count(encoder.tokenizer.bos_token_id) for row in ids] == [1] * len(prompts)


def test_chats_are_judged_by_what_the_model_said(tmp_path: Path) -> None:
    job = make_job(tmp_path, max_steps=1)
    chat = [Prompt(p.id, messages=(Message("user", p.question),)) for p in job.problems]
    trainer = make_grpo().make_trainer(dataclasses.replace(job, prompts=chat))
    batches = record_batches(trainer)
    trainer.train()
    assert set(batches[0]["rewards"]) == {0.0, 1.0}
    assert logged(job, "rewards/verdict/mean") == [batches[0]["rewards"].mean()]


def test_a_table_of_responses_is_kept_every_so_many_steps(tmp_path: Path) -> None:
    job = make_job(tmp_path, max_steps=5, log_completions=True)
    make_grpo(rollouts_every=2).make_trainer(job).train()
    assert isinstance(job.log, Record)
    assert [file.name for file in job.log.files] == [f"step-0000{step}.parquet" for step in (1, 2, 4)]
    for file in job.log.files:
        assert file.parent == tmp_path / "rollouts"
        assert parquet.read_table(file).num_rows == 16
    assert set(parquet.read_table(file).column_names) >= {"problem_id", "prompt", "completion", "outcome", "advantage"}


def test_no_table_is_kept_when_that_is_switched_off(tmp_path: Path) -> None:
    job = make_job(tmp_path, max_steps=1)
    make_grpo(rollouts_every=1).make_trainer(job).train()
    assert isinstance(job.log, Record)
    assert job.log.files == []


def test_a_verifier_that_fails_throughout_changes_no_weight_and_is_counted(tmp_path: Path) -> None:
    job = never_judged(tmp_path)
    trainer = make_grpo().make_trainer(job)
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    trainer.train()
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert logged(job, "verdicts/error") == [1, 1]
    assert logged(job, "verdicts/wrong") == [0, 0]
    assert logged(job, "reward") == []  # not 0: nothing was judged


def test_what_training_measures_is_logged_with_its_step(tmp_path: Path) -> None:
    job = make_job(tmp_path, beta=0.1)
    make_grpo().make_trainer(job).train()
    assert isinstance(job.log, Record)
    steps = {step: values for step, values in job.log.points if "reward" in values}
    assert list(steps) == [1, 2]
    wanted = {
        "reward", "loss", "entropy", "kl", "clip_ratio/region_mean", "completions/mean_length", "frac_reward_zero_std",
        "step_time", "learning_rate", "grad_norm", "num_tokens", *(f"verdicts/{outcome}" for outcome in Outcome),
    }  # fmt: skip
    for values in steps.values():
        assert wanted <= values.keys()
        assert all(math.isfinite(value) for value in values.values())


def test_the_result_is_a_model_with_the_generation_settings_of_its_base(tmp_path: Path) -> None:
    job = make_job(tmp_path, temperature=0.7)
    GenerationConfig(eos_token_id=[1, 7], pad_token_id=1).save_pretrained(job.model.path)
    make_grpo().train(job, None)
    result, initial = (AutoModelForCausalLM.from_pretrained(path) for path in (tmp_path / "model", job.model.path))
    assert result.generation_config.eos_token_id == [1, 7]
    assert result.generation_config.temperature == initial.generation_config.temperature
    assert any(not torch.equal(w, initial.state_dict()[name]) for name, w in result.state_dict().items())
    assert not (tmp_path / "model" / "training_args.bin").exists()


def test_the_end_tokens_of_the_generation_settings_decide_what_was_cut_off(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    GenerationConfig(eos_token_id=[1, 7], pad_token_id=1).save_pretrained(job.model.path)
    rewards: list[Any] = make_grpo().reward_functions(job, max_tokens=2, folder=Path(job.model.path))
    assert [rewards[0]._finish_reason(ids) for ids in ([5, 1], [5, 7], [5, 6])] == ["stop", "stop", "length"]


def test_lora_trains_an_adapter_and_leaves_a_whole_model(tmp_path: Path) -> None:
    job = make_job(tmp_path, lora={"r": 4, "target_modules": ["q_proj", "v_proj"]}, beta=0.1)
    make_grpo().train(job, None)
    assert (tmp_path / "adapter" / "adapter_config.json").is_file()
    result, initial = (AutoModelForCausalLM.from_pretrained(path) for path in (tmp_path / "model", job.model.path))
    moved = [n for n, weight in result.state_dict().items() if not torch.equal(weight, initial.state_dict()[n])]
    assert moved
    assert all("q_proj" in name or "v_proj" in name for name in moved)


def test_a_resumed_training_ends_as_one_that_was_not_interrupted(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    straight = make_grpo().make_trainer(make_job(tmp_path, **settings))
    straight.train()
    again = make_grpo().make_trainer(make_job(tmp_path, **settings))
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoints" / "checkpoint-2"))
    for name, weight in straight.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name


def generations(trainer: Any) -> list[tuple[int, set[str]]]:
    """When a trainer generates, in steps done, and for which problems; filled while it trains."""
    found: list[tuple[int, set[str]]] = []
    rollout = trainer._rollout

    def recording(inputs: Any) -> Any:
        found.append((trainer.state.global_step, {row["problem_id"] for row in inputs}))
        return rollout(inputs)

    trainer._rollout = recording
    return found


def test_a_training_resumed_within_a_generation_draws_the_next_one_in_time(tmp_path: Path) -> None:
    """A generation serves three steps here, and the training goes on after the second."""
    sizes: dict[str, Any] = {"steps_per_generation": 3, "per_device_train_batch_size": 4, "max_steps": 6}
    job = make_job(tmp_path, **sizes, save_strategy="steps", save_steps=2)
    drawn = []
    for checkpoint in (None, str(tmp_path / "checkpoints" / "checkpoint-2")):
        trainer = make_grpo().make_trainer(job)
        drawn.append(generations(trainer))
        trainer.train(resume_from_checkpoint=checkpoint)
    straight, resumed = drawn
    assert [step for step, _ in straight] == [0, 3]
    assert straight[0][1] != straight[1][1]
    assert resumed == [(2, straight[0][1]), straight[1]]
