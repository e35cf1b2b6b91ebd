"""Registers trained models in MLflow: what they are and how they were measured; the weights stay where they are.

Each version of a registered model points at a logged model without weights ("external" in MLflow's words), which holds
path, sha256 and, by benchmark, the numbers of its evaluations. The tag `kurve.registration` is a digest of name, path
and sha256, by which a model that is registered again finds its version. `docs/mlflow.md` lists what is where.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelInput, LoggedModelOutput, LoggedModelStatus, Metric, Run
from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.exceptions import MlflowException
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.models.utils import get_external_mlflow_model_spec
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL, MLFLOW_MODEL_VERSIONS

from kurve.errors import NotKeptError, TrackingError
from kurve.promotion import RegisteredVersion
from kurve.tracking import ModelInfo, ModelVersion
from mlflow_plugins.kurve.connection import Address, connect, resolve, talking
from mlflow_plugins.kurve.fields import MAX_NAME, MAX_TAG, clipped, markdown, names, text
from mlflow_plugins.kurve.spool import is_away, is_provisional, server_id
from mlflow_plugins.kurve.versions import (
    EVALUATIONS_TAG,
    SEPARATOR,
    evaluations_of,
    move_alias,
    record_decision,
    registered,
)

UPLOADED_TAG = "kurve.uploaded"  # sha256 of the weights that the logged model holds
REGISTRATION_TAG = "kurve.registration"
LOGGED_MODEL_TAG = "kurve.logged_model"  # MLflow's own field for it is empty
VERDICT = "kurve.verdict."  # and the benchmark: what was gained and lost against the base
MODEL_TYPE = "checkpoint"

_NOT_COPIED = "MLflow holds none."


class MlflowRegistry:
    """The model registry of a server or database.

    Args:
        uri: server or database; None takes MLFLOW_TRACKING_URI, else `mlflow.db` in `folder`.
        timeout: seconds for a request.
        retries: of a request that fails.
        check_timeout: seconds for the first request.
        folder: what relative addresses mean; None takes the working folder.
    """

    def __init__(
        self,
        *,
        uri: str | None = None,
        timeout: int = 60,
        retries: int = 2,
        check_timeout: int = 8,
        folder: str | Path | None = None,
    ) -> None:
        self._uri = uri
        self._folder = Path(folder).absolute() if folder else Path.cwd()
        self._timeout = max(1, int(timeout))
        self._retries = max(0, int(retries))
        self._check_timeout = max(1, int(check_timeout))
        self._place: Address | None = None
        self._connected: MlflowClient | None = None

    def check(self) -> None:
        """Reach the registry within about `check_timeout` seconds; see `Registry.check`."""
        self._connected = None
        client = self._client()
        with self._talking("reach the model registry"):
            client.search_registered_models(max_results=1)

    def register(self, model: ModelInfo) -> ModelVersion:
        """Make or find the version, then add tags, numbers and links that are not there; see `Registry.register`."""
        name = model_name(model.name)
        client = self._client()
        with self._talking(f"register the model {name!r}"):
            model = _with_server_ids(client, model)
            runs = _runs(client, name, model)
            version = _find(client, name, model) or self._create(client, name, model, runs)
            _complete(client, version, model, runs)
        number = str(version.version)
        return ModelVersion(name, number, f"{self._address().browser}/#/models/{quote(name)}/versions/{number}")

    def evaluations(self, name: str, which: str) -> Sequence[str]:
        """The runs in the version's tag `kurve.evaluations`; see `Registry.evaluations`."""
        return self.version(name, which).evaluations

    def version(self, name: str, which: str) -> RegisteredVersion:
        """A version by its number or alias; see `PromotionRegistry.version`."""
        client = self._client()
        with self._talking(f"find the model {name}@{which}"):
            found = client.get_model_version if which.isdigit() else client.get_model_version_by_alias
            return registered(found(name, which), self._address().browser)

    def trained_by(self, run_id: str) -> Sequence[RegisteredVersion]:
        """The versions with this source run; see `PromotionRegistry.trained_by`."""
        client = self._client()
        with self._talking(f"find the models of the training {run_id}"):
            found = client.search_model_versions(f"run_id = '{run_id}'") if run_id.isalnum() else []
        return sorted((registered(one, self._address().browser) for one in found), key=lambda one: one.created)

    def record_gate(self, version: RegisteredVersion, alias: str, decision: Mapping[str, str], words: str) -> None:
        """Tag and describe the version; see `PromotionRegistry.record_gate`."""
        client = self._client()
        with self._talking(f"record the gate of {version.name} version {version.version}"):
            record_decision(client, version, alias, decision, words=words)

    def set_alias(self, version: RegisteredVersion, alias: str) -> None:
        """Move the alias; see `PromotionRegistry.set_alias`."""
        client = self._client()
        with self._talking(f"give {version.name} version {version.version} the alias {alias!r}"):
            move_alias(client, version, alias)

    def _create(self, client: MlflowClient, name: str, model: ModelInfo, runs: Mapping[str, Run]) -> MlflowVersion:
        """A new version, or that of another process which was quicker: the lowest number wins, so all agree."""
        logged = _logged_model(client, name, model, next(iter(runs.values())))
        with suppress(MlflowException):  # it is there, or the next line tells what is wrong
            client.create_registered_model(name)
        # Without a server MLflow would look the logged model up at its global tracking URI, which may be another.
        has_server = self._address().kind not in ("sqlite", "database")
        made = client.create_model_version(
            name,
            logged.model_uri if has_server else logged.artifact_location,
            run_id=model.run_id or None,
            tags=_tags(name, model) | {LOGGED_MODEL_TAG: logged.model_id},
            description=_description(name, model, logged),
            model_id=logged.model_id if has_server else None,
            await_creation_for=self._timeout,
        )
        first = _find(client, name, model) or made
        if int(first.version) < int(made.version):
            client.delete_model_version(name, made.version)
            if first.tags.get(LOGGED_MODEL_TAG) != logged.model_id:
                client.delete_logged_model(logged.model_id)
        return first

    def _address(self) -> Address:
        if self._place is None:
            self._place = resolve(self._uri, self._folder)
        return self._place

    @contextmanager
    def _talking(self, action: str) -> Iterator[None]:
        address = self._address()
        with _not_kept(address, action), talking(address, action, timeout=self._timeout, retries=self._retries):
            yield

    def _client(self) -> MlflowClient:
        """The client, connected with one short request the first time."""
        if self._connected is None:
            address = self._address()
            reaching = talking(address, "reach MLflow", timeout=self._check_timeout, retries=0, ask_user=False)
            with _not_kept(address, "reach the model registry"), reaching:
                self._connected = connect(address, self._check_timeout)
        return self._connected


def model_name(name: str) -> str:
    """A name that MLflow's registry and `models:/<name>/<version>` take: `org/model:7b` becomes `org-model-7b`.

    Raises:
        TrackingError: nothing of it can be kept.
    """
    valid = re.sub(r"[^\w. -]+", "-", text(name)).strip("-. ")[:MAX_NAME].strip("-. ")
    if not valid:
        raise TrackingError(f"a registered model cannot be named {name!r}; give a name with letters or digits")
    return valid


@contextmanager
def _not_kept(address: Address, action: str) -> Iterator[None]:
    """Say what a spool does not do, where everything else goes there."""
    try:
        yield
    except TrackingError as error:
        if is_away(address.uri):
            raise NotKeptError(
                f"cannot {action}: {address.shown} cannot be reached, and a model registry is not spooled; do it again "
                "when the server is back"
            ) from error
        raise


def _with_server_ids(client: MlflowClient, model: ModelInfo) -> ModelInfo:
    """The model with the ids that the server gave runs which began in a spool; the registry is not asked through it."""
    given = {run_id: server_id(run_id) for run_id in (model.run_id, *model.evaluations)}
    for run_id in given:
        if run_id and is_provisional(run_id):
            raise NotKeptError(
                f"the run {run_id} of the model {model.name!r} is still in the spool; send it with `kurve sync`, then "
                "register the model"
            )
    evaluations = tuple(given[run_id] for run_id in model.evaluations)
    return replace(model, run_id=given[model.run_id], evaluations=evaluations)


def _runs(client: MlflowClient, name: str, model: ModelInfo) -> dict[str, Run]:
    """The training, if it was tracked, and the evaluations, by id; all of them are there and can be logged to."""
    runs = {run_id: client.get_run(run_id) for run_id in dict.fromkeys((model.run_id, *model.evaluations)) if run_id}
    for run_id, run in runs.items():
        if run.info.lifecycle_stage != "active":
            raise TrackingError(
                f"the run {run_id} of the model {name!r} was deleted; restore it with `mlflow runs restore --run-id "
                f"{run_id}`, or leave it out"
            )
    if not runs:
        raise TrackingError(
            f"the model {name!r} has no run, and MLflow keeps a model in the experiment of one; train or evaluate it "
            "with this tracker first"
        )
    return runs


def _find(client: MlflowClient, name: str, model: ModelInfo) -> MlflowVersion | None:
    """The version of this registration with the lowest number; a copy under another name does not count."""
    found = client.search_model_versions(_registered_as(name, model))
    return min((one for one in found if one.name == name), key=lambda one: int(one.version), default=None)


def _logged_model(client: MlflowClient, name: str, model: ModelInfo, origin: Run) -> LoggedModel:
    """The logged model without weights: a new one, or that of a registration that was cut off."""
    experiment = str(origin.info.experiment_id)
    logged = next(iter(client.search_logged_models([experiment], _registered_as(name, model))), None)
    if logged is None:
        logged = client.create_logged_model(
            experiment,
            name=name.replace(".", "-"),
            source_run_id=model.run_id or None,
            tags=resolve_tags(_tags(name, model) | {MLFLOW_MODEL_IS_EXTERNAL: "true"}),
            params={"path": clipped(model.path, MAX_TAG, "the training"), "sha256": model.sha256},
            model_type=MODEL_TYPE,
        )
    if logged.status == LoggedModelStatus.READY:
        return logged
    # The file makes `mlflow.pyfunc.load_model` say that the weights are elsewhere.
    with TemporaryDirectory() as folder:
        file = Path(folder) / MLMODEL_FILE_NAME
        get_external_mlflow_model_spec(logged).save(str(file))
        client.log_model_artifact(logged.model_id, str(file))
    return client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)


def _complete(client: MlflowClient, version: MlflowVersion, model: ModelInfo, runs: Mapping[str, Run]) -> None:
    """What the version lacks: numbers first, then the tags, so that an evaluation it names is there whole."""
    logged = _logged_model_of(client, version)
    evaluations = [run_id for run_id in runs if run_id in model.evaluations]
    for run_id in evaluations:
        _attach(client, logged, runs[run_id])
    if model.run_id:
        _link(client, logged, runs[model.run_id], model.step)
    if model.upload and logged.tags.get(UPLOADED_TAG) != model.sha256:
        client.log_model_artifacts(logged.model_id, model.path)
        client.set_logged_model_tags(logged.model_id, {UPLOADED_TAG: model.sha256})
        kept = str(version.description or "").replace(_NOT_COPIED, _copied(logged))
        client.update_model_version(version.name, version.version, description=kept)
    earlier = evaluations_of(version.tags)
    measured = clipped(SEPARATOR.join(dict.fromkeys([*earlier, *evaluations])), MAX_TAG, "the logged model")
    wanted = _tags(version.name, model) | ({EVALUATIONS_TAG: measured} if measured else {})
    for key, value in wanted.items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(version.name, version.version, key, value)
    wanted[MLFLOW_MODEL_VERSIONS] = _versions(logged, version)
    if new := {key: value for key, value in wanted.items() if logged.tags.get(key) != value}:
        client.set_logged_model_tags(logged.model_id, new)


def _logged_model_of(client: MlflowClient, version: MlflowVersion) -> LoggedModel:
    model_id = version.tags.get(LOGGED_MODEL_TAG, "")
    try:
        return client.get_logged_model(model_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise TrackingError(
            f"version {version.version} of the model {version.name!r} has lost its logged model {model_id!r}, which "
            "somebody deleted; delete the version too, then register again"
        ) from error


def _attach(client: MlflowClient, logged: LoggedModel, run: Run) -> None:
    """Link an evaluation's numbers, without its curves, to the model and to the dataset they were measured on."""
    metrics = list(_new_metrics(logged, run))
    if metrics:
        client.log_batch(run.info.run_id, metrics=metrics, synchronous=True)
    if logged.model_id not in {given.model_id for given in run.inputs.model_inputs}:
        client.log_inputs(run.info.run_id, models=[LoggedModelInput(logged.model_id)])


def _link(client: MlflowClient, logged: LoggedModel, run: Run, step: int) -> None:
    """Show the model on the page of its training."""
    outputs = run.outputs.model_outputs if run.outputs else ()
    if logged.model_id not in {output.model_id for output in outputs}:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step)])


def _new_metrics(logged: LoggedModel, run: Run) -> Iterator[Metric]:
    """The run's numbers that the model does not have; with their own time the run keeps each of them once."""
    known = {(one.run_id, one.key, one.timestamp) for one in logged.metrics or ()}
    used = next((one.dataset for one in run.inputs.dataset_inputs), None)
    dataset = {"dataset_name": used.name, "dataset_digest": used.digest} if used else {}
    for one in run.to_proto().data.metrics:  # run.data.metrics has neither time nor step
        if one.step == 0 and math.isfinite(one.value) and (run.info.run_id, one.key, one.timestamp) not in known:
            yield Metric(one.key, one.value, one.timestamp, one.step, model_id=logged.model_id, **dataset)


def _tags(name: str, model: ModelInfo) -> dict[str, str]:
    """Tags of the version and of its logged model, with names and values that MLflow takes."""
    own = {
        "kurve.step": str(model.step),
        "kurve.path": model.path,
        "kurve.sha256": model.sha256,
        REGISTRATION_TAG: _registration(name, model),
    }
    whole = {**model.tags, **own}
    valid = names([*own, *whole])  # a tag that is given cannot take the name of one of ours
    return {valid[key]: clipped(str(value), MAX_TAG, "the training") for key, value in whole.items()}


def _registration(name: str, model: ModelInfo) -> str:
    """What is the same when a model is registered again."""
    return hashlib.sha256(json.dumps([name, model.path, model.sha256]).encode("ascii")).hexdigest()


def _registered_as(name: str, model: ModelInfo) -> str:
    """MLflow's filter for what has the tag of this registration."""
    return f"tags.`{REGISTRATION_TAG}` = '{_registration(name, model)}'"


def _versions(logged: LoggedModel, version: MlflowVersion) -> str:
    """What the logged model's page reads to link to its versions: one of this name, and those of other names."""
    listed = json.loads(logged.tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    others = [one for one in listed if one["name"] != version.name]
    return json.dumps([*others, {"name": version.name, "version": str(version.version)}])


def _copied(logged: LoggedModel) -> str:
    return f"MLflow has a copy of them: `mlflow artifacts download -u {logged.model_uri}`."


def _description(name: str, model: ModelInfo, logged: LoggedModel) -> str:
    """Markdown for the version's page, in the 5,000 characters that MLflow has for it."""
    page = f"#/experiments/{quote(str(logged.experiment_id))}"
    base = model.tags.get("kurve.base", "")
    words = (model.tags.get("kurve.algorithm", ""), f"from {base}" if base else "", f"step {model.step}")
    origin = markdown(clipped(" ".join(filter(None, words)), 200, "the tags"))
    path = markdown(clipped(model.path, 500, "kurve.path"))
    training = f", [its training]({page}/runs/{quote(model.run_id)})" if model.run_id else ""
    verdicts = {key.removeprefix(VERDICT): said for key, said in model.tags.items() if key.startswith(VERDICT)}
    against = "".join(f" Against its base on {benchmark}: {said}." for benchmark, said in verdicts.items())
    return (
        f"**{markdown(name)}**: {origin}. The weights stay in {path} (sha256 `{model.sha256[:12]}`), "
        f"{_NOT_COPIED} [Its numbers by benchmark]({page}/models/{logged.model_id}){training}."
        f"{markdown(clipped(against, 2000, 'the tags'))}"
    )
