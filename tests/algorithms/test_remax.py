"""ReMax: the baseline is the greedy response's reward, and the greedy responses are not trained on."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve.algorithms.advantages import greedy_baseline
from kurve.algorithms.remax import Remax
from kurve.errors import ConfigError
from kurve.types import Outcome
from tests.algorithms.scripted_training import RuleVerifier, by_rule, logged, make_job, record_batches, texts
from tests.conftest import REPOSITORY
from tests.samplers.tiny import make_tiny_model

make_remax = functools.partial(Remax, advantage=greedy_baseline, args={"loss_type": "dr_grpo"})


def make_opinionated_model(folder: Path) -> None:
    """A tiny model whose likeliest response depends on the whole prompt, not on its last token only."""
    from transformers import AutoModelForCausalLM

    make_tiny_model(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for name, weight in model.named_parameters():
        if "_proj.weight" in name:
            weight.data *= 8
    model.save_pretrained(folder)


def greedy_texts(model: Any, tokenizer: Any, prompts: list[str]) -> list[str]:
    """The likeliest token at each place, one prompt at a time, without TRL."""
    import torch

    found = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=8)
        found.append(tokenizer.decode(whole[0, ids.size(1) :], skip_special_tokens=True))
    return found


def test_the_advantage_is_the_reward_minus_that_of_the_greedy_response(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    make_opinionated_model(tmp_path / "initial")
    job = make_job(tmp_path, max_steps=1, per_device_train_batch_size=64, generation_kwargs=None)
    trainer = make_remax().make_trainer(job)
    batches = record_batches(trainer)
    trainer.train()
    (batch,) = batches
    prompts = [row["prompt"] for row in batch["rows"]][::4]
    initial = AutoModelForCausalLM.from_pretrained(job.model.path)
    greedy = [
        float(by_rule(text) == Outcome.CORRECT) for text in greedy_texts(initial, trainer.processing_class, prompts)
    ]
    rewards = [float(by_rule(text) == Outcome.CORRECT) for text in texts(trainer, batch)]
    assert 0 < sum(greedy) < 16  # else a baseline of the wrong prompt would go unseen
    np.testing.assert_array_equal(batch["advantages"].numpy(), np.array(rewards) - np.repeat(greedy, 4))
    assert logged(job, "greedy/reward") == [np.mean(greedy)]


def test_greedy_responses_are_judged_and_neither_trained_on_nor_counted_among_the_others(tmp_path: Path) -> None:
    job = make_job(tmp_path, max_steps=2)
    trainer = make_remax().make_trainer(job)
    batches = record_batches(trainer)
    trainer.train()
    for step, batch in enumerate(batches):
        assert batch["completion_ids"].size(0) == 16
        assert len(trainer._logs["completion"]) == 16
        assert logged(job, "completions/mean_length")[step] == batch["completion_mask"].sum(dim=1).float().mean()
        assert logged(job, "verdicts/correct")[step] == np.mean(batch["rewards"])
    assert list(trainer._logs["completion"]) == texts(trainer, batches[-1])
    assert list(trainer._logs["advantages"]) == batches[-1]["advantages"].tolist()
    assert len(logged(job, "greedy/mean_length")) == 2


def test_a_prompt_whose_greedy_response_has_no_verdict_teaches_nothing(tmp_path: Path) -> None:
    first = make_job(tmp_path).problems[0].id
    verifier = RuleVerifier()
    job = make_job(tmp_path, problems=4, max_steps=1, verifier=verifier)
    trainer = make_remax().make_trainer(job)
    batches = record_batches(trainer)
    rewards_of_greedy = trainer._greedy_rewards

    def without_one(rows: list[dict[str, Any]]) -> Any:
        verifier.fixed = {first: Outcome.ERROR}
        return rewards_of_greedy(rows)

    trainer._greedy_rewards = without_one
    trainer.train()
    (batch,) = batches
    of_first = np.array([row["problem_id"] == first for row in batch["rows"]])
    assert np.isfinite(batch["rewards"]).all()
    assert not batch["advantages"].numpy()[of_first].any()
    assert batch["advantages"].numpy()[~of_first].any()


def test_sampling_goes_on_as_before_the_greedy_responses(tmp_path: Path) -> None:
    trainer = make_remax().make_trainer(make_job(tmp_path))
    config, size = trainer.generation_config, trainer.num_generations
    with trainer._greedily():
        assert trainer.generation_config.do_sample is False
        assert trainer.num_generations == 1
    assert (trainer.generation_config, trainer.num_generations) == (config, size)
    assert config.do_sample is True
    assert config.temperature == 1.0


@pytest.mark.slow  # starts a vLLM engine: half a minute on two cores
def test_vllm_responds_greedily_too(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    make_opinionated_model(tmp_path / "initial")
    run = subprocess.run(
        [sys.executable, "-m", "tests.algorithms.greedy_in_vllm", str(tmp_path)],
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["vllm"] == found["vllm again"]
    assert len(set(map(tuple, found["vllm"]))) > 12
    # vLLM computes in bfloat16 here, so responses part where two tokens are nearly as likely: compare their beginnings.
    same = [one[0] == other[0] for one, other in zip(found["transformers"], found["vllm"], strict=True)]
    assert sum(same) >= 14
    assert len(set(map(tuple, found["sampled"]))) > 48  # and the given temperature, 1.7, holds again


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"per_device_train_batch_size": 4, "num_generations": 8}, "1 prompts for 2 processes"),
        ({"generation_kwargs": {"num_beams": 4}}, "num_beams"),
    ],
)
def test_settings_that_cannot_work_are_refused(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_remax().check(args, processes=2)


def test_a_verifier_that_fails_gives_no_advantage(tmp_path: Path) -> None:
    ids = [problem.id for problem in make_job(tmp_path).problems]
    job = make_job(tmp_path, verifier=RuleVerifier(dict.fromkeys(ids, Outcome.TIMEOUT)), max_steps=1)
    trainer = make_remax().make_trainer(job)
    batches = record_batches(trainer)
    trainer.train()
    assert np.isnan(batches[0]["rewards"]).all()
    assert not batches[0]["advantages"].any()
    assert logged(job, "greedy/reward") == []
