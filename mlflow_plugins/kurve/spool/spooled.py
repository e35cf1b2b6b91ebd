"""What the journals of a spool say of runs and experiments: the answers while the server is away.

The answers are MLflow's own messages, so that its own code reads them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.protos import service_pb2
from mlflow.utils.proto_json_utils import parse_dict

from mlflow_plugins.kurve.spool import journal
from mlflow_plugins.kurve.spool.files import artifacts_of
from mlflow_plugins.kurve.spool.folder import ServerFolder
from mlflow_plugins.kurve.spool.journal import ARTIFACT, Record


@dataclass(slots=True)
class _Known:
    """What one journal said so far."""

    read: int = 0  # bytes
    creates: dict[str, Record] = field(default_factory=dict)  # by provisional id
    records: dict[str, list[Record]] = field(default_factory=dict)  # by the run's id, as it was logged
    files: list[Record] = field(default_factory=list)


class Spooled:
    """The journals of one server's folder, read again where they have grown."""

    def __init__(self, folder: ServerFolder) -> None:
        self._folder = folder
        self._known: dict[Path, _Known] = {}

    def refresh(self) -> None:
        """Read what is new, and forget what was sent and removed."""
        present = journal.journals(self._folder.path)
        self._known = {path: self._known.get(path) or _Known() for path in present}
        for path, known in self._known.items():
            for line in journal.read_lines(path / journal.JOURNAL, known.read):
                known.read = line.end
                if line.record is not None:
                    _sort_in(known, line.record)

    def experiment(self, name: str) -> Any:
        """MLflow's message of an experiment that a journal makes, by its name or its provisional id; None if none."""
        for known in self._known.values():
            for record in known.creates.values():
                if record.api == "CreateExperiment" and name in (record.id, record.body["name"]):
                    return _experiment(record)
        return None

    def run(self, run_id: str, base: Any = None) -> Any:
        """MLflow's message of a run with all that the journals say of it.

        Args:
            run_id: any of its ids.
            base: the run as the server showed it last; None if it never did.

        Returns:
            None if neither the server nor a journal told of its beginning.
        """
        names = self._folder.ids.names_of(run_id)
        run = service_pb2.Run()
        if base is not None:
            run.CopyFrom(base)
        else:
            create = self._create(names)
            if create is None:
                return None
            _begin(run, create)
            run.info.run_id = run.info.run_uuid = run_id
        for record in self._records(names):
            change = _CHANGES.get(record.api)
            if change is not None:
                change(run, record.body)
        return run

    def runs(self) -> list[str]:
        """Provisional ids of all runs that begin in the journals."""
        creates = [record for known in self._known.values() for record in known.creates.values()]
        return [record.id for record in creates if record.api == "CreateRun"]

    def experiment_of(self, provisional: str) -> tuple[str, str]:
        """Id and name (empty if it is not known) of the experiment of a run that begins in the journals."""
        create = self._create({provisional})
        return (str(create.body["experiment_id"]), create.experiment) if create else ("", "")

    def history(self, run_id: str, key: str) -> list[Any] | None:
        """MLflow's messages of a metric's points; None for a run whose beginning is in no journal."""
        names = self._folder.ids.names_of(run_id)
        if self._create(names) is None:
            return None
        points = [point for record in self._records(names) for point in _metrics(record.api, record.body)]
        unique = {
            (one["key"], one.get("step", 0), one["timestamp"], str(one["value"])): one
            for one in points
            if one["key"] == key
        }
        return [parse(service_pb2.Metric(), one) for one in unique.values()]

    def artifacts(self, uri: str) -> dict[str, tuple[Record, Path]]:
        """The files below an address, by path: the record of the newest, and the folder of its journal."""
        root = f"{uri.rstrip('/')}/"
        found = (
            (f"{record.body['uri'].rstrip('/')}/{record.body['path']}", record, path)
            for path, known in self._known.items()
            for record in known.files
        )
        return {whole.removeprefix(root): (record, path) for whole, record, path in found if whole.startswith(root)}

    def _create(self, names: set[str]) -> Record | None:
        for known in self._known.values():
            for name in names:
                if name in known.creates and known.creates[name].api == "CreateRun":
                    return known.creates[name]
        return None

    def _records(self, names: set[str]) -> list[Record]:
        return [one for known in self._known.values() for name in names for one in known.records.get(name, ())]


def parse(message: Any, body: Mapping[str, Any]) -> Any:
    """The message with what MLflow's JSON says."""
    parse_dict(dict(body), message)
    return message


def _sort_in(known: _Known, record: Record) -> None:
    if record.id:
        known.creates[record.id] = record
    elif record.api == ARTIFACT:
        known.files.append(record)
    elif record.run_id:
        known.records.setdefault(record.run_id, []).append(record)


def _experiment(record: Record) -> Any:
    made = service_pb2.Experiment(
        experiment_id=record.id,
        name=record.body["name"],
        artifact_location=record.body.get("artifact_location") or f"mlflow-artifacts:/{record.id}",
        lifecycle_stage="active",
        creation_time=record.time,
        last_update_time=record.time,
    )
    for tag in record.body.get("tags", ()):
        made.tags.add(key=tag["key"], value=tag.get("value", ""))
    return made


def _begin(run: Any, create: Record) -> None:
    body = create.body
    run.info.run_id = run.info.run_uuid = create.id
    run.info.experiment_id = str(body["experiment_id"])
    run.info.user_id = str(body.get("user_id", ""))
    run.info.start_time = int(body.get("start_time", create.time))
    run.info.status = service_pb2.RUNNING
    run.info.lifecycle_stage = "active"
    run.info.artifact_uri = artifacts_of(create.id)
    for tag in body.get("tags", ()):
        _set(run.data.tags, tag)
    _name(run, str(body.get("run_name", "")))


def _name(run: Any, name: str) -> None:
    if name:
        run.info.run_name = name
        _set(run.data.tags, {"key": "mlflow.runName", "value": name})


def _set(held: Any, given: Mapping[str, Any], *, once: bool = False) -> None:
    """Set a parameter or tag; `once` keeps one that is there."""
    for one in held:
        if one.key == given["key"]:
            if not once:
                one.value = given.get("value", "")
            return
    held.add(key=given["key"], value=given.get("value", ""))


def _metrics(api: str, body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if api == "LogMetric":
        return [{key: value for key, value in body.items() if key not in ("run_id", "run_uuid")}]
    return list(body.get("metrics", ())) if api == "LogBatch" else []


def _log_metrics(run: Any, points: list[Mapping[str, Any]]) -> None:
    """Show of each metric the last step, there the latest time, there the largest value, as MLflow does."""
    latest = {one.key: one for one in run.data.metrics}
    for body in points:
        point = parse(service_pb2.Metric(), body)
        shown = latest.get(point.key)
        if shown is None:
            latest[point.key] = run.data.metrics.add()
            latest[point.key].CopyFrom(point)
        elif (point.step, point.timestamp, point.value) > (shown.step, shown.timestamp, shown.value):
            shown.CopyFrom(point)


def _log_metric(run: Any, body: Mapping[str, Any]) -> None:
    _log_metrics(run, _metrics("LogMetric", body))


def _log_batch(run: Any, body: Mapping[str, Any]) -> None:
    _log_metrics(run, _metrics("LogBatch", body))
    for param in body.get("params", ()):
        _set(run.data.params, param, once=True)
    for tag in body.get("tags", ()):
        _set_tag(run, tag)


def _log_param(run: Any, body: Mapping[str, Any]) -> None:
    _set(run.data.params, body, once=True)


def _set_tag(run: Any, body: Mapping[str, Any]) -> None:
    _set(run.data.tags, body)
    if body["key"] == "mlflow.runName":
        run.info.run_name = body.get("value", "")


def _delete_tag(run: Any, body: Mapping[str, Any]) -> None:
    kept = [one for one in run.data.tags if one.key != body["key"]]
    del run.data.tags[:]
    run.data.tags.extend(kept)


def _update(run: Any, body: Mapping[str, Any]) -> None:
    if "status" in body:
        run.info.status = service_pb2.RunStatus.Value(body["status"])
    if "end_time" in body:
        run.info.end_time = int(body["end_time"])
    _name(run, str(body.get("run_name") or ""))


def _log_inputs(run: Any, body: Mapping[str, Any]) -> None:
    known = {(one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs}
    for given in body.get("datasets", ()):
        if (given["dataset"]["name"], given["dataset"]["digest"]) not in known:
            parse(run.inputs.dataset_inputs.add(), given)


def _delete(run: Any, body: Mapping[str, Any]) -> None:
    run.info.lifecycle_stage = "deleted"


def _restore(run: Any, body: Mapping[str, Any]) -> None:
    run.info.lifecycle_stage = "active"


_CHANGES: Mapping[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "LogMetric": _log_metric,
    "LogBatch": _log_batch,
    "LogParam": _log_param,
    "SetTag": _set_tag,
    "DeleteTag": _delete_tag,
    "UpdateRun": _update,
    "LogInputs": _log_inputs,
    "DeleteRun": _delete,
    "RestoreRun": _restore,
}
