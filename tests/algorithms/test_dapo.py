"""DAPO: which groups are kept, what they are credited with, and that a resume goes on with the same prompts."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve.algorithms.advantages import group_normalised
from kurve.algorithms.dapo import Dapo
from kurve.algorithms.dynamic_sampling import Drawn, PromptStream, Slots, informative, pooled
from kurve.errors import ConfigError, TrainingError
from kurve.types import Outcome
from tests.algorithms.scripted_training import RuleVerifier, logged, make_job, record_batches, texts

ARGS = {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28, "beta": 0.0}
NAN = float("nan")
make_dapo = functools.partial(Dapo, advantage=group_normalised, args=ARGS)


def half_unsolvable(folder: Path, **settings: Any) -> Any:
    """A training on 24 problems: the first 8 are never solved, the next 4 always, the others now and then."""
    ids = [problem.id for problem in make_job(folder, problems=24).problems]
    fixed = {**dict.fromkeys(ids[:8], Outcome.WRONG), **dict.fromkeys(ids[8:12], Outcome.CORRECT)}
    return make_job(folder, problems=24, verifier=RuleVerifier(fixed), **settings)


def test_a_group_is_informative_if_a_response_is_right_and_another_wrong() -> None:
    groups: list[list[float]] = [[1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, NAN], [1, NAN, NAN, 0], [NAN] * 4]
    assert informative(np.ravel(groups), group_size=4).tolist() == [True, False, False, False, True, False]


def test_the_stream_gives_every_row_once_a_pass_in_an_order_of_its_own() -> None:
    stream = PromptStream(10, seed=3, shuffle=True)
    passes = [stream.take(5, without=set()) + stream.take(5, without=set()) for _ in range(3)]
    assert [sorted(rows) for rows in passes] == [list(range(10))] * 3
    assert len({tuple(rows) for rows in passes}) == 3
    assert PromptStream(10, seed=4, shuffle=True).take(10, without=set()) != passes[0]
    assert PromptStream(3, seed=3, shuffle=False).take(3, without=set()) == [0, 1, 2]


def test_the_stream_goes_on_from_where_it_was() -> None:
    stream = PromptStream(7, seed=1, shuffle=True)
    stream.take(5, without=set())
    later = PromptStream(7, seed=1, shuffle=True)
    later.taken = stream.taken
    assert later.take(6, without=set()) == stream.take(6, without=set())


def test_the_stream_draws_no_prompt_twice_for_a_batch() -> None:
    stream = PromptStream(6, seed=0, shuffle=True)
    first = stream.take(4, without=set())
    second = stream.take(4, without=set(first))
    assert sorted(first + second) == list(range(6))


def test_slots_are_filled_process_by_process_and_the_rest_is_uninformative() -> None:
    slots = Slots(processes=2, groups=3)
    assert (slots.missing, slots.wanted) == (3, 3)
    slots.fill([True, False, False, True, True, False])
    assert (slots.missing, slots.unfilled) == (2, 3)
    assert slots.wanted == 3  # two are missing, half of the groups were informative: 4, and a process has 3 slots
    slots.fill([True, False, True, True])
    assert (slots.missing, slots.unfilled) == (1, 1)
    assert slots.wanted == 2  # one is missing, 6 of 10 were informative
    mine, other = slots.batch()
    assert mine == [Drawn(0, 0), Drawn(1, 0), Drawn(0, 1)]
    assert other == [Drawn(0, 0), Drawn(0, 1), Drawn(1, 0)]


def test_a_batch_with_too_few_groups_is_refused() -> None:
    slots = Slots(processes=1, groups=2)
    slots.fill([False])
    with pytest.raises(TrainingError, match="fewer were drawn"):
        slots.batch()


def test_metrics_of_rounds_are_those_of_one_round_of_all_responses() -> None:
    first = {"reward": [0.5], "completions/min_length": [3.0], "completions/max_length": [9.0], "num_tokens": [100.0]}
    second = {"reward": [0.0], "completions/min_length": [1.0], "completions/max_length": [4.0], "num_tokens": [150.0]}
    found = pooled([(12, first), (4, {**second, "none": [NAN]})])
    assert found == {
        "reward": 0.375,
        "completions/min_length": 1.0,
        "completions/max_length": 9.0,
        "num_tokens": 150.0,
    }


def test_rollouts_of_different_widths_merge_with_prompts_padded_left_and_responses_right() -> None:
    import torch

    from kurve.algorithms.trainers.merging import merged

    def rollout(prompt: list[int], response: list[int]) -> dict[str, Any]:
        return {
            "prompt_ids": torch.tensor([prompt]),
            "prompt_mask": torch.ones(1, len(prompt), dtype=torch.long),
            "completion_ids": torch.tensor([response]),
            "completion_mask": torch.ones(1, len(response), dtype=torch.long),
            "old_per_token_logps": -torch.ones(1, len(response)),
            "importance_sampling_ratio": torch.full((1, len(response)), 0.5),
            "advantages": torch.tensor([2.0]),
            "num_items_in_batch": torch.tensor(len(response)),
        }

    batch = merged([rollout([5, 6], [7]), rollout([8], [9, 10, 11])], [(1, 0), (0, 0)], pad_token=99)
    assert batch["prompt_ids"].tolist() == [[99, 8], [5, 6]]
    assert batch["prompt_mask"].tolist() == [[0, 1], [1, 1]]
    assert batch["completion_ids"].tolist() == [[9, 10, 11], [7, 99, 99]]
    assert batch["completion_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["old_per_token_logps"].tolist() == [[-1, -1, -1], [-1, 0, 0]]
    assert batch["importance_sampling_ratio"].tolist() == [[0.5, 0.5, 0.5], [0.5, 1, 1]]
    assert batch["advantages"].tolist() == [2.0, 2.0]
    assert "num_items_in_batch" not in batch


def test_every_group_that_is_trained_on_has_right_and_wrong_responses(tmp_path: Path) -> None:
    job = half_unsolvable(tmp_path, max_steps=3)
    trainer = make_dapo().make_trainer(job)
    batches = record_batches(trainer)
    trainer.train()
    fixed = set(job.verifier.fixed)
    for batch in batches:
        verdicts = [float(text_sum % 2 == 0) for text_sum in (sum(map(ord, text)) for text in texts(trainer, batch))]
        assert not fixed & {row["problem_id"] for row in batch["rows"]}
        assert informative(verdicts, group_size=4).all()
        punished = [0.5 * _punishment(int(length)) for length in batch["completion_mask"].sum(dim=1)]
        np.testing.assert_allclose(batch["rewards"], np.array(verdicts) + punished, atol=1e-6)
        np.testing.assert_allclose(
            batch["advantages"].numpy(), group_normalised(batch["rewards"], group_size=4), rtol=1e-5
        )
        assert batch["num_items_in_batch"] == batch["completion_mask"].sum()
    assert logged(job, "dynamic_sampling/uninformative") == [0, 0, 0]
    assert max(logged(job, "dynamic_sampling/rounds")) > 1
    assert min(logged(job, "dynamic_sampling/prompts")) > 4


def _punishment(length: int, longest: int = 8, last: int = 2) -> float:
    """Eq. 13 of the paper for a limit of 8 tokens of which the last fifth, 2 tokens, is punished."""
    return min(0.0, (longest - last - length) / last)


def test_the_table_of_completions_holds_what_is_trained_on(tmp_path: Path) -> None:
    job = half_unsolvable(tmp_path, max_steps=1)
    trainer = make_dapo().make_trainer(job)
    batches = record_batches(trainer)
    trainer.train()
    logs = trainer._logs
    assert list(logs["completion"]) == texts(trainer, batches[0])
    assert list(logs["prompt"]) == [row["prompt"] for row in batches[0]["rows"]]
    assert list(logs["extra"]["problem_id"]) == [row["problem_id"] for row in batches[0]["rows"]]
    assert list(logs["advantages"]) == pytest.approx(batches[0]["advantages"].tolist(), abs=1e-6)
    weighed = np.array(logs["rewards"]["verdict"]) + 0.5 * np.array(logs["rewards"]["soft_overlong_punishment_reward"])
    np.testing.assert_allclose(weighed, batches[0]["rewards"], atol=1e-6)


def test_a_batch_that_cannot_be_filled_keeps_uninformative_groups_without_advantage(tmp_path: Path) -> None:
    ids = [problem.id for problem in make_job(tmp_path).problems]
    job = make_job(tmp_path, verifier=RuleVerifier(dict.fromkeys(ids, Outcome.WRONG)), max_steps=1)
    trainer = make_dapo(max_rounds=3).make_trainer(job)
    batches = record_batches(trainer)
    trainer.train()
    assert logged(job, "dynamic_sampling/rounds") == [3]
    assert logged(job, "dynamic_sampling/prompts") == [12]
    assert logged(job, "dynamic_sampling/uninformative") == [4]
    assert len(set(batches[0]["rewards"])) > 1  # lengths were punished differently, which must not count
    assert not batches[0]["advantages"].any()


def test_a_batch_stops_drawing_when_the_training_set_is_used_up(tmp_path: Path) -> None:
    ids = [problem.id for problem in make_job(tmp_path, problems=6).problems]
    job = make_job(tmp_path, problems=6, verifier=RuleVerifier(dict.fromkeys(ids, Outcome.CORRECT)), max_steps=2)
    trainer = make_dapo().make_trainer(job)
    trainer.train()
    assert logged(job, "dynamic_sampling/prompts") == [6, 6]
    assert logged(job, "dynamic_sampling/rounds") == [2, 2]


@pytest.mark.slow
def test_a_resumed_training_ends_as_one_that_was_not_interrupted(tmp_path: Path) -> None:
    import torch

    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = half_unsolvable(tmp_path, **settings)
    straight = make_dapo().make_trainer(whole)
    straight.train()
    again = make_dapo().make_trainer(half_unsolvable(tmp_path, **settings))
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoints" / "checkpoint-2"))
    assert again.stream.taken == straight.stream.taken
    for name, weight in straight.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name


def test_a_checkpoint_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    trainer = make_dapo().make_trainer(make_job(tmp_path))
    with pytest.raises(TrainingError, match="no checkpoint of algorithm=dapo"):
        trainer._load_optimizer_and_scheduler(str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_rounds": 0}, "max_rounds=0"),
        ({"overlong_fraction": 1.5}, "overlong_fraction=1.5"),
        ({"overlong_weight": -1}, "overlong_weight=-1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_dapo(**settings)


def test_a_group_on_two_processes_is_refused() -> None:
    args = {"per_device_train_batch_size": 4, "num_generations": 8}
    with pytest.raises(ConfigError, match="1 prompts for 2 processes"):
        make_dapo().check(args, processes=2)
    make_dapo().check({**args, "gradient_accumulation_steps": 2}, processes=2)


def test_the_punishment_takes_half_of_the_papers_weight_and_can_be_switched_off() -> None:
    assert make_dapo().settings({})["reward_weights"] == [1.0, 0.5]
    assert "reward_weights" not in make_dapo(overlong_fraction=0).settings({})
