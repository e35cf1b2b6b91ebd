"""What kurve relies on in MLflow and MLflow does not document: one test each, so that an upgrade says what broke.

The name says what MLflow does, the docstring which of our modules needs it. Here is what a client sees, and the pages;
`test_mlflow_server.py` has the inside of the server. Tests of the whole are beside the plugin.
"""

import json
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient, environment_variables
from mlflow import server as mlflow_server
from mlflow.entities import LoggedModel, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException
from mlflow.models.utils import get_external_mlflow_model_spec
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils import mlflow_tags, validation

from mlflow_plugins.kurve import describe, fields, points, registry, versions, views
from mlflow_plugins.kurve.reports import CURVE_POINTS
from tests.mlflow_plugins.servers import Server, serving


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


@cache
def scripts() -> str:
    """All scripts of MLflow's pages."""
    found = sorted(Path(str(mlflow_server.app.static_folder), "static", "js").glob("*.js"))
    return "\n".join(one.read_text(encoding="utf-8") for one in found)


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
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        with mlflow.start_run() as run:
            assert client.get_run(run.info.run_id).data.tags["kurve.study"] == "study-1"
    finally:
        mlflow.set_tracking_uri("")  # none: the default, said aloud, would hold for the tests after this one
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
