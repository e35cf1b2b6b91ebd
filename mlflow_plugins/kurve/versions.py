"""Versions of registered models as promotion sees them: read, described, and told what a gate decided."""

import json
from collections.abc import Mapping
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.exceptions import MlflowException

from kurve.errors import TrackingError
from kurve.promotion import RegisteredVersion
from mlflow_plugins.kurve.fields import MAX_TAG, clipped, markdown

EVALUATIONS_TAG = "kurve.evaluations"
GATE_TAG = "kurve.gate"  # the outcome of the latest; `kurve.gate.<alias>` holds the decision for an alias
SEPARATOR = ", "  # between the ids of runs in a tag
REFUSED = "kurve's gate refuses"  # how the server's answer begins

_MAX_DESCRIPTION = 5_000
_HEADING = "\n\n**Gate** "
_LEAST_WORDS = 200  # characters; with less room the page says nothing of the gate


def registered(version: MlflowVersion, browser: str = "") -> RegisteredVersion:
    """A version as MLflow's stores and clients give it.

    Args:
        version: of a registered model.
        browser: base of the pages; empty leaves the address out.
    """
    tags = {str(key): str(value) for key, value in (version.tags or {}).items()}
    url = f"{browser}/#/models/{quote(version.name)}/versions/{version.version}" if browser else ""
    return RegisteredVersion(
        name=str(version.name),
        version=str(version.version),
        source=str(version.source or ""),
        run_id=str(version.run_id or ""),
        created=int(version.creation_timestamp or 0),
        tags=tags,
        evaluations=evaluations_of(tags),
        url=url,
    )


def evaluations_of(tags: Mapping[str, str]) -> list[str]:
    """Ids of the runs that measured a version, the earliest first."""
    return [one for one in tags.get(EVALUATIONS_TAG, "").split(SEPARATOR) if one]


def decision_tag(alias: str) -> str:
    """The version's tag for what a gate decided for an alias."""
    return f"{GATE_TAG}.{alias}"


def record_decision(
    client: MlflowClient, version: RegisteredVersion, alias: str, decision: Mapping[str, str], *, words: str
) -> None:
    """Tag and describe a version; the decision is one tag, so that it is there as a whole or not at all."""
    name, number = version.name, version.version
    client.set_model_version_tag(name, number, decision_tag(alias), json.dumps(dict(decision)))
    client.set_model_version_tag(name, number, GATE_TAG, decision["outcome"])
    before = str(client.get_model_version(name, number).description or "").partition(_HEADING)[0]
    run_id = decision["run_id"]
    page = f"#/experiments/{client.get_run(run_id).info.experiment_id}/runs/{run_id}/artifacts"
    room = _MAX_DESCRIPTION - len(f"{before}{_HEADING} [Report]({page}).")
    if room > _LEAST_WORDS:
        said = clipped(markdown(words), room, "the report")
        client.update_model_version(name, number, f"{before}{_HEADING}{said} [Report]({page}).")


def move_alias(client: MlflowClient, version: RegisteredVersion, alias: str) -> None:
    """Let the alias name the version.

    Raises:
        TrackingError: the server's own gate refuses it, with its reason.
    """
    try:
        client.set_registered_model_alias(version.name, alias, version.version)
    except MlflowException as error:
        if REFUSED not in str(error):
            raise
        raise TrackingError(f"the server did not move the alias: {error}") from error


def read_decision(tags: Mapping[str, str], alias: str) -> Mapping[str, str]:
    """What a gate decided of a version for an alias; empty if none did, or the tag is damaged."""
    try:
        decision = json.loads(tags.get(decision_tag(alias), "{}")[:MAX_TAG])
    except ValueError:
        return {}
    if not isinstance(decision, dict):
        return {}
    return {str(key): str(value) for key, value in decision.items()}
