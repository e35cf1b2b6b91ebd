"""What the tests of the model registry share: runs, and models to register."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from mlflow import MlflowClient

from kurve.tracking import ModelInfo
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.mlflow_plugins.servers import Server
from tests.tracking_samples import report, run_info

SHA = "ab" * 32
TAGS = {
    "kurve.study": "countdown-0123456789ab",
    "kurve.role": "tuned",
    "kurve.algorithm": "grpo",
    "kurve.base": "countdown@200",
    "kurve.fingerprint": "abcdef012345",
}
PLACES = pytest.mark.parametrize("place", ["server", "file"])


def address(place: str, server: Server, folder: Path) -> str:
    return server.uri if place == "server" else f"sqlite:///{folder}/mlflow.db"


def evaluation(uri: str, experiment: str, key: str = "0123456789abcdef", height: float = 0.9) -> str:
    """Id of a finished evaluation of 64 samples a problem."""
    tracker = MlflowTracker(uri=uri, experiment=experiment)
    tracker.start(run_info(key))
    tracker.log_report(report(64, height=height, scalars={"perplexity": 2.5}), [])
    tracker.finish("FINISHED")
    return tracker.run_id


def training(uri: str, experiment: str) -> str:
    """Id of a finished training."""
    tracker = MlflowTracker(uri=uri, experiment=experiment)
    tracker.start(run_info("training"))
    tracker.finish("FINISHED")
    return tracker.run_id


def trained(
    name: str,
    *,
    path: str = "/models/grpo-abcdef012345/model",
    sha256: str = SHA,
    run_id: str = "",
    evaluations: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
) -> ModelInfo:
    return ModelInfo(name, path, sha256, 120, run_id, evaluations, TAGS if tags is None else tags)


def versions(uri: str, name: str) -> list[str]:
    return sorted(str(one.version) for one in MlflowClient(uri).search_model_versions(f"name = '{name}'"))
