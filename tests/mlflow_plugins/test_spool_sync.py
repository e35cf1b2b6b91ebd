"""Sending what is left in a spool: in order, once, whoever is killed; what is refused is set aside with its reason."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from kurve.errors import ConfigError, TrackingError
from mlflow_plugins.kurve.spool import journal
from mlflow_plugins.kurve.spool.files import SMALL, FileChangedError, local_file, noted
from mlflow_plugins.kurve.spool.folder import ServerFolder
from mlflow_plugins.kurve.spool.sender import Sender
from mlflow_plugins.kurve.spool.sync import MlflowSpool
from mlflow_plugins.kurve.spool.wire import AwayError, DeniedError, DoubtfulError, Wire, _check, failure
from tests.mlflow_plugins.servers import Server
from tests.mlflow_plugins.spooling import down, held, runs, spool_at, sync

NOW = 1_700_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def left_behind(root: Path, experiment: str, monkeypatch: pytest.MonkeyPatch, *, points: int = 5) -> str:
    """A run of a process that is gone and never saw its server; the server's address."""
    uri = down()
    with spool_at(root, monkeypatch):
        client = MlflowClient(uri)
        run = client.create_run(client.create_experiment(experiment), run_name="left", start_time=NOW)
        for step in range(points):
            client.log_metric(run.info.run_id, "x", step / 3, timestamp=NOW + step, step=step)
        client.log_param(run.info.run_id, "lr", "0.1")
        client.log_text(run.info.run_id, "hello", "a.txt")
        client.set_terminated(run.info.run_id, end_time=NOW + 1000)
    return uri


def only_journal(root: Path) -> Path:
    [server] = root.iterdir()
    [folder] = journal.journals(server)
    return folder


def the_run(server: Server, experiment: str) -> dict[str, Any]:
    [run] = runs(server.uri, experiment)
    return held(server.uri, run.info.run_id)


def test_sending_twice_adds_nothing(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(root, "twice", monkeypatch)
    folder = only_journal(root)
    copy = folder.with_name("29990101T000000-1-aaaaaa")  # as if nobody had noted that it was sent
    copy.mkdir()
    (copy / journal.BLOBS).symlink_to(folder / journal.BLOBS)
    for name in (journal.JOURNAL, journal.WRITER_LOCK, journal.SENDER_LOCK):
        (copy / name).write_bytes((folder / name).read_bytes())
    spool = MlflowSpool(folder=copy, uri=server.uri)
    [left] = spool.left()
    assert (left.records, left.files, left.quarantined, left.alive) == (10, 1, 0, False)
    assert spool.send(left, lambda sent, total: None).runs == 1
    first = the_run(server, "twice")
    (folder.parent / "ids.txt").unlink()
    [again] = sync(root, server.uri)
    assert (again.runs, again.refused) == (0, 0)
    assert the_run(server, "twice") == first
    assert [point[:2] for point in first["points"]["x"]] == [(step, step / 3) for step in range(5)]
    assert sync(root, server.uri) == []


def test_a_sender_that_is_cut_off_anywhere_goes_on_where_it_was(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(root, "cut off", monkeypatch)
    folder = only_journal(root)
    tries = 0

    class CutOffError(Exception):
        pass

    def cut() -> None:
        raise CutOffError

    while not journal.is_sent(folder):
        sender = Sender(ServerFolder(folder.parent), Wire(server.uri), cut)
        with pytest.raises(CutOffError):
            sender.send(folder)
        tries += 1
        if tries % 2:
            (folder / journal.SENT).unlink()  # the note of it was lost
            with pytest.raises(CutOffError):
                Sender(ServerFolder(folder.parent), Wire(server.uri), cut).send(folder)
            journal.remember_sent(folder, [line.end for line in journal.read_lines(folder / journal.JOURNAL)][tries])
    found = the_run(server, "cut off")
    assert [point[:2] for point in found["points"]["x"]] == [(step, step / 3) for step in range(5)]
    assert (found["status"], found["params"], list(found["files"])) == ("FINISHED", {"lr": "0.1"}, ["a.txt"])


def test_what_the_server_refuses_is_set_aside_with_its_reason_and_the_rest_arrives(
    server: Server, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spool_at(root, monkeypatch):
        client = MlflowClient(down())
        run_id = client.create_run(client.create_experiment("refused"), start_time=NOW).info.run_id
        client.log_batch(run_id, params=[Param("lr", "0.1")])
        client.log_batch(run_id, params=[Param("a", "1"), Param("lr", "0.2"), Param("b", "2")])
        client.log_batch(run_id, metrics=[Metric(key, 1.0, NOW, 0) for key in ("x", "pass@1", "y")])
        big = tmp_path / "big.bin"
        with big.open("wb") as file:
            file.truncate(SMALL + 1)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
        client.log_artifact(run_id, str(big))
        monkeypatch.setattr("tempfile.tempdir", None)
        big.write_bytes(b"another")
        client.log_text(run_id, "last", "last.txt")
    [sent] = sync(root, server.uri)
    assert sent.refused == 3
    found = the_run(server, "refused")
    assert found["params"] == {"lr": "0.1", "a": "1", "b": "2"}
    assert sorted(found["points"]) == ["x", "y"]
    assert list(found["files"]) == ["last.txt"]
    aside = [line.record for line in journal.read_lines(only_journal(root) / journal.QUARANTINE)]
    reasons = sorted(record.reason for record in aside if record is not None)
    assert "big.bin was changed after it was logged" in " ".join(reasons)
    assert any("pass@1" in reason for reason in reasons)
    assert any("lr" in reason for reason in reasons)
    [left] = MlflowSpool(folder=root).left()
    assert (left.records, left.quarantined) == (0, 3)
    assert sync(root, server.uri, retry=True)[0].refused == 3
    assert MlflowSpool(folder=root).left()[0].quarantined == 3


def test_what_was_refused_is_sent_again_once_its_cause_is_gone(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(server.uri)
    experiment = client.create_experiment("deleted")
    client.delete_experiment(experiment)
    left_behind(root, "deleted", monkeypatch)
    [sent] = sync(root, server.uri)
    assert sent.refused == 9
    client.restore_experiment(experiment)
    [again] = sync(root, server.uri, retry=True)
    assert (again.refused, again.runs) == (0, 1)
    assert list(the_run(server, "deleted")["files"]) == ["a.txt"]
    assert MlflowSpool(folder=root).left() == []


def test_a_damaged_line_is_set_aside_and_the_rest_arrives(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(root, "damaged", monkeypatch)
    path = only_journal(root) / journal.JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"00000000 {}\n", *lines[3:], lines[-1][:10]]))
    assert sync(root, server.uri)[0].refused == 1
    assert len(the_run(server, "damaged")["points"]["x"]) == 5
    assert sync(root, server.uri, retry=True)[0].refused == 1


def test_a_server_that_is_away_costs_nothing_but_the_message(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = left_behind(root, "away", monkeypatch)
    before = (only_journal(root) / journal.JOURNAL).read_bytes()
    with pytest.raises(TrackingError, match=r"Connection refused.*spool_uri.*nothing is lost") as told:
        sync(root)
    assert uri in str(told.value)
    assert (only_journal(root) / journal.JOURNAL).read_bytes() == before
    (root / only_journal(root).parent.name / "server.json").unlink()
    with pytest.raises(ConfigError, match="spool_uri"):
        sync(only_journal(root))


def send(root: Path, uri: str) -> None:
    sync(root, uri)


@pytest.mark.slow
def test_two_at_once_send_everything_once(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        left_behind(root, "two", monkeypatch, points=40)
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=send, args=(root, server.uri)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(120)
        assert one.exitcode == 0
    found = runs(server.uri, "two")
    assert len(found) == 3
    assert all(len(held(server.uri, run.info.run_id)["points"]["x"]) == 40 for run in found)


@pytest.mark.slow
def test_kill_9_of_the_sender_at_any_moment_loses_and_doubles_nothing(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = down()
    with spool_at(root, monkeypatch):
        client = MlflowClient(uri)
        experiment = client.create_experiment("killed sender")
        for number in range(20):
            run = client.create_run(experiment, run_name=str(number), start_time=NOW)
            for step in range(10):
                client.log_metric(run.info.run_id, "x", step / 3, timestamp=NOW, step=step)
                client.set_tag(run.info.run_id, "at", str(step))
            client.log_text(run.info.run_id, str(number), "n.txt")
            client.set_terminated(run.info.run_id)
    folder = only_journal(root)
    code = (
        "import sys; from pathlib import Path; from tests.mlflow_plugins.spooling import sync; print(0, flush=True); "
    )
    code += "sync(Path(sys.argv[1]), sys.argv[2])"
    kills = 0
    for patience in (0.05, 0.3, 0.7, 1.1):
        sender = subprocess.Popen(
            [sys.executable, "-c", code, str(root), server.uri],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert sender.stdout is not None
        sender.stdout.readline()
        time.sleep(patience)
        kills += sender.poll() is None
        os.killpg(sender.pid, signal.SIGKILL)
        sender.wait()
    assert kills >= 2
    assert folder.exists()
    sync(root, server.uri)
    found = runs(server.uri, "killed sender")
    assert sorted(run.info.run_name for run in found) == sorted(map(str, range(20)))
    for run in found:
        kept = held(server.uri, run.info.run_id)
        assert [point[:2] for point in kept["points"]["x"]] == [(step, step / 3) for step in range(10)]
        assert (kept["tags"]["at"], kept["status"], list(kept["files"])) == ("9", "FINISHED", ["n.txt"])


@pytest.mark.parametrize(("size", "copied"), [(0, True), (100, True), (SMALL, True), (SMALL + 1, False)])
def test_small_files_are_copied_and_large_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, copied: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    file = tmp_path / "file.bin"
    with file.open("wb") as opened:
        opened.truncate(size)
    record = noted(file, "mlflow-artifacts:/1/r/artifacts", "file.bin", tmp_path)
    assert record.body["size"] == size
    assert (record.body["file"] == "") is copied
    assert local_file(record, tmp_path).stat().st_size == size
    file.unlink()
    if copied:
        assert local_file(record, tmp_path).exists()
    else:
        with pytest.raises(FileChangedError, match="cannot be read any more"):
            local_file(record, tmp_path)


def test_a_large_temporary_file_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    file = tmp_path / "file.bin"
    with file.open("wb") as opened:
        opened.truncate(SMALL + 1)
    assert noted(file, "mlflow-artifacts:/1/r/artifacts", "file.bin", tmp_path).body["file"] == ""


@pytest.mark.parametrize(
    ("status", "kind", "answered"),
    [
        (500, AwayError, True),
        (503, AwayError, False),
        (429, AwayError, True),
        (401, DeniedError, True),
        (403, DeniedError, True),
    ],
)
def test_an_answer_that_may_change_is_told_from_one_that_will_not(
    status: int, kind: type[AwayError], answered: bool
) -> None:
    found = failure(status, "words")
    assert type(found) is kind
    assert found.answered is answered
    assert type(failure(400, "words")) is MlflowException


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, '{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}', MlflowException),
        (400, '{"error_code": "BAD_REQUEST", "message": "no connection free"}', DoubtfulError),
        (404, '{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no run"}', MlflowException),
        (404, "<html>the proxy's own page</html>", AwayError),
        (413, "<html>too large for the proxy</html>", MlflowException),
        (200, "<html>please log in</html>", AwayError),
    ],
)
def test_what_a_proxy_says_is_told_from_what_mlflow_says(status: int, text: str, kind: type[MlflowException]) -> None:
    import requests

    response = requests.Response()
    response.status_code, response._content, response.url = status, text.encode(), "http://host"
    with pytest.raises(MlflowException) as raised:
        _check(response, "/api/2.0/mlflow/runs/create")
    assert isinstance(raised.value, kind)
    assert isinstance(raised.value, AwayError) == issubclass(kind, AwayError)
