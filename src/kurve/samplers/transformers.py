"""Sample with transformers' batched `generate`: for CPUs and tiny models, where it is faster than vLLM."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kurve.errors import ConfigError, SamplingError
from kurve.samplers import Pilot
from kurve.samplers.tokens import PromptTokenizer
from kurve.samplers.transformers_network import load_network, quiet
from kurve.types import Decoding, Model, Prompt, Sample, SampleRequest

if TYPE_CHECKING:
    from kurve.samplers.transformers_draw import Draw


@dataclass(frozen=True, slots=True)
class _Row:
    problem_id: str
    index: int
    seed: int
    ids: list[int]


class TransformersSampler:
    """Draws samples in batches of `batch_size`, left-padded, in this process.

    Each sample has its own uniform numbers, drawn from its own seed before its batch starts, and takes each token by
    inverting the cumulative distribution. So a sample depends on its seed and not on its batch, up to the rounding
    of batched arithmetic (which other rows stand in the batch may change the last bit of a logit). A batch's samples
    are yielded together, when its longest has ended. `num_tokens` counts the end token, as vLLM does.

    Args:
        model: hub id or folder.
        decoding: how tokens are drawn.
        log: file that receives transformers' log messages.
        batch_size: samples drawn at once.
        device: `cpu`, `cuda`, `cuda:1` ...; `auto` takes a GPU if there is one.
        entropy: record the mean token entropy, which costs one more pass over the logits.
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
        decoding: Decoding,
        log: str | Path | None = None,
        batch_size: int = 64,
        device: str = "auto",
        entropy: bool = True,
        trust_remote_code: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"sampler.batch_size={batch_size}; it must be 1 or more")
        self._model, self._decoding = model, decoding
        self._log = Path(log) if log is not None else None
        self._batch_size, self._device, self._entropy = batch_size, device, entropy
        self._trust = trust_remote_code
        self._tokenizer: PromptTokenizer | None = None

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Refuse a missing model and a context too short; the weights are not loaded."""
        self._tokens().check_context(prompts, self._decoding)

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[Sample]:
        """Draw the requested samples batch by batch; see `Sampler.sample`."""
        yield from self._stream(self._rows(requests), self._load, self._decoding)

    @contextlib.contextmanager
    def pilot(self) -> Iterator[Pilot]:
        """Draws at several temperatures with the weights loaded once; see `PilotSampler.pilot`."""
        yield _TransformersPilot(self)

    def _stream(
        self, rows: Iterator[_Row], network_of: Callable[[], Any], decoding: Decoding, *, as_drawn: bool = False
    ) -> Iterator[Sample]:
        batch = list(islice(rows, self._batch_size))
        if not batch:
            return
        self.ready_at = None  # of an earlier use; this one may load the weights again
        with quiet(self._log):
            network = network_of()
        self.ready_at = time.monotonic()
        while batch:
            with quiet(self._log):
                samples = self._draw(network, batch, decoding, as_drawn=as_drawn)
            yield from samples
            batch = list(islice(rows, self._batch_size))

    def _rows(self, requests: Iterable[SampleRequest]) -> Iterator[_Row]:
        for request in requests:
            ids = self._tokens().encode(request.prompt)
            for index in request.indices:
                yield _Row(request.prompt.problem_id, index, request.seed + index, ids)

    def _tokens(self) -> PromptTokenizer:
        if self._tokenizer is None:
            self._tokenizer = PromptTokenizer(self._model, trust_remote_code=self._trust)
        return self._tokenizer

    def _load(self) -> Any:  # a transformers model, whose class depends on the checkpoint
        return load_network(self._model, device=self._device, trust_remote_code=self._trust)

    def _draw(self, network: Any, batch: list[_Row], decoding: Decoding, *, as_drawn: bool) -> list[Sample]:
        import torch

        from kurve.samplers.transformers_draw import draw

        tokenizer = self._tokens().tokenizer
        try:
            drawn = draw(
                network,
                tokenizer,
                decoding,
                [(r.ids, r.seed) for r in batch],
                with_entropy=self._entropy or as_drawn,
                as_drawn=as_drawn,
            )
        except torch.OutOfMemoryError as error:
            raise SamplingError(
                f"out of memory with batches of {self._batch_size}; lower sampler.batch_size or sampling.max_tokens"
            ) from error
        except RuntimeError as error:
            raise SamplingError(f"transformers failed while sampling: {error}") from error
        engine_version = version("transformers")
        return [self._as_sample(row, one, engine_version) for row, one in zip(batch, drawn, strict=True)]

    def _as_sample(self, row: _Row, drawn: "Draw", engine_version: str) -> Sample:
        return Sample(
            problem_id=row.problem_id,
            index=row.index,
            text=drawn.text,
            finish_reason=drawn.finish_reason,
            num_tokens=drawn.num_tokens,
            seed=row.seed,
            logprob_sum=drawn.logprob_sum,
            entropy_mean=drawn.entropy_mean,
            engine=self.engine,
            engine_version=engine_version,
        )


class _TransformersPilot:
    """See `Pilot`."""

    def __init__(self, sampler: TransformersSampler) -> None:
        self._sampler = sampler
        self._network: Any = None

    def sample(self, requests: Iterable[SampleRequest], temperature: float) -> Iterator[Sample]:
        """Draw at this temperature; see `Pilot.sample`."""
        sampler = self._sampler
        decoding = replace(sampler._decoding, temperature=temperature)
        yield from sampler._stream(sampler._rows(requests), self._loaded, decoding, as_drawn=True)

    def _loaded(self) -> Any:
        if self._network is None:
            self._network = self._sampler._load()
        return self._network
