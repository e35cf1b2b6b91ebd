"""What a search found: its trials as a table and files, the Pareto front as a figure, both with the sweep's own run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kurve import sweep
from kurve.commands.search_objectives import Objective, Value
from kurve.commands.sweep_summary import Extra, show_run, summary, track, tracker_of
from kurve.errors import DataError, SweepError
from kurve.figures.files import save, write_whole
from kurve.figures.pareto import Point, pareto_figure
from kurve.metrics.pareto import Standing, standings
from kurve.seed_files import table_files
from kurve.sweep import Job, JobRecord, Sweep
from kurve.tracking import TimedPoint, now_ms

FOLDER = "search"  # in the sweep's folder


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial, and what it measured."""

    number: int
    job: Job
    params: dict[str, object]
    record: JobRecord
    values: Sequence[Value] = field(default_factory=list)  # by objective; empty where it failed or is not finished
    message: str = ""

    @property
    def status(self) -> str:
        """How its job fares; a trial that Optuna was told to have failed is FAILED."""
        return str(self.record.status) if self.values or not self.message else "FAILED"


def publish(
    cfg: DictConfig,
    one: Sweep,
    folder: Path,
    trials: Sequence[Trial],
    *,
    objectives: Sequence[Objective],
    confidence: float,
) -> None:
    """Print the trials, write them and the figure, and log all of it to the sweep's own run.

    Raises:
        DataError: trials were measured on different problems.
        SweepError: the files cannot be written.
        TrackingError: the tracker cannot be reached; the files are there.
    """
    standing = standing_of(trials, objectives, confidence=confidence)
    files = _write(folder / FOLDER, one.name, trials, objectives, standing=standing, confidence=confidence)
    console = Console(highlight=False)
    console.print(_table(one.name, trials, objectives, standing, confidence=confidence))
    for line in words(trials, standing):
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"numbers  {files[0]}"), soft_wrap=True)
    for file in files:
        if file.suffix == ".png":
            console.print(Text(f"figure   {file}"), soft_wrap=True)
    found = summary(one.name, one.command, folder, one.jobs, records=sweep.states(folder, one.jobs))
    extra = Extra(files, FOLDER, _points(trials, objectives), _tags(trials, standing))
    tracker = tracker_of(cfg)
    track(tracker, found, extra)
    show_run(tracker)


def standing_of(trials: Sequence[Trial], objectives: Sequence[Objective], *, confidence: float) -> dict[int, Standing]:
    """Where each trial that measured something stands, by its number.

    Raises:
        DataError: they were measured on different problems.
    """
    measured = [trial for trial in trials if trial.values]
    if not measured:
        return {}
    for trial in measured:
        for value, first in zip(trial.values, measured[0].values, strict=True):
            if value.problem_ids != first.problem_ids:
                raise DataError(
                    f"trials {measured[0].number} and {trial.number} were measured on different problems, so neither "
                    "can be called better; search on the same ones: a fixed benchmark.seed"
                )
    signs = [1.0 if one.direction == "maximize" else -1.0 for one in objectives]
    sizes = [value.per_problem.size for value in measured[0].values]
    if len(set(sizes)) > 1:
        raise DataError(f"the objectives are of {sizes} problems; name objectives of one evaluation, or of like ones")
    cube = np.stack(
        [
            np.stack([sign * value.per_problem for sign, value in zip(signs, trial.values, strict=True)])
            for trial in measured
        ]
    )
    return dict(zip((trial.number for trial in measured), standings(cube, confidence=confidence), strict=True))


def words(trials: Sequence[Trial], standing: dict[int, Standing]) -> list[str]:
    """What the standings mean."""
    said = [
        "front: no trial is better in all objectives; not established: another is, by less than the paired interval "
        "over problems in some objective; dominated: another is, beyond it in all",
        "each trial is one seed: what another seed of its settings would give is in no interval; evaluate the front "
        "anew, with several seeds and on problems that the search has not seen",
    ]
    failed = [trial for trial in trials if not trial.values]
    said += [f"trial {one.number} measured nothing: {one.status} {one.message or one.record.message}" for one in failed]
    return said if standing else said[2:]


def _table(
    name: str,
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    standing: dict[int, Standing],
    *,
    confidence: float,
) -> Table:
    title = f"{name}, {100 * confidence:g} % intervals over problems, in points"
    table = Table(title=title, title_justify="left", title_style="bold")
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    table.add_column("trial", justify="right")
    for key in keys:
        table.add_column(key, overflow="fold")
    for one in objectives:
        table.add_column(f"{one.name.replace('_at_', '@').replace('delta_se', 'delta SE')} ({one.direction[:3]})")
    table.add_column("standing", overflow="fold")
    for trial in trials:
        cells = [_shown(trial.params.get(key, "")) for key in keys]
        cells += [_cell(value) for value in trial.values] or [""] * len(objectives)
        stands = standing.get(trial.number)
        style = {Standing.FRONT: "bold green", Standing.DOMINATED: "dim"}.get(stands) if stands else "red"
        table.add_row(
            str(trial.number), *map(Text, cells), Text(str(stands) if stands else trial.status, style=style or "")
        )
    return table


def _cell(value: Value) -> str:
    one = value.estimate
    return f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write(
    folder: Path,
    name: str,
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    *,
    standing: dict[int, Standing],
    confidence: float,
) -> list[Path]:
    rows = [_row(trial, objectives, standing) for trial in trials]
    document = {
        "search": name,
        "confidence": confidence,
        "objectives": {one.name: one.direction for one in objectives},
        "trials": rows,
    }
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["trial"]
    kinds = {key: {type(row[key]) for row in rows if row.get(key) is not None} for key in columns}
    as_text = {key for key, found in kinds.items() if len(found) > 1}
    table = [tuple(str(row.get(key)) if key in as_text else row.get(key) for key in columns) for row in rows]
    contents = {
        "trials.json": json.dumps(document, indent=1, allow_nan=False).encode(),
        **table_files("trials", columns, table),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in contents.items():
            write_whole(folder / file, data)
        figures = (
            _figure(folder, name, trials, objectives, standing=standing, confidence=confidence)
            if len(objectives) == 2
            else []
        )
    except OSError as error:
        raise SweepError(f"cannot write the search to {folder}: {error.strerror or error}; make room") from error
    return [*(folder / file for file in contents), *figures]


def _figure(
    folder: Path,
    name: str,
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    *,
    standing: dict[int, Standing],
    confidence: float,
) -> list[Path]:
    points = [
        Point(str(one.number), one.values[0].estimate, one.values[1].estimate, standing[one.number])
        for one in trials
        if one.values
    ]
    if not points:
        return []
    axes = [(one.name, one.direction == "maximize") for one in objectives]
    return save(pareto_figure(points, (axes[0], axes[1]), title=name, confidence=confidence), folder, "pareto")


def _row(trial: Trial, objectives: Sequence[Objective], standing: dict[int, Standing]) -> dict[str, object]:
    row: dict[str, object] = {
        "trial": trial.number,
        "job": trial.job.key,
        "run_id": trial.record.facts.get("run_id", ""),
        "status": trial.status,
        "standing": str(standing.get(trial.number, "")),
        **trial.params,
    }
    for one, value in zip(objectives, trial.values, strict=False):
        ends = value.estimate
        row |= {one.name: ends.value, f"{one.name}_low": ends.low, f"{one.name}_high": ends.high}
    return row


def _points(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[TimedPoint]:
    """Each objective over the number of the trial."""
    now = now_ms()
    return [
        TimedPoint(f"search/{one.name}", value.estimate.value, trial.number, now)
        for trial in trials
        for one, value in zip(objectives, trial.values, strict=False)
    ]


def _tags(trials: Sequence[Trial], standing: dict[int, Standing]) -> dict[str, str]:
    front = [trial for trial in trials if standing.get(trial.number) is Standing.FRONT]
    said = "; ".join(
        f"trial {one.number}: {' '.join(f'{key}={_shown(value)}' for key, value in one.params.items())}"
        for one in front
    )
    return {"kurve.front": said} if said else {}
