"""`kurve sync`: what trainings could not send reaches the run that each was started with, once."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from omegaconf import OmegaConf

from kurve.commands.sync import main
from kurve.dir_tracker import DirTracker
from kurve.errors import ConfigError, TrackingError
from kurve.journal import Journal
from kurve.outbox import Outbox
from kurve.tracking import NullTracker
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.conftest import RunKurve
from tests.journals import lines, logged, status
from tests.mlflow_plugins.servers import Server
from tests.tracking_samples import run_info
from tests.trainings import SFT, run, start, trained, wait_for, wait_for_step

ENDED = -1  # the last line of a journal


def measured(root: Path, name: str = "grpo-abcdef012345", *, runs: str = "runs") -> tuple[Path, DirTracker]:
    """A training whose tracker was away all the time: its folder, and the tracker that holds its empty run."""
    tracker = DirTracker(root / runs)
    tracker.start(run_info(name))
    folder = root / "models" / name
    with Journal(folder, NullTracker()) as journal:
        for step in range(10):
            journal.log({"reward": step / 10, "loss": -step}, step)
    Outbox(folder).remember_run(tracker)
    keep_config(folder, _target_="kurve.dir_tracker.DirTracker", folder=str(root / runs))
    return folder, tracker


def keep_config(training: Path, **tracker: object) -> None:
    (training / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create({"tracker": tracker})))


def sync(root: Path, **given: object) -> None:
    unused = {"folder": None, "tracker": None, "spool": None, "dry_run": False}
    main(OmegaConf.create({"paths": {"models": str(root / "models")}, **unused, **given}))


def kill(folder: Path) -> None:
    """Make the journal what `kill -9` would have left: its process never said how it ended."""
    path = folder / "journal" / "points.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def test_the_rest_of_every_training_is_sent_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = [measured(tmp_path, name) for name in ("grpo-aaaaaaaaaaaa", "rloo-bbbbbbbbbbbb")]
    sync(tmp_path)
    told = capsys.readouterr().out.splitlines()
    assert told == [f"{folder.name}: sent 20 points  {tracker.url}" for folder, tracker in found]
    for folder, tracker in found:
        assert [(key, step) for key, step, _ in logged(tracker)] == [
            (key, step) for step in range(10) for key in ("train/reward", "train/loss")
        ]
        state = json.loads((Path(tracker.url) / "run.json").read_text())
        assert (state["status"], state["ended"]) == ("FINISHED", lines(folder)[ENDED]["time"])
    sync(tmp_path)
    assert capsys.readouterr().out.splitlines() == [f"{folder.name}: nothing left to send" for folder, _ in found]
    assert [len(logged(tracker)) for _, tracker in found] == [20, 20]


def test_a_training_that_was_killed_is_told_to_be_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, tracker = measured(tmp_path)
    kill(folder)
    sync(tmp_path)
    assert "its process is gone: KILLED" in capsys.readouterr().out
    state = json.loads((Path(tracker.url) / "run.json").read_text())
    assert (state["status"], state["ended"]) == ("KILLED", lines(folder)[ENDED - 1]["time"])


def test_a_training_that_is_running_gets_its_points_and_goes_on(tmp_path: Path) -> None:
    folder, tracker = measured(tmp_path)
    with Journal(folder, NullTracker()) as journal:
        journal.log({"reward": 1.0}, 10)
        sync(tmp_path)
        assert logged(tracker)[-1] == ("train/reward", 10, 1.0)
        assert status(tracker) == "RUNNING"
    sync(tmp_path)
    assert status(tracker) == "FINISHED"


def test_a_training_is_named_by_its_folder_or_a_part_of_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("grpo-aaaaaaaaaaaa", "rloo-aaaabbbbbbbb"):
        measured(tmp_path, name)
    sync(tmp_path, folder="aaaab")
    sync(tmp_path, folder=str(tmp_path / "models" / "grpo-aaaaaaaaaaaa"))
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "rloo-aaaabbbbbbbb", "grpo-aaaaaaaaaaaa",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="fits grpo-aaaaaaaaaaaa, rloo-aaaabbbbbbbb; give more"):
        sync(tmp_path, folder="aaaa")
    with pytest.raises(ConfigError, match=r"neither a training's folder .*rloo-aaaabbbbbbbb.*paths\.models="):
        sync(tmp_path, folder="cccc")


def test_no_trainings_and_one_that_was_tracked_nowhere_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sync(tmp_path)
    with Journal(tmp_path / "models" / "grpo-1", NullTracker()):
        pass
    sync(tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        f"there are no trainings in {tmp_path / 'models'}", "grpo-1: was tracked nowhere",
    ]  # fmt: skip


def test_one_tracker_that_is_away_does_not_keep_the_others_waiting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(tmp_path, "grpo-aaaaaaaaaaaa", runs="gone")
    (tmp_path / "gone").rename(tmp_path / "elsewhere")
    _, there = measured(tmp_path, "rloo-bbbbbbbbbbbb")
    with pytest.raises(TrackingError, match=f"no run .* in {tmp_path}/gone"):
        sync(tmp_path)
    assert "grpo-aaaaaaaaaaaa: not sent" in capsys.readouterr().out
    assert len(logged(there)) == 20
    assert status(there) == "FINISHED"


def test_what_is_refused_for_good_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, tracker = measured(tmp_path)
    with Journal(folder, NullTracker()) as journal:
        journal.keep(folder / "rollouts" / "step-5.parquet", "rollouts")
    sync(tmp_path)
    told = capsys.readouterr().out
    assert "sent 20 points, 1 refused for good (in journal/rejected.jsonl: files to keep" in told
    assert status(tracker) == "FINISHED"


@pytest.mark.parametrize("recorded", [{"folder": "runs"}, {"folder": "other"}, {"folder": None}])
def test_the_run_is_found_from_any_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: dict[str, object]
) -> None:
    folder, tracker = measured(tmp_path)
    keep_config(folder, _target_="kurve.dir_tracker.DirTracker", **recorded)
    (tmp_path / "another").mkdir()
    monkeypatch.chdir(tmp_path / "another")
    sync(tmp_path)
    assert status(tracker) == "FINISHED"
    assert list((tmp_path / "another").iterdir()) == []


@pytest.mark.parametrize("recorded", [None, "sqlite:///mlflow.db"])
def test_a_database_is_found_whatever_the_folder_and_the_variables_say_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: str | None
) -> None:
    tracker = MlflowTracker(folder=tmp_path)
    tracker.start(run_info())
    folder, _ = measured(tmp_path)
    Outbox(folder).remember_run(tracker)
    keep_config(folder, _target_="mlflow_plugins.kurve.tracker.MlflowTracker", uri=recorded)
    (tmp_path / "another").mkdir()
    monkeypatch.chdir(tmp_path / "another")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/another/other.db")
    sync(tmp_path)
    assert MlflowClient(tracker.destination).get_run(tracker.run_id).info.status == "FINISHED"
    assert list((tmp_path / "another").iterdir()) == []


def test_a_password_that_was_not_kept_is_asked_for(tmp_path: Path) -> None:
    folder, _ = measured(tmp_path)
    place = "postgresql://kurve:***@db.example/runs"
    (folder / "journal" / "run.json").write_text(json.dumps({"run_id": "r", "destination": place}))
    keep_config(folder, _target_="mlflow_plugins.kurve.tracker.MlflowTracker", uri=place)
    with pytest.raises(ConfigError, match=r"keeps no password; .*tracker\.uri=.*db\.example/runs"):
        sync(tmp_path)


@pytest.mark.parametrize("config", [None, "", "tracker: null\n", "tracker: {folder: runs}\n", "tracker: [\n"])
def test_a_training_that_does_not_name_its_tracker_is_sent_to_the_one_that_is_given(
    tmp_path: Path, config: str | None
) -> None:
    folder, tracker = measured(tmp_path)
    (folder / "config.yaml").unlink()
    if config is not None:
        (folder / "config.yaml").write_text(config)
    with pytest.raises(ConfigError, match=r"does not name the tracker .*tracker=mlflow"):
        sync(tmp_path)
    sync(tmp_path, tracker={"_target_": "kurve.dir_tracker.DirTracker", "folder": str(tmp_path / "runs")})
    assert status(tracker) == "FINISHED"


def test_a_run_that_has_moved_is_found_where_it_is_named_and_there_from_then_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, tracker = measured(tmp_path)
    (tmp_path / "runs").rename(tmp_path / "moved")
    moved = DirTracker(tmp_path / "moved")
    sync(tmp_path, tracker={"_target_": "kurve.dir_tracker.DirTracker", "folder": str(tmp_path / "moved")})
    moved.attach(tracker.run_id)
    assert len(logged(moved)) == 20
    sync(tmp_path)
    assert capsys.readouterr().out.splitlines()[-1].endswith("nothing left to send")


def test_the_command_takes_a_folder_with_any_name_and_refuses_what_is_none(kurve: RunKurve, tmp_path: Path) -> None:
    folder, tracker = measured(tmp_path / "it's = mine")
    done = kurve("sync", str(folder))
    assert done.returncode == 0, done.stderr
    assert f"sent 20 points  {tracker.url}" in done.stdout
    unknown = kurve("sync", "cafecafe")
    assert unknown.returncode == 2
    assert "cafecafe is neither a training's folder" in unknown.stderr
    assert "Traceback" not in unknown.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    running = Server(tmp_path / "server")
    running.start()
    yield running
    running.stop()


def steps_of(server: Server, run_id: str, key: str = "train/loss") -> list[int]:
    return sorted(metric.step for metric in MlflowClient(server.uri).get_metric_history(run_id, key))


@pytest.mark.slow
def test_a_server_that_dies_during_a_training_gets_all_of_it_later_and_once(fresh: Path, server: Server) -> None:
    asked = (*SFT, "tracker=mlflow", f"tracker.uri={server.uri}", "training.max_steps=200", "training.save_steps=1000")
    running = start(fresh, *asked)
    try:
        points = wait_for(fresh, "outputs/models/*/journal/points.jsonl")
        wait_for_step(points.parents[1], 5)
        server.stop()
        printed, errors = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 0, errors
    folder, record = trained(fresh)
    assert (record.status, record.final_step) == ("FINISHED", 200)
    assert (folder / "model" / "model.safetensors").is_file()
    assert "Training goes on; what it logs is sent when the tracker is back." in errors
    assert f"kurve sync {folder}" in errors
    assert f"to send: kurve sync {folder}" in printed

    server.start()
    client = MlflowClient(server.uri)
    assert client.get_run(record.run_id).info.status == "RUNNING"
    done = run(fresh, "sync", str(folder))
    assert done.returncode == 0, done.stderr
    logged_run = client.get_run(record.run_id)
    assert logged_run.info.status == "FINISHED"
    assert logged_run.info.end_time == lines(folder)[ENDED]["time"]
    keys = {key for line in lines(folder) for key in dict(line.get("values", {}))}  # type: ignore[call-overload]  # JSON
    assert keys == set(logged_run.data.metrics)
    for key in keys:
        noted = [line["step"] for line in lines(folder) if key in line.get("values", {})]  # type: ignore[operator]
        assert steps_of(server, record.run_id, key) == noted
    assert steps_of(server, record.run_id) == list(range(1, 201))
    assert "to send" not in run(fresh, *asked).stdout


@pytest.mark.slow
def test_kill_9_and_a_server_that_is_away_meanwhile_leave_one_run_with_each_step_once(
    fresh: Path, server: Server
) -> None:
    asked = (*SFT, "tracker=mlflow", f"tracker.uri={server.uri}", "training.max_steps=120", "training.save_steps=50")
    running = start(fresh, *asked)
    state = wait_for(fresh, "outputs/models/*/checkpoints/checkpoint-50/trainer_state.json")
    wait_for_step(state.parents[2], 60)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    server.stop()
    again = run(fresh, *asked)
    assert again.returncode == 0, again.stderr
    assert "Training goes on without it" in again.stderr
    folder, record = trained(fresh)
    assert [(one.status, one.first_step) for one in record.attempts] == [("KILLED", 0), ("FINISHED", 50)]
    server.start()
    assert run(fresh, "sync", str(folder)).returncode == 0
    client = MlflowClient(server.uri)
    [only] = client.search_runs(["1"])
    assert only.info.run_id == record.run_id
    assert only.info.status == "FINISHED"
    assert only.data.tags["kurve.kind"] == "training"
    assert steps_of(server, record.run_id) == list(range(1, 121))
