"""A multirun: every job checked before the first is started, finished ones skipped, the rest handed to a launcher."""

import dataclasses
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.text import Text

from kurve import sweep
from kurve.commands import provenance
from kurve.commands.build import plain
from kurve.commands.job import CONTROLLER, identity
from kurve.commands.sweep_close import close_runs
from kurve.commands.sweep_show import common_folder, differing, jobs_table, tail_of
from kurve.commands.sweep_summary import nests, opened, show_run, summary, track, tracker_of
from kurve.commands.sweep_watch import watched
from kurve.commands.training_plan import label
from kurve.errors import ConfigError, KurveError, SweepError
from kurve.study import quoted
from kurve.sweep import Job, JobRecord, JobStatus, Sweep

FOLDER = "sweeps"  # below paths.out

_SWEEP_VARIABLE, _JOB_VARIABLE = provenance.SWEEP_TAGS
_NOT_THE_JOB = ("hydra", "paths", "tracker", "sweep_name")  # of its config: where it is kept and shown
_SHOWN = 5  # refused jobs that are spelled out
_PAUSE = 1.0  # seconds between two looks at jobs that another start left at work
_ATTEMPTS = 2  # of a job that was ended by a launcher's crash: it may have been the victim of another


@dataclass(frozen=True, slots=True)
class Sweeping:
    """What Hydra gives a sweeper to work with."""

    config: DictConfig
    loader: ConfigLoader
    launcher: Launcher
    batch: int | None  # jobs a call of the launcher
    parent: str = ""  # id of the sweep's own run, where the jobs' runs are its children


def run_sweep(sweeping: Sweeping, points: Sequence[Sequence[str]], command: str) -> list[JobRecord]:
    """Check all jobs, run those that are not finished, show how all of them fare.

    Args:
        sweeping: config, loader and launcher.
        points: the overrides of each job.
        command: which all of them run.

    Returns:
        The jobs' records, in order.

    Raises:
        ConfigError: a job that cannot run, or two that are the same; nothing was started.
        SweepError: jobs did not finish; the same command tries those again.
    """
    jobs = checked(sweeping, _complete(sweeping, points, command), command)
    _refuse_twins(jobs)
    name = sweep_name(sweeping.config, command, jobs)
    folder = Path(sweeping.config.paths.out) / FOLDER / name
    with sweep.locked(folder):
        sweep.write(folder, sweep.joined(sweep.read(folder), Sweep(name, command, tuple(jobs))))
        tracker = tracker_of(sweeping.config)
        if nests(sweeping.config):
            before = summary(name, command, folder, jobs, records=sweep.states(folder, jobs))
            sweeping = dataclasses.replace(sweeping, parent=opened(tracker, before))
        crash = run_jobs(sweeping, name, folder, jobs)
        records = sweep.states(folder, jobs)
    show_jobs(name, folder, jobs, records)
    unfinished = [job for job, record in zip(jobs, records, strict=True) if record.status is not JobStatus.FINISHED]
    for run_id, key in close_runs(sweeping.config.get("tracker"), name, folder, unfinished):
        sys.stderr.write(f"KILLED   the run {run_id} of {key}, whose process is gone\n")
    track(tracker, summary(name, command, folder, jobs, records=records))
    show_run(tracker)
    if any(record.status is not JobStatus.FINISHED for record in records):
        raise SweepError(_in_words(name, jobs, records, crash))
    return records


def run_together(sweeping: Sweeping, points: Sequence[Sequence[str]], command: str) -> bool:
    """Hand all jobs to a command that looks at them together and starts none: one with a `main_of_all`.

    Returns:
        Whether the command is such a one.
    """
    entry = getattr(import_module(f"kurve.commands.{command}"), "main_of_all", None)
    if entry is not None:
        entry(_each(sweeping, points))
    return entry is not None


def sweep_name(config: DictConfig, command: str, jobs: Sequence[Job]) -> str:
    """The name that was given, or one of the command and the jobs, so that the same command line finds its sweep."""
    if config.sweep_name is not None:
        return label(config.sweep_name, "sweep_name")
    return f"{command}-{provenance.digest(sorted(job.key for job in jobs))[:8]}"


def job_key(command: str, cfg: DictConfig) -> str:
    """12 hex digits of a job's resolved settings, without where it is kept and how it is tracked.

    Raises:
        ConfigError: an interpolation cannot be resolved or a mandatory value is missing.
    """
    settings = {key: value for key, value in plain(cfg).items() if key not in _NOT_THE_JOB}
    return provenance.digest(command, settings)[:12]


def _complete(sweeping: Sweeping, points: Sequence[Sequence[str]], command: str) -> Sequence[Sequence[str]]:
    """The overrides of each job with what the command makes of all of them.

    Raises:
        ConfigError: the jobs do not go together.
    """
    complete = getattr(import_module(f"kurve.commands.{command}"), "complete_points", None)
    return points if complete is None else complete(sweeping.config, points)


def checked(
    sweeping: Sweeping,
    points: Sequence[Sequence[str]],
    command: str,
    *,
    also: Callable[[DictConfig], None] | None = None,
) -> list[Job]:
    """A job for each point, all of which could start.

    Args:
        sweeping: config, loader and launcher.
        points: the overrides of each job.
        command: which all of them run.
        also: what else is to be checked of each job's config.

    Raises:
        ConfigError: one cannot.
    """
    check = getattr(import_module(f"kurve.commands.{command}"), "check", None)
    jobs: list[Job] = []
    refused: list[str] = []
    for point, named in zip(points, differing(points), strict=True):
        try:
            cfg = sweeping.loader.load_sweep_config(sweeping.config, list(point))
            with _as_current(cfg):
                task = _without_hydra(cfg)
                jobs.append(Job(job_key(command, task), tuple(point)))
                if check is not None:
                    check(task)
                if also is not None:
                    also(task)
        except (KurveError, OmegaConfBaseException) as error:
            refused.append(f"{shlex.join(named)}: {error}")
    if refused:
        more = f"\n... and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise ConfigError(
            f"{len(refused)} of {len(points)} jobs cannot run, so none was started:\n"
            + "\n".join(refused[:_SHOWN])
            + more
        )
    return jobs


def _each(sweeping: Sweeping, points: Sequence[Sequence[str]]) -> Iterator[tuple[str, DictConfig]]:
    """What is special about each job, and its config, which is Hydra's current one until the next is asked for."""
    for point, named in zip(points, differing(points), strict=True):
        cfg = sweeping.loader.load_sweep_config(sweeping.config, list(point))
        with _as_current(cfg):
            yield shlex.join(named), _without_hydra(cfg)


def _refuse_twins(jobs: Sequence[Job]) -> None:
    seen: dict[str, Job] = {}
    for job in jobs:
        if job.key in seen:
            raise ConfigError(
                f"two jobs are the same: {shlex.join(seen[job.key].overrides)} and {shlex.join(job.overrides)}; "
                "sweep over something that changes what is done"
            )
        seen[job.key] = job


@contextmanager
def _as_current(cfg: DictConfig) -> Iterator[None]:
    """While the block lasts, Hydra says of this config what it says of a running job's."""
    current = HydraConfig.instance()
    before, current.cfg = current.cfg, None
    try:
        current.set_config(cfg)
        yield
    finally:
        current.cfg = before


def _without_hydra(cfg: DictConfig) -> DictConfig:
    task = cfg.copy()
    with open_dict(task):
        del task["hydra"]
    return task


def run_jobs(
    sweeping: Sweeping, name: str, folder: Path, jobs: Sequence[Job], *, shared: Sequence[str] = ()
) -> BaseException | None:
    """Start what is to be done, and wait for what an earlier start left at work.

    A launcher that crashes under its jobs is started again for those it took along.

    Args:
        sweeping: config, loader and launcher.
        name: of the sweep.
        folder: of the sweep.
        jobs: all that are asked for.
        shared: overrides that need not be shown, since jobs at other times have them too.

    Returns:
        What the launcher's last crash was; None if it did not crash.
    """
    known = set(shared)
    special = differing([job.overrides for job in jobs])
    named = [
        (job, shlex.join(word for word in words if word not in known)) for job, words in zip(jobs, special, strict=True)
    ]
    records = _closed(folder, jobs)
    before = [record.attempt for record in records]
    crash: BaseException | None = None
    launched = stuck = False
    while True:
        todo = [
            one
            for one, record, tried in zip(named, records, before, strict=True)
            if not stuck and _is_open(record, launched=launched) and record.attempt - tried < _ATTEMPTS
        ]
        at_work = [one for one, record in zip(named, records, strict=True) if record.status is JobStatus.RUNNING]
        finished = sum(record.status is JobStatus.FINISHED for record in records)
        if todo:
            sys.stderr.write(_announced(name, len(jobs), len(todo)))
            with watched(folder, todo, known=finished, total=len(jobs)):
                crash, launched = _launch(sweeping, name, folder, [job for job, _ in todo]), True
        elif at_work:
            sys.stderr.write(
                f"sweep {name}: {len(at_work)} of {len(jobs)} jobs are at work already; waiting for them\n"
            )
            with watched(folder, at_work, known=finished, total=len(jobs)):
                _await_end(folder, [job for job, _ in at_work])
        else:
            return crash
        earlier, records = records, _closed(folder, jobs)
        stuck = stuck or (bool(todo) and [one.attempt for one in records] == [one.attempt for one in earlier])


def _await_end(folder: Path, jobs: Sequence[Job]) -> None:
    """Until one of the jobs is no longer at work: ended in whatever way, or lost."""
    while all(record.status is JobStatus.RUNNING for record in sweep.states(folder, jobs)):
        time.sleep(_PAUSE)


def _closed(folder: Path, jobs: Sequence[Job]) -> list[JobRecord]:
    """How the jobs fare, with those that are lost on record as killed."""
    for job in jobs:
        sweep.close_lost(folder / job.key)
    return sweep.states(folder, jobs)


def _is_open(record: JobRecord, *, launched: bool) -> bool:
    """Whether a job is to be started: neither finished nor at work; after the first launch only what was killed."""
    done = (JobStatus.FINISHED, JobStatus.RUNNING, *((JobStatus.FAILED,) if launched else ()))
    return record.status not in done


def _announced(name: str, total: int, todo: int) -> str:
    before = f", {total - todo} are finished or at work" if todo < total else ""
    return f"sweep {name}: {todo} of {total} jobs to run{before}\n"


def _launch(sweeping: Sweeping, name: str, folder: Path, jobs: Sequence[Job]) -> BaseException | None:
    """Hand the jobs to the launcher, in batches; what it raises is returned: the jobs' records tell what was done."""
    config = sweeping.config
    with open_dict(config):
        config.hydra.sweep.dir = str(folder)
        known = set(config.hydra.overrides.hydra)  # a launcher may be started more than once
        config.hydra.overrides.hydra.extend([word for word in _of_all(sweeping, name, folder) if word not in known])
    size = sweeping.batch or len(jobs)
    for start in range(0, len(jobs), size):
        batch = [[*job.overrides, *_of_job(job)] for job in jobs[start : start + size]]
        try:
            sweeping.launcher.launch(batch, initial_job_idx=start)
        except Exception as error:  # noqa: BLE001 every launcher has crashes of its own
            return error
    return None


def _of_all(sweeping: Sweeping, name: str, folder: Path) -> list[str]:
    """What every job is told: the sweep, its folder, and where things are kept, also where it is started elsewhere."""
    config = sweeping.config
    variables = {
        _SWEEP_VARIABLE: name,
        CONTROLLER: identity(),
        "KURVE_OUT": str(config.paths.out),
        "KURVE_CACHE": str(config.paths.cache),
        **({provenance.SWEEP_RUN[0]: sweeping.parent} if sweeping.parent else {}),
    }
    return [f"hydra.sweep.dir={quoted(str(folder))}", *(_variable(*one) for one in variables.items())]


def _of_job(job: Job) -> list[str]:
    """What one job is told beside its settings: its folder and its tag."""
    return [f"hydra.sweep.subdir='{job.key}'", _variable(_JOB_VARIABLE, job.key)]


def _variable(name: str, value: str) -> str:
    return f"++hydra.job.env_set.{name}={quoted(value)}"


def show_jobs(name: str, folder: Path, jobs: Sequence[Job], records: Sequence[JobRecord]) -> None:
    """Print a table of the jobs, and where they are."""
    console = Console(highlight=False)
    console.print(jobs_table(name, jobs, records, folder))
    if made := common_folder(records):
        console.print(Text(f"all in   {made}"), soft_wrap=True)
    console.print(Text(f"sweep    {folder}"), soft_wrap=True)


def _in_words(name: str, jobs: Sequence[Job], records: Sequence[JobRecord], crash: BaseException | None) -> str:
    finished = sum(record.status is JobStatus.FINISHED for record in records)
    lines = [f"sweep {name}: {finished} of {len(jobs)} jobs are finished"]
    for named, record in zip(differing([job.overrides for job in jobs]), records, strict=True):
        if record.status is not JobStatus.FINISHED and len(lines) <= _SHOWN:
            lines.append(f"{record.status} {shlex.join(named)}{tail_of(record)}")
    if crash is not None:
        lines.append(f"the launcher ended with {type(crash).__name__}: {' '.join(str(crash).split())[:300]}")
    lines.append("the same command goes on with what is not finished")
    return "\n".join(lines)
