"""What kurve relies on inside MLflow's server, which MLflow does not document: one test each, without starting one.

The name says what MLflow does, the docstring which of our modules needs it; `test_mlflow.py` has what a client sees.
"""

import contextlib
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask
import pytest
from mlflow import environment_variables
from mlflow import server as mlflow_server
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.protos.model_registry_pb2 import SetRegisteredModelAlias
from mlflow.server import handlers

from mlflow_plugins.kurve import versions

ALIAS = "/mlflow/registered-models/alias"


@pytest.fixture
def app() -> flask.Flask:
    return flask.Flask("server")


# --- how an app is started: app.py


@pytest.mark.parametrize(("options", "name"), [({}, "uvicorn"), ({"gunicorn_opts": "--log-level info"}, "gunicorn")])
def test_the_launcher_says_in_an_environment_variable_which_server_it_starts(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, str], name: str
) -> None:
    """app.py returns a FastAPI or a Flask app by `_MLFLOW_SGI_NAME`."""
    found: dict[str, str] = {}

    def look(command: list[str], extra_env: dict[str, str], **_: Any) -> Any:
        found.update(extra_env, command=" ".join(command))
        return SimpleNamespace(wait=lambda: 0)

    monkeypatch.setattr(mlflow_server, "_exec_cmd", look)
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    settings = dict.fromkeys(inspect.signature(mlflow_server._run_server).parameters)
    with contextlib.suppress(SystemExit):
        mlflow_server._run_server(**settings | {"host": "127.0.0.1", "port": 1, "app_name": "kurve"} | options)
    assert found["_MLFLOW_SGI_NAME"] == name
    assert "mlflow_plugins.kurve.app:create_app" in found["command"]


def test_a_plain_function_is_taken_for_a_factory() -> None:
    """The entry points of app.py are functions."""
    assert mlflow_server._is_factory("mlflow_plugins.kurve.app:create_app")
    assert mlflow_server._is_factory("mlflow_plugins.kurve.app:create_auth_app")


def test_the_fastapi_app_is_made_around_a_flask_app() -> None:
    """app.py, under uvicorn."""
    from mlflow.server.fastapi_app import create_fastapi_app

    assert next(iter(inspect.signature(create_fastapi_app).parameters)) == "flask_app"


def test_paths_get_the_static_prefix_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """compare/routes.py puts our paths where MLflow's are."""
    assert handlers._add_static_prefix("/kurve") == "/kurve"
    monkeypatch.setenv(mlflow_server.STATIC_PREFIX_ENV_VAR, "/ml/")
    assert handlers._add_static_prefix("/kurve") == "/ml/kurve"


def test_the_ui_is_one_page_that_the_view_serve_sends() -> None:
    """link.py replaces that view and puts a script before `</body>`."""
    assert mlflow_server.app.view_functions["serve"] is mlflow_server.serve
    page = Path(str(mlflow_server.app.static_folder), "index.html").read_text(encoding="utf-8")
    assert page.count("</body>") == 1
    assert 'src="static-files/' in page  # relative, as what we add


# --- aliases: guard.py


def test_every_route_that_sets_an_alias_is_one_function() -> None:
    """guard.py replaces that function, and so covers /api and /ajax-api."""
    setter = handlers.get_handler(SetRegisteredModelAlias)
    rules = [
        rule
        for rule in mlflow_server.app.url_map.iter_rules()
        if rule.rule.endswith(ALIAS) and "POST" in (rule.methods or ())
    ]
    assert {rule.rule for rule in rules} == {f"/api/2.0{ALIAS}", f"/ajax-api/2.0{ALIAS}"}
    assert all(mlflow_server.app.view_functions[rule.endpoint] is setter for rule in rules)


def test_no_other_request_gives_an_alias_to_a_version() -> None:
    """guard.py: a new kind of request that names an alias has to be looked at."""
    from mlflow.protos.model_registry_pb2 import DESCRIPTOR

    naming = {
        name
        for name, message in DESCRIPTOR.message_types_by_name.items()
        if any("alias" in field.name for field in message.fields)
    }
    known = {"SetRegisteredModelAlias", "DeleteRegisteredModelAlias", "GetModelVersionByAlias"}
    assert naming <= known | {"RegisteredModel", "RegisteredModelAlias", "ModelVersion"}, naming - known


def test_the_servers_own_parser_reads_an_alias_request(app: flask.Flask) -> None:
    """guard.py and the setter must see the same name, alias and version."""
    body = {"name": "m", "alias": "champion", "version": "3"}
    with app.test_request_context(method="POST", json=body):
        asked = handlers._get_request_message(SetRegisteredModelAlias())
    assert (asked.name, asked.alias, asked.version) == ("m", "champion", "3")


def test_a_refusal_is_answered_with_403_and_its_reason(app: flask.Flask) -> None:
    """guard.py, and move_alias in versions.py, which reads the reason."""

    def refuse() -> None:
        raise MlflowException(f"{versions.REFUSED} it", error_code=PERMISSION_DENIED)

    with app.test_request_context():
        answer = handlers.catch_mlflow_exception(refuse)()
    assert answer.status_code == 403
    assert answer.get_json()["error_code"] == "PERMISSION_DENIED"
    assert answer.get_json()["message"] == f"{versions.REFUSED} it"


@pytest.mark.parametrize("name", ["tracking", "model_registry"])
def test_the_servers_stores_are_got_without_arguments(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """guard.py and compare/artifacts.py read runs and versions with the server's own stores."""
    store = object()
    monkeypatch.setattr(handlers, f"_{name}_store", store)
    assert getattr(handlers, f"_get_{name}_store")() is store


# --- files of runs: guard.py, compare/artifacts.py


def test_a_server_that_serves_artifacts_knows_where_those_of_a_run_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The page and the guard read them in place, as MLflow's own routes do."""
    root, file = "mlflow-artifacts:/1/abc/artifacts", "kurve/counts.parquet"
    monkeypatch.delenv(mlflow_server.SERVE_ARTIFACTS_ENV_VAR, raising=False)
    assert not handlers._is_servable_proxied_run_artifact_root(root)
    monkeypatch.setenv(mlflow_server.SERVE_ARTIFACTS_ENV_VAR, "true")
    monkeypatch.setenv(mlflow_server.ARTIFACTS_DESTINATION_ENV_VAR, str(tmp_path))
    monkeypatch.setattr(handlers, "_artifact_repo", None)
    assert handlers._is_servable_proxied_run_artifact_root(root)
    assert not handlers._is_servable_proxied_run_artifact_root("s3://bucket/1/abc/artifacts")
    path = handlers._get_proxied_run_artifact_destination_path(root, file)
    assert handlers._get_workspace_scoped_repo_path_if_enabled(path) == path == f"1/abc/artifacts/{file}"
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("counts")
    assert Path(handlers._get_artifact_repo_mlflow_artifacts().get_local_path(path)).read_text() == "counts"


def test_other_artifact_stores_are_got_by_the_run_or_its_address(tmp_path: Path) -> None:
    """compare/artifacts.py by the run, guard.py by the address; a store of files tells the path of one."""
    run = SimpleNamespace(info=SimpleNamespace(artifact_uri=str(tmp_path)))
    (tmp_path / "file").write_text("content")
    for repository in (handlers._get_artifact_repo(run), handlers._get_artifact_repository_for_uri(str(tmp_path))):
        assert Path(repository.get_local_path("file")).read_text() == "content"


# --- permissions: compare/access.py


def test_basic_auth_looks_validators_up_by_path_and_method_and_denies_what_has_none(
    app: flask.Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """compare/access.py adds ours to `BEFORE_REQUEST_VALIDATORS`."""
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed")
    from mlflow.server import auth

    assert f"/api/2.0{ALIAS}" in {path for path, method in auth.BEFORE_REQUEST_VALIDATORS if method == "POST"}
    monkeypatch.setitem(auth.BEFORE_REQUEST_VALIDATORS, ("/kurve", "GET"), lambda: True)
    with app.test_request_context("/kurve"):
        assert auth._find_validator(flask.request)()
    with app.test_request_context("/kurve", method="POST"):
        assert auth._find_validator(flask.request) is None
    assert environment_variables.MLFLOW_BASIC_AUTH_FAIL_CLOSED.default is True


def test_basic_auth_says_whether_the_sender_may_read_a_run() -> None:
    """compare/access.py asks `_authorize_run_id(run_id, "read")` for each run of a request."""
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed")
    from mlflow.server import auth

    assert list(inspect.signature(auth._authorize_run_id).parameters) == ["run_id", "action"]
