"""Put rows of several rollouts together into one batch."""

from collections.abc import Sequence

import torch

from kurve.algorithms.trainers.rollout import Output
from kurve.errors import TrainingError

_LEFT = ("prompt_ids", "prompt_mask")  # padded on the left, all others on the right
_TOKENS = ("prompt_ids", "completion_ids")  # padded with the padding token
_RATIO = "importance_sampling_ratio"  # 1 at padding, where it corrects nothing


def merged(outputs: Sequence[Output], rows: Sequence[tuple[int, int]], *, pad_token: int) -> Output:
    """What TRL's loss reads, for chosen rows of several rollouts: each tensor padded to the longest rollout's width.

    Numbers of a whole batch, such as `num_items_in_batch`, are left out.

    Args:
        outputs: of TRL's rollouts, with the same keys.
        rows: which output and which of its rows, in the order of the batch.
        pad_token: id of the padding token.

    Raises:
        TrainingError: an output holds something other than tensors, as with images.
    """
    whole: Output = {}
    for key, first in outputs[0].items():
        if not isinstance(first, torch.Tensor):
            raise TrainingError(f"rollouts with {key} ({type(first).__name__}) cannot be merged; only text can")
        if first.dim():
            whole[key] = torch.stack(_widened(key, [outputs[o][key][row] for o, row in rows], pad_token))
    return whole


def _widened(key: str, rows: list[torch.Tensor], pad_token: int) -> list[torch.Tensor]:
    if not rows[0].dim():
        return rows
    width = max(row.size(0) for row in rows)
    fill = pad_token if key in _TOKENS else 1 if key == _RATIO else 0
    return [_pad(row, width, fill, left=key in _LEFT) for row in rows]


def _pad(row: torch.Tensor, width: int, fill: int, *, left: bool) -> torch.Tensor:
    missing = row.new_full((width - row.size(0),), fill)
    return torch.cat([missing, row] if left else [row, missing])
