"""One batch of samples with transformers, each row with its own random numbers. Imports torch and transformers.

B is the number of rows, T of tokens drawn, V of the vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.cache_utils import DynamicLayer
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from kurve.types import Decoding


@dataclass(frozen=True, slots=True)
class Draw:
    """What was drawn for one row."""

    text: str
    finish_reason: str
    num_tokens: int
    logprob_sum: float  # nats, under the unmodified distribution, or the one drawn from
    entropy_mean: float | None  # nats a token, of the same distribution


def draw(
    network: Any,
    tokenizer: Any,
    decoding: Decoding,
    rows: list[tuple[list[int], int]],
    *,
    with_entropy: bool,
    as_drawn: bool = False,
) -> list[Draw]:
    """Draw one sample for each (prompt ids, seed), [B]; at most `max_tokens` tokens each.

    `as_drawn` takes log-probabilities and entropies after temperature and truncation, not before.
    """
    device = network.device
    ends = _end_tokens(network, tokenizer)
    pad = min(ends) if ends else 0
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([[pad] * (width - len(i)) + i for i, _ in rows], device=device)
    mask = torch.tensor([[0] * (width - len(i)) + [1] * len(i) for i, _ in rows], device=device)
    seeds = [seed for _, seed in rows]
    chooser = _Chooser(decoding, seeds, device, with_entropy=with_entropy, as_drawn=as_drawn)
    stopper = _Stopper(tokenizer, decoding.stop, width, len(rows))
    with torch.inference_mode():
        out = network.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=_prompts_once(network, ids, mask, decoding.max_tokens),
            generation_config=GenerationConfig(
                do_sample=False, max_new_tokens=decoding.max_tokens, eos_token_id=sorted(ends) or None, pad_token_id=pad
            ),
            logits_processor=LogitsProcessorList([chooser]),
            stopping_criteria=StoppingCriteriaList([stopper]) if decoding.stop else None,
        )
    cuts = [
        _cut(line, ends, tokenizer, decoding.stop, stopped=ended)
        for line, ended in zip(out[:, width:].tolist(), stopper.ended, strict=True)
    ]
    logprobs, entropies = chooser.collected()  # [B, T] each
    lengths = torch.tensor([length for _, _, length in cuts])
    after = torch.arange(logprobs.shape[1]) >= lengths[:, None]  # [B, T]
    sums = logprobs.masked_fill(after, 0.0).sum(-1).tolist()
    means = (entropies.masked_fill(after, 0.0).sum(-1) / lengths).tolist()
    return [
        Draw(text, reason, length, total, mean if with_entropy and length else None)
        for (text, reason, length), total, mean in zip(cuts, sums, means, strict=True)
    ]


class _Roomy(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    """A layer of the cache that has room for the response: the plain one is copied whole for each token."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room  # tokens
        self._reserved: tuple[Any, Any] | None = None

    def batch_select_indices(self, indices: Any) -> None:
        """Take the rows `indices`, with room behind each."""
        super().batch_select_indices(indices)
        length = self.keys.shape[-2]
        shape = (*self.keys.shape[:-2], length + self._room, self.keys.shape[-1])
        self._reserved = (self.keys.new_empty(shape), self.values.new_empty(shape))
        self._put(0, self.keys, self.values)

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Append keys and values, [B, heads, tokens, width]; returns all of them."""
        length = self.get_seq_length()
        if self._reserved is None or length + key_states.shape[-2] > self._reserved[0].shape[-2]:
            return super().update(key_states, value_states, *args, **kwargs)  # type: ignore[no-any-return]
        self._put(length, key_states, value_states)
        return self.keys, self.values

    def _put(self, length: int, key_states: Any, value_states: Any) -> None:
        assert self._reserved is not None
        end = length + key_states.shape[-2]
        for reserved, states in zip(self._reserved, (key_states, value_states), strict=True):
            reserved[..., length:end, :] = states
        self.keys, self.values = (reserved[..., :end, :] for reserved in self._reserved)


def _prompts_once(network: Any, ids: Any, mask: Any, max_tokens: int) -> DynamicCache | None:
    """Keys and values of all but the last prompt token, computed once for rows with the same prompt.

    None where it would not pay, or where the network keeps more than plain keys and values; `generate` then reads
    every row's prompt. `ids` and `mask` are [B, width].
    """
    # The mask as well: a prompt may begin with the token that pads.
    distinct, row_of = torch.unique(torch.cat([ids, mask], -1), dim=0, return_inverse=True)
    if ids.shape[1] < 2 or 2 * len(distinct) > len(ids) or network.config.is_encoder_decoder:
        return None
    cache = DynamicCache(config=network.config)
    if not cache.layers or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    cache.layers = [_Roomy(max_tokens) for _ in cache.layers]
    first = torch.empty(len(distinct), dtype=torch.long, device=ids.device).scatter_(
        0, row_of, torch.arange(len(ids), device=ids.device)
    )
    known = mask[first, :-1]
    network.base_model(
        input_ids=ids[first, :-1],
        attention_mask=known,
        position_ids=(known.cumsum(-1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    )
    cache.batch_select_indices(row_of)
    return cache


class _Chooser(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Leaves only the token that each row draws, and keeps what it cost.

    `generate` then takes the largest logit, so its own random numbers, which a batch shares, are never used.
    """

    def __init__(
        self, decoding: Decoding, seeds: list[int], device: Any, *, with_entropy: bool, as_drawn: bool = False
    ) -> None:
        self._greedy = decoding.temperature == 0
        self._warpers = [] if self._greedy else _warpers(decoding)
        self._with_entropy, self._as_drawn = with_entropy, as_drawn
        generators = [torch.Generator().manual_seed(seed % 2**64) for seed in seeds]
        # float64: with float32 a draw of exactly 1 or of a token below 1e-7 goes wrong every few million tokens.
        uniforms = [torch.rand(decoding.max_tokens, generator=g, dtype=torch.float64) for g in generators]
        self._uniforms = torch.stack(uniforms).to(device)
        self._logprobs: list[Any] = []
        self._entropies: list[Any] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        modified = scores
        for warper in self._warpers:
            modified = warper(input_ids, modified)
        logprobs = (modified if self._as_drawn else scores).float().log_softmax(-1)
        chosen = scores.float().argmax(-1) if self._greedy else self._choose(modified)
        self._logprobs.append(logprobs.gather(-1, chosen[:, None])[:, 0])
        if self._with_entropy:
            self._entropies.append(torch.special.entr(logprobs.exp()).sum(-1))
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen[:, None], 0.0)

    def collected(self) -> tuple[Any, Any]:
        """Log-probabilities and entropies of the drawn tokens, [B, T] each."""
        entropies = self._entropies or [torch.zeros_like(step) for step in self._logprobs]
        return torch.stack(self._logprobs, 1).double().cpu(), torch.stack(entropies, 1).double().cpu()

    def _choose(self, scores: Any) -> Any:
        cumulative = scores.double().softmax(-1).cumsum(-1)
        uniform = self._uniforms[:, len(self._logprobs)] * cumulative[:, -1]
        # right=True: a token of probability 0, whose step in the sum has no width, is never taken.
        return torch.searchsorted(cumulative, uniform[:, None], right=True)[:, 0].clamp(max=scores.shape[-1] - 1)


class _Stopper(StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """Ends a row when its text holds a stop string."""

    def __init__(self, tokenizer: Any, stops: tuple[str, ...], width: int, rows: int) -> None:
        self._tokenizer, self._stops, self._width = tokenizer, stops, width
        # A token is at least one byte of text, so these many at the end hold any stop string that just ended.
        self._reach = max((len(stop.encode()) for stop in stops), default=0) + 4
        self.ended: list[int | None] = [None] * rows

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        drawn = input_ids.shape[1] - self._width
        tails = input_ids[:, max(self._width, input_ids.shape[1] - self._reach) :].tolist()
        live = [row for row, ended in enumerate(self.ended) if ended is None]
        texts = self._tokenizer.batch_decode(
            [tails[row] for row in live], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        for row, text in zip(live, texts, strict=True):
            if any(stop in text for stop in self._stops):
                self.ended[row] = drawn
        return torch.tensor([ended is not None for ended in self.ended], device=input_ids.device)


def _warpers(decoding: Decoding) -> list[Any]:
    """In the order in which vLLM applies them."""
    warpers: list[Any] = []
    if decoding.temperature != 1:
        warpers.append(TemperatureLogitsWarper(float(decoding.temperature)))
    if decoding.min_p > 0:
        warpers.append(MinPLogitsWarper(decoding.min_p))
    if decoding.top_k > 0:
        warpers.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        warpers.append(TopPLogitsWarper(decoding.top_p))
    return warpers


def _end_tokens(network: Any, tokenizer: Any) -> set[int]:
    configured = getattr(network.generation_config, "eos_token_id", None)
    ends = set(configured if isinstance(configured, list) else [configured]) | {tokenizer.eos_token_id}
    return {int(end) for end in ends if end is not None}


def _cut(
    line: list[int], ends: set[int], tokenizer: Any, stops: tuple[str, ...], *, stopped: int | None
) -> tuple[str, str, int]:
    """Text, finish reason and number of tokens (the end token counted) of one padded row."""
    end = next((i for i, token in enumerate(line) if token in ends), len(line))
    if stopped is not None and stopped <= end:
        text = tokenizer.decode(line[:stopped], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        places = [place for stop in stops if (place := text.find(stop)) >= 0]
        return text[: min(places, default=len(text))], "stop", stopped
    text = tokenizer.decode(line[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    if end < len(line):
        return text, "stop", end + 1
    return text, "length", end
