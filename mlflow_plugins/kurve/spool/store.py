"""MLflow's store for a tracking server, with the spool between: what is logged goes to the journal first.

Everything that MLflow's RestStore sends passes through its `_call_endpoint`, so this class overrides that one method:
mutations of runs are journaled, questions are asked after what was logged is sent, and answered from the journals
while the server is away; the rest (models, traces, prompts, ...) is asked of the server, with little patience.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos import service_pb2
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.name_utils import _generate_random_name
from mlflow.utils.search_utils import SearchUtils
from mlflow.utils.workspace_context import get_request_workspace

from kurve.tracking import now_ms
from mlflow_plugins.kurve.spool.ids import experiment_id, ids_in, is_made_here, new_id
from mlflow_plugins.kurve.spool.journal import Record
from mlflow_plugins.kurve.spool.process import Spool, spool_for
from mlflow_plugins.kurve.spool.sender import SPOOL_TAG
from mlflow_plugins.kurve.spool.spooled import Spooled, parse
from mlflow_plugins.kurve.spool.wire import AwayError, DeniedError, DoubtfulError

READ_AFTER = 5.0  # seconds that a question waits for what was logged before it to be sent
CREATE_AFTER = 10.0  # seconds that a new run waits for its id; later it gets a provisional one
RETRIES = 1  # of what is not spooled

_LOGGED = {"LogMetric", "LogParam", "LogBatch", "SetTag", "DeleteTag", "LogInputs", "LogOutputs", "LogModel"}
_LOGGED |= {"UpdateRun", "DeleteRun", "RestoreRun", "SetExperimentTag", "DeleteExperimentTag"}
_PAGE = 1000
_log = logging.getLogger(__name__)


def build_store(root: Path | None, uri: str) -> RestStore:
    """MLflow's own store, or the one that spools if there is a folder for it."""
    creds = partial(get_default_host_creds, uri)
    if root is None:
        return RestStore(creds)
    if get_request_workspace() is not None:
        _log.warning("KURVE_SPOOL_DIR has no effect in an MLflow workspace, which the spool does not know")
        return RestStore(creds)
    return SpoolingRestStore(creds, spool_for(root, uri))


class SpoolingRestStore(RestStore):  # type: ignore[misc]  # MLflow has no types
    """RestStore whose runs outlive their server.

    Args:
        get_host_creds: as RestStore takes it.
        spool: of this process, for the server.
    """

    def __init__(self, get_host_creds: Callable[[], Any], spool: Spool) -> None:
        super().__init__(get_host_creds)
        self.spool = spool
        self._spooled = Spooled(spool.folder)
        self._answers: Mapping[str, Callable[[dict[str, Any]], Any]] = {
            "CreateRun": self._create_run,
            "CreateExperiment": self._create_experiment,
            "GetRun": self._get_run,
            "SearchRuns": self._search_for_runs,
            "GetMetricHistory": self._history,
            "GetExperiment": self._get_experiment,
            "GetExperimentByName": self._get_named_experiment,
            "SearchLoggedModels": self._search_for_models,
        }

    def _call_endpoint(  # noqa: PLR0917  # as MLflow calls it
        self,
        api: Any,
        json_body: str | None = None,
        endpoint: str | None = None,
        retry_timeout_seconds: int | None = None,
        response_proto: Any = None,
    ) -> Any:
        name = str(api.DESCRIPTOR.name)
        body = json.loads(json_body) if json_body else {}
        if name in _LOGGED:
            self.spool.put(Record(name, body, now_ms()))
            return _updated(body) if name == "UpdateRun" else api.Response()
        if name in self._answers:
            return self._answers[name](body)
        return self._pass_on(api, body, endpoint, response_proto)

    def _create_run(self, body: dict[str, Any]) -> Any:
        """Journal the run, give the server some time to make it, and say which id it has."""
        made = new_id()
        tags = [*body.get("tags", ()), {"key": SPOOL_TAG, "value": made}]
        named = next((tag.get("value") for tag in tags if tag["key"] == "mlflow.runName"), None)
        name = body.get("run_name") or named or _generate_random_name()
        whole = body | {"tags": tags, "run_name": name}
        self.spool.put(Record("CreateRun", whole, now_ms(), id=made, experiment=self._name_of(whole)))
        self.spool.flush(CREATE_AFTER)
        given = self.spool.folder.ids.get(made)
        if given is None:  # MLflow would print links to a page that will never be there
            os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        run = self.spool.seen.get(given) if given else self._local(made)
        return service_pb2.CreateRun.Response(run=run) if run is not None else self._get_run({"run_id": made})

    def _create_experiment(self, body: dict[str, Any]) -> Any:
        try:
            found = self._ask(service_pb2.CreateExperiment, body)
        except AwayError as error:
            _raise_unless_away(error)
            made = experiment_id(str(body["name"]))
            self.spool.put(Record("CreateExperiment", body, now_ms(), id=made))
            return service_pb2.CreateExperiment.Response(experiment_id=made)
        given = str(found.experiment_id)
        self.spool.experiments[given] = service_pb2.Experiment(
            experiment_id=given, name=body["name"], lifecycle_stage="active"
        )
        return found

    def _get_run(self, body: dict[str, Any]) -> Any:
        run_id = str(body["run_id"])
        is_whole = self.spool.flush(READ_AFTER)
        real = self.spool.folder.ids.get(run_id) or run_id
        if is_made_here(real):
            return self._from_journal(run_id, None)
        try:
            found = self._ask(service_pb2.GetRun, {"run_id": real, "run_uuid": real})
        except AwayError as error:
            _raise_unless_away(error)
            return self._from_journal(run_id, error)
        self.spool.saw(found.run)
        return found if is_whole else self._from_journal(run_id, None)

    def _search_for_runs(self, body: dict[str, Any]) -> Any:
        self.spool.flush(READ_AFTER)
        asked = [self.spool.folder.ids.get(one) or one for one in body.get("experiment_ids", ())]
        known = [one for one in asked if not is_made_here(one)]
        answer = service_pb2.SearchRuns.Response()
        away = None
        if known:
            try:
                answer = self._ask(service_pb2.SearchRuns, body | {"experiment_ids": known})
            except AwayError as error:
                _raise_unless_away(error)
                away = error
        for run in answer.runs:
            self.spool.saw(run)
        if body.get("page_token") and away is None:
            return answer
        return self._with_spooled(answer, body, asked, everything=away is not None)

    def _with_spooled(self, answer: Any, body: dict[str, Any], asked: list[str], *, everything: bool) -> Any:
        """The answer with the runs of the journals that fit: those that the server does not have, or all."""
        if not everything and self.spool.folder.is_sent():
            return answer
        shown = {str(run.info.run_id) for run in answer.runs}
        runs = [Run.from_proto(run) for run in self._fitting(asked, everything=everything, without=shown)]
        runs = SearchUtils.filter([one for one in runs if _is_viewed(one, body)], body.get("filter"))
        if not runs:
            return answer
        merged = SearchUtils.sort([*(Run.from_proto(run) for run in answer.runs), *runs], body.get("order_by"))
        token = answer.next_page_token
        if everything:
            merged, token = SearchUtils.paginate(merged, body.get("page_token"), body.get("max_results") or _PAGE)
        return service_pb2.SearchRuns.Response(runs=[one.to_proto() for one in merged], next_page_token=token or "")

    def _fitting(self, asked: list[str], *, everything: bool, without: set[str]) -> list[Any]:
        """Messages of the spooled runs of these experiments."""
        ids = self.spool.folder.ids
        with self.spool.reading:
            self._spooled.refresh()
            names = {name for one in asked if (name := self._experiment_name(one))}
            found = []
            for provisional in self._spooled.runs():
                of, name = self._spooled.experiment_of(provisional)
                given = ids.get(provisional)
                in_those = (ids.get(of) or of) in asked or (name and name in names)
                if in_those and given not in without and (everything or given is None):
                    found.append(self._spooled.run(provisional, self.spool.seen.get(given or "")))
            return [run for run in found if run is not None]

    def _history(self, body: dict[str, Any]) -> Any:
        run_id, key = str(body["run_id"]), str(body["metric_key"])
        is_whole = self.spool.flush(READ_AFTER)
        real = self.spool.folder.ids.get(run_id) or run_id
        points = None if is_whole or body.get("page_token") else self._local_history(run_id, key)
        away = None
        if points is None and not is_made_here(real):
            try:
                return self._ask(service_pb2.GetMetricHistory, body | {"run_id": real, "run_uuid": real})
            except AwayError as error:
                _raise_unless_away(error)
                away = error
        points = self._local_history(run_id, key) if points is None else points
        if points is None:
            shown = self.spool.seen.get(real)
            if shown is None or key in {one.key for one in shown.data.metrics}:
                raise away or _unknown(run_id)
            points = []
        return service_pb2.GetMetricHistory.Response(metrics=points)

    def _local_history(self, run_id: str, key: str) -> list[Any] | None:
        with self.spool.reading:
            self._spooled.refresh()
            return self._spooled.history(run_id, key)

    def _get_experiment(self, body: dict[str, Any]) -> Any:
        given = str(body["experiment_id"])
        real = self.spool.folder.ids.get(given) or given
        away = None
        if not is_made_here(real):
            try:
                found = self._ask(service_pb2.GetExperiment, {"experiment_id": real})
            except AwayError as error:
                _raise_unless_away(error)
                away = error
            else:
                self.spool.experiments[real] = found.experiment
                return found
        return service_pb2.GetExperiment.Response(experiment=self._local_experiment(given, real, away))

    def _get_named_experiment(self, body: dict[str, Any]) -> Any:
        name = str(body["experiment_name"])
        missing = MlflowException(f"no experiment {name!r} is known", error_code=RESOURCE_DOES_NOT_EXIST)
        try:
            found = self._ask(service_pb2.GetExperimentByName, body)
        except AwayError as error:
            _raise_unless_away(error)
        except MlflowException as error:
            missing = error  # it is not there, or only in a journal
        else:
            self.spool.experiments[str(found.experiment.experiment_id)] = found.experiment
            return found
        shown = (one for one, experiment in list(self.spool.experiments.items()) if experiment.name == name)
        known = next(shown, experiment_id(name))
        return service_pb2.GetExperimentByName.Response(experiment=self._local_experiment(known, known, missing))

    def _search_for_models(self, body: dict[str, Any]) -> Any:
        """The models of experiments: none while the server is away, when none can be made.

        MLflow asks this whenever it lists or fetches a file of a run, since a model may lie in its place.
        """
        asked = [self.spool.folder.ids.get(one) or one for one in body.get("experiment_ids", ())]
        known = [one for one in asked if not is_made_here(one)]
        try:
            if known:
                return self._ask(service_pb2.SearchLoggedModels, body | {"experiment_ids": known}, retries=RETRIES)
        except AwayError as error:
            _raise_unless_away(error)
        return service_pb2.SearchLoggedModels.Response()

    def _local_experiment(self, given: str, real: str, error: MlflowException | None) -> Any:
        """An experiment that a journal makes, or that the server showed before."""
        with self.spool.reading:
            self._spooled.refresh()
            found = self._spooled.experiment(given)
        found = found or self.spool.experiments.get(real)
        if found is None:
            raise error or _unknown(given)
        return found

    def _from_journal(self, run_id: str, error: AwayError | None) -> Any:
        run = self._local(run_id)
        if run is None:
            raise error or _unknown(run_id)
        return service_pb2.GetRun.Response(run=run)

    def _local(self, run_id: str) -> Any:
        real = self.spool.folder.ids.get(run_id) or run_id
        with self.spool.reading:
            self._spooled.refresh()
            return self._spooled.run(run_id, self.spool.seen.get(real))

    def _name_of(self, body: Mapping[str, Any]) -> str:
        """The name of the experiment of a run that is to be made, if it is known here."""
        shown = self.spool.experiments.get(str(body.get("experiment_id", "")))
        if shown is not None:
            return str(shown.name)
        with self.spool.reading:
            self._spooled.refresh()
            return self._experiment_name(str(body.get("experiment_id", "")))

    def _experiment_name(self, given: str) -> str:
        """The name of an experiment, if it is known here; `_spooled` is fresh."""
        for one in self.spool.folder.ids.names_of(given):
            found = self.spool.experiments.get(one) or self._spooled.experiment(one)
            if found is not None:
                return str(found.name)
        return ""

    def _pass_on(self, api: Any, body: dict[str, Any], endpoint: str | None, answer: Any) -> Any:
        """Ask the server what is not spooled."""
        self.spool.flush(READ_AFTER)
        words = self.spool.folder.ids.translate(json.dumps([body, endpoint]))
        if ids_in(words):
            raise MlflowException(
                f"{api.DESCRIPTOR.name} needs a run that the server does not have yet: it is in the spool "
                f"{self.spool.folder.path}; try again after `kurve sync`",
                error_code=TEMPORARILY_UNAVAILABLE,
            )
        translated, where = json.loads(words)
        return self._ask(api, translated, endpoint=where, retries=RETRIES, answer=answer)

    def _ask(self, api: Any, body: Mapping[str, Any], **given: Any) -> Any:
        """The server's answer; one that was away is not asked again for some seconds.

        Raises:
            AwayError: there is none.
        """
        if self.spool.away:
            raise AwayError(f"{self.spool.folder.uri or 'the server'} was away when it was asked last")
        try:
            found = self.spool.wire.call(api, body, **given)
        except AwayError as error:
            if not error.answered:
                self.spool.note_away(error)
            raise
        self.spool.note_back()
        return found


def _raise_unless_away(error: AwayError) -> None:
    """Let what the server said be known; only its silence is answered for."""
    if isinstance(error, DeniedError | DoubtfulError):
        raise error


def _updated(body: Mapping[str, Any]) -> Any:
    """What MLflow expects after a change of a run's status."""
    known = {key: value for key, value in body.items() if key in ("run_id", "run_uuid", "status", "end_time")}
    info = parse(service_pb2.RunInfo(), known | {"lifecycle_stage": "active"})
    return service_pb2.UpdateRun.Response(run_info=info)


def _is_viewed(run: Run, body: Mapping[str, Any]) -> bool:
    view = str(body.get("run_view_type", "ACTIVE_ONLY"))
    return view == "ALL" or (run.info.lifecycle_stage == "active") == (view == "ACTIVE_ONLY")


def _unknown(what: str) -> MlflowException:
    return MlflowException(f"{what} is known neither to the server nor to the spool", RESOURCE_DOES_NOT_EXIST)
