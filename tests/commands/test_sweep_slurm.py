"""What Slurm does to jobs: it gives each its GPU, and queues again what it has told to stop."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kurve.sweep import JobRecord, JobStatus
from tests import trainings
from tests.commands.test_evaluate import BASE, problems  # noqa: F401 a fixture
from tests.commands.test_sweep_kills import job_at_work, records, runs, stored
from tests.conftest import command_environment, command_line
from tests.slurm import ON_SLURM, Slurm

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200), pytest.mark.usefixtures("problems")]

EVALUATE = ("evaluate", *BASE, "num_samples=4", "tracker=mlflow", "sweep_name=three")


@pytest.mark.parametrize(
    ("stop", "seconds"),
    [
        ("--signal=USR2", 1),  # which Slurm sends before the end of the job's time
        ("requeue", 3),  # what submitit does not hear of: the job is killed in the middle
    ],
)
def test_a_single_run_that_is_told_to_stop_is_queued_again_and_goes_on_in_its_folder_and_run(
    stop: str, seconds: int, cluster: Slurm, tmp_path: Path
) -> None:
    controller = started(tmp_path, cluster, *EVALUATE, *ON_SLURM, f"sampler.seconds={seconds}")
    await_until(lambda: [status for _, status in runs(tmp_path)] == ["RUNNING"])
    await_until(lambda: sum(map(len, stored(tmp_path))) >= 2)
    [(job_id, _)] = cluster.jobs()
    if stop == "requeue":
        cluster.ask("scontrol", "requeue", job_id)
    else:
        cluster.ask("scancel", stop, job_id)
        await_until(lambda: only(tmp_path).status is JobStatus.KILLED)
        assert [status for _, status in runs(tmp_path)] == ["KILLED"]
    output, _ = controller.communicate(timeout=300)
    assert controller.returncode == 0, output
    assert (only(tmp_path).status, only(tmp_path).attempt) == (JobStatus.FINISHED, 2)
    assert [status for _, status in runs(tmp_path)] == ["FINISHED"]
    assert [len(samples) for samples in stored(tmp_path)] == [16]


def test_a_job_that_is_killed_is_tried_again_without_accounts_to_ask(cluster: Slurm, tmp_path: Path) -> None:
    assert not cluster.ask("sacct")
    controller = started(tmp_path, cluster, *EVALUATE, *ON_SLURM, "sampler.seconds=0.5", "seed=0,1")
    killed, pid = job_at_work(tmp_path)
    os.kill(pid, signal.SIGKILL)
    output, _ = controller.communicate(timeout=500)
    assert controller.returncode == 0, output
    attempts = {job: record.attempt for job, record in records(tmp_path).items()}
    assert attempts.pop(killed) == 2
    assert list(attempts.values()) == [1]
    assert [status for _, status in runs(tmp_path)] == ["FINISHED"] * 2


def test_each_job_of_an_array_has_a_gpu_of_its_own(cluster: Slurm, tmp_path: Path) -> None:
    one_each = ("hydra.launcher.gpus_per_node=1", "sampler.seconds=0.5", "seed=0,1", "tracker=dir")
    gpu = "+tags.gpu=${oc.env:CUDA_VISIBLE_DEVICES,none}"
    controller = started(tmp_path, cluster, *EVALUATE, *ON_SLURM, *one_each, gpu)
    output, _ = controller.communicate(timeout=300)
    assert controller.returncode == 0, output
    tags = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "tracking").glob("*/tags.json")]
    assert sorted(one["kurve.gpu"] for one in tags if "kurve.gpu" in one) == ["0", "1"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_training_that_runs_out_of_time_goes_on_from_its_last_checkpoint(
    processes: int, cluster: Slurm, tmp_path: Path
) -> None:
    place = trainings.place(tmp_path / "place")
    several = ("accelerate=cpu", "training.per_device_train_batch_size=4") if processes > 1 else ()
    words = (*trainings.SFT, *several, "training.max_steps=400", "training.save_steps=20", "sweep_name=three")
    controller = started(place, cluster, *words, *ON_SLURM, "tracker=dir")
    await_until(lambda: bool(list(place.glob("outputs/models/*/checkpoints/checkpoint-20/trainer_state.json"))))
    [(job_id, _)] = cluster.jobs()
    cluster.ask("scancel", "--signal=USR2", job_id)
    output, _ = controller.communicate(timeout=500)
    assert controller.returncode == 0, output
    _, record = trainings.trained(place)
    first, second = record.attempts
    assert second.processes == processes
    assert (first.status, second.status) == ("KILLED", "FINISHED")
    assert second.first_step >= 20
    assert record.final_step == 400
    run = Path(record.run_url)
    assert json.loads((run / "run.json").read_text())["status"] == "FINISHED"
    points = [json.loads(line) for line in (run / "points.jsonl").read_text().splitlines()]
    assert sorted(point["step"] for point in points if point["key"] == "train/loss") == list(range(1, 401))


def started(folder: Path, cluster: Slurm, *words: str) -> "subprocess.Popen[str]":
    """`kurve` at work in a folder, where the cluster's programs find their cluster."""
    return subprocess.Popen(
        command_line(words),
        cwd=folder,
        env={**command_environment(), "KURVE_CACHE": str(folder / "cache"), **cluster.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def only(folder: Path) -> JobRecord:
    """The record of the only job."""
    [record] = records(folder).values()
    return record


def await_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
