"""On a real PostgreSQL: as the database of a client, and behind `mlflow server --app-name kurve`."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.conftest import RunKurve, command_environment, command_line
from tests.mlflow_plugins.compare.evaluations import log_evaluation
from tests.mlflow_plugins.guarded import ALSO_GOOD, BAD, GOOD, Place
from tests.mlflow_plugins.postgresql import Cluster, cluster
from tests.mlflow_plugins.servers import Server, ask
from tests.tracking_samples import HOSTILE, report, run_info


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


def with_driver(uri: str) -> str:
    """As MLflow's own client takes it: of a bare postgresql:// SQLAlchemy 2.1 makes psycopg 3."""
    return uri.replace("postgresql:", "postgresql+psycopg2:")


def points(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, key)]


def test_a_database_holds_an_evaluation_that_is_adopted_and_finished(postgresql: Cluster, tmp_path: Path) -> None:
    uri = postgresql.database("direct")
    (tmp_path / "curve.json").write_text("{}")
    broken = MlflowTracker(uri=uri)
    broken.check()
    broken.start(run_info(name=HOSTILE, tags={"evil": HOSTILE}))
    broken.log_report(report(64), [])
    broken.finish("FAILED")  # and it is started again

    tracker = MlflowTracker(uri=uri)
    assert tracker.start(run_info(name=HOSTILE, tags={"evil": HOSTILE}))
    assert tracker.run_id == broken.run_id
    for _ in range(2):
        tracker.log_report(report(256, scalars={"rate": 0.1 + 0.2}), [tmp_path / "curve.json"])
    tracker.finish("FINISHED")
    client = MlflowClient(with_driver(uri))
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["kurve.attempt"] == "2"
    curve = dict(points(client, tracker.run_id, "gsm8k/pass_at_k"))
    expected = report(256).curves[0]
    assert curve == pytest.approx(dict(zip(expected.k.tolist(), expected.value.tolist(), strict=True)), abs=1e-12)
    assert points(client, tracker.run_id, "gsm8k/rate") == [(0, 0.1 + 0.2)]
    assert "geheim" not in tracker.hint + tracker.url + tracker.destination
    assert not MlflowTracker(uri=uri).start(run_info())  # it is logged already
    assert tracker.find_evaluations({"evil": run.data.tags["evil"]}) == [tracker.run_id]


def start_one(uri: str, folder: str, number: int, done: multiprocessing.Queue[str]) -> None:
    os.environ["TMPDIR"] = folder  # where kurve's lock is: as on a machine of its own
    tracker = MlflowTracker(uri=uri, folder=folder)
    tracker.check()
    tracker.start(run_info(f"key-{number}"))
    tracker.log_report(report(128), [])
    tracker.finish("FINISHED")
    done.put(tracker.run_id)


@pytest.mark.slow
@pytest.mark.parametrize("machines", [1, 4])
def test_processes_start_at_once_on_an_empty_database(postgresql: Cluster, tmp_path: Path, machines: int) -> None:
    uri, number = postgresql.database(f"empty{machines}"), 4
    context = multiprocessing.get_context("spawn")
    done: multiprocessing.Queue[str] = context.Queue()
    workers = []
    for place in range(number):
        folder = tmp_path / f"machine{place % machines}"
        folder.mkdir(exist_ok=True)
        workers.append(context.Process(target=start_one, args=(uri, str(folder), place, done)))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(240)
    assert [worker.exitcode for worker in workers] == [0] * number
    client = MlflowClient(with_driver(uri))
    runs = client.search_runs([client.get_experiment_by_name("kurve").experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED"] * number
    assert {len(points(client, run.info.run_id, "gsm8k/pass_at_k")) for run in runs} == {128}


@dataclass(frozen=True)
class Served:
    server: Server
    place: Place


@pytest.fixture(scope="module")
def served(postgresql: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    database = with_driver(postgresql.database("served"))
    server = Server(tmp_path_factory.mktemp("server"), "--app-name", "kurve", database=database)
    server.start()
    yield Served(server, Place(server, tmp_path_factory.mktemp("evaluations")))
    server.stop()


@pytest.mark.slow
def test_the_page_and_its_endpoints_answer(served: Served, tmp_path: Path) -> None:
    root = served.server.uri
    runs = [
        log_evaluation(root, tmp_path / name, name=name, correct=correct)
        for name, correct in (("base", (1, 2, 0, 3)), ("tuned", (9, 12, 0, 0)))
    ]

    def get(endpoint: str, **parameters: str) -> Any:
        answer = ask(f"{root}/ajax-api/2.0/kurve/{endpoint}?{urllib.parse.urlencode(parameters)}")
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    assert ask(f"{root}/kurve").status == 200
    assert [one["name"] for one in get("curves", runs=",".join(runs))["curves"]] == ["base", "tuned"]
    assert get("comparison", runs=",".join(runs))["num_problems"] == 4
    assert get("problems", runs=",".join(runs), set="base_only")["total"] == 1
    assert get("samples", runs=runs[1], problem="p0", outcome="correct")["total"] == 9
    assert get("sample", runs=runs[1], problem="p0", index="3")["index"] == 3


@pytest.mark.slow
def test_a_gate_guards_the_champion(served: Served, kurve_here: RunKurve) -> None:
    place = served.place
    with pytest.raises(MlflowException, match="no gate has judged it for this alias"):
        place.client.set_registered_model_alias("m", "champion", str(BAD))
    where = (f"tracker.uri={place.uri}", "tracker.experiment=gates")
    assert kurve_here("promote", "model=m", f"version={BAD}", *where).returncode == 1
    done = kurve_here("promote", "model=m", f"version={GOOD}", *where)
    assert done.returncode == 0, done.stderr
    assert place.champion == str(GOOD)
    with pytest.raises(MlflowException, match="said failed"):
        place.client.set_registered_model_alias("m", "champion", str(BAD))
    counts = place.files(place.runs[GOOD]) / "counts.parquet"
    before = counts.read_bytes()
    counts.write_bytes((place.files(place.runs[BAD]) / "counts.parquet").read_bytes())
    with pytest.raises(MlflowException, match="the counts of the run"):
        place.client.set_registered_model_alias("m", "champion", str(GOOD))
    counts.write_bytes(before)
    place.client.set_registered_model_alias("m", "champion", str(GOOD))


@pytest.mark.slow
def test_two_that_promote_at_once_both_pass_and_one_is_the_champion(served: Served, tmp_path: Path) -> None:
    place = served.place
    where = [f"tracker.uri={place.uri}", "tracker.experiment=at once"]
    both = [
        subprocess.Popen(
            command_line(["promote", "model=m", f"version={version}", *where]),
            cwd=tmp_path,
            env=command_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for version in (GOOD, ALSO_GOOD)
    ]
    said = [one.communicate(timeout=300)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert place.champion in (str(GOOD), str(ALSO_GOOD))
    for version in (GOOD, ALSO_GOOD):
        tags = place.client.get_model_version("m", str(version)).tags
        assert json.loads(tags["kurve.gate.champion"])["outcome"] == "passed"
        place.client.set_registered_model_alias("m", "champion", str(version))
