"""Worker processes that can be killed: a wall-clock budget for every item, and no orphans.

The workers are plain subprocesses speaking JSON lines over pipes. `multiprocessing` would re-import the caller's main
module (which may be a notebook, standard input or a script without a guard) and its executors cannot kill one worker.
"""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from kurve.errors import VerifierError
from kurve.types import Answer, Outcome

_IN_FLIGHT = 2  # tasks a worker holds: one at work and one that hides the pipe's latency
_BOOT_SECONDS = 180.0
_BOOT_FAILURES = 3
_STARVED_FACTOR = 4  # a worker that got no CPU is waited for up to this many budgets
_NICENESS = 15
_ATTEMPTS = 2
_TICK = 0.25
_CODE = (
    "import json,sys; boot=json.loads(sys.argv[1]); sys.path[:]=boot.pop('path'); "
    "from kurve.verifiers._worker import main; main(**boot)"
)


@dataclass(frozen=True, slots=True)
class Task:
    """One answer to be judged against one reference."""

    gold: Answer
    text: str
    boxed: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a task."""

    outcome: Outcome
    answer: str = ""
    detail: str = ""


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    lifeline: int
    errors: IO[bytes]
    ready: bool = False
    gold_read: bool = False  # the task at work has passed its gold
    since: float = field(default_factory=time.monotonic)  # when the present phase began
    cpu_since: float = 0.0
    tasks: deque[int] = field(default_factory=deque)
    outgoing: bytearray = field(default_factory=bytearray)
    incoming: bytearray = field(default_factory=bytearray)

    def restart_clock(self) -> None:
        self.since, self.cpu_since = time.monotonic(), _cpu_seconds(self.process.pid)


class WorkerPool:
    """Grades tasks in up to `workers` processes, which start when there is work and stay until `close`."""

    def __init__(self, *, workers: int, budget: float, memory_gb: float) -> None:
        self._size, self._budget, self._memory = workers, budget, int(memory_gb * 2**30)
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._boot_failures = 0
        self._bad_golds: dict[Answer, str] = {}

    def pids(self) -> list[int]:
        """Process ids of the live workers."""
        return [worker.process.pid for worker in self._workers]

    def grade(self, tasks: Sequence[Task]) -> list[Result]:
        """Judge each task, in order. A hung task is TIMEOUT, one that kills two workers or breaks the grader ERROR.

        Raises:
            VerifierError: no worker can be started.
        """
        run = _Run(tasks)
        try:
            while len(run.results) < len(tasks):
                self._feed(run)
                self._exchange(run)
                self._watch_clocks(run)
        except BaseException:
            self.close()
            raise
        return [run.results[i] for i in range(len(tasks))]

    def close(self) -> None:
        """Kill the workers."""
        for worker in list(self._workers):
            self._remove(worker)

    def _feed(self, run: "_Run") -> None:
        if run.pending and len(self._workers) < self._size and all(worker.tasks for worker in self._workers):
            self._workers.append(self._start())
        for depth in range(_IN_FLIGHT):
            for worker in self._workers:
                if len(worker.tasks) == depth and (index := self._next(run)) is not None:
                    self._send(worker, index, run.tasks[index])

    def _next(self, run: "_Run") -> int | None:
        while run.pending:
            index = run.pending.popleft()
            bad = self._bad_golds.get(run.tasks[index].gold)
            if bad is None:
                return index
            run.results[index] = Result(Outcome.ERROR, detail=bad)
        return None

    def _send(self, worker: _Worker, index: int, task: Task) -> None:
        if not worker.tasks and worker.ready:
            worker.restart_clock()
        worker.tasks.append(index)
        gold = {"values": task.gold.values, "unit": task.gold.unit, "tolerance": task.gold.tolerance}
        line = json.dumps({"id": index, "text": task.text, "boxed": task.boxed, **gold}) + "\n"
        worker.outgoing += line.encode("ascii")
        self._watch_pipes(worker)

    def _exchange(self, run: "_Run") -> None:
        if not self._workers:
            return
        for key, _ in self._selector.select(_TICK):
            worker: _Worker = key.data
            if worker not in self._workers:
                continue
            if key.fileobj is worker.process.stdin:
                self._write(worker)
            elif not self._read(worker, run):
                self._lost(worker, run)

    def _write(self, worker: _Worker) -> None:
        assert worker.process.stdin is not None
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # a dead worker shows when it is read
            sent = os.write(worker.process.stdin.fileno(), memoryview(worker.outgoing)[:65536])
            del worker.outgoing[:sent]
            self._watch_pipes(worker)
            return
        if worker.process.poll() is not None:
            worker.outgoing.clear()
            self._watch_pipes(worker)

    def _read(self, worker: _Worker, run: "_Run") -> bool:
        """Take in what the worker has written; False at its end."""
        assert worker.process.stdout is not None
        alive = True
        while True:
            try:
                data = os.read(worker.process.stdout.fileno(), 65536)
            except BlockingIOError:
                break
            if not data:
                alive = False
                break
            worker.incoming += data
        *lines, rest = worker.incoming.split(b"\n")
        worker.incoming = bytearray(rest)
        for line in lines:
            self._take(worker, json.loads(line), run)
        return alive

    def _take(self, worker: _Worker, message: dict[str, object], run: "_Run") -> None:
        worker.restart_clock()
        if "ready" in message:
            worker.ready, self._boot_failures = True, 0
        elif "gold" in message:
            worker.gold_read = True
        else:
            worker.gold_read = False
            index = worker.tasks.popleft()
            run.results[index] = Result(
                Outcome(str(message["outcome"])), str(message["answer"]), str(message["detail"])
            )

    def _watch_clocks(self, run: "_Run") -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            elapsed = now - worker.since
            if not worker.ready:
                if elapsed > _BOOT_SECONDS:
                    self._lost(worker, run)
            elif worker.tasks and elapsed > self._budget and not self._starved(worker, elapsed):
                self._time_out(worker, run)

    def _starved(self, worker: _Worker, elapsed: float) -> bool:
        """Whether the machine, not the answer, is to blame: at low priority a worker may get next to no CPU."""
        used = _cpu_seconds(worker.process.pid) - worker.cpu_since
        return used < self._budget / 2 and elapsed < _STARVED_FACTOR * self._budget

    def _time_out(self, worker: _Worker, run: "_Run") -> None:
        worker.process.kill()
        worker.process.wait()
        index, answering = worker.tasks[0], worker.gold_read
        self._read(worker, run)  # it may have finished while it was being judged
        if worker.tasks and worker.tasks[0] == index and worker.gold_read == answering:
            if answering:
                worker.tasks.popleft()
                run.results[index] = Result(Outcome.TIMEOUT, detail=f"not judged within {self._budget:g} s")
            else:
                run.tries[index] += 1  # all samples of the problem depend on it, so a hiccup must not decide
                if run.tries[index] >= _ATTEMPTS:
                    worker.tasks.popleft()
                    bad = f"the reference answer cannot be read within {self._budget:g} s"
                    self._bad_golds[run.tasks[index].gold] = bad
                    run.results[index] = Result(Outcome.ERROR, detail=bad)
        self._remove(worker, run)

    def _lost(self, worker: _Worker, run: "_Run") -> None:
        """A worker ended by itself: its task gets a second try, then it is an error."""
        worker.process.kill()
        status = worker.process.wait()
        if not worker.ready:
            self._boot_failures += 1
            if self._boot_failures >= _BOOT_FAILURES:
                raise VerifierError(
                    f"the math verifier's worker process ended with status {status} before it was ready, "
                    f"{_BOOT_FAILURES} times; its last words: {_last_words(worker.errors)!r}. "
                    "Check that math-verify is installed and that memory_gb leaves room for it"
                )
        elif worker.tasks:
            index = worker.tasks[0]
            run.tries[index] += 1
            if run.tries[index] >= _ATTEMPTS:
                worker.tasks.popleft()
                detail = f"{_ATTEMPTS} worker processes died judging this answer, the last with status {status}"
                run.results[index] = Result(Outcome.ERROR, detail=detail)
        self._remove(worker, run)

    def _remove(self, worker: _Worker, run: "_Run | None" = None) -> None:
        if run is not None:
            run.pending.extendleft(reversed(worker.tasks))
        self._workers.remove(worker)
        assert worker.process.stdin is not None
        assert worker.process.stdout is not None
        for stream in (worker.process.stdin, worker.process.stdout):
            with contextlib.suppress(KeyError):
                self._selector.unregister(stream)
            stream.close()
        os.close(worker.lifeline)
        worker.process.kill()
        worker.process.wait()
        worker.errors.close()

    def _start(self) -> _Worker:
        if not sys.executable:
            raise VerifierError(
                "sys.executable is empty: the math verifier needs a Python interpreter to start workers"
            )
        reading, lifeline = os.pipe()
        errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in _remove
        boot = {
            "path": [entry or str(os.getcwd()) for entry in sys.path],  # noqa: PTH109  as the import system does
            "lifeline": reading,
            "budget": self._budget,
            "memory_bytes": self._memory,
            "niceness": _NICENESS,
        }
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CODE, json.dumps(boot)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=[reading],
                bufsize=0,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            )
        except OSError as error:
            os.close(lifeline)
            errors.close()
            raise VerifierError(f"cannot start a worker of the math verifier with {sys.executable}: {error}") from error
        finally:
            os.close(reading)
        worker = _Worker(process, lifeline, errors)
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdin.fileno(), False)
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        return worker

    def _watch_pipes(self, worker: _Worker) -> None:
        stdin = worker.process.stdin
        assert stdin is not None
        watched = stdin.fileno() in self._selector.get_map()
        if worker.outgoing and not watched:
            self._selector.register(stdin, selectors.EVENT_WRITE, worker)
        elif not worker.outgoing and watched:
            self._selector.unregister(stdin)


class _Run:
    """The state of one call of `grade`."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks
        self.pending = deque(range(len(tasks)))
        self.results: dict[int, Result] = {}
        self.tries: Counter[int] = Counter()


def _cpu_seconds(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  called for every message
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode(errors="replace")[-600:].strip()
