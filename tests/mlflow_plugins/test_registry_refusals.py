"""What the registry refuses, how it says so, and which place it takes when none is named."""

import os
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from kurve.dir_tracker import DirTracker
from kurve.errors import TrackingError
from kurve.tracking import NullTracker, Registry, Tracker
from mlflow_plugins.kurve.registry import MlflowRegistry, model_name
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.mlflow_plugins.registering import PLACES, SHA, address, evaluation, trained, versions
from tests.mlflow_plugins.servers import Server, free_port
from tests.tracking_samples import HOSTILE, run_info


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("countdown-grpo", "countdown-grpo"),
        ("Qwen/Qwen2.5-7B", "Qwen-Qwen2.5-7B"),
        ("org/model:7b", "org-model-7b"),
        ("../../etc/passwd", "etc-passwd"),
        ("it's 100%\"", "it-s 100"),
        ("größe 日本", "größe 日本"),
        ("a\x00b\ud800", "a-x00b-ud800"),
        ("x" * 300, "x" * 250),
    ],
)
def test_a_name_becomes_one_that_the_registry_takes(name: str, valid: str) -> None:
    assert model_name(name) == valid
    assert model_name(valid) == valid


@pytest.mark.parametrize("name", ["", "   ", "/", "..", "-.-", "::"])
def test_a_name_without_letters_is_refused(server: Server, name: str) -> None:
    with pytest.raises(TrackingError, match="letters or digits"):
        MlflowRegistry(uri=server.uri).register(trained(name, run_id="unused"))


@PLACES
def test_any_text_can_be_registered(server: Server, tmp_path: Path, place: str) -> None:
    uri = address(place, server, tmp_path)
    measured = evaluation(uri, "hostile")
    path, base = f"/models/{HOSTILE}{'&' * 4000}", HOSTILE + "&" * 4000
    tags = {"kurve.base": base, "kurve.sha256/": "other", "long": "y" * 200_000, "kurve.path": "not this"}
    made = MlflowRegistry(uri=uri).register(
        trained(f"org/{HOSTILE}'\"%", path=path, evaluations=[measured, measured, ""], tags=tags)
    )
    version = MlflowClient(uri).get_model_version(made.name, made.version)
    assert version.tags["kurve.path"].startswith("/models/<script>")
    assert version.tags["kurve.sha256"] == SHA
    assert version.tags["kurve.sha256_2"] == "other"
    assert version.tags["kurve.evaluations"] == measured
    assert len(version.tags["long"]) == 8000
    assert "<script>" not in version.description
    assert len(version.description) <= 5000  # as long as PostgreSQL's column


def test_a_model_without_any_run_is_refused(server: Server) -> None:
    with pytest.raises(TrackingError, match="train or evaluate it with this tracker first"):
        MlflowRegistry(uri=server.uri).register(trained("without-run", evaluations=[""]))
    assert versions(server.uri, "without-run") == []


@PLACES
def test_a_run_that_is_not_there_is_refused_and_nothing_is_registered(
    server: Server, tmp_path: Path, place: str
) -> None:
    uri = address(place, server, tmp_path)
    there = evaluation(uri, "absent")
    for model in (trained("absent", run_id="f" * 32), trained("absent", evaluations=[there, "f" * 32])):
        with pytest.raises(TrackingError, match=r"cannot register the model 'absent' at .*check the id"):
            MlflowRegistry(uri=uri).register(model)
    assert versions(uri, "absent") == []


def test_a_run_that_was_deleted_is_refused_with_the_way_back(server: Server) -> None:
    measured = evaluation(server.uri, "deleted-evaluation")
    MlflowClient(server.uri).delete_run(measured)
    with pytest.raises(TrackingError, match=f"restore --run-id {measured}"):
        MlflowRegistry(uri=server.uri).register(trained("deleted-evaluation", evaluations=[measured]))
    assert versions(server.uri, "deleted-evaluation") == []


def test_a_version_whose_logged_model_was_deleted_is_refused_with_the_way_out(server: Server) -> None:
    measured = evaluation(server.uri, "lost")
    registry, client = MlflowRegistry(uri=server.uri), MlflowClient(server.uri)
    registry.register(trained("lost", evaluations=[measured]))
    client.delete_logged_model(client.get_model_version("lost", "1").tags["kurve.logged_model"])
    with pytest.raises(TrackingError, match="delete the version too, then register again"):
        registry.register(trained("lost", evaluations=[measured]))
    client.delete_model_version("lost", "1")
    assert registry.register(trained("lost", evaluations=[measured])).version == "2"


def test_a_dead_server_is_refused_within_seconds_and_what_to_do_is_said() -> None:
    registry = MlflowTracker(uri=f"http://user:geheim@127.0.0.1:{free_port()}").registry()
    before, started = dict(os.environ), time.monotonic()
    for attempt in (registry.check, lambda: registry.register(trained("dead", run_id="f" * 32))):
        with pytest.raises(TrackingError, match=r"start the server.*tracker=none") as caught:
            attempt()
        assert "geheim" not in str(caught.value)
    assert time.monotonic() - started < 20
    assert dict(os.environ) == before


@pytest.mark.slow
def test_a_server_that_dies_is_reported_and_the_model_is_registered_once_after_its_return(server: Server) -> None:
    measured = evaluation(server.uri, "dies-registering")
    registry = MlflowRegistry(uri=server.uri, retries=0)
    registry.check()
    server.stop()
    try:
        with pytest.raises(TrackingError, match="cannot register the model 'dies'"):
            registry.register(trained("dies", evaluations=[measured]))
    finally:
        server.start()
    for _ in range(2):
        assert registry.register(trained("dies", evaluations=[measured])).version == "1"


def test_a_database_is_used_even_when_mlflow_itself_is_set_to_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = evaluation(f"sqlite:///{tmp_path}/mlflow.db", "own")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    registry = MlflowRegistry(uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert registry.register(trained("own", evaluations=[measured])).url.startswith("http://127.0.0.1:5000/#/models/")
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock", "mlartifacts"}


def test_the_default_is_the_database_of_the_working_folder(tmp_path: Path) -> None:
    tracker = MlflowTracker()
    tracker.start(run_info())
    made = tracker.registry().register(trained("default", run_id=tracker.run_id))
    assert versions(f"sqlite:///{tmp_path}/mlflow.db", "default") == [made.version] == ["1"]


def test_trackers_without_a_server_or_database_keep_no_registry(tmp_path: Path) -> None:
    trackers: list[Tracker] = [NullTracker(), DirTracker(tmp_path), MlflowTracker()]
    assert [tracker.registry() is None for tracker in trackers] == [True, True, False]
    registry: Registry = MlflowRegistry()  # the type checker's word that it is one
    assert registry is not None
