"""What a training asks of the MLflow tracker: timed points, files now and then, a run that is taken up again."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from kurve.errors import RejectedError, TrackingError
from kurve.tracking import TimedPoint
from mlflow_plugins.kurve.points import REQUEST_POINTS
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.mlflow_plugins.servers import Server, free_port
from tests.tracking_samples import run_info

NOW = 1_700_000_000_000  # ms since 1970


def started(server: Server, experiment: str, **tags: str) -> MlflowTracker:
    tracker = MlflowTracker(uri=server.uri, experiment=experiment)
    tracker.start(run_info(tags={"kurve.kind": "training", **tags}))
    return tracker


def history(tracker: MlflowTracker, key: str) -> list[tuple[int, float, int]]:
    """Step, value and time (ms) of every point that the run holds under a name."""
    found = MlflowClient(tracker.destination).get_metric_history(tracker.run_id, key)
    return sorted((metric.step, metric.value, metric.timestamp) for metric in found)


def points(number: int, key: str = "train/loss") -> list[TimedPoint]:
    return [TimedPoint(key, step / 7, step, NOW + step) for step in range(number)]


def test_points_keep_their_step_and_time_and_repeating_them_adds_nothing(server: Server) -> None:
    tracker = started(server, "points")
    many = points(2 * REQUEST_POINTS + 1)
    for _ in range(2):
        tracker.log_points(many)
    assert history(tracker, "train/loss") == [(point.step, point.value, point.timestamp) for point in many]
    tracker.log_points([])


def test_names_are_made_valid_and_what_is_not_finite_is_left_out(server: Server) -> None:
    tracker = started(server, "names")
    values = {"train/clip@0.2": 1.0, "train/nan": float("nan"), "train/inf": float("inf"), "train/../up": 2.0}
    tracker.log_points([TimedPoint(key, value, 1, NOW) for key, value in values.items()])
    run = MlflowClient(server.uri).get_run(tracker.run_id)
    assert run.data.metrics == {"train/clip_at_0.2": 1.0, "train/up": 2.0}


@pytest.mark.parametrize("bad", [TimedPoint("train/x", 1.0, 2**63, NOW), TimedPoint("train/x", 1.0, 1, -(2**63) - 1)])
def test_a_number_that_no_database_holds_is_refused_for_good_and_nothing_is_sent(
    server: Server, bad: TimedPoint
) -> None:
    tracker = started(server, "too-large")
    with pytest.raises(RejectedError, match="64 bits"):
        tracker.log_points([*points(3), bad])
    assert history(tracker, "train/loss") == []


def test_a_time_before_1970_is_refused_by_the_server_for_good(server: Server) -> None:
    tracker = started(server, "before-1970")
    with pytest.raises(RejectedError, match="send points"):
        tracker.log_points([TimedPoint("train/x", 1.0, 1, -5)])


def test_files_are_kept_under_their_folder_and_replaced_by_newer_ones(server: Server, tmp_path: Path) -> None:
    tracker = started(server, "files")
    file = tmp_path / "step-5.parquet"
    for content in ("old", "new"):
        file.write_text(content)
        tracker.log_files([file], "rollouts/early")
    client = MlflowClient(server.uri)
    assert [item.path for item in client.list_artifacts(tracker.run_id, "kurve/rollouts/early")] == [
        "kurve/rollouts/early/step-5.parquet"
    ]
    fetched = client.download_artifacts(tracker.run_id, "kurve/rollouts/early/step-5.parquet", str(tmp_path))
    assert Path(fetched).read_text() == "new"


def test_files_that_will_never_be_taken_are_refused_for_good(server: Server, tmp_path: Path) -> None:
    tracker = started(server, "no-files")
    file = tmp_path / "there"
    file.write_text("")
    with pytest.raises(RejectedError, match="absent"):
        tracker.log_files([file, tmp_path / "absent"], "rollouts")
    for folder in ("../up", "/absolute", "a\\b", "nul\x00"):
        with pytest.raises(RejectedError, match="relative folder"):
            tracker.log_files([file], folder)


def test_without_a_run_nothing_is_taken(server: Server, tmp_path: Path) -> None:
    tracker = MlflowTracker(uri=server.uri)
    acts: tuple[Callable[[], None], ...] = (
        lambda: tracker.log_points(points(1)),
        lambda: tracker.log_files([], "rollouts"),
    )
    for act in acts:
        with pytest.raises(TrackingError, match="call start"):
            act()
    assert (tracker.run_id, tracker.url) == ("", "")


def test_a_run_is_taken_up_from_any_experiment_and_ends_when_it_is_said_to(server: Server) -> None:
    first = started(server, "attached")
    first.finish("FAILED")
    second = MlflowTracker(uri=server.uri, experiment="another")
    second.attach(first.run_id)
    client = MlflowClient(server.uri)
    assert client.get_run(first.run_id).info.status == "FAILED"  # to be attached to is no start
    second.log_points(points(3))
    second.finish("FINISHED", NOW + 5)
    assert len(history(first, "train/loss")) == 3
    info = client.get_run(first.run_id).info
    assert (info.status, info.end_time) == ("FINISHED", NOW + 5)
    assert second.url == first.url
    assert client.get_experiment_by_name("another") is None
    second.start(run_info())  # a run of its own, in its own experiment
    assert second.run_id != first.run_id
    assert client.get_experiment_by_name("another") is not None


def test_a_run_that_is_not_there_or_was_deleted_is_named_with_the_way_back(server: Server) -> None:
    tracker = started(server, "not-there")
    other = MlflowTracker(uri=server.uri)
    for act in (other.attach, other.tags):
        with pytest.raises(TrackingError, match="check the id") as caught:
            act("0" * 32)
        assert not isinstance(caught.value, RejectedError)
    client = MlflowClient(server.uri)
    client.delete_run(tracker.run_id)
    with pytest.raises(TrackingError, match=f"runs restore --run-id {tracker.run_id}"):
        other.attach(tracker.run_id)
    with pytest.raises(TrackingError, match="runs restore") as caught:
        tracker.log_points(points(3))
    assert not isinstance(caught.value, RejectedError)  # or the points would be given up
    client.restore_run(tracker.run_id)
    tracker.log_points(points(3))
    assert len(history(tracker, "train/loss")) == 3


def test_the_tags_of_a_run_are_read_as_they_were_given(server: Server) -> None:
    tracker = started(server, "tags", **{"kurve.training": "/models/grpo-abcdef", "kurve.role": "tuned"})
    found = MlflowTracker(uri=server.uri).tags(tracker.run_id)
    assert found["kurve.training"] == "/models/grpo-abcdef"
    assert found["kurve.kind"] == "training"
    assert found["mlflow.runColor"] == "#D55E00"  # of its role in every figure


def test_a_file_of_any_run_is_fetched_by_its_name(server: Server, tmp_path: Path) -> None:
    tracker = started(server, "fetched")
    (tmp_path / "numbers.json").write_text("[1]")
    tracker.log_files([tmp_path / "numbers.json"], "comparison")
    (tmp_path / "copy").mkdir()
    other = MlflowTracker(uri=server.uri)
    found = other.fetch(tracker.run_id, "comparison/numbers.json", tmp_path / "copy")
    assert found.read_text() == "[1]"
    assert found.is_relative_to(tmp_path / "copy")
    with pytest.raises(TrackingError, match=r"kept no file kurve/counts\.parquet"):
        other.fetch(tracker.run_id, "counts.parquet", tmp_path / "copy")
    with pytest.raises(TrackingError, match="check the id"):
        other.fetch("0" * 32, "counts.parquet", tmp_path / "copy")


def test_a_training_is_described_as_one(server: Server) -> None:
    tracker = started(server, "described")
    run = MlflowClient(server.uri).get_run(tracker.run_id)
    assert "a training on 2 problems of gsm8k" in run.data.tags["mlflow.note.content"]
    assert "pass@k" not in run.data.tags["mlflow.note.content"] + tracker.hint
    [data] = run.inputs.dataset_inputs
    assert [(tag.key, tag.value) for tag in data.tags] == [("mlflow.data.context", "training")]


def test_a_training_that_goes_on_keeps_its_run_and_points(server: Server) -> None:
    first = started(server, "goes-on")
    first.log_points(points(5))
    first.finish("KILLED")
    second = started(server, "goes-on")
    assert second.run_id == first.run_id
    second.log_points(points(8))
    run = MlflowClient(server.uri).get_run(first.run_id)
    assert (run.info.status, run.data.tags["kurve.attempt"]) == ("RUNNING", "2")
    assert [step for step, _, _ in history(second, "train/loss")] == list(range(8))


@pytest.mark.slow
def test_a_server_that_comes_back_is_found_again_by_the_same_tracker(server: Server) -> None:
    tracker = started(server, "comes-back")
    away = MlflowTracker(uri=server.uri)
    server.stop()
    try:
        with tracker.in_background():
            begun = time.monotonic()
            acts: tuple[Callable[[], None], ...] = (
                lambda: tracker.log_points(points(3)),
                lambda: away.attach(tracker.run_id),
            )
            for act in acts:
                with pytest.raises(TrackingError, match="start the server") as caught:
                    act()
                assert not isinstance(caught.value, RejectedError)
            assert time.monotonic() - begun < 10
    finally:
        server.start()
    away.attach(tracker.run_id)
    away.log_points(points(3))
    assert len(history(tracker, "train/loss")) == 3
    [experiment] = [e for e in MlflowClient(server.uri).search_experiments(ViewType.ALL) if e.name == "comes-back"]
    assert experiment.experiment_id in away.url


@contextmanager
def busy_server(answers: list[dict[str, str]]) -> Iterator[str]:
    """A server that is always busy, and writes down how patient the process asked its requests to be."""

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answers.append({name: value for name, value in os.environ.items() if name.startswith("MLFLOW_HTTP")})
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_in_the_background_a_request_is_made_once_and_no_call_changes_the_environment() -> None:
    asked: list[dict[str, str]] = []
    before = dict(os.environ)
    with busy_server(asked) as uri:
        tracker = MlflowTracker(uri=uri, retries=5, timeout=77, check_timeout=3)
        with tracker.in_background():
            inside = dict(os.environ)
            for _ in range(2):
                with pytest.raises(TrackingError):
                    tracker.attach("0" * 32)
        assert len(asked) == 2
        assert all(one.items() <= inside.items() for one in asked)
        assert asked[0]["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "20"
        assert dict(os.environ) == before
        with pytest.raises(TrackingError):
            tracker.check()
    assert asked[-1]["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"


def test_a_password_is_in_no_address_that_is_kept() -> None:
    tracker = MlflowTracker(uri=f"http://user:geheim@127.0.0.1:{free_port()}/mlflow")
    assert tracker.destination.endswith("/mlflow")
    assert "geheim" not in tracker.destination
    database = MlflowTracker(uri="postgresql+psycopg2://user:geheim@127.0.0.1/db")
    assert database.destination == "postgresql+psycopg2://user:***@127.0.0.1/db"
