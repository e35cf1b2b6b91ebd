"""Sample with vLLM: one engine, or several that share the stream of requests, each in a process group of its own."""

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

from kurve.chatter import Echo, last_errors, logger
from kurve.errors import ConfigError, SamplingError
from kurve.samplers import Pilot
from kurve.samplers.engine_process import EngineGoneError, EngineProcess, Row, ready
from kurve.samplers.tokens import PromptTokenizer
from kurve.samplers.vllm_settings import (
    check_engine_args,
    engine_environments,
    engine_kwargs,
    is_cpu_build,
    sampling_kwargs,
)
from kurve.types import Decoding, Model, Prompt, Sample, SampleRequest

_FIRST_WINDOW = 256  # samples sent to an engine before it has said how many it runs at once
_SLICE = 64  # samples in one message


class VllmSampler:
    """Draws samples with vLLM, on GPUs or with its CPU build.

    Each sample is one engine request with its own seed, so any number of samples streams through a bounded queue,
    the prompt's key-value cache is shared, and sample i is the same whichever samples are drawn with it, up to the
    rounding of batched arithmetic. With `seeded=False` the engine's own generator draws: samples carry no seed and a
    rerun gives others. The log-probabilities are those of the unmodified distribution (before temperature and
    truncation); vLLM gives no entropy.

    Data parallel means independent engines, each on its own `tensor_parallel_size` GPUs, fed from one stream: vLLM
    itself offers that for dense models only behind a server.

    Args:
        model: hub id or folder; `context` and `dtype` go to the engine.
        decoding: how tokens are drawn.
        log: file that receives the engine's output, appended; without one it is kept only to explain a failure.
        tensor_parallel_size: GPUs an engine.
        data_parallel_size: engines.
        gpu_memory_utilization: fraction of each GPU's memory, ignored on CPU.
        max_num_seqs: samples an engine runs at once; None takes vLLM's own choice.
        cpu_kvcache_gb: GiB of key-value cache an engine on CPU, unless VLLM_CPU_KVCACHE_SPACE is set.
        seeded: give each sample its own seed.
        logprobs: record the sum of log-probabilities.
        start_timeout: seconds an engine may take until it is ready.
        engine_args: any further argument of vLLM's `EngineArgs`.

    Raises:
        ConfigError: a size below 1, or an engine argument that vLLM does not have.
    """

    engine = "vllm"
    setting = "sampler"  # what it is called on the command line
    ready_at: float | None = None

    def __init__(
        self,
        *,
        model: Model,
        decoding: Decoding,
        log: str | Path | None = None,
        tensor_parallel_size: int = 1,
        data_parallel_size: int = 1,
        gpu_memory_utilization: float = 0.9,
        max_num_seqs: int | None = None,
        cpu_kvcache_gb: int = 2,
        seeded: bool = True,
        logprobs: bool = True,
        start_timeout: float = 1800.0,
        engine_args: Mapping[str, Any] | None = None,
    ) -> None:
        sizes = {"tensor_parallel_size": tensor_parallel_size, "data_parallel_size": data_parallel_size}
        sizes |= {"cpu_kvcache_gb": cpu_kvcache_gb, "max_num_seqs": 1 if max_num_seqs is None else max_num_seqs}
        for name, value in sizes.items():
            if value < 1:
                raise ConfigError(f"{self.setting}.{name}={value}; it must be 1 or more")
        if not 0 < gpu_memory_utilization <= 1:
            raise ConfigError(
                f"{self.setting}.gpu_memory_utilization={gpu_memory_utilization}; it is a fraction in (0, 1]"
            )
        self._given = dict(engine_args or {})
        check_engine_args(self._given, setting=self.setting)
        if max_num_seqs is not None:
            self._given["max_num_seqs"] = max_num_seqs
        self._model, self._decoding = model, decoding
        self._log = Path(log) if log is not None else None
        self._parallel, self._engines = tensor_parallel_size, data_parallel_size
        self._memory, self._kvcache_gb = gpu_memory_utilization, cpu_kvcache_gb
        self._seeded, self._logprobs = seeded, logprobs
        self._start_timeout = start_timeout
        self._tokenizer: PromptTokenizer | None = None

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Refuse a missing model, too few GPUs and a context too short, without starting an engine."""
        self._environments()
        self.tokens.check_context(prompts, self._decoding)

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[Sample]:
        """Draw the requested samples, each yielded as it finishes; see `Sampler.sample`."""
        for row, job, version in self.run(self._jobs(requests)):
            yield self._as_sample(row, job, version)

    def run(self, jobs: Iterator["Job"]) -> Iterator[tuple[Row, "Job", str]]:
        """Start the engines and have them do the jobs: each row as it is finished, its job, and vLLM's version.

        Raises:
            SamplingError: an engine failed.
        """
        first = next(jobs, None)
        if first is None:
            return
        with self._explained() as log, ExitStack() as stack:
            yield from self._stream(chain([first], jobs), self._start(log, stack, self._settings()))

    @contextmanager
    def pilot(self) -> Iterator[Pilot]:
        """Draws at several temperatures with the same engines; see `PilotSampler.pilot`.

        vLLM tells the log-probability of each drawn token under what it was drawn from, and no entropy.
        """
        with self._explained() as log, ExitStack() as stack:
            yield _VllmPilot(self, log, stack)

    @contextmanager
    def _explained(self) -> Iterator[IO[bytes]]:
        """The engine's log, whose last errors explain why an engine is gone."""
        with _open_log(self._log) as log:
            path, begin = Path(log.name), log.tell()
            try:
                with Echo(path, begin):
                    yield log
            except EngineGoneError as error:
                raise SamplingError(_explain(error, path, begin, kept=self._log is not None)) from error

    def _start(self, log: IO[bytes], stack: ExitStack, settings: Mapping[str, Any]) -> list[EngineProcess]:
        self.ready_at = None  # of an earlier use; these are other engines
        grace = 5.0 if is_cpu_build() else 20.0
        return [
            stack.enter_context(EngineProcess(settings, env=env, log=log, grace=grace)) for env in self._environments()
        ]

    def _stream(self, jobs: Iterator["Job"], engines: list[EngineProcess]) -> Iterator[tuple[Row, "Job", str]]:
        prompts: dict[int, Job] = {}
        more = True
        while more or any(engine.in_flight for engine in engines):
            if more:
                more = _top_up(engines, jobs, prompts)
            for engine in ready(engines, timeout=1.0):
                kind, *content = engine.receive()
                if kind == "ready":
                    engine.version, engine.max_num_seqs = content
                    self.ready_at = self.ready_at or time.monotonic()
                    logger.info("vLLM %s is ready after %.0f s", engine.version, engine.seconds)
                else:
                    engine.in_flight -= len(content[0])
                    yield from ((row, _finished(row, prompts), engine.version) for row in content[0])
            _check_started(engines, self._start_timeout)

    def _as_sample(self, row: Row, job: "Job", version: str) -> Sample:
        return Sample(
            problem_id=job.problem_id,
            index=row.index,
            text=row.text,
            finish_reason=row.finish_reason,
            num_tokens=row.num_tokens,
            seed=row.seed,
            logprob_sum=row.logprob_sum,
            engine=self.engine,
            engine_version=version,
        )

    def _jobs(self, requests: Iterable[SampleRequest]) -> Iterator["Job"]:
        tokens = self.tokens
        for key, request in enumerate(requests):
            if request.indices:
                yield DrawJob(key, request, tokens.encode(request.prompt))

    @property
    def tokens(self) -> PromptTokenizer:
        """The model's tokenizer."""
        if self._tokenizer is None:
            trust = bool(self._given.get("trust_remote_code", False))
            self._tokenizer = PromptTokenizer(self._model, trust_remote_code=trust)
        return self._tokenizer

    def _environments(self) -> list[dict[str, str]]:
        each = self._parallel * int(self._given.get("pipeline_parallel_size", 1))
        return engine_environments(self._engines, each, self._kvcache_gb)

    def _settings(self) -> dict[str, Any]:
        memory = {"gpu_memory_utilization": self._memory} if not is_cpu_build() else {}
        context = self.tokens.context if self._seeded else None
        return {
            "engine": engine_kwargs(self._model, self._parallel, memory | self._given, context=context),
            "decoding": sampling_kwargs(self._decoding),
            "lora": str(Path(self._model.lora).expanduser()) if self._model.lora else "",
            "seeded": self._seeded,
            "logprobs": self._logprobs,
        }


class _VllmPilot:
    """See `Pilot`."""

    def __init__(self, sampler: VllmSampler, log: IO[bytes], stack: ExitStack) -> None:
        self._sampler, self._log, self._stack = sampler, log, stack
        self._engines: list[EngineProcess] = []

    def sample(self, requests: Iterable[SampleRequest], temperature: float) -> Iterator[Sample]:
        """Draw at this temperature; see `Pilot.sample`."""
        sampler = self._sampler
        if self._engines:
            sampler.ready_at = time.monotonic()
        else:
            settings = sampler._settings()
            settings["engine"] |= {"logprobs_mode": "processed_logprobs"}
            self._engines = sampler._start(self._log, self._stack, settings | {"logprobs": True})
        for engine in self._engines:
            engine.send(("decode", {"temperature": temperature}))
        for row, job, version in sampler._stream(sampler._jobs(requests), self._engines):
            yield sampler._as_sample(row, job, version)


class Job:
    """What one prompt is sent to an engine for, once or several times."""

    def __init__(self, key: int, problem_id: str, indices: Sequence[int]) -> None:
        self.key, self.problem_id, self.indices = key, problem_id, indices
        self.sent = 0
        self.left = len(indices)  # not yet finished

    def message(self, indices: list[int]) -> tuple[object, ...]:
        """What the engine's process is told to do for these indices."""
        raise NotImplementedError


class DrawJob(Job):
    """One prompt and the samples of it that have not been sent yet."""

    def __init__(self, key: int, request: SampleRequest, ids: list[int]) -> None:
        super().__init__(key, request.prompt.problem_id, request.indices)
        self._ids, self._seed = ids, request.seed

    def message(self, indices: list[int]) -> tuple[object, ...]:
        """Draw these samples."""
        return "draw", self.key, self._ids, indices, self._seed


def _finished(row: Row, prompts: dict[int, Job]) -> Job:
    """The row's job, which is forgotten with its last row."""
    job = prompts[row.key]
    job.left -= 1
    if job.left == 0:
        del prompts[row.key]
    return job


def _top_up(engines: list[EngineProcess], jobs: Iterator[Job], prompts: dict[int, Job]) -> bool:
    """Fill each engine's queue to twice what it runs at once; returns whether jobs may be left."""
    while True:
        engine = min(engines, key=lambda one: one.in_flight - _window(one))
        room = _window(engine) - engine.in_flight
        if room < max(1, min(_SLICE, _window(engine) // 4)):
            return True
        job = next((job for job in prompts.values() if job.sent < len(job.indices)), None) or next(jobs, None)
        if job is None:
            return False
        prompts[job.key] = job
        indices = list(job.indices[job.sent : job.sent + min(room, _SLICE)])
        engine.send(job.message(indices))
        job.sent += len(indices)
        engine.in_flight += len(indices)


def _window(engine: EngineProcess) -> int:
    return 2 * engine.max_num_seqs or _FIRST_WINDOW


def _check_started(engines: list[EngineProcess], timeout: float) -> None:
    for engine in engines:
        if not engine.version and engine.seconds > timeout:
            raise EngineGoneError(engine, f"the engine was not ready after {timeout:.0f} s (sampler.start_timeout)")


def _open_log(path: Path | None) -> IO[bytes]:
    if path is None:
        return tempfile.NamedTemporaryFile(prefix="kurve-engine-", suffix=".log")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise SamplingError(f"the engine's log {path} cannot be written: {error}") from error
    file.seek(0, 2)
    return file


def _explain(error: EngineGoneError, log: Path, begin: int, *, kept: bool) -> str:
    lines = last_errors(log, begin)
    said = "".join(f"\n  {line}" for line in lines) if lines else " It wrote no error."
    code = error.exit_code
    how = f"{error} (exit code {code})" if code is not None else str(error)
    if code is not None and code < 0:
        how += "; it was killed, perhaps for lack of memory"
    place = f" The whole log: {log}" if kept else ""
    stage = "while sampling" if error.process.version else "before it was ready"
    return f"vLLM failed {stage}: {how}.{said}\n{place}".rstrip()
