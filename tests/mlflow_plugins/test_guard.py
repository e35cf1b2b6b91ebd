"""Against a real server that was started with `--app-name kurve`, by the clients that people have."""

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.model_registry_pb2 import SetRegisteredModelAlias
from mlflow.server import handlers

from kurve.errors import ConfigError
from mlflow_plugins.kurve.guard import protect
from tests.conftest import RunKurve, command_environment, command_line
from tests.mlflow_plugins.guarded import ALSO_GOOD, BAD, GOOD, UNJUDGED, Place
from tests.mlflow_plugins.servers import Server


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    server = Server(tmp_path_factory.mktemp("guarded"), "--app-name", "kurve", "--static-prefix", "/ml")
    server.start()
    server.uri += "/ml"
    yield Place(server, tmp_path_factory.mktemp("evaluations"))
    server.stop()


@pytest.fixture
def promote(kurve_here: RunKurve, place: Place) -> Any:
    def run(version: int, *more: str) -> Any:
        where = [f"tracker.uri={place.uri}", "tracker.experiment=gates"]
        return kurve_here("promote", "model=m", f"version={version}", *where, *more)

    return run


def decision(place: Place, version: int) -> dict[str, str]:
    return dict(json.loads(place.client.get_model_version("m", str(version)).tags["kurve.gate.champion"]))


def set_champion(place: Place, version: int) -> None:
    place.client.set_registered_model_alias("m", "champion", str(version))


def ensure_passed(place: Place, promote: Any, version: int) -> None:
    """Promote the version unless an earlier test did, and let it be the champion."""
    try:
        set_champion(place, version)
    except MlflowException:
        done = promote(version)
        assert done.returncode == 0, done.stderr


def refused(place: Place, version: int, alias: str = "champion") -> str:
    with pytest.raises(MlflowException, match="PERMISSION_DENIED: kurve's gate refuses") as caught:
        place.client.set_registered_model_alias("m", alias, str(version))
    return str(caught.value)


def test_a_version_that_no_gate_has_judged_is_refused_whichever_way_it_is_asked_for(place: Place) -> None:
    before = place.champion
    assert "no gate has judged it for this alias" in refused(place, UNJUDGED)
    assert "no gate has judged it" in refused(place, UNJUDGED, "Champion")
    for prefix in ("api", "ajax-api"):
        for version in (str(UNJUDGED), "99"):
            body = {"alias": "champion", "name": "m", "version": version}
            answer = requests.post(f"{place.uri}/{prefix}/2.0/mlflow/registered-models/alias", json=body, timeout=20)
            assert answer.status_code == 403
            assert answer.json()["error_code"] == "PERMISSION_DENIED"
            assert "kurve's gate refuses" in answer.json()["message"]
    assert place.champion == before
    place.client.set_registered_model_alias("m", "candidate", str(UNJUDGED))  # nobody relies on it
    assert place.client.get_model_version_by_alias("m", "candidate").version == str(UNJUDGED)


def test_a_dry_run_says_it_all_and_writes_nothing(place: Place, promote: Any) -> None:
    before = place.champion
    done = promote(UNJUDGED, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "dry run: nothing was written" in done.stdout
    assert "superiority" in done.stdout
    assert "kurve.gate" not in place.client.get_model_version("m", str(UNJUDGED)).tags
    assert place.champion == before


def test_the_good_version_passes_and_says_why(place: Place, promote: Any) -> None:
    done = promote(GOOD)
    assert done.returncode == 0, done.stderr + done.stdout
    assert place.champion == str(GOOD)
    version = place.client.get_model_version("m", str(GOOD))
    assert version.tags["kurve.gate"] == "passed"
    said = decision(place, GOOD)
    assert said["outcome"] == "passed"
    assert version.description.count("**Gate** default for the alias champion: passed") == 1
    assert "pass@1 is 5" in version.description
    assert "problems that only this version solves" in version.description
    assert "The weights stay in" in version.description  # what it was registered with
    run = place.client.get_run(said["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["kurve.kind"] == "gate"
    report = json.loads((place.files(said["run_id"]) / "gate" / "gate.json").read_text())
    assert report["outcome"] == "passed"
    assert report["inputs"][0]["base"]["run_id"] == place.base
    assert "# m version 1: passed" in (place.files(said["run_id"]) / "gate" / "gate.md").read_text()


def test_the_bad_version_fails_also_with_metrics_that_were_edited_by_hand(place: Place, promote: Any) -> None:
    place.client.log_metric(place.runs[BAD], "easy/pass_at_64", 1.0)
    place.client.log_metric(place.runs[BAD], "easy/delta_pass_at_64_low", 0.5)
    before = place.champion
    done = promote(BAD)
    assert done.returncode == 1
    assert "it failed: easy: pass@64 changed by" in done.stderr
    assert place.client.get_model_version("m", str(BAD)).tags["kurve.gate"] == "failed"
    assert place.champion == before
    assert "said failed" in refused(place, BAD)


def test_too_little_evidence_is_neither_and_a_lax_gate_does_not_help(place: Place, promote: Any) -> None:
    before = place.champion
    done = promote(BAD, "gate.min_problems=1000")
    assert done.returncode == 3
    assert "1,000 are asked for" in done.stderr
    lax = promote(BAD, "gate.non_inferiority_margin=0.9")
    assert lax.returncode == 2
    assert "asks for less than 'default' does: non_inferiority_margin is 0.9" in " ".join(lax.stderr.split())
    assert promote(BAD, "gate=none", "alias=shadow").returncode == 0
    assert place.client.get_model_version_by_alias("m", "shadow").version == str(BAD)
    assert place.champion == before


def test_tags_and_a_report_that_were_forged_are_refused(place: Place, promote: Any) -> None:
    ensure_passed(place, promote, GOOD)
    good = decision(place, GOOD)

    def say(value: str) -> str:
        place.client.set_model_version_tag("m", str(BAD), "kurve.gate.champion", value)
        return refused(place, BAD)

    assert "its gate report is of another version" in say(json.dumps(good))
    assert "no gate has judged it" in say("not json")
    assert "is not that of a gate" in say(json.dumps(good | {"run_id": place.runs[BAD]}))
    assert "not found" in say(json.dumps(good | {"run_id": "0" * 32}))
    assert "has another sha256" in say(json.dumps(good | {"sha256": "0" * 64}))


def test_a_rollback_to_a_version_that_passed_needs_no_new_gate(place: Place, promote: Any) -> None:
    ensure_passed(place, promote, GOOD)
    ensure_passed(place, promote, ALSO_GOOD)
    assert place.champion == str(ALSO_GOOD)
    set_champion(place, GOOD)
    assert place.champion == str(GOOD)
    place.client.delete_registered_model_alias("m", "champion")  # to take it away is always allowed
    assert place.champion == ""
    set_champion(place, ALSO_GOOD)


def test_evidence_that_is_altered_afterwards_is_refused_again_until_it_is_back(place: Place, promote: Any) -> None:
    ensure_passed(place, promote, GOOD)
    counts = place.files(place.runs[GOOD]) / "counts.parquet"
    before = counts.read_bytes()
    counts.write_bytes((place.files(place.runs[BAD]) / "counts.parquet").read_bytes())
    assert "its evidence cannot be checked: the counts of the run" in refused(place, GOOD)
    assert promote(GOOD).returncode == 3
    counts.write_bytes(before)
    set_champion(place, GOOD)
    place.client.delete_run(place.base)
    assert "was deleted" in refused(place, GOOD)
    place.client.restore_run(place.base)
    set_champion(place, GOOD)


@pytest.mark.slow
def test_a_report_that_was_altered_is_refused_and_made_anew_once_its_run_is_deleted(place: Place, promote: Any) -> None:
    ensure_passed(place, promote, GOOD)
    run_id = decision(place, GOOD)["run_id"]
    (place.files(run_id) / "gate" / "gate.json").write_text("{}")
    assert "its gate report was altered since" in refused(place, GOOD)
    done = promote(GOOD)
    assert done.returncode == 2
    assert f"mlflow runs delete --run-id {run_id}" in " ".join(done.stderr.split())
    place.client.delete_run(run_id)
    assert promote(GOOD).returncode == 0
    made = decision(place, GOOD)
    assert promote(GOOD).returncode == 0  # the same again is the same run
    assert decision(place, GOOD) == made


def test_two_that_move_the_alias_at_once_leave_one_champion(place: Place, promote: Any) -> None:
    for version in (GOOD, ALSO_GOOD):
        ensure_passed(place, promote, version)
    start, failures = threading.Barrier(2), []

    def move(version: str) -> None:
        client = MlflowClient(place.uri)
        start.wait(20)
        for _ in range(3):
            try:
                client.set_registered_model_alias("m", "champion", version)
            except MlflowException as error:
                failures.append(error)

    threads = [threading.Thread(target=move, args=(str(version),)) for version in (GOOD, ALSO_GOOD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert place.champion in (str(GOOD), str(ALSO_GOOD))
    assert place.client.get_model_version_by_alias("m", "champion").version == place.champion


@pytest.mark.slow
def test_two_that_promote_at_once_both_pass_and_leave_two_whole_decisions(place: Place, tmp_path: Path) -> None:
    where = [f"tracker.uri={place.uri}", "tracker.experiment=gates"]
    words = [command_line(["promote", "model=m", f"version={version}", *where]) for version in (GOOD, ALSO_GOOD)]
    both = [
        subprocess.Popen(one, cwd=tmp_path, env=command_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for one in words
    ]
    said = [one.communicate(timeout=300)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert place.champion in (str(GOOD), str(ALSO_GOOD))
    for version in (GOOD, ALSO_GOOD):
        assert decision(place, version)["outcome"] == "passed"
        set_champion(place, version)


def test_what_a_person_names_has_to_be_there_and_of_this_version(place: Place, promote: Any) -> None:
    for words, said in (
        ([f"tuned={place.base}"], "sampled /models/base"),
        (["base=some/file.jsonl"], "names no evaluation in the tracker"),
    ):
        done = promote(UNJUDGED, *words)
        assert done.returncode == 2, words
        assert said in " ".join(done.stderr.split()), done.stderr
    assert promote(9).returncode == 2
    by_model = promote(UNJUDGED, "base=models:/m/1", "--dry-run")  # against another version: the same counts
    assert by_model.returncode == 3, by_model.stderr


@pytest.fixture
def app() -> flask.Flask:
    """A server's app as far as the guard sees it: two routes of MLflow's own function, behind a login."""
    made = flask.Flask("server")
    setter = handlers.get_handler(SetRegisteredModelAlias)
    for path in ("/api/2.0/mlflow/registered-models/alias", "/x/ajax-api/2.0/mlflow/registered-models/alias"):
        made.add_url_rule(path, path, setter, methods=["POST"])
    return made


def test_who_is_not_logged_in_is_told_so_and_nothing_of_the_gate(app: flask.Flask) -> None:
    protect(app)

    @app.before_request  # registered after the guard, and still before it
    def login() -> Any:
        return flask.Response("who are you?", 401)

    body = {"name": "m", "alias": "champion", "version": "1"}
    assert app.test_client().post("/api/2.0/mlflow/registered-models/alias", json=body).status_code == 401


def test_whatever_goes_wrong_is_a_refusal(app: flask.Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    protect(app)
    protect(app)

    def broken() -> Any:
        raise ZeroDivisionError("of the store")

    monkeypatch.setattr(handlers, "_get_model_registry_store", broken)
    for path in ("/api/2.0/mlflow/registered-models/alias", "/x/ajax-api/2.0/mlflow/registered-models/alias"):
        answer = app.test_client().post(path, json={"name": "m", "alias": "champion", "version": "1"})
        assert answer.status_code == 403
        assert "cannot be checked (ZeroDivisionError)" in answer.get_json()["message"]


def test_other_aliases_and_gates_are_a_setting_and_a_wrong_one_stops_the_server(
    app: flask.Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KURVE_PROTECTED_ALIASES", "prod, best")
    monkeypatch.setenv("KURVE_GATE", "paper")
    protect(app)
    monkeypatch.setattr(handlers, "_get_model_registry_store", lambda: 1 / 0)
    client = app.test_client()
    for alias, status in (("PROD", 403), ("best", 403), ("\uff50rod", 403)):
        answer = client.post(
            "/api/2.0/mlflow/registered-models/alias", json={"name": "m", "alias": alias, "version": "1"}
        )
        assert answer.status_code == status
    app.testing = True
    with pytest.raises(ZeroDivisionError):  # not looked at: MLflow's own function is called
        client.post("/api/2.0/mlflow/registered-models/alias", json={"name": "m", "alias": "champion", "version": "1"})
    for wrong in ("strictest", str(tmp_path / "none.yaml")):
        monkeypatch.setenv("KURVE_GATE", wrong)
        with pytest.raises(ConfigError, match="cannot read the gate"):
            protect(flask.Flask("another"))


def test_a_server_that_sets_aliases_in_an_unknown_way_is_not_started() -> None:
    with pytest.raises(RuntimeError, match="cannot work"):
        protect(flask.Flask("empty"))
