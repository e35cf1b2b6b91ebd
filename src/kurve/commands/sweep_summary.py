"""A sweep in the tracker: one run with a table of all jobs, and which of them are best and worst."""

import csv
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.sweep_show import differing, numbers, shared_pass_keys
from kurve.sweep import Job, JobRecord, JobStatus
from kurve.tracking import NullTracker, RunInfo, TimedPoint, Tracker, now_ms

FOLDER = "sweep"  # of the run's files
SWEEP_KIND = "sweep"
_COLUMNS = ("job", "settings", "status", "attempt", "seconds", "run_id", "message")


@dataclass(frozen=True, slots=True)
class Summary:
    """The jobs of a sweep, how they fare and what they measured."""

    name: str
    command: str
    jobs: Sequence[Job]
    records: Sequence[JobRecord]
    measured: Sequence[Mapping[str, float]]  # by job, scalars of its report

    @property
    def settings(self) -> list[str]:
        """By job, what a person calls it."""
        return [shlex.join(named) for named in differing([job.overrides for job in self.jobs])]

    @property
    def keys(self) -> list[str]:
        """The numbers that are shown of each job."""
        return shared_pass_keys(self.measured)

    def ranked(self, key: str) -> list[tuple[float, int]]:
        """Values of a number with the positions of their jobs, the lowest first."""
        return sorted((one[key], at) for at, one in enumerate(self.measured) if key in one)

    def rows(self) -> list[list[object]]:
        """One row a job, as `columns` names it."""
        return [
            [
                job.key,
                named,
                str(record.status),
                record.attempt,
                (record.ended - record.started) / 1000 if record.ended else None,
                record.facts.get("run_id", ""),
                record.message,
                *(one.get(key) for key in self.keys),
            ]
            for job, named, record, one in zip(self.jobs, self.settings, self.records, self.measured, strict=True)
        ]

    @property
    def columns(self) -> list[str]:
        """Names of the columns of `rows`."""
        return [*_COLUMNS, *self.keys]


def summary(name: str, command: str, folder: Path, jobs: Sequence[Job], *, records: Sequence[JobRecord]) -> Summary:
    """What the folder of a sweep holds of its jobs."""
    return Summary(name, command, jobs, records, [numbers(folder / job.key) for job in jobs])


@dataclass(frozen=True, slots=True)
class Extra:
    """What is logged beside the summary, also to one that is finished."""

    files: Sequence[Path] = ()
    folder: str = FOLDER
    points: Sequence[TimedPoint] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


def tracker_of(cfg: DictConfig) -> Tracker:
    """The tracker of the config; one that keeps nothing if it has none."""
    tracker: Tracker = NullTracker() if cfg.get("tracker") is None else build(cfg.tracker, "tracker")
    return tracker


def nests(cfg: DictConfig) -> bool:
    """Whether the tracker makes the jobs' runs children of the sweep's own."""
    return bool(cfg.get("tracker") and cfg.tracker.get("nest_sweep"))


def opened(tracker: Tracker, found: Summary) -> str:
    """The id of the sweep's own run, which is there before those of its jobs.

    Raises:
        TrackingError: the tracker cannot be reached; nothing was started.
    """
    tracker.check()
    tracker.start(_run_info(found))
    return tracker.run_id


def show_run(tracker: Tracker) -> None:
    """Print where the sweep's own run is, and how to look at its jobs' curves."""
    console = Console(highlight=False)
    if tracker.url:
        console.print(Text(f"run      {tracker.url}"), soft_wrap=True)
    if tracker.hint:
        console.print(Text(tracker.hint), soft_wrap=True)


def track(tracker: Tracker, found: Summary, extra: Extra | None = None) -> None:
    """Log the summary to a run of its own, which is FINISHED when all jobs are.

    Raises:
        TrackingError: the tracker cannot be reached; the jobs have their own runs, and the same command sends it.
    """
    tracker.check()
    new = tracker.start(_run_info(found))
    if new:
        with TemporaryDirectory(prefix="kurve-") as folder:
            tracker.log_files(_write(found, Path(folder)), FOLDER)
        tracker.log_points(_points(found))
    elif extra is not None:
        tracker.attach(tracker.run_id)
    if extra is not None:
        tracker.log_files(extra.files, extra.folder)
        tracker.log_points(extra.points)
        tracker.log_tags(extra.tags)
    if new:
        done = all(record.status is JobStatus.FINISHED for record in found.records)
        tracker.finish("FINISHED" if done else "FAILED")


def _run_info(found: Summary) -> RunInfo:
    jobs = [{"key": job.key, "overrides": list(job.overrides)} for job in found.jobs]
    tags = {"kurve.kind": SWEEP_KIND, "kurve.sweep": found.name}
    for key in found.keys:
        ranked = found.ranked(key)
        for word, (value, at) in (("worst", ranked[0]), ("best", ranked[-1])):
            run_id = found.records[at].facts.get("run_id", "")
            tags[f"kurve.{word}.{key}"] = f"{found.settings[at]} ({100 * value:.1f} %{run_id and f', run {run_id}'})"
    return RunInfo(
        key=provenance.digest("sweep", found.name, sorted(job.key for job in found.jobs)),
        name=f"sweep {found.name}",
        params={"command": found.command, "num_jobs": str(len(found.jobs))},
        tags=tags,
        config_yaml=provenance.as_yaml({"command": found.command, "sweep_name": found.name, "jobs": jobs}),
        versions=provenance.versions(),
    )


def _points(found: Summary) -> list[TimedPoint]:
    now = now_ms()
    finished = sum(record.status is JobStatus.FINISHED for record in found.records)
    points = [TimedPoint("sweep/num_finished", float(finished), 0, now)]
    for key in found.keys:
        ranked = found.ranked(key)
        points.append(TimedPoint(f"sweep/worst_{key}", ranked[0][0], 0, now))
        points.append(TimedPoint(f"sweep/best_{key}", ranked[-1][0], 0, now))
    return points


def _write(found: Summary, folder: Path) -> list[Path]:
    """The table as MLflow shows it, and as anybody reads it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(found.columns)
    writer.writerows(found.rows())
    table = {"columns": found.columns, "data": found.rows()}
    files = {"jobs.json": json.dumps(table, indent=1), "jobs.csv": text.getvalue()}
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in files]
