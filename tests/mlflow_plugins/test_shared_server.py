"""The shared server of a group: PostgreSQL, artifacts through the server into an object store, several workers.

Eight processes that log at once into one new experiment lose nothing.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

import psycopg2
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from kurve.report_points import report_points
from kurve.tracking import IMAGE_SUFFIX, TimedPoint
from kurve.types import Report
from mlflow_plugins.kurve.reports import CURVE_POINTS
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.commands.test_evaluate import BASE, GSM8K_ROWS
from tests.conftest import command_environment, command_line
from tests.mlflow_plugins.objects import BUCKET, ObjectStore, object_store
from tests.mlflow_plugins.postgresql import Cluster, cluster
from tests.mlflow_plugins.servers import Server, serving
from tests.tracking_samples import report, run_info

EIGHT = 8
N = 1024  # samples a problem, so points a curve
STEPS = 50  # of a training
# Eight that start on a small machine take the time of the workers that would answer.
PATIENT = ("tracker.check_timeout=300", "tracker.timeout=300")
NUMBERS = ("reward", "loss", "kl")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Shared:
    """Everything a group shares."""

    server: Server
    objects: ObjectStore
    database: str

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.server.uri)

    def runs(self, experiment: str) -> list[Run]:
        """All runs of the one experiment of that name."""
        [found] = [one for one in self.client.search_experiments() if one.name == experiment]
        return list(self.client.search_runs([found.experiment_id], max_results=1000))

    def count(self, table: str, run_id: str) -> int:
        """Rows of a run in a table, read past the server."""
        with closing(psycopg2.connect(self.database)) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table} WHERE run_uuid = %s", [run_id])
            return int(cursor.fetchone()[0])

    def history(self, run_id: str, key: str) -> dict[int, float]:
        """Value by step."""
        points = self.client.get_metric_history(run_id, key)
        assert len({point.step for point in points}) == len(points)
        return {int(point.step): float(point.value) for point in points}

    def artifacts(self, run_id: str, folder: Path) -> dict[str, bytes]:
        """Content by path of all files of a run, through the server."""
        self.client.download_artifacts(run_id, "", str(folder))
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture(scope="module")
def shared(postgresql: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """A server with four workers; the first test finds its database and bucket empty, each its experiment new."""
    folder = tmp_path_factory.mktemp("server")
    bare = postgresql.database("shared")
    with object_store(folder) as objects:
        options = [
            "--app-name", "kurve", "--workers", "4", "--artifacts-destination", f"s3://{BUCKET}/mlflow",
            "--uvicorn-opts", "--timeout-worker-healthcheck 120",
        ]  # fmt: skip
        database = bare.replace("postgresql:", "postgresql+psycopg2:")
        with serving(folder, *options, environment=objects.environment, database=database) as server:
            yield Shared(server, objects, bare)


def written_by(number: int) -> Mapping[str, object]:
    """What the process of that number logs."""
    return {
        "params": {f"setting.{index}": f"{number}-{index} \u0394" for index in range(120)},
        "tags": {f"kurve.tag.{index}": f"{number}:{index}" for index in range(20)},
        "points": [
            TimedPoint(f"train/{name}", number + step / 1000, step, 1_700_000_000_000 + step)
            for step in range(STEPS)
            for name in NUMBERS
        ],
        "files": {f"part{index}.bin": bytes([number, index]) * (1 + 100_000 * index) for index in range(4)},
    }


def report_of(number: int) -> Report:
    return report(N, height=0.5 + number / 20, scalars={"rate": number + 0.1 + 0.2})


def log_one(uri: str, folder: Path, number: int, barrier: Barrier) -> None:
    """Log as an evaluation and as a training do, the steps one by one, from the moment that all are ready."""
    os.chdir(folder)
    written = written_by(number)
    for name, content in written["files"].items():  # type: ignore[attr-defined]  # a dict
        (folder / name).write_bytes(content)
    files = [folder / name for name in written["files"]]  # type: ignore[attr-defined]
    tracker = MlflowTracker(uri=uri, experiment="eight", folder=folder, traces="all", timeout=300, check_timeout=300)
    info = run_info(f"key-{number}", name=f"{number}", params=written["params"], tags=written["tags"])  # type: ignore[arg-type]
    barrier.wait(timeout=600)
    tracker.check()
    assert tracker.start(info)
    points: list[TimedPoint] = written["points"]  # type: ignore[assignment]
    for step in range(STEPS):
        tracker.log_points([point for point in points if point.step == step])
    tracker.log_report(report_of(number), files[:2])
    tracker.log_files(files[2:], "more")
    tracker.finish("FINISHED")


def test_eight_processes_log_at_once_and_all_of_it_is_there(shared: Shared, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(EIGHT)
    workers = []
    for number in range(EIGHT):
        folder = tmp_path / f"of{number}"
        folder.mkdir()
        workers.append(context.Process(target=log_one, args=(shared.server.uri, folder, number, barrier)))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(900)
    assert [worker.exitcode for worker in workers] == [0] * EIGHT

    runs = {run.info.run_name: run for run in shared.runs("eight")}
    assert sorted(runs) == [str(number) for number in range(EIGHT)]
    for number in range(EIGHT):
        assert_all_is_there(shared, runs[str(number)], number, tmp_path)


def assert_all_is_there(shared: Shared, run: Run, number: int, folder: Path) -> None:
    written, run_id = written_by(number), run.info.run_id
    assert run.info.status == "FINISHED"
    assert written["params"].items() <= run.data.params.items()  # type: ignore[attr-defined]
    assert written["tags"].items() <= run.data.tags.items()  # type: ignore[attr-defined]
    points, _ = report_points(report_of(number), per_curve=CURVE_POINTS)
    expected: dict[str, dict[int, float]] = {}
    for point in points:
        expected.setdefault(point.key, {})[point.step] = point.value
    assert len(expected["gsm8k/pass_at_k_low"]) > 100
    for key, values in expected.items():
        assert shared.history(run_id, key) == values, key
    for name in NUMBERS:
        assert shared.history(run_id, f"train/{name}") == {step: number + step / 1000 for step in range(STEPS)}
    keys = {key for key in run.data.metrics if not key.startswith("system/")}
    assert shared.count("metrics", run_id) == sum(len(shared.history(run_id, key)) for key in keys)

    files = shared.artifacts(run_id, folder / f"read{number}")
    places = {"part0.bin": "kurve", "part1.bin": "kurve", "part2.bin": "kurve/more", "part3.bin": "kurve/more"}
    for name, content in written["files"].items():  # type: ignore[attr-defined]
        assert files[f"{places[name]}/{name}"] == content
    stored = [name for name in shared.objects.names() if run_id in name]
    assert len(stored) == len(files)
    traces = shared.client.search_traces(
        locations=[run.info.experiment_id], run_id=run_id, max_results=100, include_spans=False
    )
    assert len(traces) == 2  # one a problem


def kept_here(folder: Path) -> dict[str, bytes]:
    """The files of the only report below a folder."""
    [report_file] = folder.glob("outputs/runs/*/*/report/report.json")
    return {path.name: path.read_bytes() for path in report_file.parent.iterdir() if path.is_file()}


def assert_is_the_evaluation(shared: Shared, run: Run, here: Mapping[str, bytes], folder: Path) -> None:
    """The run holds the numbers of the report that its process wrote, and its files as they are."""
    assert run.info.status == "FINISHED"
    measured = json.loads(here["report.json"])
    points = shared.history(run.info.run_id, "gsm8k/pass_at_k")
    curve = json.loads(here["curve.json"])
    assert [points[k] for k in curve["k"]] == pytest.approx(curve["value"], abs=1e-12)
    for name, value in measured["scalars"].items():
        if value is not None:
            assert run.data.metrics[f"gsm8k/{name}"] == pytest.approx(value, abs=1e-12), name
    files = shared.artifacts(run.info.run_id, folder)
    for name, content in here.items():
        if not name.endswith(IMAGE_SUFFIX):  # those are sent as MLflow's images, in a form of its own
            assert files[f"kurve/{name}"] == content, name
    assert any(name.startswith("images/") for name in files)


def test_eight_evaluations_that_start_at_once_are_all_there(shared: Shared, tmp_path: Path) -> None:
    environment = command_environment() | {"MLFLOW_TRACKING_URI": shared.server.uri, "OMP_NUM_THREADS": "1"}
    folders = [tmp_path / f"host{seed}" for seed in range(EIGHT)]
    processes = []
    for seed, folder in enumerate(folders):
        folder.mkdir()
        (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GSM8K_ROWS))
        words = ["evaluate", *BASE, "num_samples=64", f"seed={seed}", "tracker.experiment=evaluations", *PATIENT]
        processes.append(
            subprocess.Popen(
                command_line(words),
                cwd=folder,
                env=environment | {"KURVE_CACHE": str(folder / "cache")},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = [process.communicate(timeout=900)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * EIGHT, said
    runs = {run.data.params["seed"]: run for run in shared.runs("evaluations")}
    assert sorted(runs) == [str(seed) for seed in range(EIGHT)]
    for seed, folder in enumerate(folders):
        assert_is_the_evaluation(shared, runs[str(seed)], kept_here(folder), tmp_path / f"read{seed}")


def test_a_sweep_of_eight_jobs_at_once_is_all_there(shared: Shared, tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GSM8K_ROWS))
    words = [
        "evaluate", "-m", *BASE, "cluster=local", f"hydra.launcher.n_jobs={EIGHT}", "num_samples=64",
        "sweep_name=eight", "seed=0,1,2,3,4,5,6,7", f"tracker.uri={shared.server.uri}", "tracker.experiment=swept",
        *PATIENT,
    ]  # fmt: skip
    environment = command_environment() | {"KURVE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command_line(words), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    runs = shared.runs("swept")
    jobs = {run.data.params["seed"]: run for run in runs if "kurve.sweep.job" in run.data.tags}
    assert sorted(jobs) == [str(seed) for seed in range(EIGHT)]
    assert len(runs) == EIGHT + 1  # and the sweep's own
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in jobs.values():
        points = shared.history(run.info.run_id, "gsm8k/pass_at_k")
        assert sorted(points) == list(range(1, 65))
