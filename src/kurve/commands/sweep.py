"""`kurve sweep`: how the jobs of a sweep fare, what they measured, and the end of those whose process is gone."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kurve import sweep
from kurve.commands.sweep_close import close_runs, tracker_of_job
from kurve.commands.sweep_show import jobs_table
from kurve.commands.sweep_summary import SWEEP_KIND
from kurve.commands.sweeping import FOLDER
from kurve.errors import ConfigError
from kurve.store.lock import holder
from kurve.sweep import JobStatus, Sweep

ACTIONS = ("status", "reconcile", "report")


def main(cfg: DictConfig) -> None:
    """Show one sweep, or list all; `reconcile` first closes the jobs that nobody runs any more.

    `report` says what one of them measured, see `sweep_report`.

    Raises:
        ConfigError: there is no such action or sweep, or nothing to report.
        DataError: what a sweep measured cannot be reported together.
        SweepError: a record is damaged.
        TrackingError: a tracker cannot be reached.
    """
    if cfg.action not in ACTIONS:
        raise ConfigError(
            f"kurve sweep takes {', '.join(ACTIONS[:-1])} or {ACTIONS[-1]} and the name of a sweep, got {cfg.action!r}"
        )
    root = Path(cfg.paths.out) / FOLDER
    console = Console(highlight=False)
    sweeps = _named(root, cfg.sweep_name)
    if cfg.action == "report":
        _report(cfg, sweeps, root)
        return
    if cfg.action == "reconcile":
        for one in sweeps:
            _close(cfg, one, one.folder(root), console)
            _close_own_run(cfg, one, one.folder(root), console)
    if len(sweeps) == 1:
        [only] = sweeps
        folder = only.folder(root)
        console.print(jobs_table(only.name, only.jobs, sweep.states(folder, only.jobs), folder))
        console.print(Text(f"sweep    {folder}"), soft_wrap=True)
    elif sweeps:
        console.print(_overview(root, sweeps))
    else:
        console.print(
            Text(f"there are no sweeps in {root}; kurve evaluate -m seed=0,1,2 ... makes one"), soft_wrap=True
        )


def _report(cfg: DictConfig, sweeps: Sequence[Sweep], root: Path) -> None:
    from kurve.commands.sweep_report import report_sweep  # matplotlib takes a second that status has no use for

    if len(sweeps) != 1:
        known = ", ".join(one.name for one in sweeps) or "none"
        raise ConfigError(f"kurve sweep report needs the name of one sweep; there are {known}")
    [only] = sweeps
    folder = only.folder(root)
    report_sweep(cfg, only, folder, tracker_of_job(cfg.get("tracker"), folder / only.jobs[0].key))


def _named(root: Path, name: object) -> list[Sweep]:
    """The sweep of that name, or all."""
    found = {path.parent.name: path.parent for path in sorted(root.glob(f"*/{sweep.RECORD}"))}
    if name is None:
        wanted = list(found.values())
    elif str(name) in found:
        wanted = [found[str(name)]]
    else:
        near = difflib.get_close_matches(str(name), found, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(found) or 'none'}"
        raise ConfigError(f"there is no sweep {str(name)!r} in {root}; {hint}")
    return [one for folder in wanted if (one := sweep.read(folder)) is not None]


def _close(cfg: DictConfig, one: Sweep, folder: Path, console: Console) -> None:
    """Write KILLED where a job's process is gone, and into the runs that such jobs left open.

    Raises:
        TrackingError: a tracker cannot be reached; the records are right, and the same command does the rest.
    """
    for job in one.jobs:
        if sweep.close_lost(folder / job.key) is not None:
            console.print(Text(f"{one.name}: {job.key} was running and its process is gone: KILLED"), soft_wrap=True)
    for run_id, key in close_runs(cfg.get("tracker"), one.name, folder, one.jobs):
        console.print(Text(f"{one.name}: the run {run_id} of {key} was open: KILLED"), soft_wrap=True)


def _close_own_run(cfg: DictConfig, one: Sweep, folder: Path, console: Console) -> None:
    """Close the sweep's own run where it was opened before its jobs and the process that started them is gone."""
    if not one.jobs or holder(folder / sweep.LOCK):
        return
    tracker = tracker_of_job(cfg.get("tracker"), folder / one.jobs[0].key)
    for run_id in tracker.find_running({"kurve.kind": SWEEP_KIND, "kurve.sweep": one.name}):
        tracker.attach(run_id)
        tracker.finish("KILLED")
        console.print(Text(f"{one.name}: the sweep's own run {run_id} was open: KILLED"), soft_wrap=True)


def _overview(root: Path, sweeps: Sequence[Sweep]) -> Table:
    table = Table()
    statuses = list(JobStatus)
    for column in ("sweep", "command", "jobs", *(str(status).lower() for status in statuses)):
        table.add_column(column, overflow="fold")
    for one in sweeps:
        found = [record.status for record in sweep.states(one.folder(root), one.jobs)]
        counts = [str(found.count(status) or "") for status in statuses]
        table.add_row(one.name, one.command, str(len(one.jobs)), *counts)
    return table
