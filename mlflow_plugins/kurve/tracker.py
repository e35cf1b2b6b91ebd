"""Logs an evaluation or a training to MLflow: one run each, found again by its key.

It uses MlflowClient only and leaves MLflow's global state (active run, experiment, tracking URI) alone. Artifacts
go first, then metrics, and FINISHED last, so that a finished run is complete. `docs/mlflow.md` lists what is where.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import Param, Run
from mlflow.tracking.context.registry import resolve_tags

from kurve.errors import ConfigError, RejectedError, TrackingError
from kurve.tracking import RunInfo, TimedPoint, check_files, check_folder, check_status, is_evaluation, now_ms
from kurve.types import Report
from mlflow_plugins.kurve import describe
from mlflow_plugins.kurve.connection import Address, background, connect, resolve, talking
from mlflow_plugins.kurve.describe import FOLDER
from mlflow_plugins.kurve.experiments import open_experiment
from mlflow_plugins.kurve.fields import MAX_NAME, MAX_PARAM, clipped, names, text
from mlflow_plugins.kurve.firsts import write_shared
from mlflow_plugins.kurve.images import is_image, send_images
from mlflow_plugins.kurve.points import send_points
from mlflow_plugins.kurve.registry import MlflowRegistry
from mlflow_plugins.kurve.reports import send_report, send_tags, view_of
from mlflow_plugins.kurve.spool import is_away, is_provisional, server_id, spool_root, where_kept
from mlflow_plugins.kurve.traces import SETTINGS, Destination, are_wanted, send_traces
from mlflow_plugins.kurve.views import VIEW, view_url

EVALUATION_TAG = "kurve.evaluation"

_PAGE = 1000  # runs a request
_SAMPLES: Mapping[str, int | None] = {"auto": 200_000_000, "all": None, "preview": 0}  # characters of all responses

_log = logging.getLogger(__name__)


class MlflowTracker:
    """One MLflow run an evaluation or a training.

    Args:
        uri: server or database; None takes MLFLOW_TRACKING_URI, else `mlflow.db` in `folder`.
        experiment: made when it is not there.
        new_run: open another run even if the evaluation is already logged or under way.
        timeout: seconds for a request.
        retries: of a request that fails; after the last the call raises instead of blocking for minutes.
        check_timeout: seconds for the one request that `check` makes first.
        saved_view: keep the chart view with a log axis in the experiment, and one of each sweep's runs.
        nest_sweep: runs of a sweep are children of the sweep's own run; MLflow's charts then show that run alone.
        traces: one a problem, for MLflow's "Evaluation runs": of up to 2,000 problems, of all, or none.
        samples: all samples of an evaluation as samples.parquet, a preview only, or all up to 200 million characters.
        folder: what relative addresses mean; None takes the working folder.
    """

    def __init__(
        self,
        *,
        uri: str | None = None,
        experiment: str = "kurve",
        new_run: bool = False,
        timeout: int = 60,
        retries: int = 2,
        check_timeout: int = 8,
        saved_view: bool = True,
        nest_sweep: bool = False,
        samples: Literal["auto", "all", "preview"] = "auto",
        traces: Literal["auto", "all", "none"] = "auto",
        folder: str | Path | None = None,
    ) -> None:
        if samples not in _SAMPLES:
            raise ConfigError(f"tracker.samples is {samples!r}; expected {', '.join(_SAMPLES)}")
        if traces not in SETTINGS:
            raise ConfigError(f"tracker.traces is {traces!r}; expected {', '.join(SETTINGS)}")
        self._uri = uri
        self._folder = Path(folder).absolute() if folder else Path.cwd()
        self._experiment_name = experiment
        self._new_run = new_run
        self._timeout = max(1, int(timeout))
        self._retries = max(0, int(retries))
        self._check_timeout = max(1, int(check_timeout))
        self._saved_view = saved_view
        self._nest_sweep = nest_sweep
        self._view = VIEW
        self._samples = samples
        self._traces = traces
        self._place: Address | None = None
        self._connected: MlflowClient | None = None
        self._experiment_id = ""
        self._opened = False  # the experiment of that name is there
        self._run_id = ""
        self._has_curves = True  # a training has none
        self._settings_are_made = False  # the environment says how patient requests are

    def check(self) -> None:
        """Reach the server within about `check_timeout` seconds, unless there is a spool, and open the experiment.

        Raises:
            TrackingError: it cannot be reached, refuses the user, or the experiment was deleted.
        """
        self._connected, self._opened = None, False
        self._open()

    def start(self, run: RunInfo) -> bool:
        """Open or adopt the run; see `Tracker.start`. Parameters that an adopted run has are never written again."""
        if not re.fullmatch(r"[\w.-]{1,128}", run.key):
            raise TrackingError(f"an evaluation's key is letters, digits, '_', '.' and '-', got {run.key!r}")
        self._has_curves = not describe.is_training(run)
        client = self._open()
        with self._talking("open the run"):
            found = None if self._new_run else self._find(client, run.key)
            self._run_id = str(found.info.run_id) if found else self._create(client, run)
            if found is not None and found.info.status == "FINISHED":
                describe.join_sweeps(client, run, found)
                return False
        try:
            with self._talking("describe the run"):
                self._describe(client, run, found)
        except BaseException:
            with suppress(TrackingError):
                self.finish("FAILED")
            raise
        return True

    def log_report(self, report: Report, files: Sequence[Path]) -> None:
        """Upload the files to `kurve/` and as images, then log numbers and traces; see `Tracker.log_report`."""
        check_files(files)
        run_id = self._require_run("a report")
        client = self._client()
        with self._talking("send the report"):
            sent = send_report(client, run_id, report, files, saved_view=self._saved_view)
        if sent.skipped:
            _log.warning("not logged, since not finite: %s", ", ".join(sent.skipped))
        if are_wanted(self._traces, report):
            self._trace(sent.run, report)

    def log_points(self, points: Sequence[TimedPoint]) -> None:
        """Log numbers with their own time; see `Tracker.log_points`."""
        run_id = self._require_run("points")
        client = self._client()
        try:
            with self._talking("send points"):
                send_points(client, run_id, points)
        except RejectedError:
            self._active_run(run_id)  # a deleted run refuses everything, and can be restored
            raise

    def log_files(self, files: Sequence[Path], folder: str) -> None:
        """Upload the files to `kurve/<folder>`; see `Tracker.log_files`."""
        run_id = self._require_run("files")
        check_folder(folder)
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise RejectedError(f"files to keep with the run do not exist: {', '.join(missing)}")
        client = self._client()
        with self._talking("send files"):
            send_images(client, run_id, folder, [file for file in files if is_image(file)])
            for file in files:
                if not is_image(file):
                    client.log_artifact(run_id, str(file), str(PurePosixPath(FOLDER) / folder))

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set the tags and put verdicts into the description; see `Tracker.log_tags`."""
        run_id = self._require_run("tags")
        client = self._client()
        with self._talking("send tags"):
            send_tags(client, run_id, tags)

    def finish(self, status: str, ended: int | None = None) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        check_status(status)
        if not self._run_id:
            return
        client = self._client()
        with self._talking("end the run"):
            client.set_terminated(self._run_id, status, ended)

    def attach(self, run_id: str) -> None:
        """Log into a run of any experiment; see `Tracker.attach`."""
        run = self._active_run(run_id)
        self._run_id, self._experiment_id, self._opened = run_id, str(run.info.experiment_id), False

    def tags(self, run_id: str) -> Mapping[str, str]:
        """The tags of any run, its description and MLflow's own included."""
        return {str(key): str(value) for key, value in self._run(run_id).data.tags.items()}

    def fetch(self, run_id: str, file: str, folder: Path) -> Path:
        """Download the file from `kurve/`; see `Tracker.fetch`."""
        self._run(run_id)
        client = self._client()
        path = PurePosixPath(FOLDER) / file
        with self._talking(f"list the files of the run {run_id}"):
            kept = {str(one.path) for one in client.list_artifacts(run_id, str(path.parent))}
        if str(path) not in kept:
            raise TrackingError(
                f"the run {run_id} at {self.destination} kept no file {path}; is it an evaluation that ended?"
            )
        with self._talking(f"fetch a file of the run {run_id}"):
            return Path(client.download_artifacts(run_id, str(path), str(folder)))

    def find_evaluations(self, tags: Mapping[str, str]) -> Sequence[str]:
        """Finished runs of the experiment with all of these tags that are no training, comparison, study or figure."""
        found = self._tagged(tags, "FINISHED")
        return [str(run.info.run_id) for run in found if is_evaluation(run.data.tags)]

    def find_running(self, tags: Mapping[str, str]) -> Sequence[str]:
        """Runs of the experiment with all of these tags that say RUNNING; see `Tracker.find_running`."""
        return [str(run.info.run_id) for run in self._tagged(tags, "RUNNING")]

    def registry(self) -> MlflowRegistry:
        """The model registry of the same server or database."""
        return MlflowRegistry(
            uri=self._uri,
            timeout=self._timeout,
            retries=self._retries,
            check_timeout=self._check_timeout,
            folder=self._folder,
        )

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Short requests without retries for the whole process; see `Tracker.in_background`."""
        self._settings_are_made = True
        try:
            with background():
                yield
        finally:
            self._settings_are_made = False

    @property
    def samples_limit(self) -> int | None:
        """What `samples` says; see `Tracker.samples_limit`."""
        return _SAMPLES[self._samples]

    @property
    def run_id(self) -> str:
        """MLflow's id of the run; empty before `start`."""
        return self._run_id

    @property
    def destination(self) -> str:
        """Address of the server or database, without its password."""
        return self._address().shown

    @property
    def url(self) -> str:
        """The run's page; for a database, where `mlflow server` shows it. Empty before `start` and in the spool."""
        if not self._run_id or is_provisional(self._run_id):
            return ""
        experiment, run_id = server_id(self._experiment_id), server_id(self._run_id)
        return f"{self._address().browser}/#/experiments/{experiment}/runs/{run_id}"

    @property
    def view_url(self) -> str:
        """The experiment's chart view with a log axis; empty before `check` or `start`."""
        experiment = self._experiment_id
        return view_url(self._address().browser, server_id(experiment), self._view) if experiment else ""

    @property
    def hint(self) -> str:
        """How to look at the run and at the curves of all runs."""
        if not self._run_id or is_provisional(self._run_id):
            return where_kept(self._address().uri, self._run_id)
        command = self._address().server_command
        first = f"Start the pages with `make serve` or `{command}`, then open the run. " if command else ""
        whose = "all runs" if self._view == VIEW else "the sweep's runs"
        return f"{first}Curves of {whose}: {self.view_url}" if self._saved_view and self._has_curves else first.strip()

    def _address(self) -> Address:
        if self._place is None:
            self._place = resolve(self._uri, self._folder)
        return self._place

    def _talking(self, action: str) -> AbstractContextManager[None]:
        return talking(self._address(), action, timeout=self._timeout, retries=self._retries)

    def _trace(self, run: Run, report: Report) -> None:
        """Send traces. No spool keeps them: with one, a server that is away costs them, and not the run."""
        address, run_id = self._address(), str(run.info.run_id)
        spools = spool_root() is not None
        turn = partial(self._talking, "send traces")
        try:
            if is_away(address.uri) or is_provisional(run_id):
                raise TrackingError(f"{address.shown} is away")
            send_traces(Destination(address.uri, turn, address.kind == "http" and not spools), run, report)
        except TrackingError as error:
            if not spools:
                raise
            _log.warning("no traces of the problems, which a spool does not keep: %s", error)

    def _client(self) -> MlflowClient:
        """The client, connected with one short request the first time."""
        if self._connected is None:
            address = self._address()
            ask = self._settings_are_made
            with talking(address, "reach MLflow", timeout=self._check_timeout, retries=0, ask_user=ask):
                self._connected = connect(address, self._check_timeout, may_spool=True)
        return self._connected

    def _open(self) -> MlflowClient:
        """The client, and the experiment of that name, made if it is not there."""
        client = self._client()
        if not self._opened:
            with self._talking(f"open the experiment {self._experiment_name!r}"):
                self._experiment_id = open_experiment(client, self._experiment_name, self._address())
            self._opened = True
        return client

    def _tagged(self, tags: Mapping[str, str], status: str) -> list[Run]:
        """The experiment's runs of that status with all of these tags, the earliest first."""
        client = self._open()
        # MLflow's filters cannot escape a quote: such a value is compared below only.
        asked = [f"tags.`{key}` = '{value}'" for key, value in tags.items() if not re.search(r"['\"\\]", value)]
        condition = " and ".join([*asked, f"attributes.status = '{status}'"])
        found: list[Run] = []
        token: str | None = None
        with self._talking("look runs up"):
            while True:
                page = client.search_runs(
                    [self._experiment_id],
                    condition,
                    order_by=["attributes.start_time ASC"],
                    max_results=_PAGE,
                    page_token=token,
                )
                found += page
                token = page.token
                if not token:
                    break
        return [run for run in found if tags.items() <= run.data.tags.items()]

    def _run(self, run_id: str) -> Run:
        client = self._client()
        with self._talking(f"find the run {run_id!r}"):
            return client.get_run(run_id)

    def _active_run(self, run_id: str) -> Run:
        run = self._run(run_id)
        if run.info.lifecycle_stage != "active":
            raise TrackingError(
                f"the run {run_id} at {self._address().shown} was deleted; restore it with `mlflow runs restore "
                f"--run-id {run_id}`, then send again"
            )
        return run

    def _find(self, client: MlflowClient, key: str) -> Run | None:
        """The run of this evaluation: a finished one if there is one, else the newest."""
        found = client.search_runs(
            [self._experiment_id], f"tags.`{EVALUATION_TAG}` = '{key}'", order_by=["attributes.start_time DESC"]
        )
        finished = [run for run in found if run.info.status == "FINISHED"]
        return next(iter(finished or found), None)

    def _create(self, client: MlflowClient, run: RunInfo) -> str:
        # The rest of the tags follows in batches: their number is the user's.
        created = client.create_run(
            self._experiment_id,
            start_time=now_ms(),
            tags={EVALUATION_TAG: run.key},
            run_name=clipped(run.name, MAX_NAME),
        )
        return str(created.info.run_id)

    def _describe(self, client: MlflowClient, run: RunInfo, found: Run | None) -> None:
        """Tags, parameters, configuration and dataset of a new or adopted run."""
        run_id = self._run_id
        attempt = 1 if found is None else describe.attempt(found) + 1
        self._view = view_of(client, self._experiment_id, run.tags) if self._saved_view else VIEW
        view = view_url("", self._experiment_id, self._view) if self._saved_view else ""
        tags = resolve_tags(describe.described(run, (self._experiment_id, run_id), view, attempt))
        if self._nest_sweep and (parent := run.tags.get(describe.SWEEP_RUN_TAG)):
            tags[describe.PARENT_TAG] = parent
        if found is not None:
            client.update_run(run_id, status="RUNNING")
        known = dict(found.data.params) if found is not None else {}
        name = names(run.params)
        params = {name[key]: clipped(str(value), MAX_PARAM) for key, value in run.params.items()}
        changed = [f"{key}: {known[key]} -> {new}" for key, new in params.items() if known.get(key, new) != new]
        if changed:
            tags[f"{describe.ATTEMPT_TAG}.{attempt}.changed"] = "; ".join(changed)
        client.log_batch(run_id, tags=describe.run_tags(tags), synchronous=True)
        for batch in describe.batches([Param(key, value) for key, value in params.items() if key not in known]):
            client.log_batch(run_id, params=batch, synchronous=True)
        client.log_text(run_id, text(run.config_yaml), f"{FOLDER}/config.yaml")
        versions = json.dumps(dict(run.versions), indent=1, sort_keys=True)
        client.log_text(run_id, versions, f"{FOLDER}/versions.json")
        if run.dataset_name and (found is None or not found.inputs.dataset_inputs):
            write_shared(lambda: client.log_inputs(run_id, [describe.dataset(run)]))

    def _require_run(self, what: str) -> str:
        if not self._run_id:
            raise TrackingError(f"{what} came before a run was started; call start(run) first")
        return self._run_id
