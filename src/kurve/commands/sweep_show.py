"""How the jobs of a sweep fare, for a terminal."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from kurve.progress import duration
from kurve.sweep import Job, JobRecord, JobStatus
from kurve.tracking import now_ms

_STYLES = {
    JobStatus.FINISHED: "green",
    JobStatus.FAILED: "red",
    JobStatus.KILLED: "yellow",
    JobStatus.LOST: "yellow",
    JobStatus.RUNNING: "cyan",
    JobStatus.WAITING: "dim",
}


def jobs_table(name: str, jobs: Sequence[Job], records: Sequence[JobRecord], folder: Path) -> Table:
    """One row a job: what it is, how it fares, how long its last attempt took, its samples, and its first numbers."""
    measured = [numbers(folder / job.key) for job in jobs]
    keys = shared_pass_keys(measured)
    samples = [int(record.facts.get("samples", "0")) for record in records]
    counted = ["samples"] if any(samples) else []
    table = Table(title=name, title_justify="left", title_style="bold")
    table.add_column("job", no_wrap=True, min_width=max((len(job.key) for job in jobs), default=0))  # it is copied
    for column in ("settings", "status", "attempt", "time", *counted, *(key.replace("_at_", "@") for key in keys)):
        table.add_column(column, overflow="fold")
    swept = differing([job.overrides for job in jobs])
    for job, settings, record, found, drawn in zip(jobs, swept, records, measured, samples, strict=True):
        table.add_row(
            job.key,
            Text(shlex.join(settings)),
            Text(str(record.status), style=_STYLES[record.status]),
            str(record.attempt or ""),
            _time(record),
            *(f"{drawn:,}" if drawn else "" for _ in counted),
            *(f"{100 * found[key]:.1f}" if key in found else "" for key in keys),
        )
    if counted and len(jobs) > 1:
        table.add_section()
        table.add_row("", "all jobs", "", "", "", f"{sum(samples):,}")
    return table


def common_folder(records: Sequence[JobRecord]) -> str:
    """The folder that all of several jobs filled together; empty if each has its own, or one has not ended."""
    folders = {record.facts.get("folder", "") for record in records}
    return folders.pop() if len(records) > 1 and len(folders) == 1 else ""


def differing(points: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Of each job's overrides those that not all jobs have; all of them where there is one job."""
    shared = set.intersection(*map(set, points)) if len(points) > 1 else set()
    return [tuple(word for word in point if word not in shared) for point in points]


def label(key: str, settings: str) -> str:
    """What a person calls a job."""
    return f"{key}  {settings}" if settings else key


def numbers(folder: Path) -> dict[str, float]:
    """The scalars of the report in a job's folder; empty if its command writes none."""
    try:
        found = json.loads((folder / "report" / "report.json").read_bytes())["scalars"]
        return {str(key): float(value) for key, value in found.items() if isinstance(value, int | float)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def shared_pass_keys(measured: Sequence[Mapping[str, float]]) -> list[str]:
    """pass@1 and the pass@k of the largest k, of those that every job has which measured anything."""
    shared = set.intersection(*(set(one) for one in measured if one)) if any(measured) else set()
    ks = sorted(int(match[1]) for key in shared if (match := re.fullmatch(r"pass_at_(\d+)", key)))
    return [f"pass_at_{k}" for k in dict.fromkeys((ks[0], ks[-1]))] if ks else []


def tail_of(record: JobRecord) -> str:
    """What the end of a job said, to be put behind its name."""
    return f": {record.message}" if record.message else ""


def _time(record: JobRecord) -> str:
    if not record.started or record.status is JobStatus.LOST:
        return ""
    return duration(((record.ended or now_ms()) - record.started) / 1000)
