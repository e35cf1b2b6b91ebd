"""A seed report as files: numbers for other tools, and a figure for each benchmark.

report.json               everything, and the jobs that are missing
quantities.csv, .parquet  one row a benchmark, configuration and quantity, with the interval of each kind
curves.csv, .parquet      the same of pass@k over k
seeds.csv, .parquet       one row a seed: its job, its run and its own numbers
<benchmark>.png, .svg     curves over seeds
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from kurve.errors import SweepError
from kurve.figures.files import save, write_whole
from kurve.figures.seeds import seeds_figure
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.seeds import OverSeeds
from kurve.observations import plain
from kurve.seed_report import Measured, SeedReport

_ENDS = ("problems_low", "problems_high", "seeds_low", "seeds_high", "both_low", "both_high")
_OVER = ("value", *_ENDS, "seed_spread", "num_seeds")
Row = tuple[object, ...]


def write_seed_reports(
    reports: Sequence[SeedReport], folder: Path, *, name: str, missing: Sequence[Mapping[str, str]]
) -> list[Path]:
    """Write the files, each whole or not at all.

    Args:
        reports: one a benchmark.
        folder: made if needed.
        name: of the sweep.
        missing: jobs that measured nothing, with key, settings, status and message.

    Raises:
        SweepError: the folder cannot be written.
    """
    document = {
        "sweep": name,
        "missing": [dict(one) for one in missing],
        "benchmarks": [_report_json(one) for one in reports],
    }
    contents = {"report.json": json.dumps(document, indent=1, allow_nan=False).encode()}
    for stem, columns, rows in _tables(reports):
        contents |= table_files(stem, columns, rows)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in contents.items():
            write_whole(folder / file, data)
        figures = [file for one in reports for file in save(seeds_figure(one), folder, file_name(one.benchmark))]
    except OSError as error:
        raise SweepError(f"cannot write the report to {folder}: {error.strerror or error}; make room") from error
    return [*(folder / file for file in contents), *figures]


def file_name(text: str) -> str:
    """The text as the stem of a file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:80] or "benchmark"


def table_files(stem: str, columns: Sequence[str], rows: Sequence[Row]) -> dict[str, bytes]:
    """The table as CSV and Parquet, by file name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    by_column = {name: [row[at] for row in rows] for at, name in enumerate(columns)}
    buffer = io.BytesIO()
    pq.write_table(pa.table(by_column), buffer, compression="zstd")
    return {f"{stem}.csv": text.getvalue().encode(), f"{stem}.parquet": buffer.getvalue()}


def numbers_of(report: SeedReport) -> dict[str, float]:
    """What a tracker keeps, by `<benchmark>/<configuration>/<quantity>`, and the ends of what intervals there are."""
    found: dict[str, float] = {}
    for one in report.configurations:
        for quantity, over in one.quantities.items():
            key = f"{report.benchmark}/{one.name}/{quantity}"
            ends = {f"{key}_{end}": value for end, value in zip(_ENDS, _ends(over), strict=True) if value is not None}
            found |= {key: over.value, **ends}
    return found


def _tables(reports: Sequence[SeedReport]) -> list[tuple[str, tuple[str, ...], list[Row]]]:
    place = ("benchmark", "configuration")
    quantities = [
        (report.benchmark, plain(one.name), name, *_over(over))
        for report in reports
        for one in report.configurations
        for name, over in one.quantities.items()
    ]
    curves = [
        (report.benchmark, plain(one.name), int(k), *_over(over))
        for report in reports
        for one in report.configurations
        for k, over in zip(one.ks, one.curve, strict=True)
    ]
    seeds = [row for report in reports for one in report.configurations for row in _seed_rows(report.benchmark, one)]
    return [
        ("quantities", (*place, "quantity", *_OVER), quantities),
        ("curves", (*place, "k", *_OVER), curves),
        ("seeds", (*place, "seed", "job", "run_id", "model", "quantity", "value"), seeds),
    ]


def _seed_rows(benchmark: str, one: Measured) -> list[Row]:
    return [
        (benchmark, plain(one.name), seed.seed, seed.job, seed.run_id, plain(seed.model), name, float(value))
        for name, over in one.quantities.items()
        for seed, value in zip(one.seeds, over.by_seed, strict=True)
    ]


def _over(over: OverSeeds) -> Row:
    return (over.value, *_ends(over), over.spread, len(over.by_seed))


def _ends(over: OverSeeds) -> tuple[float | None, ...]:
    return tuple(
        None if one is None else end
        for one in (over.problems, over.seeds, over.both)
        for end in ((one.low, one.high) if one is not None else (None, None))
    )


def _report_json(report: SeedReport) -> dict[str, object]:
    return {
        "benchmark": report.benchmark,
        "num_problems": report.num_problems,
        "k": report.k,
        "delta_se_k": report.delta_se_k,
        "confidence": report.confidence,
        "configurations": [_measured_json(one) for one in report.configurations],
    }


def _measured_json(one: Measured) -> dict[str, object]:
    return {
        "name": one.name,
        "is_base": one.is_base,
        "seeds_vary": one.varies,
        "seeds": [{"seed": s.seed, "job": s.job, "run_id": s.run_id, "model": s.model} for s in one.seeds],
        "quantities": {name: _over_json(over) for name, over in one.quantities.items()},
    }


def _over_json(over: OverSeeds) -> dict[str, object]:
    """null: fewer than 3 seeds establish nothing of another seed."""
    return {
        "value": over.value,
        "by_seed": over.by_seed.tolist(),
        "problems": _estimate_json(over.problems),
        "seeds": _estimate_json(over.seeds),
        "both": _estimate_json(over.both),
        "seed_spread": over.spread,
    }


def _estimate_json(one: Estimate | None) -> dict[str, float] | None:
    return None if one is None else {"lower": one.low, "upper": one.high}
