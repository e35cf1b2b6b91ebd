"""PPO: what the critic predicts and learns, what the policy is credited with because of it, and what is kept."""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kurve.algorithms import Job
from kurve.algorithms.advantages import gae, whitened
from kurve.algorithms.ppo import Ppo
from kurve.algorithms.trainers.critic import FILE, Critic
from kurve.algorithms.trainers.ppo import clipped_errors
from kurve.errors import ConfigError, TrainingError
from kurve.types import Outcome
from tests.algorithms.scripted_training import RuleVerifier, SometimesFailing, logged, make_job, record_batches, respond

make_ppo = functools.partial(Ppo, args={"loss_type": "dapo"})
LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"]}
Weights = dict[str, torch.Tensor]


def train(job: Job, ppo: Ppo | None = None, *, scripted: bool = False) -> tuple[Any, list[dict[str, Any]]]:
    """A trainer that has trained, and its batches; `scripted` responses depend on place and step only."""
    algorithm = ppo or make_ppo()
    algorithm.check(job.args, processes=1)
    trainer = algorithm.make_trainer(job)
    if scripted:
        trainer.rollout_func = respond
    batches = record_batches(trainer)
    trainer.train()
    return trainer, batches


def scored_tokens(batch: Mapping[str, Any]) -> Any:
    return batch["completion_mask"].numpy().astype(bool) & np.isfinite(batch["rewards"])[:, None]


def copies(weights: Mapping[str, torch.Tensor]) -> Weights:
    return {name: weight.detach().clone() for name, weight in weights.items()}


def distance(one: Weights, other: Weights) -> float:
    return math.sqrt(sum(float(((one[name] - other[name]) ** 2).sum()) for name in one))


def test_the_critic_starts_at_0_so_that_the_first_batch_is_credited_with_its_rewards(tmp_path: Path) -> None:
    job = make_job(tmp_path, max_steps=1)
    _, [batch] = train(job)
    tokens = scored_tokens(batch)
    rewards = np.where(tokens, batch["rewards"][:, None], 0.0)
    assert set(batch["rewards"]) == {0.0, 1.0}
    assert not batch["old_values"].any()
    np.testing.assert_array_equal(batch["returns"].numpy(), rewards)
    np.testing.assert_allclose(batch["advantages"].numpy(), whitened(rewards, tokens), atol=1e-6)
    assert logged(job, "value/mean") == [0]
    assert logged(job, "value/explained_variance") == [0]


def test_a_value_is_predicted_from_what_came_before_its_token(tmp_path: Path) -> None:
    critic = make_ppo().make_trainer(make_job(tmp_path)).critic
    torch.manual_seed(0)
    torch.nn.init.normal_(critic.head.weight)
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12]])
    changed = ids.clone()
    changed[0, 5] = 99  # the second of the four tokens of the response
    with torch.no_grad():
        values, others = (critic(tokens, torch.ones_like(tokens), 4)[0] for tokens in (ids, changed))
        padded = critic(torch.cat([torch.zeros(1, 3, dtype=torch.long), ids], dim=1), mask_after(3, 8), 4)[0]
    assert torch.equal(values[:2], others[:2])
    assert ((values - others)[2:].abs() > 1e-3).all()
    assert torch.allclose(values, padded, atol=1e-4)


def mask_after(padding: int, length: int) -> torch.Tensor:
    return torch.tensor([[0] * padding + [1] * length])


def test_the_value_loss_equals_a_hand_computed_example() -> None:
    values = torch.tensor([[0.5, 1.0, 0.5]], requires_grad=True)
    old, returns = torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    # Clipped to 0.25, 1, 0.75: squared errors 9/16, 1, 1/16 against 1/4, 1, 1/4 of the predictions themselves.
    error, clipped = clipped_errors(values, old=old, returns=returns, clip=0.25)
    assert error.tolist() == [[9 / 32, 1 / 2, 1 / 8]]
    assert clipped.tolist() == [[1, 0, 0]]
    error.sum().backward()
    assert values.grad.tolist() == [[0, 1, -0.5]]  # what is clipped moves no further
    unclipped, none = clipped_errors(values, old=old, returns=returns, clip=None)
    assert unclipped.tolist() == [[1 / 8, 1 / 2, 1 / 8]]
    assert not none.any()


@pytest.mark.parametrize(("rows", "passes", "parts"), [(16, 1, 1), (4, 4, 4), (4, 1, 4)])
def test_the_first_step_moves_the_critics_bias_by_the_mean_return_of_the_scored_tokens(
    tmp_path: Path, rows: int, passes: int, parts: int
) -> None:
    """In the last case a step takes a quarter of the responses, and a token weighs as in a step of all of them."""
    job = make_job(
        tmp_path, verifier=SometimesFailing(), max_steps=1, optim="sgd", max_grad_norm=0.0, max_completion_length=12,
        per_device_train_batch_size=rows, gradient_accumulation_steps=passes, steps_per_generation=parts,
    )  # fmt: skip
    trainer, [batch] = train(job, make_ppo(critic_learning_rate=0.1, value_coefficient=0.25), scripted=True)
    assert np.isnan(batch["rewards"]).any()
    used = trainer._buffered_inputs[:passes]
    earned = sum(float((part["returns"] * part["value_mask"]).sum()) for part in used)
    if passes == parts:
        scored = scored_tokens(batch)
        assert earned == np.where(scored, batch["rewards"][:, None], 0.0)[scored].sum()
    # The loss is 1/4 * mean((V - R)^2) / 2 at V = 0, its derivative to the bias -1/4 * mean(R).
    mean_return = earned / (scored_tokens(batch).sum() * passes / parts)
    assert trainer.critic.head.bias.item() == pytest.approx(0.1 * 0.25 * mean_return, rel=1e-5)


def test_small_passes_make_the_same_update_as_one(tmp_path: Path) -> None:
    found = []
    for rows, passes in ((16, 1), (4, 4)):
        job = make_job(
            tmp_path, verifier=SometimesFailing(), optim="sgd", learning_rate=0.1, max_completion_length=12,
            per_device_train_batch_size=rows, gradient_accumulation_steps=passes,
        )  # fmt: skip
        trainer, _ = train(job, make_ppo(critic_learning_rate=0.1), scripted=True)
        found.append((copies(trainer.model.state_dict()), copies(trainer.critic.state_dict())))
    for one, other in zip(*found, strict=True):
        assert distance(one, other) < 1e-5
    initial = make_ppo().make_trainer(job)
    assert distance(found[0][0], copies(initial.model.state_dict())) > 1e-2
    assert distance(found[0][1], copies(initial.critic.state_dict())) > 1e-2


@pytest.mark.parametrize("clip", [0.01, None])
def test_predictions_are_clipped_in_the_second_update_of_a_batch(tmp_path: Path, clip: float | None) -> None:
    job = make_job(tmp_path, num_iterations=2, optim="sgd")
    _, batches = train(job, make_ppo(critic_learning_rate=0.05, value_clip=clip))
    assert len(batches) == 1
    first, second = logged(job, "value/clip_ratio")
    assert first == 0  # nothing has moved yet
    assert (second > 0.1) == (clip is not None)


@pytest.mark.parametrize(("given", "rate"), [(None, 1e-2), (0.5, 0.5)])
def test_policy_and_critic_have_learning_rates_of_their_own_on_one_schedule(
    tmp_path: Path, given: float | None, rate: float
) -> None:
    job = make_job(tmp_path, weight_decay=0.1, lr_scheduler_type="linear")
    trainer = make_ppo(critic_learning_rate=given).make_trainer(job)
    trainer.create_optimizer_and_scheduler(4)
    groups = trainer.optimizer.param_groups
    assert trainer.create_optimizer() is trainer.optimizer
    assert len(groups) == 4
    found = {id(weight): (group["lr"], group["weight_decay"]) for group in groups for weight in group["params"]}
    assert len(found) == sum(len(group["params"]) for group in groups)  # none is in two groups
    for network, expected in ((trainer.model, 1e-3), (trainer.critic, rate)):
        for weight in network.parameters():
            assert found.pop(id(weight)) == (expected, 0.1 if weight.dim() > 1 else 0.0)
    assert not found
    trainer.optimizer.step()
    trainer.lr_scheduler.step()
    assert [group["lr"] for group in groups] == pytest.approx([0.75e-3, 0.75e-3, 0.75 * rate, 0.75 * rate])


def test_the_value_loss_moves_the_critic_only_and_each_networks_gradients_are_clipped_by_themselves(
    tmp_path: Path,
) -> None:
    found = []
    for coefficient in (0.5, 5.0):
        job = make_job(tmp_path, max_steps=1, optim="sgd", learning_rate=1.0, max_grad_norm=0.01)
        trainer = make_ppo(critic_learning_rate=2.0, value_coefficient=coefficient).make_trainer(job)
        before = copies(trainer.critic.state_dict())
        trainer.train()
        assert distance(before, copies(trainer.critic.state_dict())) == pytest.approx(2.0 * 0.01, rel=1e-3)
        found.append((copies(trainer.model.state_dict()), logged(job, "value/grad_norm")[0]))
    (one, norm), (other, larger) = found
    assert distance(one, other) == 0
    assert norm > 0.01
    assert larger == pytest.approx(10 * norm, rel=1e-4)


@pytest.mark.slow
def test_the_critic_learns_which_problems_are_solved(tmp_path: Path) -> None:
    ids = [problem.id for problem in make_job(tmp_path, problems=8).problems]
    fixed = {name: Outcome.CORRECT if place % 2 else Outcome.WRONG for place, name in enumerate(ids)}
    job = make_job(
        tmp_path, verifier=RuleVerifier(fixed), problems=8, max_steps=40, per_device_train_batch_size=32,
        learning_rate=5e-4,
    )  # fmt: skip
    train(job)
    losses, explained = logged(job, "value/loss"), logged(job, "value/explained_variance")
    assert np.mean(losses[-5:]) < 0.25 * losses[0]
    assert np.mean(explained[-5:]) > 0.5


def test_how_well_the_critic_predicts_is_logged_of_the_batch_as_it_was_drawn(tmp_path: Path) -> None:
    job = make_job(tmp_path, verifier=SometimesFailing(), max_steps=3)
    _, batches = train(job, make_ppo(critic_learning_rate=0.03))
    assert len(logged(job, "value/explained_variance")) == 3
    for step, batch in enumerate(batches):
        scored = scored_tokens(batch)
        values, returns = batch["old_values"].numpy()[scored], batch["returns"].numpy()[scored]
        explained = 1 - (returns - values).var() / returns.var()
        assert logged(job, "value/mean")[step] == pytest.approx(values.mean(), abs=1e-6)
        assert logged(job, "value/explained_variance")[step] == pytest.approx(explained, abs=1e-5)
        assert logged(job, "value/loss")[step] == pytest.approx(((values - returns) ** 2).mean() / 2, abs=1e-5)
        assert logged(job, "value/clip_ratio")[step] == 0  # one update a batch: nothing has moved yet
    assert values.any()


def test_gamma_and_lambda_decide_the_advantages_and_returns(tmp_path: Path) -> None:
    _, batches = train(make_job(tmp_path), make_ppo(gamma=0.9, lam=0.5, critic_learning_rate=0.03))
    for batch in batches:
        mask, values = scored_tokens(batch), batch["old_values"].double().numpy()
        advantages, returns = gae(batch["rewards"], values=values, mask=mask, gamma=0.9, lam=0.5)
        np.testing.assert_allclose(batch["returns"].numpy()[mask], returns[mask], atol=1e-5)
        np.testing.assert_allclose(batch["advantages"].numpy(), whitened(advantages, mask), atol=1e-4)
    assert values.any()


def test_a_response_without_a_verdict_teaches_neither_policy_nor_critic(tmp_path: Path) -> None:
    _, batches = train(make_job(tmp_path, verifier=SometimesFailing(), max_steps=3))
    assert any(np.isnan(batch["rewards"]).any() for batch in batches)
    for batch in batches:
        failed = np.isnan(batch["rewards"])
        assert not batch["advantages"].numpy()[failed].any()
        np.testing.assert_array_equal(batch["value_mask"].numpy(), scored_tokens(batch))
        assert batch["num_values"] == scored_tokens(batch).sum()
        assert torch.isfinite(batch["returns"]).all()


def test_a_batch_without_any_verdict_changes_nothing(tmp_path: Path) -> None:
    ids = [problem.id for problem in make_job(tmp_path).problems]
    job = make_job(tmp_path, verifier=RuleVerifier(dict.fromkeys(ids, Outcome.ERROR)))
    trainer = make_ppo().make_trainer(job)
    before = copies(trainer.model.state_dict()), copies(trainer.critic.state_dict())
    trainer.train()
    assert distance(before[0], copies(trainer.model.state_dict())) == 0
    assert distance(before[1], copies(trainer.critic.state_dict())) == 0
    assert logged(job, "verdicts/error") == [1, 1]
    assert logged(job, "value/explained_variance") == []


def test_kl_in_the_reward_is_part_of_what_the_critic_learns_to_expect(tmp_path: Path) -> None:
    job = make_job(tmp_path, max_steps=3, beta=0.5, learning_rate=1e-2)
    _, batches = train(job, make_ppo(kl_in_reward=True))
    kl = logged(job, "kl")
    assert kl[0] == pytest.approx(0, abs=1e-6)  # the policy is still the reference
    assert abs(kl[-1]) > 1e-3
    for step, batch in enumerate(batches):
        earned = np.where(scored_tokens(batch), batch["rewards"][:, None], 0.0)
        assert np.allclose(batch["returns"].numpy(), earned, atol=1e-5) == (step == 0)


@pytest.mark.slow
def test_a_resumed_training_ends_as_one_that_was_not_interrupted(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    straight, _ = train(make_job(tmp_path, **settings))
    saved = tmp_path / "checkpoints" / "checkpoint-2"
    kept = load_file(saved / FILE)
    again = make_ppo().make_trainer(make_job(tmp_path, **settings))
    again.train(resume_from_checkpoint=str(saved))
    assert distance(copies(straight.critic.state_dict()), kept) > 1e-3
    for network, other in ((straight.model, again.model), (straight.critic, again.critic)):
        assert distance(copies(network.state_dict()), copies(other.state_dict())) == 0


def test_the_critic_lies_in_the_checkpoints_and_not_in_the_result(tmp_path: Path) -> None:
    job = make_job(tmp_path, save_strategy="steps", save_steps=1)
    make_ppo().train(job, None)
    stored = load_file(tmp_path / "checkpoints" / "checkpoint-2" / FILE)
    assert stored["head.weight"].shape == (1, 64)
    assert stored["head.weight"].any()
    assert not (tmp_path / "model" / FILE).exists()
    result = load_file(tmp_path / "model" / "model.safetensors")
    assert result.keys() == load_file(Path(job.model.path) / "model.safetensors").keys()


def test_a_checkpoint_without_a_critic_or_with_another_one_is_refused(tmp_path: Path) -> None:
    trainer = make_ppo().make_trainer(make_job(tmp_path))
    with pytest.raises(TrainingError, match="no checkpoint of algorithm=ppo"):
        trainer._load_optimizer_and_scheduler(str(tmp_path))
    make_ppo().make_trainer(make_job(tmp_path, lora=LORA)).critic.save(tmp_path)
    with pytest.raises(TrainingError, match="another model or adapter"):
        trainer._load_optimizer_and_scheduler(str(tmp_path))


def test_with_lora_the_critic_shares_the_base_weights_and_trains_an_adapter_of_its_own(tmp_path: Path) -> None:
    job = make_job(tmp_path, lora=LORA, save_strategy="steps", save_steps=2)
    trainer = make_ppo().make_trainer(job)
    policy = dict(trainer.model.get_base_model().base_model.named_parameters())
    critic = dict(trainer.critic.backbone.named_parameters())
    assert policy.keys() == critic.keys()
    for name, weight in critic.items():
        assert (weight is policy[name]) == ("lora" not in name), name
        assert weight.requires_grad == ("lora" in name), name
    before = copies(policy), copies(critic)
    trainer.train()
    moved = [name for name in critic if not torch.equal(critic[name], before[1][name])]
    assert moved
    assert all("lora" in name for name in moved)
    stored = load_file(tmp_path / "checkpoints" / "checkpoint-2" / FILE)
    assert stored.keys() == {f"backbone.{name}" for name in critic if "lora" in name} | {"head.weight", "head.bias"}


def test_the_critic_of_a_whole_model_is_a_copy(tmp_path: Path) -> None:
    trainer = make_ppo().make_trainer(make_job(tmp_path))
    assert isinstance(trainer.critic, Critic)
    own, others = set(map(id, trainer.critic.parameters())), set(map(id, trainer.model.parameters()))
    assert not own & others


def test_bf16_and_gradient_checkpointing_train_policy_and_critic(tmp_path: Path) -> None:
    job = make_job(tmp_path, bf16=True, gradient_checkpointing=True)
    trainer, batches = train(job)
    assert trainer.critic.backbone.is_gradient_checkpointing
    assert all(math.isfinite(value) for value in logged(job, "loss"))
    assert batches[-1]["old_values"].any()
    assert {weight.dtype for weight in trainer.critic.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["deepspeed", "fsdp"])
def test_sharding_is_refused_before_anything_is_loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    args = {"per_device_train_batch_size": 8, "num_generations": 8}
    make_ppo().check(args, processes=1)
    given = {"deepspeed": {"zero_optimization": {"stage": 2}}, "fsdp": "full_shard"}
    with pytest.raises(ConfigError, match=f"does not run under {name}"):
        make_ppo().check({**args, name: given[name]}, processes=1)
    monkeypatch.setenv(f"ACCELERATE_USE_{name.upper()}", "true")
    with pytest.raises(ConfigError, match=f"does not run under {name}.*ddp.yaml"):
        make_ppo().check(args, processes=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 1.5}, r"algorithm\.gamma=1\.5; expected a number from 0 to 1"),
        ({"lam": -0.1}, r"algorithm\.lam=-0\.1"),
        ({"critic_learning_rate": 0}, "critic_learning_rate=0; expected a number above 0, or null"),
        ({"value_clip": -1.0}, r"value_clip=-1\.0"),
        ({"value_coefficient": 0.0}, r"value_coefficient=0\.0; expected a number above 0"),
        ({"value_coeficient": 1.0}, r"did you mean algorithm\.value_coefficient"),
        ({"rollout_every": 1}, r"did you mean algorithm\.rollouts_every"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_ppo(**settings)
