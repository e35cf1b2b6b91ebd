"""The experiment that runs go to: found by its name, made where there is none."""

import re
from contextlib import suppress

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from kurve.errors import TrackingError
from kurve.tracking import now_ms
from mlflow_plugins.kurve.connection import Address


def open_experiment(client: MlflowClient, name: str, address: Address) -> str:
    """The id of the experiment of that name.

    Raises:
        TrackingError: it was deleted.
        whatever `connection.errors_of` translates.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        with suppress(MlflowException):  # another process was quicker, or the next line tells what is wrong
            client.create_experiment(name, artifact_location=_artifact_location(name, address))
        found = client.get_experiment_by_name(name) or client.get_experiment(
            client.create_experiment(name, artifact_location=_artifact_location(name, address))
        )
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"the experiment {name!r} at {address.shown} was deleted; restore it with `mlflow experiments "
            f"restore --experiment-id {found.experiment_id}` or name another with tracker.experiment=..."
        )
    return str(found.experiment_id)


def _artifact_location(name: str, address: Address) -> str | None:
    """Absolute, and the experiment's own: MLflow's default would follow the working folder."""
    if address.artifacts is None:
        return None
    own = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")[:60]
    return (address.artifacts / f"{own or 'experiment'}-{now_ms():x}").as_uri()
