"""What TRL promises us: the private methods we override, its advantages, its numbers over processes, its tables."""

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
import trl
from datasets import Dataset

from kurve.algorithms.advantages import Floats, global_batch, group_normalised, leave_one_out
from kurve.algorithms.rlvr import Rlvr
from kurve.algorithms.trainers.rollout import Inputs, Output, RolloutTrainer
from kurve.types import Outcome
from tests.algorithms.scripted_training import Record, RuleVerifier, SometimesFailing, by_rule, make_job
from tests.conftest import REPOSITORY
from tests.contract import two_processes
from tests.contract.two_processes import ALGORITHMS, ROUNDS, WHOLE_GROUPS

OVERRIDDEN = (
    "_calculate_rewards",
    "_generate_and_score_completions",
    "_prepare_inputs",
    "_compute_loss",
    "_get_per_token_logps_and_entropies",
    "log",
)


class Watching(RolloutTrainer):
    """Keeps rewards, TRL's own advantages and ours, and counts the calls of the methods we override."""

    def __init__(self, **settings: Any) -> None:
        self.seen: list[tuple[Floats, Floats, Floats]] = []
        self.calls = dict.fromkeys(OVERRIDDEN, 0)
        super().__init__(**settings)

    def _advantages(self, rewards: Floats, inputs: Inputs, output: Output) -> Floats:
        ours = super()._advantages(rewards, inputs, output)
        self.seen.append((rewards, output["advantages"].numpy(), ours))
        return ours


def _counting(name: str) -> Any:
    def method(self: Watching, *args: Any, **kwargs: Any) -> Any:
        self.calls[name] += 1
        return getattr(RolloutTrainer, name)(self, *args, **kwargs)

    return method


for _name in OVERRIDDEN:
    setattr(Watching, _name, _counting(_name))


class WatchedRlvr(Rlvr):
    def trainer_class(self) -> type:
        return Watching


def watch(folder: Path, algorithm: Rlvr, **args: Any) -> Any:
    """A trainer that has trained on half right responses, some of them without a verdict."""
    job = make_job(folder, verifier=SometimesFailing(), **args)
    algorithm.check(job.args, processes=1)
    trainer = algorithm.make_trainer(job)
    trainer.train()
    return trainer


@pytest.mark.parametrize(("scale", "trls"), [("group", "group"), ("batch", "batch"), ("none", "none")])
def test_group_normalised_gives_trls_own_advantages(tmp_path: Path, scale: str, trls: str) -> None:
    algorithm = WatchedRlvr(advantage=partial(group_normalised, scale=scale), args={"loss_type": "grpo"})
    trainer = algorithm.make_trainer(make_job(tmp_path, verifier=SometimesFailing(), max_steps=3))
    trainer.scale_rewards = trls
    trainer.train()
    rewards = np.concatenate([seen[0] for seen in trainer.seen])
    assert len(rewards) == 48
    assert np.isnan(rewards).any()
    assert {0.0, 1.0} <= set(rewards[np.isfinite(rewards)])
    for _, theirs, ours in trainer.seen:
        assert np.abs(ours).max() > 0
        assert np.allclose(ours, theirs, rtol=0, atol=1e-5)


def test_leave_one_out_gives_the_advantages_of_trls_rloo_trainer(tmp_path: Path) -> None:
    seen: list[tuple[Floats, Floats]] = []

    class Watched(trl.RLOOTrainer):  # type: ignore[misc]  # TRL has no types
        def _calculate_rewards(self, *args: Any) -> Any:
            self.table = super()._calculate_rewards(*args)
            return self.table

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            output = super()._generate_and_score_completions(inputs)
            seen.append((self.table[:, 0].numpy(), output["advantages"].numpy()))
            return output

    def reward(completions: list[str], **_: Any) -> list[float | None]:
        values = [None if sum(map(ord, text)) % 5 == 0 else float(sum(map(ord, text)) % 3) for text in completions]
        return [*values[:-4], None, None, None, 1.0]  # and a group with one verdict only

    job = make_job(tmp_path, beta=0.0, normalize_advantages=False)
    args = trl.RLOOConfig(**job.args, output_dir=str(tmp_path / "rloo"), report_to=[])
    data = Dataset.from_list([{"prompt": prompt.text} for prompt in job.prompts])
    Watched(model=job.model.path, args=args, reward_funcs=reward, train_dataset=data).train()
    assert len(seen) == 2
    for rewards, theirs in seen:
        assert np.isnan(rewards).any()
        assert np.abs(theirs).max() > 0
        assert np.allclose(leave_one_out(rewards, group_size=4), theirs, rtol=0, atol=1e-5)


def test_trl_calls_each_private_method_that_we_override(tmp_path: Path) -> None:
    trainer = watch(tmp_path, WatchedRlvr(advantage=leave_one_out, args={}), gradient_accumulation_steps=2)
    for name in OVERRIDDEN:
        assert name in vars(RolloutTrainer), name
        assert name in vars(trl.GRPOTrainer), f"TRL renamed {name}"
    assert trainer.calls == {
        "_calculate_rewards": 2,
        "_generate_and_score_completions": 2,
        "_prepare_inputs": 4,
        "_compute_loss": 4,
        "_get_per_token_logps_and_entropies": 4,
        "log": 3,
    }


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo"])
def test_a_group_without_variance_needs_no_backward_pass_and_changes_no_number(tmp_path: Path, loss_type: str) -> None:
    def trained(folder: Path) -> tuple[dict[str, Any], list[dict[str, float]]]:
        never = {problem.id: Outcome.WRONG for problem in make_job(folder).problems[::2]}
        job = make_job(folder, verifier=RuleVerifier(never), max_steps=3, learning_rate=0.1, optim="sgd")
        trainer = Rlvr(advantage=group_normalised, args={"loss_type": loss_type}).make_trainer(job)
        trainer.train()
        assert isinstance(job.log, Record)
        kept = ("loss", "grad_norm", "entropy", "frac_reward_zero_std")
        return trainer.model.state_dict(), [{k: v[k] for k in kept if k in v} for _, v in job.log.points]

    rows: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        forward = trl.GRPOTrainer._get_per_token_logps_and_entropies

        def watched(self: Any, model: Any, input_ids: torch.Tensor, *args: Any, **settings: Any) -> Any:
            rows.append(len(input_ids) if torch.is_grad_enabled() else 0)
            return forward(self, model, input_ids, *args, **settings)

        patch.setattr(trl.GRPOTrainer, "_get_per_token_logps_and_entropies", watched)
        weights, numbers = trained(tmp_path / "ours")
        patch.setattr(RolloutTrainer, "_without_gradient", lambda *_: None)
        all_weights, all_numbers = trained(tmp_path / "all rows")
    for one, other in zip(numbers, all_numbers, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    assert any(0 < one.get("frac_reward_zero_std", 0) < 1 for one in numbers)
    assert 0 < sum(rows[:-3]) < sum(rows[-3:]) == 48
    assert max(float((weights[key] - all_weights[key]).abs().max()) for key in weights) < 2e-6


def test_what_is_trained_on_are_our_advantages(tmp_path: Path) -> None:
    trained: list[torch.Tensor] = []

    class Losing(RolloutTrainer):
        def _compute_loss(self, model: Any, inputs: Any) -> torch.Tensor:
            trained.append(inputs["advantages"])
            return super()._compute_loss(model, inputs)

    class Marked(Rlvr):
        def trainer_class(self) -> type:
            return Losing

    def marks(rewards: Any, *, group_size: int) -> Any:
        return np.arange(len(rewards), dtype=float)

    Marked(advantage=marks, args={}).make_trainer(make_job(tmp_path, max_steps=1)).train()
    assert sorted(trained[0].tolist()) == list(range(16))


def test_a_failed_verdict_is_counted_gets_advantage_0_and_leaves_its_group_as_if_it_were_not_there(
    tmp_path: Path,
) -> None:
    trainer = watch(tmp_path, WatchedRlvr(advantage=leave_one_out, args={}), max_steps=4)
    failed = 0
    for rewards, _, ours in trainer.seen:
        for group, advantages in zip(rewards.reshape(-1, 4), ours.reshape(-1, 4), strict=True):
            known = np.isfinite(group)
            failed += int((~known).sum())
            assert not advantages[~known].any()
            if known.sum() > 1:
                assert np.allclose(advantages[known], leave_one_out(group[known], group_size=int(known.sum())))
    assert failed
    [log] = [c._log for c in trainer.callback_handler.callbacks if type(c).__name__ == "Forward"]
    assert sum(values.get("verdicts/error", 0) for _, values in log.points) * 16 == pytest.approx(failed)
    shares = [sum(values.get(f"verdicts/{o}", 0) for o in Outcome) for _, values in log.points if "reward" in values]
    assert shares == pytest.approx([1.0] * 4)


def test_trls_table_of_completions_shows_our_advantages_and_the_outcomes(tmp_path: Path) -> None:
    job = make_job(tmp_path, verifier=SometimesFailing(), max_steps=5, log_completions=True)
    Rlvr(advantage=leave_one_out, args={}, rollouts_every=3).make_trainer(job).train()
    assert isinstance(job.log, Record)
    assert [file.name for file in job.log.files] == ["step-00001.parquet", "step-00003.parquet"]
    assert not list((tmp_path / "checkpoints" / "completions").iterdir())
    for file in job.log.files:
        table = parquet.read_table(file).to_pandas()
        assert len(table) == 16
        assert np.allclose(table["advantage"], leave_one_out(table["verdict"], group_size=4), atol=1e-6)
        for text, outcome, reward in zip(table["completion"], table["outcome"], table["verdict"], strict=True):
            if outcome != "error":
                assert outcome == by_rule(text)
                assert reward == (outcome == "correct")
        assert set(table["problem_id"]) <= {problem.id for problem in job.problems}


def test_kl_in_the_reward_gives_advantages_a_token_and_no_kl_term_in_the_loss(tmp_path: Path) -> None:
    algorithm = Rlvr(advantage=global_batch, args={"beta": 0.5}, kl_in_reward=True)
    job = make_job(tmp_path, max_steps=1)
    algorithm.check(job.args, processes=1)
    trainer = algorithm.make_trainer(job)
    with torch.no_grad():
        for weight in trainer.ref_model.parameters():
            weight += 0.05 * torch.randn_like(weight)
    [rows] = [list(batch) for batch, _ in zip(trainer.get_train_dataloader(), range(1), strict=False)]
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    _, output, rewards = trainer._rollout(rows)
    advantages = trainer._advantages(rewards, rows, output)
    mask = output["completion_mask"].numpy().astype(bool)
    kl = (trainer._log_probabilities(output) - output["ref_per_token_logps"]).double().numpy() * mask
    returns = rewards[:, None] - 0.5 * np.flip(np.flip(kl, 1).cumsum(1), 1)
    assert np.abs(kl).max() > 0.01
    assert np.allclose(advantages, np.where(mask, (returns - returns[mask].mean()) / returns[mask].std(), 0))
    output["advantages"] = torch.zeros_like(output["completion_ids"], dtype=torch.float32)
    assert trainer._compute_loss(trainer.model, output).item() == 0
    assert trainer.beta == 0.5


def launch_two(folder: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, two_processes.__file__, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Any]:
    folder = tmp_path_factory.mktemp("processes")
    two_processes.main(folder)
    launch_two(folder)
    return [torch.load(folder / f"result-{count}.pt", weights_only=False) for count in (1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ALGORITHMS, *WHOLE_GROUPS])
def test_two_processes_give_the_same_update_as_one(one_and_two: Sequence[Any], name: str) -> None:
    (one, points), (two, other_points) = (results[name] for results in one_and_two)
    assert one.keys() == two.keys()
    moved = max(float((one[key] - two[key]).abs().max()) for key in one)
    assert moved < 2e-6
    for (_, values), (_, others) in zip(points, other_points, strict=True):
        for key in values.keys() & others.keys() & {"reward", "verdicts/error", "verdicts/correct", "kl", "entropy"}:
            assert values[key] == pytest.approx(others[key], abs=1e-5), key
    assert any(values.get("verdicts/error") for _, values in points)


@pytest.mark.slow
def test_two_processes_draw_prompts_until_both_have_informative_groups_only(one_and_two: Sequence[Any]) -> None:
    for results in one_and_two:
        steps = [values for _, values in results[ROUNDS][1] if "reward" in values]
        assert len(steps) == 2
        assert max(values["dynamic_sampling/rounds"] for values in steps) > 1
        assert [values["dynamic_sampling/uninformative"] for values in steps] == [0, 0]


@pytest.mark.slow
def test_the_updates_compared_above_changed_the_weights_and_differ_between_algorithms(
    one_and_two: Sequence[Any],
) -> None:
    weights = {name: result[0] for name, result in one_and_two[0].items()}
    for one, other in itertools.combinations(weights, 2):
        shared = weights[one].keys() & weights[other].keys()  # not a critic's
        assert max((weights[one][key] - weights[other][key]).abs().max() for key in shared) > 1e-4, (one, other)
