"""The spool: what is logged to a tracking server goes to disk first and to the server soon after, or when it is back.

It is on where KURVE_SPOOL_DIR names a folder; without it these entry points return MLflow's own classes.
`docs/spool.md` says what is covered.

MLflow loads this module on `import mlflow`, so it imports nothing but the standard library; the parts are loaded by
the first store that is asked for.
"""

import atexit
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_plugins.kurve.spool.ids import is_made_here

if TYPE_CHECKING:
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
    from mlflow.store.tracking.rest_store import RestStore

FOLDER_VARIABLE = "KURVE_SPOOL_DIR"
_PROCESS = "mlflow_plugins.kurve.spool.process"


def spool_root() -> Path | None:
    """The folder that KURVE_SPOOL_DIR names; None if the spool is off."""
    given = os.environ.get(FOLDER_VARIABLE, "").strip()
    return Path(given).expanduser().absolute() if given else None


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> "RestStore":
    """Entry point `mlflow.tracking_store` for http and https: MLflow's own store, or the one that spools."""
    from mlflow_plugins.kurve.spool.store import build_store

    return build_store(spool_root(), store_uri)


def artifact_repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> "MlflowArtifactsRepository":
    """Entry point `mlflow.artifact_repository` for mlflow-artifacts: MLflow's own, or the one that spools."""
    from mlflow_plugins.kurve.spool.artifacts import build_repository

    return build_repository(spool_root(), artifact_uri, tracking_uri, registry_uri)


def is_provisional(run_id: str) -> bool:
    """Whether a run is only in a spool of this process: the server does not know it, or not under this id."""
    if not is_made_here(run_id):
        return False
    spools = sys.modules.get(_PROCESS)
    return spools is None or spools.server_id(run_id) is None


def server_id(run_id: str) -> str:
    """The id that the server gave a run; the same id for a run that it does not have yet, or gave its id itself."""
    spools = sys.modules.get(_PROCESS) if is_made_here(run_id) else None
    return (spools.server_id(run_id) if spools is not None else None) or run_id


def is_away(tracking_uri: str) -> bool:
    """Whether this process spools for that server and could not reach it within the last seconds."""
    spools = sys.modules.get(_PROCESS)
    return spools is not None and bool(spools.is_away(tracking_uri))


def where_kept(tracking_uri: str, run_id: str) -> str:
    """For a person, where a run is that the server does not have; empty for any other."""
    if not run_id or not is_provisional(run_id):
        return ""
    spools = sys.modules.get(_PROCESS)
    folder = spools.kept_in(tracking_uri) if spools is not None else spool_root()
    return (
        f"The server was away, so the run is kept in {folder}; `kurve sync` sends it. "
        f"There it will have another id, and the tag kurve.spool_id = {run_id}."
    )


def _at_exit() -> None:
    spools = sys.modules.get(_PROCESS)
    if spools is not None:
        spools.finish_all()


# MLflow ends an active run in an exit handler that it registers after this module is loaded, and which so comes first.
atexit.register(_at_exit)
