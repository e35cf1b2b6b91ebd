"""Score responses with transformers, in batches of like lengths, on a CPU or a GPU."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kurve.errors import ConfigError, SamplingError
from kurve.samplers.tokens import PromptTokenizer
from kurve.samplers.transformers_network import chosen_dtype, load_network, quiet
from kurve.types import Model, Score, ScoreRequest

if TYPE_CHECKING:
    from kurve.samplers.transformers_score import LogprobSums

_WINDOW = 4096  # responses among which those of like lengths are looked for
_Key = tuple[tuple[int, ...], tuple[int, ...]]


class TransformersScorer:
    """Gives responses their log-probability in this process.

    The responses of a window are sorted by length and cut into batches of at most `batch_tokens` tokens, padding
    included; one that is longer is a batch of its own. Equal responses to one prompt are computed once.

    Args:
        model: hub id or folder.
        log: file that receives transformers' log messages.
        batch_tokens: tokens of a batch.
        device: `cpu`, `cuda`, `cuda:1` ...; `auto` takes a GPU if there is one.
        trust_remote_code: run code that comes with the model.

    Raises:
        ConfigError: a batch size below 1.
    """

    engine = "transformers"
    ready_at: float | None = None

    def __init__(
        self,
        *,
        model: Model,
        log: str | Path | None = None,
        batch_tokens: int = 8192,
        device: str = "auto",
        trust_remote_code: bool = False,
    ) -> None:
        if batch_tokens < 1:
            raise ConfigError(f"scorer.batch_tokens={batch_tokens}; it must be 1 or more")
        self._model, self._log = model, Path(log) if log is not None else None
        self._batch_tokens, self._device, self._trust = batch_tokens, device, trust_remote_code

    @property
    def dtype(self) -> str:
        """Of the numbers it computes with on this machine."""
        return chosen_dtype(self._model, self._device)

    @cached_property
    def tokens(self) -> PromptTokenizer:
        """The model's tokenizer."""
        return PromptTokenizer(self._model, trust_remote_code=self._trust)

    @property
    def longest(self) -> int | None:
        """The context."""
        return self.tokens.context

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Score]:
        """Score the responses batch by batch; see `Scorer.score`."""
        remaining = iter(requests)
        sums: LogprobSums | None = None
        while window := list(islice(remaining, _WINDOW)):
            distinct: dict[_Key, list[ScoreRequest]] = {}
            for request in window:
                distinct.setdefault((request.prompt_ids, request.response_ids), []).append(request)
            yield from (_score(one, 0.0) for one in window if not one.response_ids)
            for batch in batches([key for key in distinct if key[1]], self._batch_tokens):
                sums = sums or self._load()
                values = self._sums(sums, batch)
                for key, value in zip(batch, values, strict=True):
                    yield from (_score(one, value) for one in distinct[key])

    def _load(self) -> "LogprobSums":
        from kurve.samplers.transformers_score import LogprobSums

        with quiet(self._log):
            network = load_network(self._model, device=self._device, trust_remote_code=self._trust)
        self.ready_at = time.monotonic()
        return LogprobSums(network)

    def _sums(self, sums: "LogprobSums", batch: Sequence[_Key]) -> list[float]:
        import torch

        try:
            with quiet(self._log):
                values: list[float] = sums(batch)
                return values
        except torch.OutOfMemoryError as error:
            raise SamplingError(
                f"out of memory with {self._batch_tokens} tokens a batch; lower scorer.batch_tokens"
            ) from error
        except (RuntimeError, IndexError) as error:
            raise SamplingError(f"transformers failed while scoring: {error}") from error


def batches(pairs: Sequence[_Key], batch_tokens: int) -> Iterator[list[_Key]]:
    """The pairs by length, the longest first (so that memory runs out at once or never), cut into batches."""
    batch: list[_Key] = []
    width = 0
    for pair in sorted(pairs, key=lambda one: len(one[0]) + len(one[1]), reverse=True):
        if batch and (len(batch) + 1) * width > batch_tokens:
            yield batch
            batch = []
        if not batch:
            width = len(pair[0]) + len(pair[1])
        batch.append(pair)
    if batch:
        yield batch


def _score(request: ScoreRequest, logprob_sum: float) -> Score:
    """The score, if the number can be one: minus infinity is a token that the model rules out."""
    if math.isnan(logprob_sum) or logprob_sum > 0.01 * len(request.response_ids):
        raise SamplingError(
            f"the model gives sample {request.index} of problem {request.problem_id!r} the log-probability "
            f"{logprob_sum}; try model.dtype=float32, and check that the weights are whole"
        )
    return Score(request.problem_id, request.index, min(logprob_sum, 0.0), len(request.response_ids))
