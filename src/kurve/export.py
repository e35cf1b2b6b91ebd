"""A Report as files: what a tracker keeps as artifacts and other tools read.

curve.json         pass@k for every k (log-spaced beyond 10,000), the band at fewer k
counts.parquet     id, n, c, errors of each problem, and its stratum where the benchmark has strata
counts.jsonl       the same as {"id", "c", "n"} lines; both with largest_k after adaptive sampling
samples.json, problems.json, disagreements.json    tables as {"columns", "data"}, which MLflow shows
report.json        scalars, notes, settings, histograms, further curves, fingerprints
pass_at_k, accuracy    figures, as .png and .svg
accuracy, perplexity   histograms with the axes of all runs, as .image.png; the latter where log-probabilities are known
"""

import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from kurve.errors import DataError
from kurve.figures.curves import curve_of, pass_at_k_figure
from kurve.figures.files import drawn, save, write_whole
from kurve.figures.histograms import accuracy_figure
from kurve.figures.shared_axes import accuracy_image, perplexity_image
from kurve.metrics.likelihood import EDGES
from kurve.metrics.passk import pass_at_k
from kurve.observations import plain
from kurve.store import fingerprint
from kurve.tracking import IMAGE_SUFFIX
from kurve.types import Curve, Report, Table, Tally

REPORT = "report.json"
COUNTS = "counts.parquet"
WHOLE_CURVE = 10_000  # k up to which curve.json holds every value: 200 kB


def write_files(report: Report, folder: Path) -> list[Path]:
    """Write the report's files into the folder, each whole or not at all, and give their paths.

    The same report gives the same bytes, so that a tracker may compare them.

    Raises:
        DataError: the folder cannot be written.
        MetricError: the report holds no pass_at_k curve.
    """
    contents = file_contents(report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            write_whole(folder / name, data)
        figures = [
            *save(pass_at_k_figure([report]), folder, "pass_at_k"),
            *save(accuracy_figure([report]), folder, "accuracy"),
            *_save_images(report, folder),
        ]
    except OSError as error:
        raise DataError(
            f"cannot write the report to {folder}: {error}; free space there or choose another folder"
        ) from error
    return [*(folder / name for name in contents), *figures]


def file_contents(report: Report) -> dict[str, bytes]:
    """The report's files without its figures, by name."""
    return {
        "curve.json": _json(_whole_curve(report)),
        COUNTS: _counts_parquet(report.tally),
        "counts.jsonl": _counts_lines(report.tally),
        **{f"{table.name}.json": _json(_split(table)) for table in report.tables},
        REPORT: _json(_summary(report), indent=1),
    }


def read_counts(path: Path) -> Tally:
    """The per-problem counts that `write_files` wrote as counts.parquet.

    Raises:
        DataError: there is no such file, or it is another one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        columns = table.select(["id", "n", "c", "errors"]).to_pydict()
        largest = table["largest_k"].to_pylist() if "largest_k" in table.column_names else None
        strata = table["stratum"].to_pylist() if "stratum" in table.column_names else []
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path} holds no counts of an evaluation: {error}; evaluate again") from error
    ids, n, c, errors = (columns[name] for name in ("id", "n", "c", "errors"))
    n, c, errors = (np.asarray(counts, dtype=np.int64) for counts in (n, c, errors))
    return Tally(
        tuple(ids),
        n,
        c,
        errors,
        largest_k=None if largest is None else np.asarray(largest, dtype=np.int64),
        strata=tuple(str(one or "") for one in strata),
    )


def counts_sha256(tally: Tally) -> str:
    """sha256 of the counts as counts.jsonl has them, 64 hex digits; report.json records it."""
    return hashlib.sha256(_counts_lines(tally)).hexdigest()


@dataclass(frozen=True, slots=True)
class About:
    """What a report says of its evaluation; empty and None where it does not."""

    model: str = ""
    benchmark: str = ""
    temperature: float | None = None


def read_about(path: Path) -> About:
    """What a report.json says of its evaluation; nothing where there is none, as beside counts of another tool."""
    try:
        document = json.loads(path.read_bytes())
        spec = document.get("spec") or {}
        temperature = spec.get("temperature")
        if isinstance(temperature, bool) or not isinstance(temperature, int | float):
            temperature = None
        return About(str(document.get("model") or ""), str(document.get("benchmark") or ""), temperature)
    except (OSError, ValueError, AttributeError):
        return About()


def _save_images(report: Report, folder: Path) -> list[Path]:
    """The report's own histograms; one of a user's metric that has another's name and other bins is no such image."""
    title = plain(f"{report.label} on {report.benchmark}")
    images: dict[str, Figure] = {}
    for histogram in report.histograms:
        if histogram.name == "accuracy" and histogram.name not in images:
            images[histogram.name] = accuracy_image(histogram, title=title)
        if histogram.name == "perplexity" and np.array_equal(histogram.edges, EDGES):
            images[histogram.name] = perplexity_image(histogram, title=title)
    files = {folder / f"{name}{IMAGE_SUFFIX}": drawn(figure, "png") for name, figure in images.items()}
    for file, data in files.items():
        write_whole(file, data)
    return list(files)


def _whole_curve(report: Report) -> dict[str, object]:
    curve = curve_of(report)
    tally, fewest = report.tally, int(report.tally.reach.min())
    whole = fewest <= WHOLE_CURVE
    note = "every k" if whole else f"log-spaced k: n = {fewest} is above {WHOLE_CURVE}; counts.jsonl gives every k"
    return {
        "name": curve.name,
        "benchmark": report.benchmark,
        "model": report.label,
        "num_problems": len(tally.problem_ids),
        "num_samples": fewest,
        "note": f"{note}; band at the k of 'band', simultaneous, for problems like these; k > n/2 has high variance",
        "k": list(range(1, fewest + 1)) if whole else curve.k.tolist(),
        "value": (
            pass_at_k(tally.num_samples, tally.num_correct, largest_k=tally.largest_k) if whole else curve.value
        ).tolist(),
        "band": _band(curve),
    }


def _band(curve: Curve) -> dict[str, object]:
    return {
        "confidence": curve.confidence,
        "k": curve.k.tolist(),
        "low": curve.low.tolist(),
        "high": curve.high.tolist(),
        "high_variance": curve.high_variance.tolist(),
    }


def _summary(report: Report) -> dict[str, object]:
    return {
        "format": 1,
        "benchmark": report.benchmark,
        "model": report.label,
        "spec": asdict(report.spec),
        "fingerprint": fingerprint(report.spec),
        "verifier": report.verifier,
        "counts_sha256": counts_sha256(report.tally),
        "adaptive": None if report.stopping is None else asdict(report.stopping),
        "scalars": _finite(report.scalars),
        "notes": list(report.notes),
        "histograms": {h.name: {"edges": h.edges.tolist(), "counts": h.counts.tolist()} for h in report.histograms},
        "curves": {c.name: {"value": c.value.tolist(), **_band(c)} for c in report.curves if c.name != "pass_at_k"},
    }


def _finite(scalars: Mapping[str, float]) -> dict[str, float | None]:
    """NaN and infinity are no JSON: null."""
    return {key: value if math.isfinite(value) else None for key, value in scalars.items()}


def _split(table: Table) -> dict[str, object]:
    return {"columns": list(table.columns), "data": [list(row) for row in table.rows]}


def _counts_lines(tally: Tally) -> bytes:
    columns = {"id": tally.problem_ids, "c": tally.num_correct.tolist(), "n": tally.num_samples.tolist()}
    if tally.largest_k is not None:
        columns["largest_k"] = tally.largest_k.tolist()
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for row, stratum in zip(rows, tally.strata, strict=False):
        row |= {"stratum": stratum} if stratum else {}
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def _counts_parquet(tally: Tally) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "id": pa.array([plain(problem) for problem in tally.problem_ids], pa.string()),
        "n": pa.array(tally.num_samples.tolist(), pa.int64()),
        "c": pa.array(tally.num_correct.tolist(), pa.int64()),
        "errors": pa.array(tally.num_errors.tolist(), pa.int64()),
    }
    if tally.largest_k is not None:
        columns["largest_k"] = pa.array(tally.largest_k.tolist(), pa.int64())
    if tally.strata:
        columns["stratum"] = pa.array([plain(one) for one in tally.strata], pa.string())
    table = pa.table(columns)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _json(value: Mapping[str, object], indent: int | None = None) -> bytes:
    """ASCII only: a lone surrogate in an id stays readable to every parser."""
    return json.dumps(value, allow_nan=False, indent=indent).encode()
