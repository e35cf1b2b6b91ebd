from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import copied_databases as copied_databases
from tests.mlflow_plugins.servers import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the compare page for all tests; each uses an experiment of its own."""
    running = Server(tmp_path_factory.mktemp("server"), "--app-name", "kurve")
    running.start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def no_user_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the person running the tests has set is not what they test."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT", "KURVE_SWEEP_ID", "KURVE_STUDY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)  # of a test before
    monkeypatch.chdir(tmp_path)
