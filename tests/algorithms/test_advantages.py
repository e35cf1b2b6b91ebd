from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from kurve.algorithms.advantages import gae, global_batch, greedy_baseline, group_normalised, leave_one_out, whitened
from kurve.errors import TrainingError

NAN = float("nan")
WITHOUT_TOKENS: list[Callable[..., Any]] = [
    group_normalised,
    partial(group_normalised, scale="none"),
    partial(group_normalised, scale="batch"),
    leave_one_out,
    global_batch,
]


def rewards(seed: int, groups: int = 5, size: int = 4) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).random(groups * size)


def close(found: ArrayLike, expected: Any) -> bool:
    return np.allclose(found, expected, rtol=0, atol=1e-12)


def test_group_normalised_equals_a_hand_computed_example() -> None:
    # group 1: mean 1/2, squared deviations 4 * 1/4, variance 1/3; group 2: mean 1/4, variance (9 + 3)/16 / 3 = 1/4
    found = group_normalised([1, 0, 1, 0, 1, 0, 0, 0], group_size=4)
    first, second = 0.5 / (3**-0.5 + 1e-4), 1 / (0.5 + 1e-4)
    assert close(found, [first, -first, first, -first, 0.75 * second, *[-0.25 * second] * 3])


def test_without_scale_only_the_groups_mean_is_taken_off() -> None:
    assert close(group_normalised([1, 0, 1, 1], group_size=2, scale="none"), [0.5, -0.5, 0, 0])


def test_the_batchs_deviation_is_over_all_groups() -> None:
    # mean 3/4, squared deviations 3/16 * ... = 3 * 1/16 + 9/16 = 3/4, variance 1/4
    assert close(group_normalised([1, 0, 1, 1], group_size=2, scale="batch"), np.array([0.5, -0.5, 0, 0]) / 0.5001)


def test_leave_one_out_equals_a_hand_computed_example() -> None:
    assert close(leave_one_out([1, 0, 0, 3, 1, 2], group_size=3), [1, -0.5, -0.5, 1.5, -1.5, 0])


def test_global_batch_equals_a_hand_computed_example() -> None:
    # mean 1/2, variance 5/4
    assert close(global_batch([2, 1, 0, -1], group_size=2), np.array([1.5, 0.5, -0.5, -1.5]) / 1.25**0.5)


def test_a_penalty_is_taken_off_the_reward_to_come_token_by_token() -> None:
    # returns: 1 - (.5 + .25), 1 - .25 | 0 - 1, (no second token); mean of .25, .75, -1 is 0, variance 1.625 / 3
    penalty, mask = [[0.5, 0.25], [1.0, 9.0]], [[1, 1], [1, 0]]
    found = global_batch([1, 0], group_size=1, penalty=penalty, mask=mask)
    assert close(found, np.array([[0.25, 0.75], [-1, 0]]) / (1.625 / 3) ** 0.5)


def test_greedy_baseline_equals_a_hand_computed_example() -> None:
    assert close(greedy_baseline([1, 0, 1, 0], group_size=2, greedy=[1, 0.5]), [0, -1, 0.5, -0.5])


def test_a_prompt_whose_greedy_response_has_no_verdict_teaches_nothing() -> None:
    assert close(greedy_baseline([1, 0, 1, 0], group_size=2, greedy=[NAN, 0]), [0, 0, 1, 0])


def test_gae_equals_a_hand_computed_example() -> None:
    # gamma lam = 1/4. Row 1: delta_2 = 1 - .25, delta_1 = .5 * .25 - .5; row 2 ends after its first token.
    values, mask = [[0.5, 0.25], [0.5, 7.0]], [[1, 1], [1, 0]]
    advantages, returns = gae([1, 0], values=values, mask=mask, gamma=0.5, lam=0.5)
    assert close(advantages, [[-0.375 + 0.25 * 0.75, 0.75], [-0.5, 0]])
    assert close(returns, [[0.5 - 0.1875, 1.0], [0, 0]])


def test_gae_takes_a_penalty_off_the_reward_of_its_token() -> None:
    advantages, _ = gae([1], values=[[0.0, 0.0]], mask=[[1, 1]], penalty=[[0.125, 0.25]])
    assert close(advantages, [[0.625, 0.75]])


def test_gae_of_lambda_1_is_the_return_minus_the_value() -> None:
    values = np.random.default_rng(3).random((4, 6))
    mask = np.arange(6) < np.array([[6], [3], [1], [5]])
    advantages, returns = gae([1, 0, 1, 0.5], values=values, mask=mask)
    assert close(advantages, (np.array([1, 0, 1, 0.5])[:, None] - values) * mask)
    assert close(returns, np.array([1, 0, 1, 0.5])[:, None] * mask)


def test_gae_of_lambda_0_is_the_one_step_error() -> None:
    advantages, _ = gae([1], values=[[0.5, 0.25, 0.125]], mask=[[1, 1, 1]], lam=0.0)
    assert close(advantages, [[-0.25, -0.125, 0.875]])


def test_gae_teaches_nothing_of_a_response_without_a_verdict_and_leaves_its_values() -> None:
    values, mask = [[0.5, 0.25], [0.5, 0.25]], [[1, 1], [1, 1]]
    advantages, returns = gae([NAN, 1], values=values, mask=mask)
    assert close(advantages, [[0, 0], [0.5, 0.75]])
    assert close(returns, [[0.5, 0.25], [1, 1]])


def test_gae_survives_an_empty_response() -> None:
    advantages, returns = gae([1, 1], values=[[0.5], [0.5]], mask=[[0], [1]])
    assert close(advantages, [[0], [0.5]])
    assert close(returns, [[0], [1]])


def test_whitened_tokens_have_mean_0_and_deviation_1_and_the_others_are_0() -> None:
    values, mask = np.random.default_rng(0).random((6, 9)), np.random.default_rng(1).random((6, 9)) < 0.6
    white = whitened(values, mask)
    assert white[mask].mean() == pytest.approx(0, abs=1e-12)
    assert white[mask].std() == pytest.approx(1)
    assert not white[~mask].any()


@pytest.mark.parametrize("estimator", WITHOUT_TOKENS)
def test_a_reward_without_a_verdict_gives_0_and_changes_what_the_others_get_as_if_it_were_not_there(
    estimator: Callable[..., Any],
) -> None:
    known = rewards(1, groups=3, size=4)
    grouped = known.reshape(3, 4)
    padded = np.concatenate([grouped, np.full((3, 1), NAN)], axis=1).reshape(-1)
    found = estimator(padded, group_size=5).reshape(3, 5)
    assert close(found[:, 4], 0)
    assert close(found[:, :4].reshape(-1), estimator(known, group_size=4))


@pytest.mark.parametrize("estimator", WITHOUT_TOKENS)
@pytest.mark.parametrize("values", [[NAN] * 4, [NAN, NAN, NAN, 1.0], [0.1] * 4, [1.0, 1.0, 0.1, 0.1]])
def test_groups_without_a_difference_are_finite_and_small(estimator: Callable[..., Any], values: list[float]) -> None:
    found = estimator(values, group_size=2)
    assert np.isfinite(found).all()
    if len(set(values[:2])) == 1 and len(set(values[2:])) == 1 and estimator is not global_batch:
        assert np.abs(found).max() < 1e-9


@pytest.mark.parametrize("estimator", [*WITHOUT_TOKENS, partial(greedy_baseline, greedy=[0.3, 0.1, 0.9, 0.4, 0.2])])
def test_advantages_do_not_depend_on_a_constant_added_to_all_rewards_except_through_a_baseline_given(
    estimator: Callable[..., Any],
) -> None:
    given = isinstance(estimator, partial) and estimator.func is greedy_baseline
    found, moved = (estimator(rewards(2) + shift, group_size=4) for shift in (0, 3))
    assert close(moved - found, 3 if given else 0)


@pytest.mark.parametrize("estimator", [group_normalised, partial(group_normalised, scale="none"), leave_one_out])
def test_advantages_of_a_group_sum_to_0_and_do_not_depend_on_other_groups(estimator: Callable[..., Any]) -> None:
    all_groups = rewards(4)
    found = estimator(all_groups, group_size=4)
    assert close(found.reshape(-1, 4).sum(axis=1), 0)
    assert close(found[4:8], estimator(all_groups[4:8], group_size=4))


def test_the_global_batch_compares_across_prompts_where_group_estimators_see_nothing() -> None:
    values = [1, 1, 0, 0]
    assert close(group_normalised(values, group_size=2), 0)
    assert close(global_batch(values, group_size=2), [1, 1, -1, -1])


def test_leave_one_out_is_the_groups_deviation_times_n_over_n_minus_1() -> None:
    values = rewards(5)
    assert close(leave_one_out(values, group_size=4), group_normalised(values, group_size=4, scale="none") * 4 / 3)


def test_the_mean_with_a_penalty_of_0_is_over_tokens_so_that_long_responses_count_more() -> None:
    mask = [[1, 1, 1], [1, 0, 0]]
    found = global_batch([1, 0], group_size=1, penalty=np.zeros((2, 3)), mask=mask)
    assert close(found[0], 0.25 / (3 / 16) ** 0.5)
    assert close(found[1], [-0.75 / (3 / 16) ** 0.5, 0, 0])


@pytest.mark.parametrize("estimator", [group_normalised, leave_one_out, partial(greedy_baseline, greedy=[0])])
def test_a_torn_group_is_refused(estimator: Callable[..., Any]) -> None:
    with pytest.raises(TrainingError, match="whole groups of 4"):
        estimator([1, 0, 1], group_size=4)


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(TrainingError, match="group, batch or none"):
        group_normalised([1, 0], group_size=2, scale="all")


def test_a_penalty_without_a_mask_and_a_baseline_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(TrainingError, match="mask"):
        global_batch([1, 0], group_size=2, penalty=[[0.0], [0.0]])
    with pytest.raises(TrainingError, match=r"one reward a prompt, \(2,\)"):
        greedy_baseline([1, 0, 1, 0], group_size=2, greedy=[1])
    with pytest.raises(TrainingError, match=r"expected \(2, tokens\)"):
        gae([1, 0], values=[[0.0]], mask=[[1]])
