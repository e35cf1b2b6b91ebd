"""Log-probabilities of a batch of responses with transformers. Imports torch.

B is the number of rows, L of tokens in the longest, R of response tokens in all rows, H of hidden units, V of the
vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch

_LOGITS = 1 << 23  # of one piece, 32 MB in float32: what is kept of the vocabulary at once
_CHECKED = 64  # tokens on which the two ways to the logits are compared
_TOLERANCE = 0.05  # nats; above the rounding of bfloat16, below what a capped or scaled logit makes

Pair = tuple[Sequence[int], Sequence[int]]  # ids of a prompt and of a response


class LogprobSums:
    """Sums of log-probabilities by one network.

    Only hidden states of response tokens meet the output layer, a piece of them at a time, so no tensor of all tokens
    by the vocabulary exists. Networks that do more to their logits than that (softcapping, scaling) are recognised by
    comparing with their own forward pass, which is used for them.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        self._head = network.get_output_embeddings()
        self._direct: bool | None = None  # known after the first batch

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        """Nats, one sum a row.

        Args:
            pairs: a prompt of at least one token and a response of at least one.
        """
        with torch.inference_mode():
            ids, row, place = _padded(pairs, self._network.device)
            if self._direct is None:
                self._direct = self._head is not None and self._agrees(ids[:1, :_CHECKED])
            logprobs = self._token_logprobs(ids, row, place)
            sums = torch.zeros(len(pairs), dtype=torch.float64, device=ids.device)
            sums.index_add_(0, row, logprobs.double())
            return [float(one) for one in sums.tolist()]

    def _token_logprobs(self, ids: Any, row: Any, place: Any) -> Any:
        """Log-probability of the tokens at (row, place), float32, [R]."""
        # A causal network never looks ahead, so padding at the end needs no mask: without one, attention is fastest.
        states = self._hidden(ids) if self._direct else self._network(input_ids=ids, use_cache=False).logits
        return self._logprobs(states[row, place - 1], ids[row, place])

    def _hidden(self, ids: Any) -> Any:
        """Last hidden states, [B, L, H]."""
        return self._network.base_model(input_ids=ids, use_cache=False)[0]

    def _logprobs(self, states: Any, wanted: Any) -> Any:
        """Log-probability of each wanted token, float32, [R]; `states` are hidden states [R, H] or logits [R, V]."""
        size = self._head.weight.shape[0] if self._direct else states.shape[-1]
        step = max(1, _LOGITS // size)
        pieces = []
        for start in range(0, len(states), step):
            piece = states[start : start + step]
            logits = (self._head(piece) if self._direct else piece).float()
            chosen = logits.gather(-1, wanted[start : start + step, None])[:, 0]
            pieces.append(chosen - logits.logsumexp(-1))
        return torch.cat(pieces)

    def _agrees(self, ids: Any) -> bool:
        own = self._network(input_ids=ids, use_cache=False).logits.float().log_softmax(-1)
        ours = self._head(self._hidden(ids)).float().log_softmax(-1)
        return bool(own.shape == ours.shape and (own - ours).abs().max() < _TOLERANCE)


def _padded(pairs: Sequence[Pair], device: Any) -> tuple[Any, Any, Any]:
    """Ids filled up at the end, [B, L], and row and place of each response token, [R] each."""
    rows = [[*prompt, *response] for prompt, response in pairs]
    width = max(map(len, rows))
    ids = torch.tensor([one + [0] * (width - len(one)) for one in rows], device=device)
    starts = torch.tensor([len(prompt) for prompt, _ in pairs], device=device)
    lengths = torch.tensor([len(response) for _, response in pairs], device=device)
    row = torch.arange(len(pairs), device=device).repeat_interleave(lengths)
    first = lengths.cumsum(0) - lengths  # of each row among the response tokens
    place = torch.arange(len(row), device=device) - first[row] + starts[row]
    return ids, row, place
