"""Perplexities as files: perplexity.json, perplexity.parquet with a row a sample, and the figure."""

import io
import json
import math
import re
from pathlib import Path

import numpy as np

from kurve.errors import DataError
from kurve.figures.files import drawn, save, write_whole
from kurve.figures.perplexity import Shown, perplexity_figure
from kurve.figures.shared_axes import perplexity_image
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.likelihood import EDGES, Summary, histogram, perplexity
from kurve.observations import plain
from kurve.perplexity import CORRECT, OTHER, AgainstBase, Distribution, Perplexities
from kurve.tracking import IMAGE_SUFFIX
from kurve.types import Histogram

NAME = "perplexity"


def write_perplexities(found: Perplexities, folder: Path, *, title: str) -> list[Path]:
    """Write the files, each whole or not at all: the numbers, the samples, the figure as PNG and SVG.

    And for each distribution an image with the axes of all runs, `<its name>.image.png`.

    Raises:
        DataError: the folder cannot be written.
    """
    shown = [Shown(plain(one.name), one.log_perplexities(found.unit)) for one in found.distributions]
    numbers, rows = folder / f"{NAME}.json", folder / f"{NAME}.parquet"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(numbers, json.dumps(as_json(found), indent=1, allow_nan=False).encode())
        write_whole(rows, _parquet(found))
        figures = save(perplexity_figure(shown, title=title, unit=found.unit), folder, NAME)
        return [numbers, rows, *figures, *_save_images(found, folder)]
    except OSError as error:
        raise DataError(f"cannot write perplexities to {folder}: {error}; make room or name another place") from error


def _save_images(found: Perplexities, folder: Path) -> list[Path]:
    files: list[Path] = []
    for one in found.distributions:
        counts = Histogram(NAME, EDGES, histogram(one.log_perplexities(found.unit)))
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", one.name)[:80].strip("_.") or "model"
        taken = sum(file.name.startswith(f"{stem}.") or file.name.startswith(f"{stem}-") for file in files)
        files.append(folder / f"{stem}{f'-{taken + 1}' if taken else ''}{IMAGE_SUFFIX}")
        write_whole(files[-1], drawn(perplexity_image(counts, title=plain(one.name), unit=found.unit), "png"))
    return files


def as_json(found: Perplexities) -> dict[str, object]:
    """All numbers; `null` stands for infinity and for what is not known."""
    pairs = zip(found.distributions, found.all, found.correct, strict=True)
    return {
        "unit": found.unit,
        "confidence": found.confidence,
        "edges": EDGES.tolist(),
        "distributions": [_distribution(found, *each) for each in pairs],
        "against_base": [_against(one) for one in found.against_base],
        "notes": list(found.notes),
    }


def _distribution(found: Perplexities, one: Distribution, every: Summary, right: Summary | None) -> dict[str, object]:
    values = one.log_perplexities(found.unit)
    return {
        "name": one.name,
        "scored_by": one.scored_by,
        "drawn_by": one.drawn_by,
        "source": one.source,
        "sampling": {key: getattr(one.spec, key) for key in ("temperature", "top_p", "top_k", "min_p", "max_tokens")},
        "left_out": one.left_out,
        "retokenised": one.retokenised,
        **_summary(every),
        "histogram": histogram(values).tolist(),
        "correct": None if right is None else _summary(right),
        "problems": _problems(one, values),
    }


def _summary(one: Summary) -> dict[str, object]:
    names = ("lower_quartile", "median", "upper_quartile")
    mean = one.mean
    return {
        "num_samples": one.num_samples,
        "num_problems": one.num_problems,
        "perplexity": dict(zip(names, perplexity(one.quartiles).tolist(), strict=True)),
        "log_perplexity": {
            **dict(zip(names, one.quartiles, strict=True)),
            "pooled": one.pooled,
            "mean": _estimate(mean),
        },
    }


def _problems(one: Distribution, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[dict[str, object]]:
    order = np.argsort(one.problem, kind="stable")
    codes, starts = np.unique(one.problem[order], return_index=True)
    return [
        {
            "id": one.problem_ids[code],
            "num_samples": len(mine),
            "mean_log_perplexity": float(mine.mean()),
            "median_log_perplexity": float(np.median(mine)),
        }
        for code, mine in zip(codes.tolist(), np.split(values[order], starts[1:]), strict=True)
    ]


def _against(one: AgainstBase) -> dict[str, object]:
    return {
        "name": one.name,
        "num_problems": one.num_problems,
        "quantile": _estimate(one.quantile),
        "deciles": list(one.deciles),
        "difference": _estimate(one.length.raw),
        "difference_at_equal_length": _estimate(one.length.adjusted),
        "slope_on_log_length": one.length.slope,
        "quantile_at_equal_length": _estimate(one.quantile_at_equal_length),
    }


def _estimate(one: Estimate) -> dict[str, float | None]:
    return {"value": one.value, "lower": _finite(one.low), "upper": _finite(one.high)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _parquet(found: Perplexities) -> bytes:
    """One row a sample of each distribution, written a distribution at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("distribution", pa.dictionary(pa.int32(), pa.string())),
            ("scored_by", pa.dictionary(pa.int32(), pa.string())),
            ("drawn_by", pa.dictionary(pa.int32(), pa.string())),
            ("id", pa.dictionary(pa.int32(), pa.string())),
            ("index", pa.int32()),
            ("num_tokens", pa.int32()),
            ("num_bytes", pa.int64()),
            ("logprob_sum", pa.float64()),
            ("log_perplexity", pa.float64()),
            ("perplexity", pa.float64()),
            ("correct", pa.bool_()),
        ]
    )
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, schema, compression="zstd") as writer:
        for one in found.distributions:
            writer.write_table(pa.table(_columns(one, found.unit), schema=schema))
    return buffer.getvalue()


def _columns(one: Distribution, unit: str) -> list[object]:
    import pyarrow as pa

    same = np.zeros(len(one.index), dtype=np.int32)
    values = one.log_perplexities(unit)
    return [
        *(pa.DictionaryArray.from_arrays(same, [plain(name)]) for name in (one.name, one.scored_by, one.drawn_by)),
        pa.DictionaryArray.from_arrays(one.problem.astype(np.int32), list(map(plain, one.problem_ids))),
        one.index.astype(np.int32),
        one.num_tokens.astype(np.int32),
        one.num_bytes,
        one.logprob_sum,
        values,
        perplexity(values),
        pa.array(one.correct == CORRECT, mask=(one.correct != CORRECT) & (one.correct != OTHER)),
    ]
