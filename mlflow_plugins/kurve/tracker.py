"""Logs an evaluation to MLflow: one run each, found again by the evaluation's key.

It uses MlflowClient only and leaves MLflow's global state (active run, experiment, tracking URI) alone. Artifacts
go first, then metrics, and FINISHED last, so that a finished run is complete. `docs/mlflow.md` lists what is where.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from kurve.errors import TrackingError
from kurve.tracking import Point, RunInfo, check_files, check_status, now_ms, report_points
from kurve.types import Report
from mlflow_plugins.kurve.connection import Address, connect, resolve, talking
from mlflow_plugins.kurve.fields import MAX_DIGEST, MAX_NAME, MAX_PARAM, MAX_TAG, clipped, markdown, names, text
from mlflow_plugins.kurve.views import save_view, view_url

EVALUATION_TAG = "kurve.evaluation"
ATTEMPT_TAG = "kurve.attempt"
SKIPPED_TAG = "kurve.not_finite"
FOLDER = "kurve"  # of the artifacts
CURVE_POINTS = 320  # as many as MLflow's charts ask for; with more they leave out k = 2, 3, 4

_BATCH_BYTES = 500_000  # of JSON a request; servers refuse more than a megabyte
_NOTES = "\n\n**Before using the numbers:**\n"
_log = logging.getLogger(__name__)


class MlflowTracker:
    """One MLflow run an evaluation.

    Args:
        uri: server or database; None takes MLFLOW_TRACKING_URI, else `mlflow.db` in `folder`.
        experiment: made when it is not there.
        new_run: open another run even if the evaluation is already logged or under way.
        timeout: seconds for a request.
        retries: of a request that fails; after the last the call raises instead of blocking for minutes.
        check_timeout: seconds for the one request that `check` makes first.
        saved_view: keep the chart view with a log axis in the experiment.
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
        folder: str | Path | None = None,
    ) -> None:
        self._uri = uri
        self._folder = Path(folder).absolute() if folder else Path.cwd()
        self._experiment_name = experiment
        self._new_run = new_run
        self._timeout = max(1, int(timeout))
        self._retries = max(0, int(retries))
        self._check_timeout = max(1, int(check_timeout))
        self._saved_view = saved_view
        self._place: Address | None = None
        self._connected: MlflowClient | None = None
        self._experiment_id = ""
        self._run_id = ""

    def check(self) -> None:
        """Reach the server within about `check_timeout` seconds and get or make the experiment.

        Raises:
            TrackingError: it cannot be reached, refuses the user, or the experiment was deleted.
        """
        self._connected = None
        self._client()

    def start(self, run: RunInfo) -> bool:
        """Open or adopt the run; see `Tracker.start`. Parameters that an adopted run has are never written again."""
        if not re.fullmatch(r"[\w.-]{1,128}", run.key):
            raise TrackingError(f"an evaluation's key is letters, digits, '_', '.' and '-', got {run.key!r}")
        client = self._client()
        with self._talking("open the run"):
            found = None if self._new_run else self._find(client, run.key)
            if found is not None and found.info.status == "FINISHED":
                self._run_id = str(found.info.run_id)
                return False
            self._run_id = str(found.info.run_id) if found else self._create(client, run)
        try:
            with self._talking("describe the run"):
                self._describe(client, run, found)
        except BaseException:
            with suppress(TrackingError):
                self.finish("FAILED")
            raise
        return True

    def log_report(self, report: Report, files: Sequence[Path]) -> None:
        """Upload the files to `kurve/`, then log every number; see `Tracker.log_report`.

        Points carry the run's start as their time and MLflow keeps equal points once, so a repeated call adds
        nothing; a value that did change gets a later time and is the one that is shown.
        """
        check_files(files)
        run_id = self._require_run()
        client = self._client()
        with self._talking("send the report"):
            for file in files:
                client.log_artifact(run_id, str(file), FOLDER)
            run = client.get_run(run_id)
            points, skipped = report_points(report, per_curve=CURVE_POINTS)
            name = names(point.key for point in points)
            renamed = [Point(name[point.key], point.value, point.step) for point in points]
            client.log_batch(run_id, metrics=list(_new_metrics(client, run, renamed)), synchronous=True)
            tags = _report_tags(report, files, skipped, str(run.data.tags.get("mlflow.note.content", "")))
            client.log_batch(run_id, tags=_tags(tags), synchronous=True)
            if self._saved_view:
                benchmark = _benchmark_name(name, report)
                save_view(client, self._experiment_id, benchmark, _bars(benchmark, name.values()))
        if skipped:
            _log.warning("not logged, since not finite: %s", ", ".join(skipped))

    def finish(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        check_status(status)
        if not self._run_id:
            return
        client = self._client()
        with self._talking("end the run"):
            client.set_terminated(self._run_id, status)

    @property
    def run_id(self) -> str:
        """MLflow's id of the run; empty before `start`."""
        return self._run_id

    @property
    def url(self) -> str:
        """The run's page; for a database, where `mlflow server` shows it. Empty before `start`."""
        if not self._run_id:
            return ""
        return f"{self._address().browser}/#/experiments/{self._experiment_id}/runs/{self._run_id}"

    @property
    def view_url(self) -> str:
        """The experiment's chart view with a log axis; empty before `check` or `start`."""
        return view_url(self._address().browser, self._experiment_id) if self._experiment_id else ""

    @property
    def hint(self) -> str:
        """How to look at the run and at the curves of all runs."""
        if not self._run_id:
            return ""
        command = self._address().server_command
        first = f"Start the pages with `make serve` or `{command}`, then open the run. " if command else ""
        return f"{first}Curves of all runs: {self.view_url}" if self._saved_view else first.strip()

    def _address(self) -> Address:
        if self._place is None:
            self._place = resolve(self._uri, self._folder)
        return self._place

    def _talking(self, action: str) -> AbstractContextManager[None]:
        return talking(self._address(), action, timeout=self._timeout, retries=self._retries)

    def _client(self) -> MlflowClient:
        """The client, connected with one short request the first time."""
        if self._connected is None:
            address = self._address()
            with talking(address, "reach MLflow", timeout=self._check_timeout, retries=0, ask_user=False):
                client = connect(address, self._check_timeout)
            with self._talking(f"open the experiment {self._experiment_name!r}"):
                self._experiment_id = str(self._experiment(client).experiment_id)
            self._connected = client
        return self._connected

    def _experiment(self, client: MlflowClient) -> Experiment:
        name = self._experiment_name
        found = client.get_experiment_by_name(name)
        if found is None:
            with suppress(MlflowException):  # another process was quicker, or the next line tells what is wrong
                client.create_experiment(name, artifact_location=self._artifact_location())
            found = client.get_experiment_by_name(name) or client.get_experiment(
                client.create_experiment(name, artifact_location=self._artifact_location())
            )
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"the experiment {name!r} at {self._address().shown} was deleted; restore it with `mlflow experiments "
                f"restore --experiment-id {found.experiment_id}` or name another with tracker.experiment=..."
            )
        return found

    def _artifact_location(self) -> str | None:
        """Absolute, and the experiment's own: MLflow's default would follow the working folder."""
        root = self._address().artifacts
        if root is None:
            return None
        own = re.sub(r"[^\w.-]+", "-", self._experiment_name, flags=re.ASCII).strip("-.")[:60]
        return (root / f"{own or 'experiment'}-{now_ms():x}").as_uri()

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
        note = _note(run, view_url("", self._experiment_id) if self._saved_view else "")
        tags = resolve_tags({"mlflow.note.content": note} | dict(run.tags) | {ATTEMPT_TAG: "1"})
        if found is not None:
            attempt = _attempt(found) + 1
            tags[ATTEMPT_TAG] = str(attempt)
            client.update_run(run_id, status="RUNNING")
        known = dict(found.data.params) if found is not None else {}
        name = names(run.params)
        params = {name[key]: clipped(str(value), MAX_PARAM) for key, value in run.params.items()}
        changed = [f"{key}: {known[key]} -> {new}" for key, new in params.items() if known.get(key, new) != new]
        if changed:
            tags[f"kurve.attempt.{tags[ATTEMPT_TAG]}.changed"] = "; ".join(changed)
        client.log_batch(run_id, tags=_tags(tags), synchronous=True)
        for batch in _batches([Param(key, value) for key, value in params.items() if key not in known]):
            client.log_batch(run_id, params=batch, synchronous=True)
        client.log_text(run_id, text(run.config_yaml), f"{FOLDER}/config.yaml")
        versions = json.dumps(dict(run.versions), indent=1, sort_keys=True)
        client.log_text(run_id, versions, f"{FOLDER}/versions.json")
        if found is None or not found.inputs.dataset_inputs:
            client.log_inputs(run_id, [_dataset(run)])

    def _require_run(self) -> str:
        if not self._run_id:
            raise TrackingError("a report came before a run was started; call start(run) first")
        return self._run_id


def _new_metrics(client: MlflowClient, run: Run, points: Sequence[Point]) -> Iterator[Metric]:
    """The points that the run does not show yet."""
    shown: dict[str, dict[int, float]] = {}
    for key in {point.key for point in points} & set(run.data.metrics):
        history = sorted(client.get_metric_history(run.info.run_id, key), key=lambda m: (m.timestamp, m.value))
        shown[key] = {metric.step: metric.value for metric in history}
    later = now_ms()
    for point in points:
        before = shown.get(point.key, {})
        if point.step not in before:
            yield Metric(point.key, point.value, run.info.start_time, point.step)
        elif before[point.step] != point.value:
            yield Metric(point.key, point.value, later, point.step)


def _batches(params: Sequence[Param]) -> Iterator[list[Param]]:
    """Batches that stay below the size of a request, also when JSON escapes every character."""
    batch: list[Param] = []
    size = 0
    for param in params:
        grown = len(json.dumps([param.key, param.value])) + 32
        if batch and size + grown > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(param)
        size += grown
    if batch:
        yield batch


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    name = names(tags)
    return [RunTag(name[key], clipped(str(value), MAX_TAG)) for key, value in tags.items()]


def _attempt(run: Run) -> int:
    value = str(run.data.tags.get(ATTEMPT_TAG, "1"))
    return int(value) if value.isascii() and value.isdigit() else 1


def _note(run: RunInfo, view: str) -> str:
    chart = f" [pass@k of all runs in this experiment]({view.lstrip('/')})." if view else ""
    return (
        f"**{markdown(run.name)}**: pass@k over {len(run.prompts)} problems of {markdown(run.dataset_name)} "
        f"(`{text(run.key)[:12]}`).{chart} Files are under `{FOLDER}/`."
    )


def _report_tags(report: Report, files: Sequence[Path], skipped: Sequence[str], note: str) -> dict[str, str]:
    """The description with the report's notes, what could not be logged, and the tables that the UI can compare."""
    lines = "".join(f"\n- {markdown(line)}" for line in report.notes)
    tags = {"mlflow.note.content": note.partition(_NOTES)[0] + (f"{_NOTES}{lines}" if lines else "")}
    if skipped:
        tags[SKIPPED_TAG] = ", ".join(skipped)
    tables = {f"{table.name}.json" for table in report.tables} & {file.name for file in files}
    if tables:
        logged = [{"path": f"{FOLDER}/{name}", "type": "table"} for name in sorted(tables)]
        tags["mlflow.loggedArtifacts"] = json.dumps(logged)
    return tags


def _dataset(run: RunInfo) -> DatasetInput:
    """Name, digest and source, as MLflow's own dataset classes write them; the problems are not copied."""
    local = Path(run.dataset_source).exists() or run.dataset_source.startswith(("/", ".", "~"))
    source = {"uri": run.dataset_source} if local else {"path": run.dataset_source}
    columns = [{"type": "string", "name": name, "required": True} for name in ("id", "question")]
    dataset = Dataset(
        name=clipped(run.dataset_name, 500) or "dataset",
        digest=text(run.dataset_digest)[:MAX_DIGEST] or "unknown",
        source_type="local" if local else "hugging_face",
        source=json.dumps(source),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": len(run.prompts)}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "eval")])


def _benchmark_name(name: Mapping[str, str], report: Report) -> str:
    """The prefix under which MLflow has the benchmark's curve."""
    curve = name.get(f"{report.benchmark}/pass_at_k", f"{report.benchmark}/pass_at_k")
    return curve.removesuffix("/pass_at_k")


def _bars(benchmark: str, keys: Iterable[str]) -> list[str]:
    """pass@1 and the largest pass@k that is a scalar."""
    found = {int(m[1]): key for key in keys if (m := re.fullmatch(re.escape(benchmark) + r"/pass_at_(\d{1,9})", key))}
    return [found[k] for k in sorted({min(found), max(found)})] if found else []
