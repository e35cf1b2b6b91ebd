"""Runs that the jobs of a sweep left open: what is killed by `kill -9` cannot say so in the tracker."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from kurve import sweep
from kurve.commands import provenance
from kurve.commands.build import build
from kurve.sweep import Job, JobStatus
from kurve.tracking import NullTracker, Tracker


def close_runs(tracker: DictConfig | None, name: str, folder: Path, jobs: Sequence[Job]) -> Iterator[tuple[str, str]]:
    """End the runs that say RUNNING and whose jobs nobody runs, as KILLED.

    Args:
        tracker: where they are; None takes the one that each job was started with.
        name: of the sweep.
        folder: of the sweep.
        jobs: whose records are closed already.

    Yields:
        The id of each run that was closed, and the key of its job.

    Raises:
        TrackingError: a tracker cannot be reached; what is open stays so, and the same call does the rest.
    """
    for job, record in zip(jobs, sweep.states(folder, jobs), strict=True):
        if record.status in (JobStatus.RUNNING, JobStatus.WAITING):
            continue
        found = tracker_of_job(tracker, folder / job.key)
        tags = dict(zip(provenance.SWEEP_TAGS.values(), (name, job.key), strict=True))
        for run_id in found.find_running(tags):
            found.attach(run_id)
            found.finish("KILLED", record.ended)
            yield run_id, job.key


def tracker_of_job(node: DictConfig | None, folder: Path) -> Tracker:
    """The tracker that is given, or the one the job was started with; one that keeps nothing if it had none."""
    if node is None:
        try:
            node = OmegaConf.select(OmegaConf.load(folder / ".hydra" / "config.yaml"), "tracker")
        except (OSError, YAMLError, OmegaConfBaseException):
            node = None
    tracker: Tracker = NullTracker() if node is None else build(node, "tracker")
    return tracker
