"""Sends a journal to its server, in order, so that everything arrives once however often it is sent.

What makes repeating safe, each tried and held by a contract test: MLflow keeps a metric once that has the same key,
step, value and time; a parameter may be set again to what it is; tags, status and files are replaced by the same; a
dataset is an input once; a run carries the tag SPOOL_TAG and is looked for before it is made; an experiment has a name.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos import service_pb2

from kurve.errors import StoreError
from kurve.store.lock import WriterLock
from mlflow_plugins.kurve.spool import journal
from mlflow_plugins.kurve.spool.files import Uploads
from mlflow_plugins.kurve.spool.folder import ServerFolder
from mlflow_plugins.kurve.spool.ids import ids_in, is_made_here
from mlflow_plugins.kurve.spool.journal import ARTIFACT, Line, Record
from mlflow_plugins.kurve.spool.wire import AwayError, DoubtfulError, Wire

SPOOL_TAG = "kurve.spool_id"

_BATCH_ITEMS = {"metrics": 1000, "params": 100, "tags": 100}  # what a server takes in one request
_BATCH_BYTES = 500_000  # of JSON; servers take a megabyte
_DOUBTS = 3  # so often a doubtful answer is asked again, before it counts as a refusal
_GONE = ("RESOURCE_DOES_NOT_EXIST",)

Item = tuple[str, Mapping[str, Any]]  # "metrics", "params" or "tags", and one of them


@dataclass(slots=True)
class Sent:
    """What was delivered."""

    records: int = 0  # requests' worth of metrics, parameters, tags, ...
    files: int = 0
    runs: int = 0  # that were made on the server
    refused: int = 0
    reasons: list[str] = field(default_factory=list)


class Sender:
    """Delivers the journals of one server; who calls `send` needs no lock, it takes them.

    Args:
        folder: of the server, in the spool.
        wire: to it.
        on_progress: called after every delivery.
    """

    def __init__(self, folder: ServerFolder, wire: Wire, on_progress: Callable[[], None] = lambda: None) -> None:
        self.made: dict[str, Any] = {}  # MLflow's message of runs that this sender made, by provisional id
        self.sent = Sent()
        self._folder, self._wire = folder, wire
        self._ids = folder.ids
        self._uploads = Uploads(wire)
        self._on_progress = on_progress
        self._doubts: dict[int, int] = {}  # by the position of a record
        self._unnoted: dict[Path, int] = {}  # positions that the disk did not take
        self._hopeless: dict[str, str] = {}  # provisional ids that cannot be made, and why

    def send(self, folder: Path, stop: Callable[[], bool] = lambda: False) -> bool:
        """Deliver a journal up to its end, or until `stop` says so.

        Returns:
            False if another process is sending it.

        Raises:
            AwayError: the server cannot be reached; what was delivered is noted.
            OSError: the disk takes no note of what was refused.
        """
        try:
            lock = WriterLock(folder / journal.SENDER_LOCK)
        except StoreError:
            return False
        try:
            for group in _groups(journal.read_lines(folder / journal.JOURNAL, self.position(folder))):
                self._deliver_group(folder, group)
                self._note(folder, group[-1].end)
                self._on_progress()
                if stop():
                    break
        finally:
            lock.release()
        return True

    def position(self, folder: Path) -> int:
        """How many bytes of a journal the server has, also where the disk took no note of it."""
        return max(journal.sent_bytes(folder), self._unnoted.get(folder, 0))

    def deliver(self, record: Record, folder: Path) -> None:
        """Send one record that is in no journal.

        Args:
            record: what to send.
            folder: with the blobs that it may name.

        Raises:
            AwayError: the server cannot be reached.
            MlflowException: it refuses.
        """
        self._deliver(folder, [record], lambda part, error: _raise(error))

    def send_again(self, folder: Path) -> bool:
        """Try what is in quarantine again; what is refused again stays there.

        Returns:
            False if another process is sending the journal.

        Raises:
            AwayError: the server cannot be reached; everything stays where it is.
        """
        try:
            lock = WriterLock(folder / journal.SENDER_LOCK)
        except StoreError:
            return False
        quarantine = folder / journal.QUARANTINE
        trying = folder / journal.TRYING  # of this call, or of one that was killed
        try:
            self._hopeless.clear()
            if quarantine.exists() and not trying.exists():
                quarantine.rename(trying)
            for line in journal.read_lines(trying):
                if line.record is not None:
                    self._deliver(folder, [line.record], self._aside(folder))
            trying.unlink(missing_ok=True)
        finally:
            lock.release()
        return True

    def _note(self, folder: Path, end: int) -> None:
        try:
            journal.remember_sent(folder, end)
        except OSError:  # the next process sends it again, which adds nothing
            self._unnoted[folder] = end

    def _deliver_group(self, folder: Path, group: Sequence[Line]) -> None:
        records = [line.record for line in group if line.record is not None]
        for line in group:
            if line.record is None:
                self._set_aside(folder, Record("damaged", {"text": line.complaint}, 0), line.complaint)
        try:
            if records:
                self._deliver(folder, records, self._aside(folder))
        except DoubtfulError as error:
            at = group[-1].end
            self._doubts[at] = self._doubts.get(at, 0) + 1
            if self._doubts[at] < _DOUBTS:
                raise
            for record in records:
                self._set_aside(folder, record, str(error))

    def _deliver(
        self, folder: Path, records: Sequence[Record], refuse: Callable[[Record, MlflowException], None]
    ) -> None:
        """Send records of one kind; hand those that are refused for good to `refuse`."""
        first = records[0]
        try:
            self._settle(first)
            if first.api == ARTIFACT:
                self._uploads.send(first, folder, self._ids.get)
                self.sent.files += 1
                return
            if first.api in ("CreateRun", "CreateExperiment"):
                return
            if first.api not in ("LogMetric", "LogParam", "LogBatch"):
                self._wire.call(_request(first.api), self._translated(first.body))
                self.sent.records += 1
                return
        except AwayError:
            raise
        except MlflowException as error:
            for record in records:
                refuse(record, error)
            return
        self._send_items(first.run_id, [item for record in records for item in _items(record)], refuse)

    def _send_items(
        self, run_id: str, items: Sequence[Item], refuse: Callable[[Record, MlflowException], None]
    ) -> None:
        """Send them together; when they are refused, find the bad ones by halving."""
        body = _batch(run_id, items)
        try:
            self._wire.call(service_pb2.LogBatch, self._translated(body))
        except AwayError:
            raise
        except MlflowException as error:
            if len(items) == 1 or not self._is_usable(run_id):
                refuse(Record("LogBatch", body, _now_ms()), error)
                return
            half = len(items) // 2
            self._send_items(run_id, items[:half], refuse)
            self._send_items(run_id, items[half:], refuse)
        else:
            self.sent.records += len(items)

    def _is_usable(self, run_id: str) -> bool:
        """Whether the run is there and not deleted: otherwise it refuses every part as it refused the whole."""
        try:
            found = self._wire.call(service_pb2.GetRun, self._translated({"run_id": run_id}))
        except AwayError:
            raise
        except MlflowException:
            return False
        return bool(found.run.info.lifecycle_stage == "active")

    def _settle(self, record: Record) -> None:
        """See to it that the server has what the record names, or makes."""
        named = ids_in(json.dumps(record.body))
        for provisional in [*named, *([record.id] if record.id else [])]:
            if self._ids.get(provisional) is None:
                own = provisional in (record.id, record.run_id, record.body.get("experiment_id"))
                self._make(provisional, record if provisional == record.id else None, needed=own)

    def _make(self, provisional: str, record: Record | None, *, needed: bool) -> None:
        """Find or make a run or an experiment on the server, from its record in this or in another journal."""
        if provisional in self._hopeless:
            reason = self._hopeless[provisional]
        elif (record := record or self._folder.created(provisional)) is None:
            reason = "the spool does not hold the run's beginning, so it cannot be made on the server"
        else:
            try:
                self._create(record)
            except AwayError:
                raise
            except MlflowException as error:
                reason = f"what it belongs to cannot be made on the server: {error}"
                self._hopeless[provisional] = reason
            else:
                return
        if needed:  # otherwise it is a word in a tag, which may stay
            raise MlflowException.invalid_parameter_value(reason)

    def _create(self, record: Record) -> None:
        if record.api == "CreateExperiment":
            self._ids.put(record.id, self._experiment(record.body))
            return
        if is_made_here(experiment := str(record.body["experiment_id"])) and self._ids.get(experiment) is None:
            self._make(experiment, None, needed=True)
        with self._folder.creating():
            if self._ids.get(record.id) is not None:
                return
            run = self._find(record)
            if run is None:
                run = self._wire.call(service_pb2.CreateRun, self._translated(record.body)).run
                self.sent.runs += 1
            self.made[record.id] = run
            self._ids.put(record.id, str(run.info.run_id))

    def _find(self, record: Record) -> Any:
        """The run that an earlier try made, whose answer never came; None if there is none."""
        asked = {
            "experiment_ids": [str(record.body["experiment_id"])],
            "filter": f"tags.`{SPOOL_TAG}` = '{record.id}'",
            "run_view_type": "ALL",
            "max_results": 1,
        }
        asked["experiment_ids"] = self._translated(asked)["experiment_ids"]
        found = self._wire.call(service_pb2.SearchRuns, asked)
        return next(iter(found.runs), None)

    def _experiment(self, body: Mapping[str, Any]) -> str:
        """The experiment of that name, made if it is not there."""
        name = {"experiment_name": body["name"]}
        try:
            return str(self._wire.call(service_pb2.GetExperimentByName, name).experiment.experiment_id)
        except MlflowException as error:
            if error.error_code not in _GONE:
                raise
        try:
            return str(self._wire.call(service_pb2.CreateExperiment, body).experiment_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return str(self._wire.call(service_pb2.GetExperimentByName, name).experiment.experiment_id)

    def _translated(self, body: Mapping[str, Any]) -> dict[str, Any]:
        found = json.loads(self._ids.translate(json.dumps(body)))
        assert isinstance(found, dict)
        return found

    def _aside(self, folder: Path) -> Callable[[Record, Exception], None]:
        return lambda record, error: self._set_aside(folder, record, str(error))

    def _set_aside(self, folder: Path, record: Record, reason: str) -> None:
        journal.set_aside(folder, Record(record.api, record.body, record.time, record.id, record.experiment, reason))
        self.sent.refused += 1
        self.sent.reasons.append(reason)


def _groups(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Lines that are sent together: numbers and parameters of one run, as many as a request takes; others alone."""
    group: list[Line] = []
    run, size, counts = "", 0, dict.fromkeys(_BATCH_ITEMS, 0)
    for line in lines:
        items = _items(line.record) if line.record is not None and _joins(line.record) else []
        grown = {kind: counts[kind] + sum(1 for other, _ in items if other == kind) for kind in counts}
        bytes_of = line.end - group[-1].end if group else 0
        fits = all(grown[kind] <= _BATCH_ITEMS[kind] for kind in grown) and size + bytes_of <= _BATCH_BYTES
        joins = bool(items) and line.record is not None and line.record.run_id == run and fits
        if group and not joins:
            yield group
            group = []
        if not group:
            run = line.record.run_id if items and line.record is not None else ""
            size, grown = 0, {kind: sum(1 for other, _ in items if other == kind) for kind in counts}
        group.append(line)
        size, counts = size + bytes_of, grown
    if group:
        yield group


def _request(api: str) -> Any:
    """MLflow's class of a request.

    Raises:
        MlflowException: this version has none of that name, or the line of the journal was damaged.
    """
    found = getattr(service_pb2, api, None)
    if found is None:
        raise MlflowException.invalid_parameter_value(f"MLflow {mlflow.__version__} has no request {api!r}")
    return found


def _joins(record: Record) -> bool:
    """Whether it may be sent with others: tags may not, since of two with one key the later has to win."""
    return record.api in ("LogMetric", "LogParam") or (record.api == "LogBatch" and not record.body.get("tags"))


def _items(record: Record) -> list[Item]:
    body = record.body
    if record.api == "LogMetric":
        return [("metrics", {key: value for key, value in body.items() if key not in ("run_id", "run_uuid")})]
    if record.api == "LogParam":
        return [("params", {"key": body["key"], "value": body.get("value", "")})]
    return [(kind, item) for kind in _BATCH_ITEMS for item in body.get(kind, ())]


def _batch(run_id: str, items: Sequence[Item]) -> dict[str, Any]:
    kinds = {kind: [item for other, item in items if other == kind] for kind in _BATCH_ITEMS}
    return {"run_id": run_id, **{kind: found for kind, found in kinds.items() if found}}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _raise(error: Exception) -> None:
    raise error
