"""What changed on each single problem, as rows for figures, the UI and other tools: `problems.parquet` and `.csv`."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kurve.comparison import Comparison
from kurve.figures.files import write_whole
from kurve.metrics.fisher import false_discovery, fisher_exact
from kurve.observations import plain

COLUMNS = (
    "model", "id", "base_n", "base_c", "base_accuracy", "n", "c", "accuracy", "difference", "fisher_p", "fisher_q",
)  # fmt: skip


def problem_changes(comparison: Comparison) -> dict[str, list[str] | list[int] | list[float]]:
    """One row a problem by column, in the base's order: accuracies are c/n, as fractions.

    `fisher_p` is two-sided and exact for the problem alone; `fisher_q` is its false discovery rate over the problems of
    this model, the one to use when problems are picked by it. Both are NaN where a model was sampled adaptively.
    """
    base, tuned = comparison.counts
    p_values = fisher_exact(base.num_samples, base.num_correct, tuned.num_samples, tuned.num_correct)
    q_values = false_discovery(p_values)
    if base.largest_k is not None or tuned.largest_k is not None:  # exact only where n does not depend on the outcomes
        p_values, q_values = np.full_like(p_values, np.nan), np.full_like(p_values, np.nan)
    before, after = base.num_correct / base.num_samples, tuned.num_correct / tuned.num_samples
    return {
        "model": [comparison.tuned] * len(base.problem_ids),
        "id": list(base.problem_ids),
        "base_n": base.num_samples.tolist(),
        "base_c": base.num_correct.tolist(),
        "base_accuracy": before.tolist(),
        "n": tuned.num_samples.tolist(),
        "c": tuned.num_correct.tolist(),
        "accuracy": after.tolist(),
        "difference": (after - before).tolist(),
        "fisher_p": p_values.tolist(),
        "fisher_q": q_values.tolist(),
    }


def write_problem_changes(comparisons: Sequence[Comparison], folder: Path, stem: str = "problems") -> list[Path]:
    """Write the rows of all comparisons below one another as `<stem>.parquet` and `<stem>.csv`.

    Raises:
        OSError: the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [problem_changes(one) for one in comparisons]
    columns = {name: [value for table in tables for value in table[name]] for name in COLUMNS}
    for name in ("model", "id"):
        columns[name] = [plain(str(value)) for value in columns[name]]
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(zip(*columns.values(), strict=True))
    files = {f"{stem}.parquet": buffer.getvalue(), f"{stem}.csv": text.getvalue().encode()}
    for name, data in files.items():
        write_whole(folder / name, data)
    return [folder / name for name in files]
