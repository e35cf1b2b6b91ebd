import os
import sys

import pytest

from kurve.errors import VerifierError
from kurve.types import Answer, Outcome
from kurve.verifiers.pool import Task, WorkerPool


def test_a_worker_that_cannot_start_is_told_with_its_last_words() -> None:
    pool = WorkerPool(workers=1, budget=1, memory_gb=0.02)
    with pytest.raises(VerifierError, match="memory_gb"):
        pool.grade([Task(Answer(("5",), "5"), "5", boxed=True)])
    assert pool.pids() == []


def test_a_missing_interpreter_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(VerifierError, match="/nowhere/python"):
        WorkerPool(workers=1, budget=1, memory_gb=2).grade([Task(Answer(("5",), "5"), "5", boxed=True)])


def test_an_answer_that_needs_more_memory_than_allowed_is_an_error_or_a_timeout() -> None:
    pool = WorkerPool(workers=1, budget=2, memory_gb=1)
    try:
        huge = Task(Answer(("5",), "5"), "9" * 3 + r"^{10^{9}}", boxed=True)
        results = pool.grade([huge, Task(Answer(("5",), "5"), "5.0", boxed=True)])
    finally:
        pool.close()
    assert results[0].outcome in (Outcome.ERROR, Outcome.TIMEOUT)
    assert results[1].outcome is Outcome.CORRECT


def test_an_answer_whose_worker_is_killed_twice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = WorkerPool(workers=1, budget=20, memory_gb=2)
    hanging = Task(Answer(("5",), "5"), r"\binom{10^7}{5 \cdot 10^6}", boxed=True)
    honest = Task(Answer(("5",), "5"), "5.0", boxed=True)
    original = pool._take

    def kill_at_work(worker: object, message: dict[str, object], run: object) -> None:
        original(worker, message, run)  # type: ignore[arg-type]  # the pool's own private types
        if message.get("id") == 0:
            os.kill(pool.pids()[0], 9)

    monkeypatch.setattr(pool, "_take", kill_at_work)
    results = pool.grade([hanging, honest])
    pool.close()
    assert results[0].outcome is Outcome.ERROR
    assert "died" in results[0].detail
    assert results[1].outcome is Outcome.CORRECT


def test_no_task_needs_no_worker() -> None:
    pool = WorkerPool(workers=2, budget=1, memory_gb=2)
    assert pool.grade([]) == []
    assert pool.pids() == []
