"""Run a study's stages, each as a process of its own; those that do not need each other side by side."""

import os
import shlex
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from kurve.commands.made import environment
from kurve.errors import StudyError
from kurve.study import Finished, Stage, read_made, stage_fingerprint
from kurve.study_progress import StudyProgress

LEAVE_WITH = "KURVE_LEAVE_WITH"  # process id: a command leaves when that process is gone
STUDY, STAGE = "KURVE_STUDY_ID", "KURVE_STAGE"  # tags of whatever a stage's command tracks, by any library
PROGRESS_EVERY = "KURVE_PROGRESS_EVERY"  # seconds between plain progress lines
_KEPT_LINES = 40  # of a command's messages, for the case that it fails
_POLL = 0.1  # seconds
_GRACE = 120.0  # seconds for a command to leave in an orderly way

Arguments = Callable[[Stage, Mapping[str, Finished]], list[str]]


@dataclass(slots=True)
class _Running:
    """A stage whose command runs."""

    stage: Stage
    words: list[str]  # its command line after `kurve`
    process: subprocess.Popen[str]
    result: Path
    began: float
    said: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    reader: threading.Thread | None = None


def run_stages(
    stages: Sequence[Stage],
    finished: dict[str, Finished],
    *,
    study: str,
    arguments: Arguments,
    logs: Path,
    jobs: int,
    progress: StudyProgress,
    keep: Callable[[Mapping[str, Finished]], None],
) -> None:
    """Run what is not in `finished`, and put it there; a stage starts when those it needs are finished.

    Args:
        stages: in an order in which each comes after those it needs.
        finished: what need not be run; grows.
        study: name of the study, for the commands' environment.
        arguments: a stage's command line after `kurve`.
        logs: folder for what the commands print.
        jobs: stages at the same time; they share the processors.
        progress: is told what happens.
        keep: is called with `finished` after each stage.

    Raises:
        StudyError: a stage failed, with its reason; stages that were running then are finished first.
        KeyboardInterrupt: after all commands have left.
    """
    running: list[_Running] = []
    failed: list[_Running] = []
    try:
        while True:
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                if not _ended(one, finished, progress):
                    failed.append(one)
                else:
                    keep(finished)
            ready = [] if failed else _ready(stages, finished, [one.stage for one in running])
            if not running and not ready:
                break
            for stage in ready[: jobs - len(running)]:
                threads = _threads(len(running) + len(ready), jobs)
                words = arguments(stage, finished)
                running.append(_start(stage, words, logs, study=study, threads=threads, progress=progress))
            time.sleep(_POLL)
    except BaseException:
        _stop(running)
        raise
    if failed:
        raise StudyError("\n".join(_reason(one, logs) for one in failed))


def _ready(stages: Sequence[Stage], finished: Mapping[str, Finished], running: Sequence[Stage]) -> list[Stage]:
    under_way = {stage.name for stage in running}
    return [
        stage
        for stage in stages
        if stage.name not in finished and stage.name not in under_way and set(stage.needs) <= set(finished)
    ]


def _threads(wanted: int, jobs: int) -> int:
    """Processors for each of the commands that could run now."""
    return max(1, len(os.sched_getaffinity(0)) // min(wanted, jobs))


def _start(
    stage: Stage, words: list[str], logs: Path, *, study: str, threads: int, progress: StudyProgress
) -> _Running:
    result = logs / f"{stage.name}.made"
    settings = {"OMP_NUM_THREADS": str(threads), PROGRESS_EVERY: "1" if progress.is_live else "10"}
    result.unlink(missing_ok=True)
    log = (logs / f"{stage.name}.log").open("a", encoding="utf-8", buffering=1)
    log.write(f"$ {shlex.join(['kurve', *words])}\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "kurve.cli", *words],
        env={**settings, **environment(result), LEAVE_WITH: str(os.getpid()), STUDY: study, STAGE: stage.name},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    one = _Running(stage, words, process, result, time.monotonic())
    assert process.stderr is not None
    one.reader = threading.Thread(target=_follow, args=(one, process.stderr, log, progress), daemon=True)
    progress.started(stage.name)
    one.reader.start()
    return one


def _follow(one: _Running, messages: IO[str], log: IO[str], progress: StudyProgress) -> None:
    with messages, log:
        for line in messages:
            log.write(line)
            if text := line.rstrip():
                one.said.append(text)
                progress.said(one.stage.name, text)


def _ended(one: _Running, finished: dict[str, Finished], progress: StudyProgress) -> bool:
    """Put what the stage made into `finished`, unless its command failed; whether it went well."""
    if one.reader is not None:
        one.reader.join()
    made = read_made(one.result) if one.process.returncode == 0 else None
    progress.ended(one.stage.name, well=made is not None)
    if made is not None:
        number = stage_fingerprint(one.stage, finished)
        finished[one.stage.name] = Finished(number, made, round(time.monotonic() - one.began, 1))
    return made is not None


def _reason(one: _Running, logs: Path) -> str:
    """Why a stage failed, and how to see and repeat it alone."""
    code = one.process.returncode
    lines = list(one.said)
    first = next((place for place, line in enumerate(lines) if line.startswith(("kurve: ", "Traceback"))), None)
    said = lines[first:] if first is not None else lines[-5:]
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    quoted = "".join(f"\n  {line}" for line in said)
    return (
        f"the stage {one.stage.name} {how}:{quoted}\nIts whole log: {logs / one.stage.name}.log\n"
        f"Alone: {shlex.join(['kurve', *one.words])}"
    )


def _stop(running: Sequence[_Running]) -> None:
    """Ask the commands to leave as for Ctrl-C, and wait until they have kept what they hold."""
    for one in running:
        with suppress(ProcessLookupError):
            one.process.terminate()
    deadline = time.monotonic() + _GRACE
    for one in running:
        try:
            one.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.process.kill()
