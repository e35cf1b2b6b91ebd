"""Who may see what, on a server with MLflow's basic-auth: whoever may read all runs that a request names.

MLflow asks a validator for each path before our code runs, and denies what it does not know. So a path without one here
is denied, as is a request whose runs cannot be read, do not exist, or are named in a way that we would refuse.
"""

from types import ModuleType

from flask import request
from mlflow.exceptions import MlflowException

from mlflow_plugins.kurve.compare.asked import asked_runs
from mlflow_plugins.kurve.compare.routes import data_paths, page_paths


def protect(auth: ModuleType) -> None:
    """Add our paths to the validators of `mlflow.server.auth`.

    `BEFORE_REQUEST_VALIDATORS` and `_authorize_run_id` are private to MLflow;
    `tests/contract/test_mlflow_server.py` says when an upgrade changes them.
    """

    def may_read_all_runs() -> bool:
        """Whether the sender may read every run of the request; False where there is any doubt."""
        try:
            run_ids = asked_runs(request.args)
        except MlflowException:
            return False
        return bool(run_ids) and all(bool(auth._authorize_run_id(run_id, "read")) for run_id in run_ids)

    for method in ("GET", "HEAD"):  # Flask answers HEAD wherever it answers GET
        for path in page_paths():
            auth.BEFORE_REQUEST_VALIDATORS[path, method] = _anybody
        for path in data_paths():
            auth.BEFORE_REQUEST_VALIDATORS[path, method] = may_read_all_runs


def _anybody() -> bool:
    """Whoever has logged in: the page itself holds nothing."""
    return True
