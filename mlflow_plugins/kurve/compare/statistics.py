"""Curves and comparisons of runs as JSON values, from the same code, seed and draws as `kurve compare`."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from kurve.comparison import (
    Comparison,
    as_json,
    compare,
    in_words,
    pass_at_k_curve,
    shared_problems,
)
from kurve.errors import KurveError
from kurve.metrics.coverage import accuracy_histogram
from kurve.observations import plain
from kurve.types import Tally
from mlflow_plugins.kurve.compare.artifacts import active_run
from mlflow_plugins.kurve.compare.asked import refusal
from mlflow_plugins.kurve.compare.evaluated import Evaluated, report_of, tally_of

SEED = 0  # of the draws, as in conf/compare.yaml

_SHOWN = 16  # ids that a refusal lists


def curve_json(one: Evaluated) -> Mapping[str, Any]:
    """One model's pass@k with its band, its accuracies, and what its report says.

    Raises:
        MlflowException: its counts allow no curve.
    """
    report = report_of(active_run(one.run_id))
    scalars, notes = report.get("scalars"), report.get("notes")
    return {
        **_about(one),
        **_measured(one),
        "scalars": scalars if isinstance(scalars, dict) else {},
        "notes": [str(note) for note in notes] if isinstance(notes, list) else [],
        "histograms": _histograms(report),
    }


def comparison_json(base: Evaluated, tuned: Evaluated, unpaired: str) -> Mapping[str, Any]:
    """What `kurve compare` writes of the two, with `left_out`: ids that only one of them has.

    Raises:
        MlflowException: they do not share their problems, and `unpaired` is not "drop".
    """
    comparison, left_out = compared(base, tuned, unpaired)
    return {
        "runs": [_about(base), _about(tuned)],
        **as_json(comparison, seed=SEED),
        "words": in_words(comparison),
        "left_out": {"number": len(left_out), "ids": left_out[:_SHOWN]},
    }


@lru_cache(maxsize=32)
def compared(base: Evaluated, tuned: Evaluated, unpaired: str) -> tuple[Comparison, tuple[str, ...]]:
    """The comparison, and the ids that were left out of it.

    Raises:
        MlflowException: as `comparison_json`.
    """
    tallies, left_out = [tally_of(base), tally_of(tuned)], list[str]()
    if unpaired == "drop":
        tallies, left_out = shared_problems(tallies)
        if not tallies[0].problem_ids:
            raise refusal(f"{base.name} and {tuned.name} have no problem in common")
    try:
        names = base.name, tuned.name
        return compare(tallies[0], tallies[1], rng=np.random.default_rng(SEED), names=names), tuple(left_out)
    except KurveError as error:
        raise refusal(str(error)) from error


def _about(one: Evaluated) -> dict[str, Any]:
    return {"run_id": one.run_id, "name": one.name, "benchmark": one.benchmark, "role": one.role}


@lru_cache(maxsize=64)
def _measured(one: Evaluated) -> Mapping[str, Any]:
    tally = tally_of(one)
    try:
        curve = pass_at_k_curve(tally, np.random.default_rng(SEED))
    except KurveError as error:
        raise refusal(f"{one.name}: {error}") from error
    return {
        "num_problems": len(tally.problem_ids),
        "num_samples": [int(tally.num_samples.min()), int(tally.num_samples.max())],
        "solved": int((tally.num_correct > 0).sum()),
        "k": curve.k.tolist(),
        "value": curve.value.tolist(),
        "low": curve.low.tolist(),
        "high": curve.high.tolist(),
        "high_variance_from": _first_unsure(tally, curve.high_variance.tolist(), curve.k.tolist()),
        "confidence": curve.confidence,
        "accuracy": accuracy_histogram(tally).counts.tolist(),
    }


def _first_unsure(tally: Tally, unsure: list[bool], ks: list[int]) -> float | None:
    """Where k > n/2 begins, for the problem with the fewest samples."""
    return int(tally.reach.min()) / 2 if any(unsure) and ks else None


def _histograms(report: Mapping[str, Any]) -> dict[str, Any]:
    """Histograms of the report other than accuracy, whose counts the page has itself."""
    given = report.get("histograms")
    if not isinstance(given, dict):
        return {}
    return {str(name): one for name, one in given.items() if name != "accuracy" and is_histogram(one)}


def is_histogram(one: object) -> bool:
    """Whether a JSON value is one that can be drawn: ascending edges, one count fewer than those."""
    if not isinstance(one, dict):
        return False
    edges, counts = one.get("edges"), one.get("counts")
    if not isinstance(edges, list) or not isinstance(counts, list) or len(edges) != len(counts) + 1:
        return False
    return all(isinstance(value, int | float) and math.isfinite(value) for value in [*edges, *counts])


def perplexity_json(document: object) -> Mapping[str, Any] | None:
    """Names and histograms of a perplexity.json, bins in nats a unit; None for anything else."""
    if not isinstance(document, dict) or not isinstance(document.get("distributions"), list):
        return None
    found = [
        {
            "name": plain(str(one.get("name"))),
            "drawn_by": plain(str(one.get("drawn_by", ""))),
            "edges": document.get("edges"),
            "counts": one.get("histogram"),
        }
        for one in document["distributions"]
        if isinstance(one, dict)
    ]
    if not found or not all(map(is_histogram, found)):
        return None
    return {"unit": str(document.get("unit")), "distributions": found}
