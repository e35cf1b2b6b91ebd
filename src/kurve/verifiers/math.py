"""Judge math answers with math-verify, in parallel and each pair of reference and answer only once."""

import hashlib
import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

from kurve.errors import ConfigError, VerifierError
from kurve.types import Answer, Outcome, Problem, Sample, Verdict
from kurve.verifiers.cache import VerdictCache
from kurve.verifiers.extract import Extraction, extract
from kurve.verifiers.pool import Result, Task, WorkerPool
from kurve.verifiers.second import second_opinion

_logger = logging.getLogger(__name__)
_REVISION = 1  # of our own rules: extraction, tolerance, units, several values; raise it when a verdict may change
_PACKAGES = ("math-verify", "latex2sympy2_extended", "sympy")
_MAX_KNOWN = 400_000  # results kept in memory, about 150 bytes each
_CHUNK = 1000  # tasks graded between two writes of the cache
_MAX_SHOWN = 500


class MathVerifier:
    """Outcome by math-verify's reading of the answer; `Verdict.second` by a grader that shares no arithmetic with it.

    Args:
        workers: processes that grade, at low priority; None takes one for each CPU this process may use.
        budget: wall-clock seconds for one answer, after which it is TIMEOUT. A worker that the machine leaves without
            CPU is given up to four times as long.
        memory_gb: address space of a worker; an answer that needs more is ERROR.
        cache: folder for verdicts, shared between runs and processes; None keeps them in memory only.
        second: ask the second grader too.

    Raises:
        ConfigError: a setting is out of range.
        VerifierError: math-verify is not installed.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        budget: float = 8.0,
        memory_gb: float = 4,
        cache: Path | str | None = None,
        second: bool = True,
    ) -> None:
        if workers is not None and workers < 1:
            raise ConfigError(f"verifier.workers is {workers}; give at least 1, or null for one a CPU")
        if not budget > 0:
            raise ConfigError(f"verifier.budget is {budget}; give the seconds an answer may take, more than 0")
        if not memory_gb >= 1:
            raise ConfigError(f"verifier.memory_gb is {memory_gb}; a worker needs at least 1")
        settings = {"budget": float(budget), "memory_gb": float(memory_gb), "second": bool(second)}
        self.fingerprint = _fingerprint(settings)
        self._second = second
        self._cache = VerdictCache(cache, self.fingerprint) if cache else None
        self.workers = workers or len(os.sched_getaffinity(0))
        self._pool = WorkerPool(workers=self.workers, budget=budget, memory_gb=memory_gb)
        self._known: dict[bytes, Result] = {}
        self._opinions: dict[tuple[Answer, str], Outcome] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; a later `verify` starts new ones."""
        with self._lock:
            self._pool.close()

    def worker_pids(self) -> list[int]:
        """Process ids of the live workers; they start with the first answers that need them."""
        return self._pool.pids()

    def verify(self, items: Sequence[tuple[Problem, Sample]]) -> list[Verdict]:
        """Judge each sample against its problem's reference; one verdict an item, in order.

        May be called from any thread, one call at a time goes on. Touches no signal of this process.

        Raises:
            VerifierError: no worker can be started.
        """
        with self._lock:
            found = [_read(sample) for _, sample in items]
            tasks: dict[bytes, Task] = {}
            keys: list[bytes | None] = []
            for (problem, _), extraction in zip(items, found, strict=True):
                keys.append(self._enter(problem.reference, extraction, tasks) if extraction else None)
            self._resolve(tasks)
            verdicts = [
                self._verdict(problem, sample, self._known[key] if key else None)
                for (problem, sample), key in zip(items, keys, strict=True)
            ]
            broken = [self._known[key].detail for key in keys if key and self._known[key].outcome is Outcome.ERROR]
            self._forget()
        _log_failures(verdicts, broken)
        return verdicts

    def _enter(self, gold: Answer, extraction: Extraction, tasks: dict[bytes, Task]) -> bytes:
        key = _key(gold, extraction)
        if key not in self._known and key not in tasks:
            if extraction.boxed and gold.values == (extraction.text,):
                self._known[key] = Result(Outcome.CORRECT, extraction.text[:_MAX_SHOWN])
            else:
                tasks[key] = Task(gold, extraction.text, extraction.boxed)
        return key

    def _resolve(self, tasks: dict[bytes, Task]) -> None:
        if self._cache:
            self._known.update(self._cache.get(list(tasks)))
        missing = [key for key in tasks if key not in self._known]
        for start in range(0, len(missing), _CHUNK):
            part = missing[start : start + _CHUNK]
            graded = dict(zip(part, self._pool.grade([tasks[key] for key in part]), strict=True))
            self._known.update(graded)
            if self._cache:
                self._cache.put(graded)

    def _verdict(self, problem: Problem, sample: Sample, result: Result | None) -> Verdict:
        if result is None or (result.outcome is Outcome.NO_ANSWER and sample.finish_reason == "length"):
            cut = sample.finish_reason == "length"
            return Verdict(sample.problem_id, sample.index, Outcome.TRUNCATED if cut else Outcome.NO_ANSWER)
        opinion = self._opinion(problem.reference, result) if self._second else None
        return Verdict(sample.problem_id, sample.index, result.outcome, result.answer, opinion)

    def _opinion(self, gold: Answer, result: Result) -> Outcome | None:
        if not result.answer:
            return None
        pair = (gold, result.answer)
        if pair not in self._opinions:
            self._opinions[pair] = second_opinion(gold, result.answer)
        return self._opinions[pair]

    def _forget(self) -> None:
        for table in (self._known, self._opinions):
            if len(table) > _MAX_KNOWN:
                table.clear()


def _read(sample: Sample) -> Extraction | None:
    """The answer's passage; None if there is none, or if a cut text had not come to its answer."""
    extraction = extract(sample.text)
    if extraction is not None and sample.finish_reason == "length" and not extraction.explicit:
        return None
    return extraction


def _key(gold: Answer, extraction: Extraction) -> bytes:
    identity = (gold.values, gold.unit, gold.tolerance, extraction.boxed, extraction.text)
    return hashlib.sha256(json.dumps(identity).encode("ascii")).digest()


def _fingerprint(settings: dict[str, float]) -> str:
    try:
        versions = {name: version(name) for name in _PACKAGES}
    except PackageNotFoundError as error:
        raise VerifierError(
            f"the math verifier needs the package {error.name}: pip install math-verify==0.9.0"
        ) from error
    identity = {"verifier": "math", "revision": _REVISION, "packages": versions, "settings": settings}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _log_failures(verdicts: Sequence[Verdict], broken: Sequence[str]) -> None:
    counts = Counter(verdict.outcome for verdict in verdicts)
    if counts[Outcome.ERROR] or counts[Outcome.TIMEOUT]:
        first = f" (the first: {broken[0][:300]})" if broken else ""
        _logger.warning(
            "of %d samples %d could not be judged%s and %d ran out of time",
            len(verdicts), counts[Outcome.ERROR], first, counts[Outcome.TIMEOUT],
        )  # fmt: skip
