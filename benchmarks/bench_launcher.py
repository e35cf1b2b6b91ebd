"""What a launcher and the tracker add to a job, against the same command as a bare process."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from benchmarks import Row
from tests.conftest import command_environment, command_line
from tests.slurm import ON_SLURM, missing_programs, slurm

_PROBLEMS = 4
_COMMAND = (
    "evaluate", "model=local", "model.path=unused/model", "sampler=scripted", "benchmark=gsm8k",
    "benchmark.path=problems.jsonl", "num_samples=16",
)  # fmt: skip
_BARE = ("none", 1)
_DATABASE = "mlflow.db"


@dataclass(frozen=True, slots=True)
class _Launcher:
    name: str
    words: Sequence[str] = ()
    at_once: int = 1  # jobs side by side, as the bare processes beside it
    environment: Mapping[str, str] = field(default_factory=dict)


def run(quick: bool = False) -> list[Row]:
    """A row a launcher and tracker, and one for the tracker alone; `quick` has two jobs and measures once."""
    jobs, rounds = (2, 1) if quick else (4, 2)
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kurve-bench-")))
        launchers = [
            _Launcher("the basic launcher"),
            _Launcher("cluster=local", ["cluster=local"], at_once=2),
            _Launcher("cluster=submitit", ["cluster=submitit"], at_once=jobs),
        ]
        if find_spec("ray"):
            launchers.append(_Launcher("cluster=ray", ["cluster=ray"], at_once=os.cpu_count() or 1))
        if not missing_programs():
            environment = stack.enter_context(slurm(root / "slurm")).environment
            launchers.append(_Launcher("cluster=slurm", ON_SLURM, at_once=jobs, environment=environment))
        place = _Place(root, jobs)
        rounds_seconds = [_round(place, launchers) for _ in range(rounds)]
    best = {key: min(seconds[key] for seconds in rounds_seconds) for key in rounds_seconds[0]}
    return _rows(launchers, best, jobs)


class _Place:
    """Fresh folders with problems and an MLflow database that is made already, for some jobs."""

    def __init__(self, root: Path, jobs: int) -> None:
        self.jobs = jobs
        self._root, self._made = root, 0
        rows = [{"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"} for n in range(_PROBLEMS)]
        (root / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        _ended(_started(root, [*_COMMAND, "tracker=mlflow", "seed=99"]))

    def folder(self) -> Path:
        """A new one."""
        self._made += 1
        folder = self._root / str(self._made)
        folder.mkdir()
        for name in ("problems.jsonl", _DATABASE):
            shutil.copy(self._root / name, folder)
        return folder


def _round(place: _Place, launchers: Sequence[_Launcher]) -> dict[tuple[str, object], float]:
    """Seconds a job, by tracker and how it was started: a number of bare processes at once, or a launcher."""
    seconds: dict[tuple[str, object], float] = {}
    for tracker in ("none", "mlflow"):
        for at_once in sorted({launcher.at_once for launcher in launchers}):
            seconds[tracker, at_once] = _bare(place, tracker, at_once) / place.jobs
        for launcher in launchers:
            seconds[tracker, launcher.name] = _sweep(place, tracker, launcher) / place.jobs
    return seconds


def _bare(place: _Place, tracker: str, at_once: int) -> float:
    folder, began = place.folder(), time.perf_counter()
    waiting = list(range(place.jobs))
    running: list[subprocess.Popen[bytes]] = []
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(_started(folder, [*_COMMAND, f"tracker={tracker}", f"seed={waiting.pop()}"]))
        time.sleep(0.02)
        for process in [one for one in running if one.poll() is not None]:
            _ended(process)
            running.remove(process)
    return time.perf_counter() - began


def _sweep(place: _Place, tracker: str, launcher: _Launcher) -> float:
    seeds = ",".join(map(str, range(place.jobs)))
    words = [*_COMMAND, f"tracker={tracker}", "-m", f"seed={seeds}", *launcher.words]
    folder, began = place.folder(), time.perf_counter()
    _ended(_started(folder, words, launcher.environment))
    return time.perf_counter() - began


def _started(
    folder: Path, words: Sequence[str], environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    with (folder / "errors.log").open("ab") as log:
        return subprocess.Popen(
            command_line(words),
            cwd=folder,
            env={**command_environment(), **(environment or {})},
            stdout=log,
            stderr=log,
        )


def _ended(process: "subprocess.Popen[bytes]") -> None:
    if process.wait():
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")


def _rows(launchers: Sequence[_Launcher], seconds: Mapping[tuple[str, object], float], jobs: int) -> list[Row]:
    rows = []
    for tracker in ("none", "mlflow"):
        for launcher in launchers:
            bare, swept = seconds["none", launcher.at_once], seconds[tracker, launcher.name]
            beside = "one at a time" if launcher.at_once == 1 else f"{launcher.at_once} at once"
            rows.append(
                Row(
                    name=f"a job of {launcher.name}, tracker={tracker}, against a bare process without a tracker",
                    ratio=swept / bare,
                    goal=None,
                    detail=f"{swept:.1f} s a job, {jobs} in a sweep, start to end / {bare:.1f} s a process, {beside}: "
                    f"{swept - bare:+.1f} s",
                )
            )
    bare, tracked = seconds[_BARE], seconds["mlflow", 1]
    rows.append(
        Row(
            name="a bare process with tracker=mlflow, against one without a tracker",
            ratio=tracked / bare,
            goal=None,
            detail=f"{tracked:.1f} s / {bare:.1f} s, a SQLite database that is there already: {tracked - bare:+.1f} s",
        )
    )
    return rows
