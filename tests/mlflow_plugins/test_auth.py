"""Behind MLflow's basic-auth, under both servers: who sees what, and who may move a champion."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mlflow_plugins.kurve.compare.routes import ENDPOINTS
from tests.browser import chromium, shot
from tests.conftest import RunKurve
from tests.mlflow_plugins.compare.evaluations import log_evaluation
from tests.mlflow_plugins.guarded import BAD, GOOD, Place
from tests.mlflow_plugins.servers import Answer, Server, ask, serving

pytestmark = pytest.mark.slow  # a server takes ten seconds of CPU to start

ADMIN = ("admin", "a-long-password-of-the-admin")
API = "/ajax-api/2.0/kurve"


@pytest.fixture(scope="module", params=["uvicorn", "gunicorn"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed")
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{folder / 'auth.db'}\nadmin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
        "KURVE_UI_LINK": "1",
    }
    options = ("--gunicorn-opts", "--log-level info") if request.param == "gunicorn" else ()
    with serving(folder, "--app-name", "kurve-auth", *options, environment=environment) as server:
        yield server


@pytest.fixture(autouse=True)
def as_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client is the admin's unless a test says otherwise."""
    as_user(ADMIN, monkeypatch)


def as_user(user: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", user[1])


def new_user(root: str, name: str) -> tuple[str, str]:
    body = {"username": name, "password": f"a-long-password-of-{name}"}
    made = ask(f"{root}/api/2.0/mlflow/users/create", user=ADMIN, method="POST", body=body)
    assert made.status == 200, made.body
    return name, body["password"]


def grant(root: str, user: tuple[str, str], kind: str, name: str, *, permission: str) -> None:
    body = {"username": user[0], "resource_type": kind, "resource_id": name, "permission": permission}
    granted = ask(f"{root}/api/3.0/mlflow/users/permissions/grant", user=ADMIN, method="POST", body=body)
    assert granted.status == 200, granted.body


def experiment_id(root: str, name: str) -> str:
    return str(MlflowClient(root).get_experiment_by_name(name).experiment_id)


def test_who_may_not_read_a_run_sees_neither_curve_nor_samples(guarded: Server, tmp_path: Path) -> None:
    root = guarded.uri
    shared = log_evaluation(root, tmp_path / "a", name="shared", correct=(1, 2), experiment="shared")
    hidden = log_evaluation(root, tmp_path / "b", name="hidden", correct=(1, 2), experiment="hidden")
    reader = new_user(root, "reader")

    def status(run_ids: str, endpoint: str, user: tuple[str, str] | None = reader) -> int:
        return ask(f"{root}{API}/{endpoint}?runs={run_ids}&problem=p0&index=0", user=user).status

    for path in ("/kurve", "/kurve/main.js", "/kurve/link.js", f"{API}/curves?runs={shared}"):
        assert ask(f"{root}{path}").status == 401
    assert ask(f"{root}/kurve", user=reader).status == 200
    assert b'src="kurve/link.js"' in ask(f"{root}/", user=reader).body
    assert ask(f"{root}/kurve/link.js", user=reader).status == 200
    assert {status(shared, endpoint) for endpoint in ENDPOINTS} == {403}
    assert status(shared, "curves", ADMIN) == 200

    grant(root, reader, "experiment", experiment_id(root, "shared"), permission="READ")
    assert status(shared, "curves") == status(shared, "samples") == status(shared, "sample") == 200
    for pair in (
        f"{shared},{hidden}",
        f"{hidden},{shared}",
        f"{shared},missing",
        hidden,
        "missing",
        "",
        "%00",
        "a%20b",
    ):
        assert {status(pair, endpoint) for endpoint in ENDPOINTS} == {403}, pair
    # Named twice, the first counts for both the check and the answer; another method or path is no way around.
    sneaky = ask(f"{root}{API}/samples?runs={shared}&runs={hidden}&problem=p0", user=reader)
    assert json.loads(sneaky.body)["run_id"] == shared
    assert ask(f"{root}{API}/samples?runs={hidden}&runs={shared}&problem=p0", user=reader).status == 403
    assert ask(f"{root}{API}/samples?runs={hidden}&problem=p0", user=reader, method="HEAD").status == 403
    assert ask(f"{root}{API}/samples/?runs={hidden}&problem=p0", user=reader).status in (403, 404)
    assert ask(f"{root}{API}/unknown?runs={hidden}", user=reader).status in (403, 404)


def test_the_page_tells_who_may_not_read_what_is_missing(guarded: Server, tmp_path: Path) -> None:
    root = guarded.uri
    secret = [
        log_evaluation(root, tmp_path / name, name=f"secret {name}", correct=(1, 2), experiment="secret")
        for name in ("base", "tuned")
    ]
    guest = new_user(root, "guest")
    with chromium() as browser:
        context = browser.new_context(http_credentials={"username": guest[0], "password": guest[1]})
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{root}/kurve?experiment={experiment_id(root, 'secret')}&runs={','.join(secret)}&problem=p0")
        page.wait_for_selector("#curves .error")
        page.wait_for_load_state("networkidle")
        shot(page, "compare-no-permission")
        said = page.inner_text("main")
        assert "READ permission" in said
        assert "or you may not read it" in page.inner_text("#runs")
        assert "secret base" not in said
        assert page.locator("path.curve, .sample, table.problems, table.runs tbody tr").count() == 0


def set_champion(root: str, version: int, user: tuple[str, str] | None) -> Answer:
    body = {"name": "m", "alias": "champion", "version": str(version)}
    return ask(f"{root}/api/2.0/mlflow/registered-models/alias", user=user, method="POST", body=body)


def test_a_login_and_permissions_come_before_the_gate_and_the_gate_before_the_alias(
    guarded: Server, tmp_path: Path, kurve_here: RunKurve, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = guarded.uri
    place = Place(guarded, tmp_path / "evaluations")
    stranger, editor = new_user(root, "stranger"), new_user(root, "editor")
    assert set_champion(root, BAD, None).status == 401
    refused = set_champion(root, BAD, stranger)
    assert (refused.status, b"gate" in refused.body) == (403, False)  # the gate says nothing to who may not edit

    grant(root, editor, "registered_model", "m", permission="EDIT")
    refused = set_champion(root, BAD, editor)
    assert refused.status == 403
    assert "no gate has judged it for this alias" in json.loads(refused.body)["message"]
    assert "no gate has judged it for this alias" in json.loads(set_champion(root, BAD, ADMIN).body)["message"]
    as_user(editor, monkeypatch)
    with pytest.raises(MlflowException, match="PERMISSION_DENIED: kurve's gate refuses the alias 'champion'"):
        MlflowClient(root).set_registered_model_alias("m", "champion", str(BAD))
    as_user(ADMIN, monkeypatch)

    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    words = ("promote", "model=m", f"version={GOOD}", f"tracker.uri={root}", "tracker.experiment=gates")
    unread = kurve_here(*words, **dict(zip(names, editor, strict=True)))
    assert unread.returncode == 2, unread.stdout  # who may edit the model may not read its evaluations
    grant(root, editor, "experiment", experiment_id(root, "evaluations"), permission="READ")
    done = kurve_here(*words, **dict(zip(names, editor, strict=True)))
    assert done.returncode == 0, done.stderr
    assert place.champion == str(GOOD)
    assert set_champion(root, GOOD, editor).status == 200
    assert set_champion(root, GOOD, stranger).status == 403
