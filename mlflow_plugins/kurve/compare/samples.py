"""A problem's samples as a run keeps them: all of them in samples.parquet, or the preview of every evaluation."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from kurve.errors import KurveError
from kurve.observations import plain
from kurve.samples_file import NAME
from kurve.samples_page import SamplesIndex, SamplesPage, StoredSample, read_index, read_page, read_sample
from kurve.types import Outcome
from mlflow_plugins.kurve.compare.artifacts import LocalFile, active_run, missing, run_file
from mlflow_plugins.kurve.compare.evaluated import table_of

OUTCOMES = ("", *(outcome.value for outcome in Outcome))
MOST_SAMPLES = 100  # of a page
SHOWN_CHARS = 6_000  # of a text in a page; one sample alone comes whole
MOST_FILE = 50_000_000_000  # bytes of samples.parquet; only a cache holds it back before that


def samples_json(run_id: str, problem_id: str, *, outcome: str, offset: int, limit: int) -> Mapping[str, Any]:
    """A page of samples, the longest texts cut in their middle.

    Raises:
        MlflowException: there is no such run, it keeps no samples, or they cannot be read.
    """
    run = active_run(run_id)
    source, page = _page(run, problem_id, outcome=outcome, offset=offset, limit=limit)
    return {
        "run_id": run_id,
        "problem": problem_id,
        "source": source,
        "total": page.total,
        "offset": offset,
        "outcomes": page.outcomes,
        "samples": [_shown(one) for one in page.samples],
    }


def sample_json(run_id: str, problem_id: str, index: int) -> Mapping[str, Any]:
    """One sample with its whole text.

    Raises:
        MlflowException: as `samples_json`, or the run does not have it.
    """
    run = active_run(run_id)
    found = None
    if all_samples := run_file(run, NAME, MOST_FILE):
        found = _read(run, lambda: read_sample(_index(all_samples), problem_id, index))
    else:
        found = next((one for one in _preview(run, problem_id) if one.index == index), None)
    if found is None:
        raise missing(f"the run {run_id} keeps no sample {index} of the problem {problem_id!r}")
    return {"run_id": run_id, "problem": problem_id, **asdict(found), "text": plain(found.text)}


def _page(run: Run, problem_id: str, *, outcome: str, offset: int, limit: int) -> tuple[str, SamplesPage]:
    if file := run_file(run, NAME, MOST_FILE):
        return "all", _read(
            run, lambda: read_page(_index(file), problem_id, outcome=outcome, offset=offset, limit=limit)
        )
    previewed = _preview(run, problem_id)
    fitting = [one for one in previewed if not outcome or one.outcome == outcome]
    outcomes = dict(Counter(one.outcome for one in previewed))
    return "preview", SamplesPage(tuple(fitting[offset : offset + limit]), len(fitting), outcomes)


def _preview(run: Run, problem_id: str) -> list[StoredSample]:
    columns, rows = table_of(run, "samples")
    if not {"problem", "index", "outcome", "answer", "text"} <= set(columns):
        raise missing(f"the run {run.info.run_id} keeps neither {NAME} nor a preview of its samples")
    named = (dict(zip(columns, row, strict=True)) for row in rows)
    found = [
        StoredSample(
            index=row["index"],
            outcome=str(row["outcome"]),
            answer=str(row["answer"] or ""),
            text=str(row["text"] or ""),
            finish_reason=str(row.get("finish_reason") or ""),
            num_tokens=row["num_tokens"] if isinstance(row.get("num_tokens"), int) else 0,
        )
        for row in named
        if row["problem"] == problem_id and isinstance(row["index"], int)
    ]
    return sorted(found, key=lambda one: one.index)


def _shown(one: StoredSample) -> dict[str, Any]:
    text = plain(one.text)
    left_out = max(0, len(text) - SHOWN_CHARS)
    if left_out:
        half = SHOWN_CHARS // 2
        text = f"{text[:half]}\n[... {left_out:,} characters left out ...]\n{text[-half:]}"
    return asdict(one) | {"text": text, "left_out": left_out}


def _read(run: Run, read: Any) -> Any:
    try:
        return read()
    except KurveError as error:
        raise missing(f"run {run.info.run_id}: {error}") from error


@lru_cache(maxsize=16)
def _index(file: LocalFile) -> SamplesIndex:
    return read_index(Path(file.path))
