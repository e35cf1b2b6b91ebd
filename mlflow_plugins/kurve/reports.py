"""Send a report to its run: files, images, numbers, and what the run and its experiment say of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from kurve.report_points import report_points
from kurve.tracking import Point
from kurve.types import Report
from mlflow_plugins.kurve import describe
from mlflow_plugins.kurve.fields import names
from mlflow_plugins.kurve.firsts import write_shared
from mlflow_plugins.kurve.images import is_image, send_images
from mlflow_plugins.kurve.spool import is_away
from mlflow_plugins.kurve.views import VIEW, Charts, save_sweep_view, save_view, sweep_view, view_url

CURVE_POINTS = 320  # as many as MLflow's charts ask for; with more they leave out k = 2, 3, 4
DELTA_SE = "delta_se"  # a comparison logs it to the runs that it compares


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent."""

    run: Run
    skipped: Sequence[str]  # keys that held NaN or an infinity


def send_report(client: MlflowClient, run_id: str, report: Report, files: Sequence[Path], *, saved_view: bool) -> Sent:
    """Upload the files, then log every number, then describe run and experiment.

    Points carry the run's start as their time and MLflow keeps equal points once, so a repeated call adds nothing; a
    value that did change gets a later time and is the one that is shown.
    """
    for file in files:
        if not is_image(file):
            client.log_artifact(run_id, str(file), describe.FOLDER)
    run = client.get_run(run_id)
    points, skipped = report_points(report, per_curve=CURVE_POINTS)
    name = names(point.key for point in points)
    benchmark = describe.benchmark_name(name, report)
    images = send_images(client, run_id, benchmark, [file for file in files if is_image(file)])
    renamed = [Point(name[point.key], point.value, point.step) for point in points]
    client.log_batch(run_id, metrics=list(describe.new_metrics(client, run, renamed)), synchronous=True)
    tags = describe.report_tags(report, files, skipped, str(run.data.tags.get(describe.NOTE_TAG, "")))
    client.log_batch(run_id, tags=describe.run_tags(tags), synchronous=True)
    bars = [f"{benchmark}/{DELTA_SE}", *describe.bars(benchmark, name.values())]
    if not is_away(client.tracking_uri):  # a spool keeps what belongs to runs, and no tag of an experiment
        if saved_view:
            save_view(client, run.info.experiment_id, Charts(benchmark, bars, images))
        _note_experiment(client, run.info.experiment_id, saved_view=saved_view)
    return Sent(run, skipped)


def send_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Set the tags; verdicts on the run's model go into its description too."""
    run = client.get_run(run_id)
    known = {str(key): str(value) for key, value in run.data.tags.items()}
    note = known.get(describe.NOTE_TAG, "")
    told = describe.noted_verdicts(note, {**known, **tags}, (run.info.experiment_id, run_id))
    changed = dict(tags) | ({describe.NOTE_TAG: told} if told != note else {})
    client.log_batch(run_id, tags=describe.run_tags(changed), synchronous=True)


def view_of(client: MlflowClient, experiment_id: str, tags: Mapping[str, str]) -> str:
    """Id of the view that a run's description leads to: of its experiment, or of the sweep that it sums up."""
    sweep = tags.get(describe.SWEEP_TAG, "")
    if tags.get(describe.KIND_TAG) != describe.SWEEP or is_away(client.tracking_uri):
        return VIEW
    return sweep_view(sweep) if save_sweep_view(client, experiment_id, sweep) else VIEW


def _note_experiment(client: MlflowClient, experiment_id: str, *, saved_view: bool) -> None:
    """Describe the experiment once: what a person wrote stays, also where they left it empty."""
    if describe.NOTE_TAG not in client.get_experiment(experiment_id).tags:
        note = describe.experiment_note(experiment_id, view_url("", experiment_id) if saved_view else "")
        write_shared(lambda: client.set_experiment_tag(experiment_id, describe.NOTE_TAG, note))
