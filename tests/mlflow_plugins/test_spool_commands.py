"""kurve's own commands with a spool and no server: nothing fails, and `kurve sync` brings everything, once."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from kurve.commands import study_result
from kurve.errors import NotKeptError, TrackingError
from kurve.tracking import IMAGE_SUFFIX, ModelInfo, ModelVersion, TimedPoint
from mlflow_plugins.kurve.spool import FOLDER_VARIABLE
from mlflow_plugins.kurve.spool.wire import Wire, failure
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.conftest import RunKurve, command_environment, command_line
from tests.mlflow_plugins.servers import Server
from tests.mlflow_plugins.spooling import cut_off, down, held, runs, spool_at, sync
from tests.tracking_samples import HOSTILE, report, run_info

NOW = 1_700_000_000_000  # ms since 1970
BASE = ("evaluate", "model=local", "model.path=unused/model", "sampler=scripted", "benchmark=arithmetic")
SETTINGS = ("benchmark.limit=3", "num_samples=6", "tracker.experiment=spooled-evaluation")


def tracked(uri: str, experiment: str, folder: Path, *, key: str = "0123456789abcdef") -> MlflowTracker:
    """A whole evaluation, as a command logs it."""
    tracker = MlflowTracker(uri=uri, experiment=experiment)
    tracker.check()
    assert tracker.start(run_info(key, name=HOSTILE, tags={"kurve.odd": HOSTILE}))
    (folder / "curve.json").write_text("{}")
    tracker.log_points([TimedPoint("train/loss", step / 3, step, NOW + step) for step in range(700)])
    tracker.log_files([folder / "curve.json"], "rollouts")
    tracker.log_report(report(500), [folder / "curve.json"])
    tracker.finish("FINISHED")
    return tracker


def comparable(kept: dict[str, Any]) -> dict[str, Any]:
    """What a server holds of an evaluation, less what names the tracker or the moment."""
    params = {key: value for key, value in kept["params"].items() if not key.startswith("tracker.")}
    files = {key: value for key, value in kept["files"].items() if key != "kurve/config.yaml"}
    tags = {key: value for key, value in kept["tags"].items() if key != "hydra.job.overrides"}
    points = {key: [point[:2] for point in rows] for key, rows in kept["points"].items()}
    return kept | {"params": params, "files": files, "tags": tags, "points": points}


def test_an_evaluation_whose_server_is_down_all_the_time_arrives_whole_and_once(
    server: Server, kurve: RunKurve, tmp_path: Path
) -> None:
    spool = {FOLDER_VARIABLE: str(tmp_path / "spool")}
    done = kurve(*BASE, *SETTINGS, f"tracker.uri={down()}", **spool)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be reached: what is logged is kept in") == 1
    assert f"the run is kept in {tmp_path / 'spool'}" in done.stdout
    assert "#/experiments/" not in done.stdout
    sent = kurve("sync", f"spool={tmp_path / 'spool'}", f"spool_uri={server.uri}")
    assert sent.returncode == 0, sent.stderr
    assert "sent 1 new run, " in sent.stdout
    assert sync(tmp_path / "spool", server.uri) == []
    [run] = runs(server.uri, "spooled-evaluation")
    found = held(server.uri, run.info.run_id)
    assert found["status"] == "FINISHED"
    assert len(found["points"]["arithmetic/pass_at_k"]) == 6
    written = {path.name for path in tmp_path.glob("outputs/runs/*/*/report/*") if path.is_file()}
    assert "accuracy.image.png" in written
    assert {f"images/arithmetic~accuracy+step+0{end}" for end in (".png", ".webp")} <= set(found["files"])
    written = {name for name in written if not name.endswith(IMAGE_SUFFIX)}
    assert written <= {Path(name).name for name in found["files"]}
    assert {"kurve/config.yaml", "kurve/samples.parquet"} <= set(found["files"])


@pytest.mark.slow
def test_an_evaluation_from_the_spool_is_the_one_that_an_online_start_logs(
    server: Server, kurve: RunKurve, tmp_path: Path
) -> None:
    spool = {FOLDER_VARIABLE: str(tmp_path / "spool")}
    settings = (*BASE, *SETTINGS, "tracker.experiment=as-online")
    assert kurve(*settings, f"tracker.uri={down()}", **spool).returncode == 0
    sync(tmp_path / "spool", server.uri)
    online = kurve(*settings, f"tracker.uri={server.uri}", "tracker.new_run=true")
    assert online.returncode == 0, online.stderr
    spooled, other = (held(server.uri, run.info.run_id) for run in runs(server.uri, "as-online"))
    assert comparable(spooled) == comparable(other)


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_of_an_evaluation_neither_fails_it_nor_misses_anything(
    kurve: RunKurve, tmp_path: Path
) -> None:
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    spool = {FOLDER_VARIABLE: str(tmp_path / "spool")}
    server.start()
    try:
        slow = (*BASE, *SETTINGS, "num_samples=30", "sampler.seconds=0.05", f"tracker.uri={server.uri}")
        running = subprocess.Popen(
            command_line(slow), cwd=tmp_path, env=command_environment() | spool, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("outputs/samples/*/samples-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        server.stop()
        _, stderr = running.communicate(timeout=240)
        assert running.returncode == 0, stderr
        assert "kurve sync" in stderr
        server.start()
        assert kurve("sync", **spool).returncode == 0
        [run] = runs(server.uri, "spooled-evaluation")
        found = held(server.uri, run.info.run_id)
        assert found["status"] == "FINISHED"
        assert len(found["points"]["arithmetic/pass_at_k"]) == 30
        assert "kurve/curve.json" in found["files"]
        assert "(logged before)" in kurve(*slow, **spool).stdout
    finally:
        server.stop()


def test_a_whole_run_of_the_tracker_arrives_as_if_the_server_had_been_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spool_at(tmp_path / "spool", monkeypatch):
        offline = tracked(down(), "whole", tmp_path)
        assert offline.url == ""
        assert "kurve sync" in offline.hint
    sync(tmp_path / "spool", server.uri)
    online = tracked(server.uri, "whole", tmp_path, key="fedcba9876543210")
    [first] = [run for run in runs(server.uri, "whole") if run.info.run_id != online.run_id]
    ours, theirs = held(server.uri, first.info.run_id), held(server.uri, online.run_id)
    for kept in (ours, theirs):
        kept["tags"] = {key: value for key, value in kept["tags"].items() if key != "kurve.evaluation"}
        kept["tags"]["mlflow.note.content"] = kept["tags"]["mlflow.note.content"].replace(
            "fedcba987654", "0123456789ab"
        )
        kept["points"].pop("train/loss")
    assert ours == theirs
    found = MlflowClient(server.uri).get_metric_history(first.info.run_id, "train/loss")
    assert sorted((one.step, one.value, one.timestamp) for one in found) == [
        (step, step / 3, NOW + step) for step in range(700)
    ]


def test_a_second_start_without_a_server_finds_the_run_that_is_in_the_spool(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = down()
    with spool_at(tmp_path / "spool", monkeypatch):
        first = MlflowTracker(uri=uri, experiment="second start")
        first.start(run_info())
    with spool_at(tmp_path / "spool", monkeypatch):
        second = MlflowTracker(uri=uri, experiment="second start")
        assert second.start(run_info())
        assert second.run_id == first.run_id
        second.log_report(report(8), [])
        second.finish("FINISHED")
    with spool_at(tmp_path / "spool", monkeypatch):
        third = MlflowTracker(uri=uri, experiment="second start")
        assert not third.start(run_info())
    sync(tmp_path / "spool", server.uri)
    [run] = runs(server.uri, "second start")
    assert run.info.status == "FINISHED"
    assert run.data.tags["kurve.attempt"] == "2"


def test_a_registry_says_that_it_is_not_spooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with spool_at(tmp_path / "spool", monkeypatch):
        tracker = MlflowTracker(uri=down(), experiment="registry")
        tracker.start(run_info())
        model = ModelInfo("m", "/m", "a" * 64, 1, tracker.run_id, (), {})
        with pytest.raises(NotKeptError, match="registry is not spooled"):
            tracker.registry().check()
        with pytest.raises(NotKeptError, match="registry is not spooled"):
            tracker.registry().register(model)


def test_a_model_of_a_run_in_the_spool_is_registered_once_the_run_is_sent(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spool_at(tmp_path / "spool", monkeypatch):
        tracker = MlflowTracker(uri=server.uri, experiment="registered later")
        tracker.check()
        spool = tracker._client()._tracking_client.store.spool
        with cut_off(spool):
            tracker.start(run_info())
            model = ModelInfo("spooled-model", "/m", "a" * 64, 1, tracker.run_id, (tracker.run_id,), {})
            with pytest.raises(NotKeptError, match="registry is not spooled"):
                tracker.registry().register(model)
        assert spool.flush(20)
        version = tracker.registry().register(model)
    [run] = runs(server.uri, "registered later")
    found = MlflowClient(server.uri).get_model_version(version.name, version.version)
    assert found.run_id == run.info.run_id != tracker.run_id
    assert found.tags["kurve.evaluations"] == run.info.run_id


def test_a_wrong_password_is_refused_at_once_and_not_spooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*given: object, **named: object) -> None:
        raise failure(401, "401")

    monkeypatch.setattr(Wire, "call", denied)
    with spool_at(tmp_path / "spool", monkeypatch), pytest.raises(TrackingError, match="401"):
        MlflowTracker(uri=down()).check()


@pytest.mark.parametrize("away", [True, False])
def test_a_study_notes_that_its_models_are_not_registered_until_they_are(tmp_path: Path, away: bool) -> None:
    made = {} if away else {"trained": ModelVersion("m", "1", "")}

    def register() -> dict[str, ModelVersion]:
        if away:
            raise NotKeptError("the registry is away")
        return made

    note = tmp_path / study_result.FOLDER / study_result.NOT_REGISTERED
    note.parent.mkdir()
    note.write_text("from an earlier start")
    assert study_result._register_or_say(tmp_path, register) == made
    assert note.exists() is away
    assert not away or note.read_text() == "the registry is away\n"
