"""Sweeps whose jobs and controller are killed with `kill -9`, on every launcher that runs here."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # has no types
import pytest

from kurve.store import SampleStore
from kurve.sweep import JobRecord, JobStatus, read_job
from tests.commands.test_evaluate import BASE, problems  # noqa: F401 a fixture
from tests.conftest import RunKurve, command_environment, command_line
from tests.slurm import ON_SLURM, Slurm

JOBS = 6
LOG = "controller.log"
SWEEP = ("evaluate", *BASE, "num_samples=4", "sampler.seconds=0.25", "tracker=mlflow", "sweep_name=three")
pytestmark = [pytest.mark.usefixtures("problems"), pytest.mark.timeout(1500)]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "submitit", "ray"])
def test_two_jobs_and_the_controller_killed_end_as_six_finished_runs(
    launcher: str, kurve: RunKurve, tmp_path: Path
) -> None:
    if launcher == "ray":
        pytest.importorskip("ray", reason="Ray is not installed")
    killed_and_started_again(tmp_path, kurve, f"cluster={launcher}")


@pytest.mark.slurm
def test_two_jobs_and_the_controller_killed_on_slurm_end_as_six_finished_runs(
    cluster: Slurm, kurve: RunKurve, tmp_path: Path
) -> None:
    killed_and_started_again(tmp_path, kurve, *ON_SLURM, environment=cluster.environment)


def killed_and_started_again(
    folder: Path, kurve: RunKurve, *where: str, environment: Mapping[str, str] | None = None
) -> None:
    """Kill a job, then another and the controller with it, and start the sweep again."""
    words = [*SWEEP, *where, f"seed={','.join(map(str, range(JOBS)))}"]
    controller = started(folder, words, environment)
    first = job_at_work(folder)
    os.kill(first[1], signal.SIGKILL)
    second = job_at_work(folder, besides=first[1])
    controller.send_signal(signal.SIGSTOP)  # it must not tell what has happened to the second
    os.kill(second[1], signal.SIGKILL)
    controller.kill()
    controller.wait()

    assert (second[0], "RUNNING") in runs(folder)  # nobody was left to say so
    assert "LOST" in kurve("sweep", "status", "three").stdout

    again = started(folder, words, environment)
    assert again.wait(timeout=900) == 0, (folder / LOG).read_text()
    ended = records(folder)
    assert [record.status for record in ended.values()] == [JobStatus.FINISHED] * JOBS
    found = runs(folder)
    assert [status for _, status in found] == ["FINISHED"] * JOBS
    assert len({job for job, _ in found}) == JOBS
    assert min(ended[first[0]].attempt, ended[second[0]].attempt) >= 2
    assert summaries(folder) == ["FINISHED"]
    assert [len(samples) for samples in stored(folder)] == [16] * JOBS


def started(folder: Path, words: Sequence[str], environment: Mapping[str, str] | None) -> "subprocess.Popen[bytes]":
    """`kurve` at work; what it says is in a log."""
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            command_line(words),
            cwd=folder,
            env={**command_environment(), "KURVE_CACHE": str(folder / "cache"), **(environment or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def job_at_work(folder: Path, besides: int = 0) -> tuple[str, int]:
    """Key and process of a job that has opened its run."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        opened = {job for job, status in runs(folder) if status == "RUNNING"}
        for job, record in records(folder).items():
            alive = record.status is JobStatus.RUNNING and record.pid != besides and psutil.pid_exists(record.pid)
            if alive and job in opened:
                return job, record.pid
        time.sleep(0.1)
    said = (folder / LOG).read_text() if (folder / LOG).is_file() else ""
    raise AssertionError(f"no job is at work: {records(folder)}, {runs(folder)}\n{said}")


def records(folder: Path) -> dict[str, JobRecord]:
    """What each job that was started has written last."""
    found = (folder / "outputs" / "sweeps" / "three").glob("*/job.json")
    return {path.parent.name: read_job(path.parent) for path in sorted(found)}


def runs(folder: Path) -> list[tuple[str, str]]:
    """Job and status of each run of a job in MLflow's database."""
    return asked(
        folder,
        "SELECT tags.value, runs.status FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid "
        "WHERE tags.key = 'kurve.sweep.job'",
    )


def summaries(folder: Path) -> list[str]:
    """Status of each run of a whole sweep."""
    found = asked(
        folder,
        "SELECT runs.status, tags.value FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid "
        "WHERE tags.key = 'kurve.kind' AND tags.value = 'sweep'",
    )
    return [status for status, _ in found]


def asked(folder: Path, query: str) -> list[tuple[str, str]]:
    """The database's answer; nothing while it is being made."""
    try:
        with closing(sqlite3.connect(f"file:{folder / 'mlflow.db'}?mode=ro", uri=True, timeout=20)) as database:
            return database.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []


def stored(folder: Path) -> list[set[tuple[str, int]]]:
    """The samples of each store; fails if one holds a sample twice."""
    found = []
    for spec in (folder / "outputs" / "samples").glob("*/spec.json"):
        with SampleStore.open_folder(spec.parent) as store:
            samples = [(sample.problem_id, sample.index) for sample in store.samples()]
        assert len(samples) == len(set(samples))
        found.append(set(samples))
    return found
