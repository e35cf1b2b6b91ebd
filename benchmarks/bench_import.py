"""`kurve import` of a million graded samples as a user types it: start, check, store, report."""

import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import Row
from benchmarks.processes import python

_PROBLEMS, _SAMPLES = 1_000, 1_000
_SECONDS, _BYTES = 180.0, 1 << 30
_WORDS = 60  # a response, about 400 characters


def run(quick: bool = False) -> list[Row]:
    """Two rows; `quick` imports a tenth, and the goals are of the whole."""
    samples = _SAMPLES // 10 if quick else _SAMPLES
    with tempfile.TemporaryDirectory(prefix="kurve-bench-") as folder:
        size = _write(Path(folder) / "rows.jsonl", samples)
        words = ["import", "path=rows.jsonl", "model.name=bench", "tracker=none"]
        cost = python(["-m", "kurve.cli", *words], Path(folder))
    what = f"kurve import, {_PROBLEMS * samples:,} graded rows"
    spent = f"{cost.seconds:.0f} s, start to end with the report, of it computing {cost.computing:.0f} s"
    return [
        Row(
            f"{what}, as a part of 3 minutes",
            cost.seconds / _SECONDS,
            1.0,
            f"{spent}; {size >> 20} MiB of JSONL",
            at_most=True,
        ),
        Row(f"{what}, as a part of 1 GB", cost.peak / _BYTES, 1.0, f"{cost.peak / 2**20:.0f} MB at most", at_most=True),
    ]


def _write(path: Path, num_samples: int) -> int:
    rng = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(5_000)])
    with path.open("w", encoding="ascii") as file:
        for problem in range(_PROBLEMS):
            texts = words[rng.integers(len(words), size=(num_samples, _WORDS))]
            correct = rng.random(num_samples) < rng.beta(0.5, 2.0)
            for text, right in zip(texts, correct.tolist(), strict=True):
                row = {"id": f"p{problem}", "question": f"What is {problem} + 1?", "answer": str(problem + 1)}
                file.write(json.dumps({**row, "text": " ".join(text), "correct": right}) + "\n")
    return path.stat().st_size
