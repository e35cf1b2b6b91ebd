"""What the spool relies on and MLflow does not document; a failure here says what an upgrade changed."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import RestException
from mlflow.protos import service_pb2
from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from mlflow.store.tracking.rest_store import RestStore
from mlflow.tracking._tracking_service import utils

from mlflow_plugins.kurve import spool
from mlflow_plugins.kurve.spool.store import _LOGGED, SpoolingRestStore
from mlflow_plugins.kurve.spool.wire import Wire
from tests.mlflow_plugins.servers import Server

NOW = 1_700_000_000_000


@pytest.fixture
def run_id(server: Server, request: pytest.FixtureRequest) -> str:
    client = MlflowClient(server.uri)
    return str(client.create_run(client.create_experiment(f"contract {request.node.name}")).info.run_id)


def test_entry_points_replace_mlflows_own_store_and_artifacts() -> None:
    registered = utils._tracking_store_registry._registry
    assert registered["http"] is registered["https"] is spool.tracking_store
    assert get_registered_artifact_repositories()["mlflow-artifacts"] is spool.artifact_repository


def test_everything_that_is_logged_goes_through_one_method_of_the_store() -> None:
    source = inspect.getsource(RestStore)
    for name in (*_LOGGED, "CreateRun", "CreateExperiment", "GetRun", "SearchRuns", "GetMetricHistory"):
        assert f"_call_endpoint({name}, req_body)" in source, name
        assert hasattr(service_pb2, name), name
    own = list(inspect.signature(SpoolingRestStore._call_endpoint).parameters)
    assert own == list(inspect.signature(RestStore._call_endpoint).parameters)


def test_a_file_is_put_below_the_resolved_address_under_its_own_name() -> None:
    source = inspect.getsource(HttpArtifactRepository.log_artifact)
    assert '"PUT", data=f' in source
    assert 'posixpath.join("/", *paths)' in source


def test_an_equal_point_is_one_row_and_another_time_is_another(server: Server, run_id: str) -> None:
    client = MlflowClient(server.uri)
    for _ in range(2):
        client.log_batch(run_id, metrics=[Metric("x", 1.5, NOW, 3)] * 2)
        client.log_metric(run_id, "x", 1.5, timestamp=NOW, step=3)
    assert len(client.get_metric_history(run_id, "x")) == 1
    client.log_metric(run_id, "x", 1.5, timestamp=NOW + 1, step=3)
    assert len(client.get_metric_history(run_id, "x")) == 2


def test_a_parameter_may_be_set_again_to_what_it_is(server: Server, run_id: str) -> None:
    client = MlflowClient(server.uri)
    for _ in range(2):
        client.log_batch(run_id, params=[Param("a", "1")])
    with pytest.raises(RestException) as refused:
        client.log_batch(run_id, params=[Param("a", "2")])
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


def test_a_dataset_is_an_input_once(server: Server, run_id: str) -> None:
    client = MlflowClient(server.uri)
    given = DatasetInput(Dataset("d", "1", "local", "{}"), [InputTag("mlflow.data.context", "eval")])
    for _ in range(2):
        client.log_inputs(run_id, [given])
    assert len(client.get_run(run_id).inputs.dataset_inputs) == 1


def test_a_finished_run_takes_more_and_a_deleted_one_refuses(server: Server, run_id: str) -> None:
    client = MlflowClient(server.uri)
    client.set_terminated(run_id)
    client.log_metric(run_id, "late", 1.0)
    client.delete_run(run_id)
    with pytest.raises(RestException, match="active"):
        client.log_metric(run_id, "too late", 1.0)


def test_a_run_is_found_by_a_tag_it_was_made_with(server: Server, run_id: str) -> None:
    client = MlflowClient(server.uri)
    experiment = client.get_run(run_id).info.experiment_id
    made = client.create_run(experiment, tags={"kurve.spool_id": "abc"})
    asked = {"experiment_ids": [experiment], "filter": "tags.`kurve.spool_id` = 'abc'", "run_view_type": "ALL"}
    found = Wire(server.uri).call(service_pb2.SearchRuns, asked | {"max_results": 1})
    assert [run.info.run_id for run in found.runs] == [made.info.run_id]


@pytest.mark.parametrize(
    ("api", "body", "code"),
    [
        ("GetExperimentByName", {"experiment_name": "not there"}, "RESOURCE_DOES_NOT_EXIST"),
        ("CreateExperiment", {"name": "Default"}, "RESOURCE_ALREADY_EXISTS"),
        ("GetRun", {"run_id": "a" * 32}, "RESOURCE_DOES_NOT_EXIST"),
        ("LogMetric", {"run_id": "a" * 32, "key": "x@y", "value": 1, "timestamp": 1}, "INVALID_PARAMETER_VALUE"),
    ],
)
def test_refusals_have_the_codes_that_the_sender_reads(
    server: Server, api: str, body: dict[str, Any], code: str
) -> None:
    with pytest.raises(RestException) as refused:
        Wire(server.uri).call(getattr(service_pb2, api), body)
    assert refused.value.error_code == code


def test_a_run_name_is_a_tag_too(server: Server, run_id: str) -> None:
    client = MlflowClient(server.uri)
    made = client.create_run(client.get_run(run_id).info.experiment_id, run_name="named")
    assert client.get_run(made.info.run_id).data.tags["mlflow.runName"] == "named"


def test_an_upload_replaces_what_is_there(server: Server, run_id: str, tmp_path: Path) -> None:
    client = MlflowClient(server.uri)
    for text in ("one", "two"):
        client.log_text(run_id, text, "a.txt")
    assert Path(client.download_artifacts(run_id, "a.txt", str(tmp_path))).read_text() == "two"
