"""The server behind the compare page: every way to start it, and who may see what. Each starts a server of its own."""

from __future__ import annotations

import base64
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlflow_plugins.kurve.compare.routes import ENDPOINTS, FILES
from tests.mlflow_plugins.compare.evaluations import log_evaluation
from tests.mlflow_plugins.servers import Server

pytestmark = pytest.mark.slow  # a server takes ten seconds of CPU to start

ADMIN = ("admin", "a-long-password-of-the-admin")
API = "/ajax-api/2.0/kurve"


@contextmanager
def serving(folder: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[Server]:
    server = Server(folder, *options, environment=environment)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def ask(
    url: str, *, user: tuple[str, str] | None = None, method: str = "GET", body: object = None, host: str = ""
) -> Answer:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(user).encode()).decode()
    if host:
        headers["Host"] = host
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return Answer(answer.status, answer.read(), dict(answer.headers))
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read(), dict(error.headers))


def shows_the_page_and_everything_else(root: str, runs: str) -> None:
    """The page, its files, its endpoints, and MLflow's own pages and REST."""
    page = ask(f"{root}/kurve")
    assert page.status == 200
    policy = {key.lower(): value for key, value in page.headers.items()}["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert all(ask(f"{root}/kurve/{name}").status == 200 for name in FILES)
    assert ask(f"{root}/kurve/?a=b").body == page.body  # redirected
    assert ask(f"{root}/kurve/../app.py").status == ask(f"{root}/kurve/index.html").status == 404
    assert json.loads(ask(f"{root}{API}/curves?runs={runs}").body)["curves"][0]["name"] == "model"
    assert json.loads(ask(f"{root}{API}/samples?runs={runs}&problem=p0").body)["total"] == 16
    assert ask(f"{root}/").status == 200
    search = f"{root}/ajax-api/2.0/mlflow/experiments/search"
    assert ask(search, method="POST", body={"max_results": 5}).status == 200


def test_under_uvicorn_behind_its_host_check(tmp_path: Path) -> None:
    with serving(tmp_path, "--app-name", "kurve") as server:
        run = log_evaluation(server.uri, tmp_path / "report", name="model", correct=(1, 2))
        shows_the_page_and_everything_else(server.uri, run)
        assert ask(f"{server.uri}/kurve", host="evil.example").status == 403
        assert ask(f"{server.uri}{API}/curves?runs={run}", host="evil.example").status == 403


def test_under_gunicorn_with_a_static_prefix(tmp_path: Path) -> None:
    options = ("--app-name", "kurve", "--gunicorn-opts", "--log-level info", "--static-prefix", "/ml")
    with serving(tmp_path, *options) as server:
        run = log_evaluation(f"{server.uri}/ml", tmp_path / "report", name="model", correct=(1, 2))
        shows_the_page_and_everything_else(f"{server.uri}/ml", run)
        assert ask(f"{server.uri}/kurve").status == 404
        assert ask(f"{server.uri}{API}/curves?runs={run}").status == 404


@pytest.fixture(params=["uvicorn", "gunicorn"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed")
    (tmp_path / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{tmp_path / 'auth.db'}\nadmin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
    }
    options = ("--gunicorn-opts", "--log-level info") if request.param == "gunicorn" else ()
    with serving(tmp_path, "--app-name", "kurve-auth", *options, environment=environment) as server:
        yield server


def test_who_may_not_read_a_run_sees_neither_curve_nor_samples(
    guarded: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN[1])
    root, reader = guarded.uri, ("reader", "a-long-password-of-the-reader")
    shared = log_evaluation(root, tmp_path / "a", name="shared", correct=(1, 2), experiment="shared")
    hidden = log_evaluation(root, tmp_path / "b", name="hidden", correct=(1, 2), experiment="hidden")
    body = {"username": reader[0], "password": reader[1]}
    assert ask(f"{root}/api/2.0/mlflow/users/create", user=ADMIN, method="POST", body=body).status == 200

    def status(run_ids: str, endpoint: str, user: tuple[str, str] | None = reader) -> int:
        return ask(f"{root}{API}/{endpoint}?runs={run_ids}&problem=p0&index=0", user=user).status

    for path in ("/kurve", "/kurve/main.js", f"{API}/curves?runs={shared}"):
        assert ask(f"{root}{path}").status == 401
    assert ask(f"{root}/kurve", user=reader).status == 200
    assert {status(shared, endpoint) for endpoint in ENDPOINTS} == {403}
    assert status(shared, "curves", ADMIN) == 200

    from mlflow import MlflowClient

    experiment = MlflowClient(root).get_experiment_by_name("shared").experiment_id
    grant = {"username": reader[0], "resource_type": "experiment", "resource_id": experiment, "permission": "READ"}
    granted = ask(f"{root}/api/3.0/mlflow/users/permissions/grant", user=ADMIN, method="POST", body=grant)
    assert granted.status == 200, granted.body
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
