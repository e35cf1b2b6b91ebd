"""Plain MLflow with a spool: the server is away for all or a part of a run, and everything arrives, once."""

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
from mlflow.store.tracking.rest_store import RestStore

from mlflow_plugins.kurve import spool
from mlflow_plugins.kurve.spool import journal
from mlflow_plugins.kurve.spool.artifacts import SpoolingArtifacts
from mlflow_plugins.kurve.spool.journal import Writer
from mlflow_plugins.kurve.spool.store import SpoolingRestStore
from tests.mlflow_plugins.servers import Server
from tests.mlflow_plugins.spooling import command, cut_off, down, files, held, runs, spool_at, sync


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with spool_at(tmp_path / "spool", monkeypatch) as folder:
        yield folder
    mlflow.set_tracking_uri("")


def logged(uri: str, experiment: str, folder: Path) -> str:
    """What a user's program logs; the run's id, as the program got it."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment)
    (folder / "plain.txt").write_text("a file")
    with mlflow.start_run(run_name="plain", description="by hand") as run:
        mlflow.log_params({"lr": 0.1, "algorithm": "grpo"})
        for step in range(5):
            mlflow.log_metric("loss", 1 / (step + 1), step=step, timestamp=run.info.start_time + step)
        mlflow.log_metrics({"a": 1.0, "b": float("nan")}, step=3, timestamp=run.info.start_time)
        mlflow.set_tags({"x": "y", "gone": "soon"})
        mlflow.delete_tag("gone")
        mlflow.log_artifact(str(folder / "plain.txt"), "given")
        mlflow.log_text("hello", "notes/a.txt")
        mlflow.log_dict({"a": 1}, "d.json")
        mlflow.log_image(np.zeros((4, 4, 3), dtype="uint8"), "black.png")
        mlflow.log_table({"q": ["1"]}, "t.json")
        mlflow.log_table({"q": ["2"]}, "t.json")
        mlflow.log_input(mlflow.data.from_numpy(np.arange(4), name="numbers"), context="training")
    return str(run.info.run_id)


def test_without_the_variable_mlflow_has_its_own_classes(server: Server) -> None:
    assert type(spool.tracking_store(server.uri)) is RestStore
    assert type(MlflowClient(server.uri)._tracking_client.store) is RestStore
    found = spool.artifact_repository("mlflow-artifacts:/1/a/artifacts", server.uri)
    assert type(found) is MlflowArtifactsRepository


def test_everything_of_a_run_that_never_saw_its_server_arrives_as_if_it_had(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["program"])
    online = logged(server.uri, "spooled-plain", tmp_path)
    with spool_at(tmp_path / "spool", monkeypatch) as root:
        began = time.monotonic()
        provisional = logged(down(), "spooled-plain", tmp_path)
        assert time.monotonic() - began < 5
        assert spool.is_provisional(provisional)
    (tmp_path / "plain.txt").write_text("changed since, but a small file was copied")
    assert sync(root, server.uri)[0].refused == 0
    assert list(next(root.iterdir()).glob("2*")) == []
    first, second = runs(server.uri, "spooled-plain")
    assert first.info.run_id == online
    assert second.data.tags["kurve.spool_id"] == provisional
    ours, theirs = held(server.uri, second.info.run_id), held(server.uri, online)
    assert {key: ours[key] for key in ours if key != "points"} == {
        key: theirs[key] for key in theirs if key != "points"
    }
    assert repr(ours["points"]) == repr(theirs["points"])  # NaN is not equal to itself
    assert len(ours["files"]) == 5
    mlflow.set_tracking_uri("")


def test_while_the_server_is_away_questions_are_answered_from_the_journal(root: Path, tmp_path: Path) -> None:
    uri = down()
    run_id = logged(uri, "asked", tmp_path)
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name, run.data.params["lr"]) == ("FINISHED", "plain", "0.1")
    assert run.data.metrics["loss"] == 1 / 5
    assert "gone" not in run.data.tags
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["numbers"]
    assert [one.step for one in client.get_metric_history(run_id, "loss")] == list(range(5))
    assert sorted(files(client, run_id)) == ["black.png", "d.json", "given/plain.txt", "notes/a.txt", "t.json"]
    experiment = client.get_experiment_by_name("asked")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "tags.x = 'y' and params.lr = '0.1'")
    assert [one.info.run_id for one in found] == [run_id]
    assert list(client.search_runs([experiment.experiment_id], "tags.x = 'z'")) == []
    assert "kept in" in spool.where_kept(uri, run_id)
    assert spool.is_away(uri)


def test_what_no_journal_can_answer_is_an_error_within_seconds(root: Path) -> None:
    client = MlflowClient(down())
    began = time.monotonic()
    for ask in (
        lambda: client.get_run("a" * 32),
        lambda: client.get_experiment("7"),
        client.search_experiments,
        lambda: client.create_logged_model("0"),
        lambda: client.get_metric_history("a" * 32, "loss"),
    ):
        with pytest.raises(MlflowException, match=r"refused|away"):
            ask()
    assert client.get_experiment_by_name("never seen") is None
    assert time.monotonic() - began < 5


def test_with_the_server_there_a_run_has_its_own_id_and_questions_see_what_was_logged(
    server: Server, root: Path, tmp_path: Path
) -> None:
    run_id = logged(server.uri, "there", tmp_path)
    assert not spool.is_provisional(run_id)
    client = MlflowClient(server.uri)
    assert isinstance(client._tracking_client.store, SpoolingRestStore)
    assert client.get_run(run_id).data.metrics["loss"] == 1 / 5
    assert "t.json" in files(client, run_id)
    assert client.get_run(run_id).info.status == "FINISHED"
    assert len(runs(server.uri, "there")) == 1


def test_nested_runs_keep_their_parent(server: Server, root: Path) -> None:
    mlflow.set_tracking_uri(down())
    mlflow.set_experiment("nested")
    with mlflow.start_run(run_name="parent") as parent, mlflow.start_run(run_name="child", nested=True):
        mlflow.log_metric("x", 1)
    sync(root, server.uri)
    found = {run.info.run_name: run for run in runs(server.uri, "nested")}
    assert found["child"].data.tags["mlflow.parentRunId"] == found["parent"].info.run_id != parent.info.run_id


def test_a_run_goes_on_under_its_provisional_id_when_the_server_is_back(server: Server, root: Path) -> None:
    client = MlflowClient(server.uri)
    spooling = client._tracking_client.store.spool
    with cut_off(spooling):
        experiment = client.create_experiment("comes-back")
        run = client.create_run(experiment, run_name="early")
        client.log_metric(run.info.run_id, "x", 1.0)
        assert spool.is_provisional(run.info.run_id)
    client.log_text(run.info.run_id, "late", "late.txt")
    assert spooling.flush(20)
    assert not spool.is_provisional(run.info.run_id)
    assert client.get_run(run.info.run_id).info.run_id == spool.server_id(run.info.run_id)
    assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["late.txt"]
    client.set_terminated(run.info.run_id)
    [found] = client.search_runs([experiment])
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"x": 1.0})


def test_many_threads_share_one_journal(server: Server, root: Path) -> None:
    uri = down()
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("threads"))

    def log(thread: int) -> None:
        for step in range(40):
            MlflowClient(uri).log_metric(run.info.run_id, f"m{thread}", step * 1.5, step=step)

    threads = [threading.Thread(target=log, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journal.journals(next(root.iterdir()))) == 1
    sync(root, server.uri)
    [found] = runs(server.uri, "threads")
    points = held(server.uri, found.info.run_id)["points"]
    assert {key: [(step, value) for step, value, _ in rows] for key, rows in points.items()} == {
        f"m{thread}": [(step, step * 1.5) for step in range(40)] for thread in range(8)
    }


def test_a_forked_child_writes_a_journal_of_its_own(server: Server, root: Path) -> None:
    client = MlflowClient(down())
    run = client.create_run(client.create_experiment("forked"))
    client.log_metric(run.info.run_id, "parent", 1.0)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            client.log_metric(run.info.run_id, "child", 2.0)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    client.log_metric(run.info.run_id, "parent", 3.0, step=1)
    assert len(journal.journals(next(root.iterdir()))) == 2
    sync(root, server.uri)
    [found] = runs(server.uri, "forked")
    assert found.data.metrics == {"parent": 3.0, "child": 2.0}


def test_what_was_acknowledged_survives_kill_9(server: Server, tmp_path: Path) -> None:
    code = """
with mlflow.start_run() as run:
    for step in range(10000):
        mlflow.log_metric("x", step, step=step)
        print(step, flush=True)
"""
    environment = {**os.environ, spool.FOLDER_VARIABLE: str(tmp_path / "spool")}
    program = subprocess.Popen(
        command(code, down(), "killed"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert program.stdout is not None
    for line in program.stdout:
        if int(line) == 37:
            break
    program.send_signal(signal.SIGKILL)
    acknowledged = max([37, *(int(line) for line in program.stdout if line.endswith("\n"))])
    program.wait()
    sync(tmp_path / "spool", server.uri)
    [found] = runs(server.uri, "killed")
    steps = [step for step, _, _ in held(server.uri, found.info.run_id)["points"]["x"]]
    assert steps == list(range(len(steps)))
    assert len(steps) in (acknowledged + 1, acknowledged + 2)  # one may have been written and not yet told


def full(self: Writer, record: journal.Record) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_on_a_full_disk_what_is_logged_goes_to_the_server_at_once(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writer, "append", full)
    client = MlflowClient(server.uri)
    run = client.create_run(client.create_experiment("full disk"))
    client.log_metric(run.info.run_id, "x", 1.0)
    client.log_text(run.info.run_id, "hello", "a.txt")
    [found] = runs(server.uri, "full disk")
    assert (found.info.run_id, found.data.metrics) == (run.info.run_id, {"x": 1.0})
    assert list(files(client, run.info.run_id)) == ["a.txt"]


def test_a_full_disk_and_no_server_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = MlflowClient(down())
    run = client.create_run(client.create_experiment("nowhere"))
    monkeypatch.setattr(Writer, "append", full)
    with pytest.raises(MlflowException, match=r"No space left.*cannot be reached.*KURVE_SPOOL_DIR"):
        client.log_metric(run.info.run_id, "x", 1.0)


def test_files_of_models_are_not_spooled(root: Path) -> None:
    model = f"mlflow-artifacts:/1/models/m-{'a' * 32}/artifacts"
    assert type(spool.artifact_repository(model, down())) is MlflowArtifactsRepository
    assert type(spool.artifact_repository("mlflow-artifacts:/1/b/artifacts", down())) is SpoolingArtifacts


@pytest.mark.slow
def test_a_server_that_is_killed_in_the_middle_of_a_run_has_all_of_it_in_the_end(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    code = """
with mlflow.start_run(run_name="through") as run:
    for step in range(60):
        mlflow.log_metric("x", step / 7, step=step)
        if step % 20 == 0:
            mlflow.log_text(str(step), f"{step}.txt")
            print(step, flush=True)
            sys.stdin.readline()
"""
    environment = {**os.environ, spool.FOLDER_VARIABLE: str(tmp_path / "spool")}
    server.start()
    try:
        program = subprocess.Popen(
            command(code, server.uri, "through"),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert program.stdout is not None
        assert program.stdin is not None
        for step, act in ((0, server.stop), (20, lambda: None), (40, server.start)):
            assert program.stdout.readline() == f"{step}\n"
            act()
            program.stdin.write("\n")
            program.stdin.flush()
        program.communicate(timeout=60)
        assert program.returncode == 0
        sync(tmp_path / "spool")
        [run] = runs(server.uri, "through")
        found = held(server.uri, run.info.run_id)
        assert [(step, value) for step, value, _ in found["points"]["x"]] == [(step, step / 7) for step in range(60)]
        assert sorted(found["files"]) == ["0.txt", "20.txt", "40.txt"]
        assert found["status"] == "FINISHED"
    finally:
        server.stop()
