"""A spool for one test: switched on in this process, and all that a server holds of a run."""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from mlflow_plugins.kurve.spool import FOLDER_VARIABLE, process
from mlflow_plugins.kurve.spool.sync import MlflowSpool
from mlflow_plugins.kurve.spool.wire import AwayError
from tests.mlflow_plugins.servers import free_port

LOGS = """
import sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment(sys.argv[2])
"""


@contextmanager
def spool_at(root: Path, monkeypatch: pytest.MonkeyPatch, *, pause: float = 0.3) -> Iterator[Path]:
    """Clients that are made in the block spool there; the stores that MLflow keeps are forgotten before and after."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(root))
    monkeypatch.setattr(process, "PAUSE", pause)
    _forget()
    try:
        yield root
    finally:
        monkeypatch.delenv(FOLDER_VARIABLE)
        _forget()


@contextmanager
def cut_off(spool: process.Spool) -> Iterator[None]:
    """A server that answers other clients, but neither this spool's requests nor its thread's."""

    def away(*given: object, **named: object) -> None:
        raise AwayError("as if")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool.wire, "_request", away)
        patch.setattr(process, "PAUSE", 60.0)
        spool.note_away(AwayError("as if"))
        yield
    spool.note_back()


def down() -> str:
    """The address of a server that is not there."""
    return f"http://127.0.0.1:{free_port()}"


def sync(root: Path, uri: str | None = None, *, retry: bool = False) -> list[Any]:
    """Send all that is left, as `kurve sync` does; what was sent of each journal."""
    spool = MlflowSpool(folder=root, uri=uri)
    return [spool.send(left, lambda sent, total: None, retry=retry) for left in spool.left()]


def runs(uri: str, experiment: str) -> list[Any]:
    """The runs of an experiment, the oldest first; none if there is no such experiment."""
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"])) if found else []


def held(uri: str, run_id: str, *, own_tags: bool = False) -> dict[str, Any]:
    """All that a server holds of a run but its id and its times, which differ from run to run, and traces.

    Points are (step, value, time after the run's start in ms if it is within the run, else the time).
    """
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    start = run.info.start_time
    left_out = () if own_tags else ("kurve.spool_id", "mlflow.runType")  # the latter of runs with traces
    tags = {key: value.replace(run_id, "<id>") for key, value in run.data.tags.items() if key not in left_out}
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "params": run.data.params,
        "tags": tags,
        "points": {
            key: sorted((one.step, one.value, one.timestamp - start) for one in client.get_metric_history(run_id, key))
            for key in run.data.metrics
        },
        "datasets": [(one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs],
        "files": files(client, run_id),
    }


def files(client: MlflowClient, run_id: str, path: str | None = None) -> Mapping[str, str]:
    """sha256 of every file of a run, by path, without the time and the random part in the names of images."""
    found: dict[str, str] = {}
    for one in client.list_artifacts(run_id, path):
        if one.is_dir:
            found |= files(client, run_id, one.path)
        else:
            local = Path(client.download_artifacts(run_id, one.path))
            stem, _, rest = one.path.partition("+timestamp+")
            found[f"{stem}{Path(rest).suffix}"] = hashlib.sha256(local.read_bytes()).hexdigest()
    return found


def command(code: str, *arguments: str) -> list[str]:
    """A program of a few lines that logs with plain MLflow."""
    return [sys.executable, "-c", LOGS + code, *arguments]


def _forget() -> None:
    process.finish_all()
    process._spools.clear()
    utils._tracking_store_registry._get_store_with_resolved_uri.cache_clear()
    utils._artifact_repos_cache.clear()
