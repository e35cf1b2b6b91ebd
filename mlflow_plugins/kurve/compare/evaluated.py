"""An evaluation as its run keeps it: counts, words and numbers of its report."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from kurve.errors import KurveError
from kurve.export import REPORT, read_counts
from kurve.observations import plain
from kurve.types import Tally
from mlflow_plugins.kurve.compare.artifacts import LocalFile, active_run, missing, run_file

COUNTS = "counts.parquet"
MOST_COUNTS = 200_000_000  # bytes of a file of counts: some ten million problems
MOST_JSON = 100_000_000


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One run that measured a model. Equal ones have equal counts."""

    run_id: str
    name: str  # of the model, for people
    benchmark: str
    role: str  # base, tuned, teacher, distilled, or empty
    counts: LocalFile


def evaluated(run_id: str) -> Evaluated:
    """The evaluation of a run.

    Raises:
        MlflowException: there is no such run, or it keeps no counts.
    """
    run = active_run(run_id)
    counts = run_file(run, COUNTS, MOST_COUNTS)
    tags = run.data.tags
    name = plain(str(tags.get("kurve.model") or run.info.run_name or run_id[:8]))
    if counts is None:
        raise missing(f"the run {run_id} ({name}) keeps no {COUNTS}: it is no evaluation, or not finished")
    benchmark, role = (plain(str(tags.get(f"kurve.{key}", ""))) for key in ("benchmark", "role"))
    return Evaluated(run_id, name, benchmark, role, counts)


def tally_of(one: Evaluated) -> Tally:
    """Its counts.

    Raises:
        MlflowException: the file is damaged.
    """
    try:
        return _tally(one.counts)
    except KurveError as error:  # its message has a path of the server
        raise missing(f"{COUNTS} of the run {one.run_id} cannot be read; evaluate again") from error


def report_of(run: Run) -> Mapping[str, Any]:
    """What report.json of the run holds; nothing where there is none that can be read."""
    found = run_file(run, REPORT, MOST_JSON)
    document = read_json(found) if found else {}
    return document if isinstance(document, dict) else {}


def table_of(run: Run, name: str) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a table, without those that are malformed; nothing where there is none."""
    found = run_file(run, f"{name}.json", MOST_JSON)
    document = read_json(found) if found else None
    if not isinstance(document, dict):
        return [], []
    columns, rows = document.get("columns"), document.get("data")
    if not isinstance(columns, list) or not isinstance(rows, list):
        return [], []
    names = [str(one) for one in columns]
    return names, [row for row in rows if isinstance(row, list) and len(row) == len(names)]


@lru_cache(maxsize=64)
def read_json(file: LocalFile) -> Any:
    """What a JSON file holds, to be read only; None for one that is damaged."""
    try:
        return json.loads(Path(file.path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


@lru_cache(maxsize=64)
def _tally(file: LocalFile) -> Tally:
    return read_counts(Path(file.path))
