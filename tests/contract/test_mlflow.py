"""What kurve relies on in MLflow and MLflow does not document: one test each, so that an upgrade says what broke.

The name says what MLflow does, the docstring which of our modules needs it. Tests of the whole are beside the plugin.
"""

import contextlib
import inspect
import json
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask
import mlflow
import pytest
from mlflow import MlflowClient, environment_variables
from mlflow import server as mlflow_server
from mlflow.entities import LoggedModel, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException
from mlflow.models.utils import get_external_mlflow_model_spec
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.protos.model_registry_pb2 import SetRegisteredModelAlias
from mlflow.server import handlers
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils import mlflow_tags, validation

from mlflow_plugins.kurve import describe, fields, points, registry, versions, views
from mlflow_plugins.kurve.tracker import CURVE_POINTS
from tests.mlflow_plugins.servers import Server, serving

ALIAS = "/mlflow/registered-models/alias"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A stock server, for what only a server does."""
    with serving(tmp_path_factory.mktemp("stock")) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> MlflowClient:
    return MlflowClient(server.uri)


@pytest.fixture
def run_id(client: MlflowClient) -> str:
    return str(client.create_run("0").info.run_id)


@pytest.fixture
def app() -> flask.Flask:
    return flask.Flask("server")


@cache
def scripts() -> str:
    """All scripts of MLflow's pages."""
    found = sorted(Path(str(mlflow_server.app.static_folder), "static", "js").glob("*.js"))
    return "\n".join(one.read_text(encoding="utf-8") for one in found)


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


# --- what the pages show: tracker.py, views.py, describe.py


def sampled_steps(client: MlflowClient, run_id: str, number: int) -> list[int]:
    points_ = [Metric("pass_at_k", 0.5, 1, step) for step in range(1, number + 1)]
    for start in range(0, number, 500):
        client.log_batch(run_id, metrics=points_[start : start + 500])
    asked = f"run_ids={run_id}&metric_key=pass_at_k&max_results={CURVE_POINTS}"
    path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
    with urllib.request.urlopen(f"{client.tracking_uri}{path}?{asked}") as answer:
        return sorted({int(one["step"]) for one in json.loads(answer.read())["metrics"]})


def test_charts_ask_for_320_points_and_the_server_leaves_small_k_out_of_more(client: MlflowClient) -> None:
    """tracker.py logs at most `CURVE_POINTS` of a curve."""
    assert f"maxResults:{CURVE_POINTS}" in scripts()
    few, many = (str(client.create_run("0").info.run_id) for _ in range(2))
    assert sampled_steps(client, few, CURVE_POINTS) == list(range(1, CURVE_POINTS + 1))
    assert not {2, 3, 4} & set(sampled_steps(client, many, 1024))


def test_an_equal_point_is_kept_once_and_one_of_another_time_beside_it(client: MlflowClient, run_id: str) -> None:
    """points.py and describe.new_metrics: to send again adds nothing."""
    for _ in range(2):
        client.log_batch(run_id, metrics=[Metric("loss", 0.5, 1_000, 3), Metric("loss", 0.25, 1_000, 4)])
    assert len(client.get_metric_history(run_id, "loss")) == 2
    client.log_batch(run_id, metrics=[Metric("loss", 0.5, 2_000, 3)])
    assert len(client.get_metric_history(run_id, "loss")) == 3


def test_the_latest_value_is_that_of_the_last_step_then_time(client: MlflowClient, run_id: str) -> None:
    """describe.new_metrics: a value that changed gets a later time and is the one that is shown."""
    client.log_batch(run_id, metrics=[Metric("rate", 0.9, 1_000, 0)])
    client.log_batch(run_id, metrics=[Metric("rate", 0.1, 2_000, 0)])
    assert client.get_run(run_id).data.metrics["rate"] == 0.1
    client.log_batch(run_id, metrics=[Metric("rate", 0.5, 1, 1)])
    assert client.get_run(run_id).data.metrics["rate"] == 0.5


def test_an_infinite_value_becomes_the_largest_number(client: MlflowClient, run_id: str) -> None:
    """Why `kurve.tracking.finite` keeps it back."""
    client.log_batch(run_id, metrics=[Metric("perplexity", float("inf"), 1, 0)])
    assert client.get_run(run_id).data.metrics["perplexity"] > 1e308


def test_a_run_has_time_and_step_of_its_latest_values_only_in_its_message(client: MlflowClient, run_id: str) -> None:
    """registry._new_metrics reads them there."""
    client.log_batch(run_id, metrics=[Metric("rate", 0.5, 1_234, 7)])
    run = client.get_run(run_id)
    [metric] = run.to_proto().data.metrics
    assert (metric.key, metric.value, metric.timestamp, metric.step) == ("rate", 0.5, 1_234, 7)
    assert run.data.metrics == {"rate": 0.5}


@pytest.mark.parametrize("name", ["pass@1", "a//b", "../a", "a/"])
def test_names_that_are_no_path_of_plain_characters_are_refused(client: MlflowClient, run_id: str, name: str) -> None:
    """fields.metric_name writes them in another way."""
    with pytest.raises(MlflowException, match="Invalid"):
        client.log_batch(run_id, metrics=[Metric(name, 0.5, 1, 0)])


def test_fields_hold_what_we_cut_them_to() -> None:
    """fields.py, views.py, versions.py, points.py."""
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion

    assert validation.MAX_ENTITY_KEY_LENGTH == fields.MAX_NAME
    assert validation.MAX_PARAM_VAL_LENGTH == fields.MAX_PARAM
    assert validation.MAX_TAG_VAL_LENGTH == fields.MAX_TAG
    assert validation.MAX_DATASET_DIGEST_SIZE == fields.MAX_DIGEST
    assert validation.MAX_EXPERIMENT_TAG_VAL_LENGTH == views.MAX_VIEW_TAG
    assert SqlModelVersion.__table__.c.description.type.length == versions._MAX_DESCRIPTION
    assert validation.MAX_METRICS_PER_BATCH >= points.REQUEST_POINTS


def test_a_saved_view_is_a_deflated_state_in_an_experiment_tag() -> None:
    """views.py writes one; tests/mlflow_plugins/test_browser.py looks at it."""
    prefix = views.VIEW_TAG.rpartition(".")[0]
    assert prefix == "mlflow.sharedViewState"
    assert prefix in scripts()
    assert views._PREFIX in scripts()
    assert "viewStateShareKey" in scripts()


def test_a_tag_gives_a_run_its_colour() -> None:
    """describe.py colours runs by their role."""
    assert describe.COLOUR_TAG in scripts()


def test_tables_that_the_pages_compare_are_listed_in_a_tag(client: MlflowClient, run_id: str) -> None:
    """describe.report_tags writes what `log_table` writes."""
    client.log_table(run_id, {"a": [1]}, "kurve/samples.json")
    tag = client.get_run(run_id).data.tags[mlflow_tags.MLFLOW_LOGGED_ARTIFACTS]
    assert mlflow_tags.MLFLOW_LOGGED_ARTIFACTS == "mlflow.loggedArtifacts"
    assert json.loads(tag) == [{"path": "kurve/samples.json", "type": "table"}]


def test_the_description_of_a_run_is_a_tag() -> None:
    """describe.py writes it with the others."""
    assert mlflow_tags.MLFLOW_RUN_NOTE == "mlflow.note.content"


def test_a_server_tells_its_version(server: Server) -> None:
    """views.server_version decides by it whether the format of views is known."""
    with urllib.request.urlopen(f"{server.uri}/version") as answer:
        assert answer.read().decode() == mlflow.__version__
    assert views.server_version(MlflowClient(server.uri)) == tuple(map(int, mlflow.__version__.split(".")[:2]))


# --- registered models: registry.py


def external(client: MlflowClient) -> LoggedModel:
    made = client.create_logged_model("0", name="m", tags={mlflow_tags.MLFLOW_MODEL_IS_EXTERNAL: "true"})
    return client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)


def test_a_version_comes_back_without_the_id_of_its_logged_model(client: MlflowClient) -> None:
    """registry.py keeps the id in the tag `kurve.logged_model`; the version's source names it."""
    logged = external(client)
    assert logged.model_uri == f"models:/{logged.model_id}"
    client.create_registered_model("without id")
    client.create_model_version("without id", logged.model_uri, model_id=logged.model_id)
    found = client.get_model_version("without id", "1")
    assert found.model_id is None
    assert found.source == logged.model_uri


def test_a_folder_of_the_client_is_refused_as_the_source_of_a_version(client: MlflowClient, tmp_path: Path) -> None:
    """registry.py registers a logged model without weights instead."""
    client.create_registered_model("folder")
    with pytest.raises(MlflowException, match="source"):
        client.create_model_version("folder", str(tmp_path))


def test_an_external_model_says_that_its_weights_are_elsewhere(tmp_path: Path) -> None:
    """registry._logged_model stores this specification as MLmodel."""
    model = LoggedModel("0", "m-1", "m", str(tmp_path), 0, 0)
    get_external_mlflow_model_spec(model).save(str(tmp_path / "MLmodel"))
    with pytest.raises(MlflowException, match="external"):
        mlflow.pyfunc.load_model(str(tmp_path))


def test_a_logged_model_links_to_its_versions_by_a_tag(client: MlflowClient) -> None:
    """registry._versions writes what MLflow writes."""
    assert mlflow_tags.MLFLOW_MODEL_VERSIONS == "mlflow.modelVersions"
    assert mlflow_tags.MLFLOW_MODEL_IS_EXTERNAL == "mlflow.model.isExternal"
    logged = external(client)
    client.create_registered_model("linked")
    client.create_model_version("linked", logged.model_uri, model_id=logged.model_id)
    made = client.get_model_version("linked", "1")
    written = json.loads(registry._versions(logged, made))
    assert written == [{"name": "linked", "version": "1"}]
    assert mlflow_tags.MLFLOW_MODEL_VERSIONS in scripts()


# --- runs and requests: context.py, connection.py


def test_run_context_providers_are_asked_by_start_run_and_not_by_the_client(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """context.py is one; tracker.py asks `resolve_tags` itself."""
    monkeypatch.setenv("KURVE_STUDY_ID", "study-1")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        with mlflow.start_run() as run:
            assert client.get_run(run.info.run_id).data.tags["kurve.study"] == "study-1"
    finally:
        mlflow.set_tracking_uri(before)
    assert "kurve.study" not in client.create_run("0").data.tags
    assert resolve_tags({"a": "b"})["kurve.study"] == "study-1"


def test_request_settings_and_silence_are_read_from_the_environment_at_each_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """connection.talking sets them for the moment of a call."""
    for name, value in (("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3"), ("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")):
        monkeypatch.setenv(name, value)
        assert getattr(environment_variables, name).get() == int(value)
    for name in ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"):
        monkeypatch.setenv(name, "false")
        assert getattr(environment_variables, name).get() is False
