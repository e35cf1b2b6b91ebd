"""Score responses with vLLM: the engines of the sampler, asked for the log-probabilities of their prompt."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kurve.errors import SamplingError
from kurve.samplers.processor import cpu_dtype
from kurve.samplers.tokens import PromptTokenizer
from kurve.samplers.vllm import Job, VllmSampler
from kurve.samplers.vllm_settings import is_cpu_build
from kurve.types import Decoding, Model, Score, ScoreRequest

_NOTHING_DRAWN = Decoding(temperature=0.0, top_p=1.0, max_tokens=1)


class _Engines(VllmSampler):
    setting = "scorer"


class VllmScorer:
    """Gives responses their log-probability with vLLM's `prompt_logprobs`, on GPUs or with its CPU build.

    Prompt and response are one request, of which vLLM computes every token's log-probability and we add up those of
    the response. vLLM reads no cached prefix for such requests, and draws one token more, which is dropped: a prompt
    with its response must be one token shorter than the context.

    Args:
        model: hub id or folder; `context` and `dtype` go to the engine.
        log: file that receives the engine's output, appended.
        tensor_parallel_size: GPUs an engine.
        data_parallel_size: engines, each on its own GPUs, sharing the requests.
        gpu_memory_utilization: fraction of each GPU's memory, ignored on CPU.
        max_num_seqs: responses an engine reads at once; None takes vLLM's own choice.
        cpu_kvcache_gb: GiB of key-value cache an engine on CPU, unless VLLM_CPU_KVCACHE_SPACE is set.
        start_timeout: seconds an engine may take until it is ready.
        engine_args: any further argument of vLLM's `EngineArgs`.

    Raises:
        ConfigError: a size below 1, or an engine argument that vLLM does not have.
    """

    engine = "vllm"

    def __init__(
        self,
        *,
        model: Model,
        log: str | Path | None = None,
        tensor_parallel_size: int = 1,
        data_parallel_size: int = 1,
        gpu_memory_utilization: float = 0.9,
        max_num_seqs: int | None = None,
        cpu_kvcache_gb: int = 2,
        start_timeout: float = 1800.0,
        engine_args: Mapping[str, Any] | None = None,
    ) -> None:
        self._model = model
        self._engines = _Engines(
            model=model,
            decoding=_NOTHING_DRAWN,
            log=log,
            tensor_parallel_size=tensor_parallel_size,
            data_parallel_size=data_parallel_size,
            gpu_memory_utilization=gpu_memory_utilization,
            max_num_seqs=max_num_seqs,
            cpu_kvcache_gb=cpu_kvcache_gb,
            start_timeout=start_timeout,
            engine_args=engine_args,
        )

    @property
    def dtype(self) -> str:
        """Of the numbers it computes with on this machine."""
        return cpu_dtype(self._model.dtype) if is_cpu_build() else self._model.dtype

    @property
    def tokens(self) -> PromptTokenizer:
        """The model's tokenizer."""
        return self._engines.tokens

    @property
    def ready_at(self) -> float | None:
        """time.monotonic() when an engine was ready."""
        return self._engines.ready_at

    @property
    def longest(self) -> int | None:
        """The context without the token that vLLM draws."""
        return self.tokens.context and self.tokens.context - 1

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Score]:
        """Score the responses; see `Scorer.score`."""
        for row, job, _ in self._engines.run(ScoreJob(key, request) for key, request in enumerate(requests)):
            if row.logprob_sum is None or row.logprob_sum != row.logprob_sum:
                raise SamplingError(
                    f"vLLM gives sample {row.index} of problem {job.problem_id!r} no log-probability; try "
                    "model.dtype=float32, and check that the weights are whole"
                )
            yield Score(job.problem_id, row.index, min(row.logprob_sum, 0.0), row.num_tokens)


class ScoreJob(Job):
    """One response to be read after its prompt."""

    def __init__(self, key: int, request: ScoreRequest) -> None:
        super().__init__(key, request.problem_id, (request.index,))
        self._ids, self._start = [*request.prompt_ids, *request.response_ids], len(request.prompt_ids)

    def message(self, indices: list[int]) -> tuple[object, ...]:
        """Add up the log-probabilities of the response."""
        return "score", self.key, self._ids, indices[0], self._start
