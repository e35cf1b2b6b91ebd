"""What a run says of itself: RunInfo and Report as MLflow's tags, parameters, description and dataset."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from kurve.tracking import Point, RunInfo, now_ms
from kurve.types import Report
from mlflow_plugins.kurve.fields import MAX_DIGEST, MAX_TAG, clipped, markdown, names, text

FOLDER = "kurve"  # of the artifacts
ATTEMPT_TAG = "kurve.attempt"
SKIPPED_TAG = "kurve.not_finite"
KIND_TAG, TRAINING, SWEEP = "kurve.kind", "training", "sweep"
SWEEPS = "kurve.sweeps."  # and the name of a sweep that the run is in
SWEEP_TAG, SWEEP_RUN_TAG, PARENT_TAG = "kurve.sweep", "kurve.sweep.run", "mlflow.parentRunId"
ROLE_TAG = "kurve.role"
COLOUR_TAG = "mlflow.runColor"
# Four of the colours of the figures (kurve.figures.style), which loads matplotlib.
ROLE_COLOURS = {"base": "#666666", "tuned": "#D55E00", "teacher": "#0072B2", "distilled": "#009E73"}

_BATCH_BYTES = 500_000  # of JSON a request; servers refuse more than a megabyte
NOTE_TAG = "mlflow.note.content"  # the description, of runs and experiments
BASE_TAG, VERDICT_TAG = "kurve.base_run_id", "kurve.verdict."

_NOTES = "\n\n**Before using the numbers:**\n"
_VERDICT = "\n\n**Against its base:** "
# Relative, so that it holds under a prefix too; elsewhere it leads to a page that is not there.
_APP = "on a server started with `--app-name kurve`"


def new_metrics(client: MlflowClient, run: Run, points: Sequence[Point]) -> Iterator[Metric]:
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


def described(run: RunInfo, place: tuple[str, str], view: str, attempt: int) -> dict[str, str]:
    """The tags a run starts with: its own, its description, and the colour of its role unless it has one.

    Args:
        run: what is known of it.
        place: ids of its experiment and of itself.
        view: address of the experiment's chart view, empty if there is none.
        attempt: how often it was started, this time included.
    """
    given = {NOTE_TAG: _note(run, place, view)} | dict(run.tags)
    colour = ROLE_COLOURS.get(given.get(ROLE_TAG, ""))
    return ({COLOUR_TAG: colour} if colour else {}) | given | {ATTEMPT_TAG: str(attempt)}


def join_sweeps(client: MlflowClient, run: RunInfo, finished: Run) -> None:
    """Let a finished run be in the sweep that asks for it again; the one it was made in stays its `kurve.sweep`."""
    tags = {key: value for key, value in run.tags.items() if key.startswith(SWEEPS) and key not in finished.data.tags}
    if tags:
        client.log_batch(finished.info.run_id, tags=run_tags(tags), synchronous=True)


def batches(params: Sequence[Param]) -> Iterator[list[Param]]:
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


def run_tags(tags: Mapping[str, str]) -> list[RunTag]:
    """Tags with names and values that MLflow takes."""
    name = names(tags)
    return [RunTag(name[key], clipped(str(value), MAX_TAG)) for key, value in tags.items()]


def attempt(run: Run) -> int:
    """How often the run was started."""
    value = str(run.data.tags.get(ATTEMPT_TAG, "1"))
    return int(value) if value.isascii() and value.isdigit() else 1


def report_tags(report: Report, files: Sequence[Path], skipped: Sequence[str], note: str) -> dict[str, str]:
    """The description with the report's notes, what could not be logged, and the tables that the UI can compare."""
    lines = "".join(f"\n- {markdown(line)}" for line in report.notes)
    tags = {NOTE_TAG: note.partition(_NOTES)[0] + (f"{_NOTES}{lines}" if lines else "")}
    if skipped:
        tags[SKIPPED_TAG] = ", ".join(skipped)
    tables = {f"{table.name}.json" for table in report.tables} & {file.name for file in files}
    if tables:
        logged = [{"path": f"{FOLDER}/{name}", "type": "table"} for name in sorted(tables)]
        tags["mlflow.loggedArtifacts"] = json.dumps(logged)
    return tags


def noted_verdicts(note: str, tags: Mapping[str, str], place: tuple[str, str]) -> str:
    """The description with what was gained and lost against the base, before the report's notes.

    Args:
        note: the description as it is; what a person wrote stays.
        tags: of the run, with a `kurve.verdict.<benchmark>` for each verdict.
        place: ids of the run's experiment and of itself.
    """
    said = {key.removeprefix(VERDICT_TAG): words for key, words in tags.items() if key.startswith(VERDICT_TAG)}
    if not said:
        return note
    words = "; ".join(f"{markdown(words)} ({markdown(benchmark)})" for benchmark, words in sorted(said.items()))
    base = tags.get(BASE_TAG, "")
    link = f" [Compare page]({compare_url(place[0], base, place[1])}), {_APP}." if base else ""
    head, mark, rest = note.partition(_NOTES)
    earlier = re.escape(_VERDICT) + r"[^\n]*"
    return f"{re.sub(earlier, '', head)}{_VERDICT}{words}.{link}{mark}{rest}"


def experiment_note(experiment_id: str, view: str) -> str:
    """The description of an experiment that has none.

    Args:
        experiment_id: whose.
        view: address of its chart view, empty if there is none.
    """
    chart = f"[pass@k of all its runs]({view.lstrip('/')}). " if view else ""
    return f"Evaluations by kurve: {chart}[Compare page]({compare_url(experiment_id)}), {_APP}."


def compare_url(experiment_id: str, *runs: str) -> str:
    """The compare page's address for runs, the base first, relative to that of MLflow's own pages."""
    chosen = f"&runs={','.join(map(quote, runs))}" if runs else ""
    return f"kurve?experiment={quote(experiment_id)}{chosen}"


def dataset(run: RunInfo) -> DatasetInput:
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
    context = TRAINING if is_training(run) else "eval"
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def benchmark_name(name: Mapping[str, str], report: Report) -> str:
    """The prefix under which MLflow has the benchmark's curve."""
    curve = name.get(f"{report.benchmark}/pass_at_k", f"{report.benchmark}/pass_at_k")
    return curve.removesuffix("/pass_at_k")


def bars(benchmark: str, keys: Iterable[str]) -> list[str]:
    """pass@1 and the largest pass@k that is a scalar."""
    found = {int(m[1]): key for key in keys if (m := re.fullmatch(re.escape(benchmark) + r"/pass_at_(\d{1,9})", key))}
    return [found[k] for k in sorted({min(found), max(found)})] if found else []


def is_training(run: RunInfo) -> bool:
    """Whether the run made a model, rather than measured one."""
    return run.tags.get(KIND_TAG) == TRAINING


def _note(run: RunInfo, place: tuple[str, str], view: str) -> str:
    if run.tags.get(KIND_TAG) == SWEEP:
        chart = f" [pass@k of its runs]({view.lstrip('/')})." if view else ""
        return f"**{markdown(run.name)}**:{chart} All jobs are in `{FOLDER}/sweep/jobs.json`."
    if not run.dataset_name:
        return f"**{markdown(run.name)}** (`{text(run.key)[:12]}`). Files are under `{FOLDER}/`."
    if is_training(run):
        return (
            f"**{markdown(run.name)}**: a training on {len(run.prompts)} problems of {markdown(run.dataset_name)} "
            f"(`{text(run.key)[:12]}`). Files are under `{FOLDER}/`."
        )
    chart = f" [pass@k of all runs in this experiment]({view.lstrip('/')})." if view else ""
    base = str(run.tags.get(BASE_TAG, ""))
    page = f"[Compared with its base]({compare_url(place[0], base, place[1])})" if base else ""
    page = page or f"[Its problems and samples]({compare_url(*place)})"
    return (
        f"**{markdown(run.name)}**: pass@k over {len(run.prompts)} problems of {markdown(run.dataset_name)} "
        f"(`{text(run.key)[:12]}`).{chart} {page}, {_APP}. Files are under `{FOLDER}/`."
    )
