"""Multiruns as a user types them: checked first, resumed, told truthfully."""

import json
import signal
import subprocess
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kurve import sweep
from kurve.commands import sweeping
from tests.commands.test_evaluate import BASE, problems  # noqa: F401 a fixture
from tests.conftest import RunKurve, command_environment, command_line
from tests.trainings import hear_ctrl_c

SWEEP = (*BASE, "num_samples=4", "tracker=dir", "sweep_name=three", "-m")

pytestmark = pytest.mark.usefixtures("problems")


def records(folder: Path, name: str = "three") -> dict[str, dict[str, object]]:
    """What the sweep's jobs left, by the settings that a person typed last."""
    root = folder / "outputs" / "sweeps" / name
    jobs = json.loads((root / "sweep.json").read_text())["jobs"]
    found = {job["overrides"][-1]: root / job["key"] / "job.json" for job in jobs}
    return {name: json.loads(path.read_text()) for name, path in found.items() if path.is_file()}


def runs(folder: Path, *, summaries: bool = False) -> list[dict[str, object]]:
    """The runs in the tracker: those of the jobs, or the sweeps' own."""
    found = [json.loads(path.read_text()) for path in sorted((folder / "outputs" / "tracking").glob("*/run.json"))]
    return [run for run in found if str(run["name"]).startswith("sweep ") is summaries]


def test_a_sweep_shows_all_its_jobs_and_does_none_of_them_again(kurve: RunKurve, tmp_path: Path) -> None:
    first = kurve("evaluate", *SWEEP, "seed=0,1")
    assert first.returncode == 0, first.stderr
    assert "2 of 2 jobs to run" in first.stderr
    assert first.stdout.count("FINISHED") == 2
    found = records(tmp_path)
    assert {name: (one["status"], one["attempt"]) for name, one in found.items()} == {
        "seed=0": ("FINISHED", 1),
        "seed=1": ("FINISHED", 1),
    }
    tags = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "tracking").glob("*/tags.json")]
    assert {one["kurve.sweep"] for one in tags} == {"three"}
    assert len({one["kurve.sweep.job"] for one in tags if "kurve.sweep.job" in one}) == 2
    [of_the_sweep] = [one for one in tags if one.get("kurve.kind") == "sweep"]
    assert of_the_sweep["kurve.best.pass_at_1"].startswith("seed=")
    assert [run["status"] for run in runs(tmp_path, summaries=True)] == ["FINISHED"]
    [table] = (tmp_path / "outputs" / "tracking").glob("*/artifacts/sweep/jobs.csv")
    assert [line.split(",")[1:3] for line in table.read_text().splitlines()[1:]] == [
        ["seed=0", "FINISHED"],
        ["seed=1", "FINISHED"],
    ]

    again = kurve("evaluate", *SWEEP, "seed=0,1,2")  # one more seed
    assert again.returncode == 0, again.stderr
    assert "1 of 3 jobs to run, 2 are finished" in again.stderr
    assert [one["attempt"] for one in records(tmp_path).values()] == [1, 1, 1]
    assert len(runs(tmp_path)) == 3

    shown = kurve("sweep", "status", "three")
    assert shown.returncode == 0
    assert shown.stdout.count("FINISHED") == 3
    assert "pass@4" in shown.stdout


@pytest.mark.parametrize(
    ("swept", "words"),
    [
        ("num_samples=4,0", ("1 of 2 jobs", "num_samples=0", "whole number")),
        ("sampling.temperature=1.0,hot", ("1 of 2 jobs", "sampling.temperature=hot")),
        ("benchmark.path=problems.jsonl,missing.jsonl", ("1 of 2 jobs", "missing.jsonl")),
        ("sampler.answers=[a],3", ("1 of 2 jobs", "sampler.answers")),
        ("seed=1,1", ("two jobs are the same",)),
        ("tracker.folder=a,b", ("two jobs are the same",)),
        ("sweep_name=a/b seed=1,2", ("sweep_name=",)),
    ],
)
def test_a_job_that_cannot_run_is_refused_before_any_is_started(
    swept: str, words: tuple[str, ...], kurve_here: RunKurve, tmp_path: Path
) -> None:
    refused = kurve_here("evaluate", *SWEEP, *swept.split())
    assert refused.returncode == 2
    for word in words:
        assert word in refused.stderr
    assert not list((tmp_path / "outputs").glob("sweeps/*/*/job.json"))
    assert not (tmp_path / "outputs" / "samples").exists()


@pytest.mark.slow
def test_a_failed_job_is_told_and_the_others_are_done(kurve: RunKurve, tmp_path: Path) -> None:
    failing = ("sampler.fail_after=3,null", "seed=0")
    done = kurve("evaluate", *SWEEP, *failing)
    assert done.returncode == 2
    assert "1 of 2 jobs are finished" in done.stderr
    assert "the same command goes on" in done.stderr
    statuses = sorted(str(one["status"]) for one in all_records(tmp_path))
    assert statuses == ["FAILED", "FINISHED"]
    assert [one["status"] for one in runs(tmp_path)] == ["FINISHED"]  # both are the same evaluation, which went on
    assert [run["status"] for run in runs(tmp_path, summaries=True)] == ["FAILED"]


def all_records(folder: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in (folder / "outputs" / "sweeps" / "three").glob("*/job.json")]


def at_work(folder: Path) -> "subprocess.Popen[bytes]":
    """A sweep whose first job has opened its run."""
    process = subprocess.Popen(
        command_line(["evaluate", *SWEEP, "sampler.seconds=0.5", "seed=0,1"]),
        cwd=folder,
        env=command_environment() | {"KURVE_CACHE": str(folder / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=hear_ctrl_c,
    )
    deadline = time.monotonic() + 120
    while not list((folder / "outputs").glob("tracking/*/run.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return process


@pytest.mark.slow
def test_a_start_waits_for_the_jobs_that_an_earlier_one_left_at_work(
    kurve_here: RunKurve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("evaluate", *SWEEP, "seed=0,1")
    assert kurve_here(*words).returncode == 0
    left, _ = sorted((tmp_path / "outputs" / "sweeps" / "three").glob("*/job.json"))
    left.unlink()
    begun, told = threading.Event(), threading.Event()

    def work() -> None:
        with sweep.attempt(left.parent):
            begun.set()
            told.wait(60)

    at_work = threading.Thread(target=work)
    at_work.start()
    assert begun.wait(10)
    await_end = sweeping._await_end

    def tell_and_wait(*waiting: Any) -> None:
        told.set()
        await_end(*waiting)

    monkeypatch.setattr(sweeping, "_await_end", tell_and_wait)
    again = kurve_here(*words)
    at_work.join()
    assert again.returncode == 0, again.stderr
    assert "1 of 2 jobs are at work already; waiting for them" in again.stderr
    assert [one["attempt"] for one in all_records(tmp_path)] == [1, 1]


def test_a_sweep_killed_with_kill_9_is_told_and_closed_by_reconcile(kurve_here: RunKurve, tmp_path: Path) -> None:
    process = at_work(tmp_path)
    process.kill()
    process.wait()
    assert [one["status"] for one in runs(tmp_path)] == ["RUNNING"]
    shown = kurve_here("sweep", "status", "three")
    assert ("LOST" in shown.stdout, "WAITING" in shown.stdout) == (True, True), shown.stdout + shown.stderr
    assert [one["status"] for one in runs(tmp_path)] == ["RUNNING"]
    closed = kurve_here("sweep", "reconcile", "three")
    assert closed.returncode == 0, closed.stderr
    assert closed.stdout.count("KILLED") == 3  # the job, its run, and its row of the table
    assert [one["status"] for one in runs(tmp_path)] == ["KILLED"]
    assert [one["status"] for one in all_records(tmp_path)] == ["KILLED"]
    assert kurve_here("sweep", "reconcile", "three").stdout.count("KILLED") == 1
    refused = kurve_here("sweep", "status", "thre")
    assert refused.returncode == 2
    assert "did you mean three" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_says_killed_and_goes_on(number: signal.Signals, kurve: RunKurve, tmp_path: Path) -> None:
    process = at_work(tmp_path)
    process.send_signal(number)
    assert process.wait(timeout=60) == 130
    assert [one["status"] for one in all_records(tmp_path)] == ["KILLED"]
    assert [one["status"] for one in runs(tmp_path)] == ["KILLED"]
    done = kurve("evaluate", *SWEEP, "seed=0,1", "sampler.seconds=0.5")
    assert done.returncode == 0, done.stderr
    assert sorted(one["attempt"] for one in all_records(tmp_path)) == [1, 2]  # type: ignore[type-var]
    assert [one["status"] for one in runs(tmp_path)] == ["FINISHED", "FINISHED"]


def finish(kurve: RunKurve, words: list[str]) -> "subprocess.CompletedProcess[str]":
    """Start a sweep again until all its jobs are finished; those that outlive their controller are waited for."""
    done = kurve(*words)
    assert done.returncode == 0, done.stderr
    return done


def test_a_cluster_that_is_not_installed_is_named_with_how_to_install_it(kurve_here: RunKurve) -> None:
    if find_spec("hydra_plugins.hydra_ray_launcher"):
        pytest.skip("Ray's launcher is installed")
    refused = kurve_here("evaluate", *SWEEP, "cluster=ray", "seed=0,1")
    assert refused.returncode == 2
    assert "pip install 'kurve[ray]'" in refused.stderr


@pytest.mark.slow
def test_runs_of_a_sweep_are_children_of_its_own_run_where_that_is_asked_for(kurve: RunKurve, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    words = [word for word in SWEEP if word != "tracker=dir"]
    done = kurve("evaluate", *words, "tracker=mlflow", "tracker.nest_sweep=true", "tracker.traces=none", "seed=0,1")
    assert done.returncode == 0, done.stderr
    assert "viewStateShareKey=kurve-sweep-three" in done.stdout
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    [experiment] = [one for one in client.search_experiments() if one.name == "kurve"]
    found = client.search_runs([experiment.experiment_id])
    [own] = [run for run in found if run.data.tags.get("kurve.kind") == "sweep"]
    parents = [run.data.tags.get("mlflow.parentRunId") for run in found if run is not own]
    assert parents == [own.info.run_id] * 2
    assert {run.info.status for run in found} == {"FINISHED"}
