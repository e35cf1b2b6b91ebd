"""The three stages of an evaluation over one store: draw what is missing, judge what is unjudged, measure."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from kurve.benchmarks.answers import GOLD_VERSION
from kurve.benchmarks.rows import Benchmark
from kurve.commands.provenance import digest
from kurve.commands.sampling_plan import Plan
from kurve.errors import DataError, KurveError
from kurve.progress import Progress
from kurve.samplers import Sampler
from kurve.speeds import record_draw, record_judging
from kurve.store import SampleStore, VerdictStore
from kurve.types import Answer, Problem, Sample, SampleRequest, Verdict
from kurve.verifiers import Verifier

JUDGE_BATCH = 512  # stored samples judged in one call
WAITING_ROOM = 20_000  # samples held for the judge; more are read from the store afterwards
_LINGER = 0.2  # seconds without a sample after which a batch is judged as it is
_GATHER = 1.0  # seconds a batch gathers at most, so that the display follows
_LEAST_TIMED = 1000  # verdicts: the start of the verifier's processes weighs too much on fewer


def draw(
    plan: Plan,
    store: SampleStore,
    sampler: Sampler,
    missing: Mapping[str, Sequence[int]],
    *,
    progress: Progress,
    on_stored: Callable[[Sample], None] = lambda sample: None,
) -> None:
    """Draw the missing samples, storing each as it is finished; raises as `draw_requests`."""
    draw_requests(plan, store, sampler, plan.requests(missing), progress=progress, on_stored=on_stored)


def draw_requests(
    plan: Plan,
    store: SampleStore,
    sampler: Sampler,
    requests: Iterable[SampleRequest],
    *,
    progress: Progress,
    on_stored: Callable[[Sample], None],
) -> None:
    """Draw what is requested, storing each sample as it is finished.

    Raises:
        SamplingError: the engine failed; what was stored before stays.
        StoreError: a sample could not be stored.
    """
    began = time.monotonic()
    stream = sampler.sample(requests)
    version = ""
    try:
        for sample in stream:
            store.append(sample)
            progress.drawing_since(sampler.ready_at or began)
            progress.sampled(sample)
            on_stored(sample)
            version = sample.engine_version
    finally:
        _close(stream)
        if progress.tokens:
            record_draw(
                store.folder,
                engine=plan.spec.engine,
                version=version,
                tokens=progress.tokens,
                samples=progress.samples,
                seconds=progress.sampling_seconds,
            )


def verdict_set(verifier: Verifier, benchmark: Benchmark) -> str:
    """Name of the verdicts of this verifier against these references; other references are judged anew."""
    references = digest(benchmark.name, benchmark.revision, GOLD_VERSION)[:6]
    return f"{verifier.fingerprint}.{references}"


def _close(stream: Iterator[Sample]) -> None:
    close = getattr(stream, "close", None)  # a generator has it; a plain iterator owns no engine
    if close is not None:
        close()


class JudgeAlongside:
    """Judges samples in a thread while the engine keeps sampling. A context manager.

    Nothing waits for it: when the judge falls behind or fails, sampling goes on, and `judge_stored` catches up
    from the store.
    """

    def __init__(
        self, verifier: Verifier, verdicts: VerdictStore, problems: Mapping[str, Problem], progress: Progress
    ) -> None:
        self._verifier, self._verdicts, self._problems, self._progress = verifier, verdicts, problems, progress
        self._queue: queue.Queue[Sample] = queue.Queue(WAITING_ROOM)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kurve-judge", daemon=True)
        self.failure: KurveError | None = None
        self.idle_since = 0.0  # time.monotonic() when the newest verdict was stored

    def __enter__(self) -> "JudgeAlongside":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

    def offer(self, sample: Sample) -> None:
        """Hand over a stored sample; dropped when the waiting room is full."""
        if self.failure is None and not self._queue.full():
            self._queue.put(sample)

    def _run(self) -> None:
        try:
            while batch := self._batch():
                judge(batch, self._verifier, self._verdicts, self._problems, progress=self._progress)
                self.idle_since = time.monotonic()
        except KurveError as error:
            self.failure = error

    def _batch(self) -> list[Sample]:
        """The samples that wait, at least one, gathered for a second at most; empty when all is done."""
        batch: list[Sample] = []
        until = 0.0
        while len(batch) < JUDGE_BATCH and not (batch and time.monotonic() > until):
            try:
                batch.append(self._queue.get(timeout=_LINGER))
            except queue.Empty:
                if batch or self._done.is_set():
                    break
            until = until or (time.monotonic() + _GATHER if batch else 0.0)
        return batch


def judge_stored(
    store: SampleStore,
    verdicts: VerdictStore,
    verifier: Verifier,
    problems: Mapping[str, Problem],
    *,
    num_samples: int,
    progress: Progress | None = None,
) -> None:
    """Judge the stored samples of these problems that have no verdict yet, or only a failed one.

    Raises:
        DataError: such a problem has no reference answer to judge by.
    """
    missing = verdicts.to_judge(problems, num_samples)
    check_references([problems[problem_id] for problem_id in missing])
    stored = store.samples(problem_ids=missing, num_samples=num_samples) if missing else iter(())
    unjudged = (sample for sample in stored if _is_marked(missing[sample.problem_id], sample.index))
    began, judged = time.monotonic(), 0
    for batch in _batches(unjudged):
        judge(batch, verifier, verdicts, problems, progress=progress)
        judged += len(batch)
    if judged >= _LEAST_TIMED:
        record_judging(
            store.folder,
            verifier=verdicts.verifier,
            verdicts=judged,
            seconds=time.monotonic() - began,
            workers=getattr(verifier, "workers", 1),  # one that has none judges in this process
        )


def _is_marked(mask: NDArray[np.bool_], index: int) -> bool:
    return index < len(mask) and bool(mask[index])


def check_references(problems: Sequence[Problem]) -> None:
    """Refuse to judge without a reference answer.

    Raises:
        DataError: a problem has none, or one that cannot be read.
    """
    without = [
        problem for problem in problems if isinstance(problem.reference, Answer) and not problem.reference.values
    ]
    if without:
        raw = without[0].reference.raw
        why = f"one that cannot be read as an answer: {raw[:60]!r}" if raw else "none"
        raise DataError(
            f"{len(without)} problems have no reference answer to judge by ({without[0].id!r} has {why}); name the "
            "data that has them: benchmark=..."
        )


def _batches(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    iterator = iter(samples)
    while batch := list(islice(iterator, JUDGE_BATCH)):
        yield batch


def judge(
    batch: Sequence[Sample],
    verifier: Verifier,
    verdicts: VerdictStore,
    problems: Mapping[str, Problem],
    *,
    progress: Progress | None,
) -> None:
    """Judge these stored samples and store the verdicts."""
    found: list[Verdict] = verifier.verify([(problems[sample.problem_id], sample) for sample in batch])
    verdicts.append_many(found)
    if progress is not None:
        for verdict in found:
            progress.judged(verdict)
