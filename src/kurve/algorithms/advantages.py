"""Advantage estimators: what an algorithm credits to each response. Pure numpy, over the batch of all processes.

B responses in groups of `group_size` to the same prompt, group after group; T tokens. A reward of NaN means that there
is no verdict (the verifier failed): it enters no mean and no deviation, and its advantage is 0.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kurve.errors import TrainingError

Floats: TypeAlias = NDArray[np.float64]
# (rewards [B], group_size=..., ...) -> advantages, one a response [B] or one a token [B, T]; gae gives returns as well
Estimator: TypeAlias = Callable[..., Any]

_STD_FLOOR = 1e-4  # added to a group's deviation, as TRL does
_VARIANCE_FLOOR = 1e-8


def group_normalised(rewards: ArrayLike, *, group_size: int, scale: str = "group") -> Floats:
    """GRPO: how much better than its group a response is, in deviations of the group, [B].

    A_i = (r_i - mean(r_group)) / (std(r_group) + 1e-4); `scale` divides by the batch's deviation or by nothing.
    Shao et al. 2024 (arXiv:2402.03300), sec. 4.1.2; without division Liu et al. 2025 (arXiv:2503.20783), Dr. GRPO.
    The deviation is the sample's (n - 1), and 1e-4 is TRL's.
    """
    if scale not in ("group", "batch", "none"):
        raise TrainingError(f"scale={scale!r}; expected group, batch or none")
    groups = _groups(rewards, group_size)
    centred = groups - _mean(groups, axis=1)
    if scale != "none":
        centred = centred / (_std(groups, axis=1 if scale == "group" else None) + _STD_FLOOR)
    return _scored(centred.reshape(-1))


def leave_one_out(rewards: ArrayLike, *, group_size: int) -> Floats:
    """RLOO: a response's reward minus the mean reward of the others of its group, [B].

    A_i = r_i - sum_{j != i} r_j / (n - 1) over the n scored responses of the group; 0 where n = 1.
    Ahmadian et al. 2024 (arXiv:2402.14740), the RLOO estimator of Kool et al. 2019.
    Nothing is divided by a deviation, so a group counts by how much its rewards differ.
    """
    groups = _groups(rewards, group_size)
    scored = np.isfinite(groups).sum(axis=1, keepdims=True)
    others = np.maximum(scored - 1, 1)
    return _scored(((groups - _mean(groups, axis=1)) * scored / others).reshape(-1))


def global_batch(
    rewards: ArrayLike, *, group_size: int, penalty: ArrayLike | None = None, mask: ArrayLike | None = None
) -> Floats:
    """Reinforce++: the reward in deviations of the whole batch, without a baseline of its group, [B] or [B, T].

    A = (R - mean(R)) / std(R), R = r; with a penalty R_t = r - sum_{s >= t} penalty_s and the mean is over tokens.
    Hu 2025 (arXiv:2501.03262); the penalty is beta * (log pi_old - log pi_ref) of each token.
    `group_size` is not used: a response is compared with all prompts of the batch.

    Args:
        rewards: one a response, [B].
        group_size: responses to one prompt.
        penalty: taken off the reward token by token, [B, T].
        mask: which tokens belong to the response, [B, T]; needed with a penalty.
    """
    values = np.asarray(rewards, dtype=np.float64)
    if penalty is None:
        return _scored(_normalised(values, np.isfinite(values)))
    tokens = _token_mask(mask, values)
    returns = values[:, None] - _sum_from(np.asarray(penalty, dtype=np.float64) * tokens)
    return _scored(_normalised(returns, tokens & np.isfinite(returns)) * tokens)


def greedy_baseline(rewards: ArrayLike, *, group_size: int, greedy: ArrayLike) -> Floats:
    """ReMax: a response's reward minus the reward of the greedy response to the same prompt, [B].

    A_i = r_i - r(greedy response); a prompt whose greedy response has no verdict teaches nothing.
    Li et al. 2023 (arXiv:2310.10505), algorithm 1.
    `greedy` holds one reward a prompt, [B / group_size].
    """
    groups = _groups(rewards, group_size)
    baseline = np.asarray(greedy, dtype=np.float64)
    if baseline.shape != (groups.shape[0],):
        raise TrainingError(f"greedy has shape {baseline.shape}; expected one reward a prompt, ({groups.shape[0]},)")
    return _scored((groups - baseline[:, None]).reshape(-1))


def gae(
    rewards: ArrayLike,
    *,
    values: ArrayLike,
    mask: ArrayLike,
    penalty: ArrayLike | None = None,
    gamma: float = 1.0,
    lam: float = 1.0,
) -> tuple[Floats, Floats]:
    """PPO: generalised advantages and the returns that the value head should predict, both [B, T].

    A_t = sum_l (gamma lam)^l delta_{t+l} with delta_t = r_t + gamma V_{t+1} - V_t; the reward comes at the last token.
    Schulman et al. 2015 (arXiv:1506.02438), eq. 16; return_t = A_t + V_t.
    Outside the mask and for responses without a verdict the advantage is 0 and the return is the value itself.

    Args:
        rewards: one a response, [B].
        values: the value head's prediction before each token, [B, T].
        mask: which tokens belong to the response (a prefix of each row), [B, T].
        penalty: taken off the reward token by token, [B, T].
        gamma: discount of a token.
        lam: 1 is the Monte Carlo return, 0 the one-step error.
    """
    terminal = np.asarray(rewards, dtype=np.float64)
    tokens = _token_mask(mask, terminal)
    known = np.where(tokens, np.asarray(values, dtype=np.float64), 0.0)
    scored = np.isfinite(terminal)
    earned = np.zeros_like(known) if penalty is None else -np.asarray(penalty, dtype=np.float64) * tokens
    rows = np.flatnonzero(tokens.any(axis=1))
    earned[rows, tokens.sum(axis=1)[rows] - 1] += np.where(scored, terminal, 0.0)[rows]
    following = np.concatenate([known[:, 1:], np.zeros((len(known), 1))], axis=1)
    delta = earned + gamma * following - known
    advantages = np.zeros_like(known)
    carried = np.zeros(len(known))
    for token in reversed(range(known.shape[1])):
        carried = np.where(tokens[:, token], delta[:, token] + gamma * lam * carried, 0.0)
        advantages[:, token] = carried
    advantages[~scored] = 0.0
    return advantages, advantages + known


def whitened(values: ArrayLike, mask: ArrayLike) -> Floats:
    """Values of the tokens in the mask with mean 0 and deviation 1 over the whole batch, 0 elsewhere, [B, T].

    As PPO's implementations do with advantages; `mask` also leaves out responses without a verdict.
    """
    tokens = np.asarray(mask, dtype=bool)
    white: Floats = np.where(tokens, _normalised(np.asarray(values, dtype=np.float64), tokens), 0.0)
    return white


def _groups(rewards: ArrayLike, group_size: int) -> Floats:
    values = np.asarray(rewards, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or values.size % group_size:
        raise TrainingError(f"rewards have shape {values.shape}; expected whole groups of {group_size} responses")
    return values.reshape(-1, group_size)


def _token_mask(mask: ArrayLike | None, rewards: Floats) -> NDArray[np.bool_]:
    if mask is None:
        raise TrainingError("advantages a token need the mask of the response's tokens, got none")
    tokens = np.asarray(mask, dtype=bool)
    if tokens.ndim != 2 or len(tokens) != len(rewards):
        raise TrainingError(f"the mask has shape {tokens.shape}; expected ({len(rewards)}, tokens)")
    return tokens


def _mean(groups: Floats, axis: int) -> Floats:
    """Mean of the scored entries; NaN where there are none, [.., 1]."""
    scored = np.isfinite(groups)
    count = scored.sum(axis=axis, keepdims=True)
    total = np.where(scored, groups, 0.0).sum(axis=axis, keepdims=True)
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def _std(groups: Floats, axis: int | None) -> Floats:
    """Sample deviation (n - 1) of the scored entries; 0 where fewer than two, since then nothing differs."""
    values = groups.reshape(1, -1) if axis is None else groups
    scored = np.isfinite(values)
    count = scored.sum(axis=1, keepdims=True)
    squares = np.where(scored, (values - _mean(values, axis=1)) ** 2, 0.0).sum(axis=1, keepdims=True)
    deviation: Floats = np.sqrt(squares / np.maximum(count - 1, 1))
    return deviation


def _normalised(values: Floats, which: NDArray[np.bool_]) -> Floats:
    """(values - mean) / deviation, both over the entries in `which`; the population's deviation, floored."""
    if not which.any():
        return np.zeros_like(values)
    mean, variance = values[which].mean(), values[which].var()
    normalised: Floats = (values - mean) / np.sqrt(max(variance, _VARIANCE_FLOOR))
    return normalised


def _sum_from(values: Floats) -> Floats:
    """At each token the sum from it to the end, [B, T]."""
    return np.flip(np.flip(values, axis=1).cumsum(axis=1), axis=1)


def _scored(advantages: Floats) -> Floats:
    known: Floats = np.where(np.isfinite(advantages), advantages, 0.0)
    return known
