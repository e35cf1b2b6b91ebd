import dataclasses
import json
import multiprocessing
import os
import socket
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from kurve.errors import TrackingError
from kurve.types import Table
from mlflow_plugins.kurve.reports import CURVE_POINTS
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.mlflow_plugins.servers import Server, free_port
from tests.tracking_samples import HOSTILE, report, run_info


def a_file(folder: Path, name: str = "curve.json", text: str = "{}") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def rows(tracker: MlflowTracker, uri: str, key: str) -> list[tuple[int, float]]:
    history = MlflowClient(uri).get_metric_history(tracker.run_id, key)
    return [(metric.step, metric.value) for metric in history]


def test_a_run_is_complete_on_a_server(server: Server, tmp_path: Path) -> None:
    tracker = MlflowTracker(uri=server.uri, experiment="complete")
    tracker.check()
    assert tracker.start(run_info())
    table = Table("samples", ("problem", "text"), (("a", "1"),))
    files = [a_file(tmp_path), a_file(tmp_path, "samples.json", '{"columns": ["problem"], "data": [["a"]]}')]
    tracker.log_report(
        report(1024, scalars={"tokens_per_second": 5.0}, tables=(table,), notes=("few problems",)), files
    )
    tracker.finish("FINISHED")

    client = MlflowClient(server.uri)
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "model on gsm8k"
    assert run.data.params == {"num_samples": "64", "sampling.temperature": "1.0"}
    assert run.data.tags["kurve.evaluation"] == "0123456789abcdef"
    assert run.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert run.data.tags["kurve.kind"] == "base"
    assert run.data.tags["mlflow.user"]
    assert run.data.tags["mlflow.source.name"]
    assert "few problems" in run.data.tags["mlflow.note.content"]
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "kurve/samples.json", "type": "table"}]
    assert run.data.metrics["gsm8k/tokens_per_second"] == 5.0
    assert [step for step, _ in rows(tracker, server.uri, "gsm8k/pass_at_1")] == [0]
    for key in ("gsm8k/pass_at_k", "gsm8k/pass_at_k_low", "gsm8k/pass_at_k_high"):
        steps = [step for step, _ in rows(tracker, server.uri, key)]
        assert {*range(1, 33), 64, 128, 256, 512, 1024} <= set(steps)
        assert len(steps) == len(set(steps)) <= CURVE_POINTS
    paths = {item.path for item in client.list_artifacts(tracker.run_id, "kurve")}
    assert paths == {f"kurve/{name}" for name in ("config.yaml", "versions.json", "curve.json", "samples.json")}
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("gsm8k", "d" * 36)
    assert [(tag.key, tag.value) for tag in data.tags] == [("mlflow.data.context", "eval")]
    assert tracker.url == f"{server.uri}/#/experiments/{run.info.experiment_id}/runs/{tracker.run_id}"


def test_a_finished_evaluation_is_found_and_a_new_run_only_made_when_asked(server: Server) -> None:
    first = MlflowTracker(uri=server.uri, experiment="found")
    assert first.start(run_info())
    first.finish("FINISHED")
    second = MlflowTracker(uri=server.uri, experiment="found")
    assert not second.start(run_info())
    assert second.run_id == first.run_id
    third = MlflowTracker(uri=server.uri, experiment="found", new_run=True)
    assert third.start(run_info())
    assert third.run_id != first.run_id
    third.finish("KILLED")
    assert not MlflowTracker(uri=server.uri, experiment="found").start(run_info())  # the finished one counts
    assert MlflowTracker(uri=server.uri, experiment="found").start(run_info("another-key"))


def test_a_finished_run_is_in_each_sweep_that_asks_for_it_and_changes_in_nothing_else(server: Server) -> None:
    def start(sweep: str, job: str) -> MlflowTracker:
        tracker = MlflowTracker(uri=server.uri, experiment="in several sweeps")
        tags = {"kurve.sweep": sweep, "kurve.sweep.job": job, f"kurve.sweeps.{sweep}": job}
        if tracker.start(run_info(tags=tags)):
            tracker.finish("FINISHED")
        return tracker

    client = MlflowClient(server.uri)
    before = client.get_run(start("first", "a" * 12).run_id)
    found = [start(sweep, "b" * 12) for sweep in ("second-1.0", "third", "third")]
    assert {one.run_id for one in found} == {before.info.run_id}
    after = client.get_run(before.info.run_id)
    assert after.info == before.info
    new = {"kurve.sweeps.second-1.0": "b" * 12, "kurve.sweeps.third": "b" * 12}
    assert after.data.tags == before.data.tags | new
    for sweep in ("first", "second-1.0", "third"):
        [one] = client.search_runs([before.info.experiment_id], f"tags.`kurve.sweeps.{sweep}` LIKE '%'")
        assert one.info.run_id == before.info.run_id


def test_finished_evaluations_are_found_by_their_tags_page_by_page(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow_plugins.kurve.tracker._PAGE", 1)
    tracker, runs = MlflowTracker(uri=server.uri, experiment="tagged"), []
    for number, (tags, status) in enumerate(
        [
            ({"kurve.study": "it's"}, "FINISHED"), ({"kurve.study": "it's"}, "FAILED"),
            ({"kurve.study": "it's", "kurve.kind": "comparison"}, "FINISHED"), ({"kurve.study": "s2"}, "FINISHED"),
            ({"kurve.study": "it's", "kurve.role": "base"}, "FINISHED"),
        ]
    ):  # fmt: skip
        tracker.start(dataclasses.replace(run_info(f"tagged{number}"), tags=tags))
        tracker.finish(status)
        runs.append(tracker.run_id)
    assert tracker.find_evaluations({"kurve.study": "it's"}) == [runs[0], runs[4]]
    assert tracker.find_evaluations({"kurve.study": "it's", "kurve.role": "base"}) == [runs[4]]
    assert tracker.find_evaluations({"kurve.study": "s2"}) == [runs[3]]
    assert tracker.find_evaluations({"kurve.study": "s3"}) == []
    assert tracker.find_running({"kurve.study": "it's"}) == []
    tracker.start(dataclasses.replace(run_info("tagged5"), tags={"kurve.study": "it's", "kurve.kind": "training"}))
    assert tracker.find_running({"kurve.study": "it's"}) == [tracker.run_id]
    tracker.finish("KILLED")
    assert tracker.find_running({"kurve.study": "it's"}) == []


@pytest.mark.parametrize("status", ["FAILED", "KILLED", None])
def test_an_unfinished_run_is_adopted(server: Server, tmp_path: Path, status: str | None) -> None:
    """None leaves it RUNNING, as a kill -9 does."""
    experiment = f"adopted-{status}"
    first = MlflowTracker(uri=server.uri, experiment=experiment)
    first.start(run_info())
    first.log_report(report(64, scalars={"seconds": 9.0}), [a_file(tmp_path)])
    if status:
        first.finish(status)

    second = MlflowTracker(uri=server.uri, experiment=experiment)
    assert second.start(run_info(params={"num_samples": "64", "sampling.temperature": "0.5", "more": "1"}))
    second.log_report(report(64, scalars={"seconds": 2.0}), [a_file(tmp_path)])
    second.finish("FINISHED")

    assert second.run_id == first.run_id
    run = MlflowClient(server.uri).get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["kurve.attempt"] == "2"
    assert run.data.params == {"num_samples": "64", "sampling.temperature": "1.0", "more": "1"}
    assert run.data.tags["kurve.attempt.2.changed"] == "sampling.temperature: 1.0 -> 0.5"
    assert len(run.inputs.dataset_inputs) == 1
    assert len(rows(second, server.uri, "gsm8k/pass_at_k")) == 64
    assert run.data.metrics["gsm8k/seconds"] == 2.0  # the newer value, though it is the smaller one
    assert sorted(rows(second, server.uri, "gsm8k/seconds")) == [(0, 2.0), (0, 9.0)]


def test_a_deleted_run_is_not_taken_up_again(server: Server) -> None:
    first = MlflowTracker(uri=server.uri, experiment="deleted-run")
    first.start(run_info())
    first.finish("FINISHED")
    MlflowClient(server.uri).delete_run(first.run_id)
    second = MlflowTracker(uri=server.uri, experiment="deleted-run")
    assert second.start(run_info())
    assert second.run_id != first.run_id


def test_a_deleted_experiment_is_refused_with_the_way_back(server: Server) -> None:
    client = MlflowClient(server.uri)
    number = client.create_experiment("deleted-experiment")
    client.delete_experiment(number)
    with pytest.raises(TrackingError, match=f"restore --experiment-id {number}"):
        MlflowTracker(uri=server.uri, experiment="deleted-experiment").check()


def test_numbers_that_are_not_finite_are_left_out_and_named(server: Server) -> None:
    tracker = MlflowTracker(uri=server.uri, experiment="finite")
    tracker.start(run_info())
    tracker.log_report(report(4, scalars={"perplexity": float("inf"), "rate": float("nan")}), [])
    run = MlflowClient(server.uri).get_run(tracker.run_id)
    assert set(run.data.metrics) == {f"gsm8k/pass_at_{name}" for name in ("1", "4", "k", "k_low", "k_high")}
    assert run.data.tags["kurve.not_finite"] == "gsm8k/perplexity, gsm8k/rate"


@pytest.mark.parametrize("kind", ["server", "file"])
def test_any_text_can_be_logged(server: Server, tmp_path: Path, kind: str) -> None:
    uri = server.uri if kind == "server" else f"sqlite:///{tmp_path}/own.db"
    params = {"a@b[0]": HOSTILE, "a_at_b_0_": "other", "../up//": "x", "": "", "long": "ü😀" * 9000}
    params |= {f"param {i}": "\u4e00" * 6000 for i in range(120)}
    tags = {"evil<b>": HOSTILE, "long": "y" * 20_000} | {f"tag.{i}": str(i) for i in range(150)}
    tracker = MlflowTracker(uri=uri, experiment=f"text <i>{kind}</i> '\"%")
    assert tracker.start(run_info(name=HOSTILE * 20, params=params, tags=tags))
    tracker.log_report(report(4, benchmark="odd@bench//x", scalars={"pass@1 %": 0.5}, notes=(HOSTILE,)), [])
    tracker.finish("FINISHED")
    run = MlflowClient(uri).get_run(tracker.run_id)
    assert len(run.data.params) == len(params)
    assert "cut at 6000 characters, whole in kurve/config.yaml" in run.data.params["long"]
    assert run.data.params["a_at_b_0_"].startswith("<script>")
    assert run.data.params["a_at_b_0__2"] == "other"
    assert run.data.metrics["odd_at_bench/x/pass_at_1 _"] == 0.5


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("./mlruns", "no longer keeps runs"),
        ("sqlite://", "in-memory"),
        ("sqlite:////proc/x/y.db", "tracker=dir"),
        ("http://", "names no host"),
        ("postgresql://user:geheim@127.0.0.1:1/db", "start the database"),
        ("mysql+nodriver://a:b@127.0.0.1:1/db", "tracker=dir"),
        ("weird://x", "tracker=dir"),
    ],
)
def test_an_address_that_cannot_work_is_refused(uri: str, told: str) -> None:
    started = time.monotonic()
    with pytest.raises(TrackingError, match=told) as caught:
        MlflowTracker(uri=uri).check()
    assert time.monotonic() - started < 10
    assert "geheim" not in str(caught.value)


def test_a_path_that_cannot_be_written_as_an_address_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "what?"
    folder.mkdir()
    with pytest.raises(TrackingError, match="cannot hold a"):
        MlflowTracker(folder=folder).check()


def test_a_dead_server_is_refused_within_seconds_and_what_to_do_is_said() -> None:
    uri = f"http://user:geheim@127.0.0.1:{free_port()}"
    before = dict(os.environ)
    started = time.monotonic()
    with pytest.raises(TrackingError, match=r"start the server.*tracker=dir.*tracker=none") as caught:
        MlflowTracker(uri=uri).check()
    assert time.monotonic() - started < 10
    assert "geheim" not in str(caught.value)
    assert dict(os.environ) == before


def test_a_server_that_never_answers_is_refused_within_seconds() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        started = time.monotonic()
        with pytest.raises(TrackingError, match="start the server"):
            MlflowTracker(uri=f"http://127.0.0.1:{silent.getsockname()[1]}", check_timeout=2).check()
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("status", "told"),
    [(401, "MLFLOW_TRACKING_USERNAME"), (403, "MLFLOW_TRACKING_USERNAME"), (200, "start the server")],
)
def test_a_server_that_refuses_or_is_not_mlflow_is_named_as_such(status: int, told: str) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b"<html>who are you</html>"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(TrackingError, match=told):
            MlflowTracker(uri=f"http://127.0.0.1:{server.server_port}").check()
        server.shutdown()


def test_the_database_in_the_working_folder_is_the_default_and_absolute(tmp_path: Path) -> None:
    tracker = MlflowTracker()
    tracker.start(run_info())
    tracker.log_report(report(4), [a_file(tmp_path)])
    tracker.finish("FINISHED")
    run = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(tracker.run_id)
    assert run.info.artifact_uri.startswith((tmp_path / "mlartifacts").as_uri())
    assert tracker.url.startswith("http://127.0.0.1:5000/#/experiments/")
    assert f"mlflow server --backend-store-uri sqlite:///{tmp_path}/mlflow.db" in tracker.hint
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock", "mlartifacts", "curve.json"}


def test_the_environment_variable_names_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    tracker = MlflowTracker(experiment="from-environment")
    tracker.start(run_info())
    assert tracker.url.startswith(server.uri)


def test_a_database_that_turned_read_only_is_an_error_and_not_a_traceback(tmp_path: Path) -> None:
    tracker = MlflowTracker()
    tracker.start(run_info())
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("DROP TABLE metrics")
    with pytest.raises(TrackingError, match=r"cannot send the report at sqlite.*tracker\.uri"):
        tracker.log_report(report(4), [])


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(TrackingError, match="not a database"):
        MlflowTracker().check()


def _start_one(folder: str, number: int, done: "multiprocessing.Queue[str]") -> None:
    os.chdir(folder)
    tracker = MlflowTracker()
    tracker.check()
    tracker.start(run_info(f"key-{number}"))
    tracker.log_report(report(128), [])
    tracker.finish("FINISHED")
    done.put(tracker.url)


@pytest.mark.slow
@pytest.mark.parametrize("number", [3, 6])
def test_processes_start_at_once_on_a_database_that_does_not_exist(tmp_path: Path, number: int) -> None:
    context = multiprocessing.get_context("spawn")
    done: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_start_one, args=(str(tmp_path), i, done)) for i in range(number)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * number
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("kurve").experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED"] * number


def test_a_server_that_dies_is_reported_quickly_and_the_report_is_sent_once_after_its_return(
    server: Server, tmp_path: Path
) -> None:
    tracker = MlflowTracker(uri=server.uri, experiment="dies", retries=1)
    tracker.start(run_info())
    server.stop()
    try:
        started = time.monotonic()
        with pytest.raises(TrackingError, match="send the report"):
            tracker.log_report(report(1024), [a_file(tmp_path)])
        assert time.monotonic() - started < 10
    finally:
        server.start()
    for _ in range(2):
        tracker.log_report(report(1024), [a_file(tmp_path)])
    tracker.finish("FINISHED")
    steps = [step for step, _ in rows(tracker, server.uri, "gsm8k/pass_at_k")]
    assert len(steps) == len(set(steps))
    assert steps.count(1024) == 1
    assert len(rows(tracker, server.uri, "gsm8k/pass_at_1")) == 1


def test_a_report_needs_a_run_and_its_files(server: Server, tmp_path: Path) -> None:
    tracker = MlflowTracker(uri=server.uri, experiment="order")
    with pytest.raises(TrackingError, match="before a run"):
        tracker.log_report(report(4), [])
    tracker.finish("FAILED")  # without a run there is nothing to end
    tracker.start(run_info())
    with pytest.raises(TrackingError, match="do not exist"):
        tracker.log_report(report(4), [tmp_path / "absent.json"])
    with pytest.raises(TrackingError, match="FINISHED, FAILED, KILLED"):
        tracker.finish("DONE")
