"""The table of problems: searched, filtered, sorted and cut into pages on the server."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kurve.problem_changes import problem_changes
from mlflow_plugins.kurve.compare.artifacts import active_run
from mlflow_plugins.kurve.compare.evaluated import Evaluated, table_of
from mlflow_plugins.kurve.compare.statistics import compared

SETS = ("", "both", "base_only", "tuned_only", "neither")
KEYS = ("id", "question", "stratum", "base_accuracy", "accuracy", "difference", "fisher_q")
SORTS = ("order", *KEYS, *(f"-{key}" for key in KEYS))
MOST_ROWS = 500  # of a page

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the table is shown."""

    search: str  # in the id and the question, whatever the case
    coverage: str  # one of SETS
    stratum: str  # empty: all
    sort: str  # one of SORTS
    offset: int
    limit: int


def problems_json(base: Evaluated, tuned: Evaluated, unpaired: str, wanted: Wanted) -> Mapping[str, Any]:
    """A page of the problems of both, with how many fit.

    Raises:
        MlflowException: the two cannot be compared.
    """
    rows = _rows(base, tuned, unpaired)
    chosen = [row for row in rows if _fits(row, wanted)]
    if wanted.sort != "order":
        key = wanted.sort.removeprefix("-")
        known = [row for row in chosen if row[key] is not None]
        unknown = [row for row in chosen if row[key] is None]  # last in both directions
        chosen = sorted(known, key=_by(key), reverse=wanted.sort.startswith("-")) + unknown
    return {
        "total": len(chosen),
        "offset": wanted.offset,
        "strata": sorted({row["stratum"] for row in rows if row["stratum"]}),
        "rows": chosen[wanted.offset : wanted.offset + wanted.limit],
    }


def _by(key: str) -> Callable[[Row], Any]:
    return lambda row: row[key]


def _fits(row: Row, wanted: Wanted) -> bool:
    if wanted.coverage and row["set"] != wanted.coverage:
        return False
    if wanted.stratum and row["stratum"] != wanted.stratum:
        return False
    search = wanted.search.casefold()
    return not search or search in row["id"].casefold() or search in row["question"].casefold()


@lru_cache(maxsize=16)
def _rows(base: Evaluated, tuned: Evaluated, unpaired: str) -> tuple[Row, ...]:
    """All rows, in the order of the base's problems."""
    comparison, _ = compared(base, tuned, unpaired)
    changes = problem_changes(comparison)
    asked = _questions(tuned.run_id) | _questions(base.run_id)
    strata = comparison.counts[0].strata or ("",) * len(changes["id"])
    columns = [name for name in changes if name not in ("model", "fisher_p")]
    rows = []
    for values, stratum in zip(zip(*(changes[name] for name in columns), strict=True), strata, strict=True):
        row: dict[str, Any] = {name: _finite(value) for name, value in zip(columns, values, strict=True)}
        row["question"] = asked.get(row["id"], "")
        row["stratum"] = stratum
        row["set"] = _coverage(row["base_c"] > 0, row["c"] > 0)
        rows.append(row)
    return tuple(rows)


def _questions(run_id: str) -> dict[str, str]:
    """What problems.json of a run says the problems ask, shortened as it is there."""
    columns, rows = table_of(active_run(run_id), "problems")
    if not {"id", "question"} <= set(columns):
        return {}
    id_, question = columns.index("id"), columns.index("question")
    return {str(row[id_]): str(row[question] or "") for row in rows}


def _coverage(base: bool, tuned: bool) -> str:
    if base:
        return "both" if tuned else "base_only"
    return "tuned_only" if tuned else "neither"


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
