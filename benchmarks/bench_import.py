"""`kurve import` of a million graded samples as a user types it: start, check, store, report."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import Row

_PROBLEMS, _SAMPLES = 1_000, 1_000
_SECONDS, _BYTES = 180.0, 1 << 30
_WORDS = 60  # a response, about 400 characters


def run(quick: bool = False) -> list[Row]:
    """Two rows; `quick` imports a tenth, and the goals are of the whole."""
    samples = _SAMPLES // 10 if quick else _SAMPLES
    with tempfile.TemporaryDirectory(prefix="kurve-bench-") as folder:
        size = _write(Path(folder) / "rows.jsonl", samples)
        seconds, computing, peak = _timed(folder)
    what = f"kurve import, {_PROBLEMS * samples:,} graded rows"
    detail = (
        f"{seconds:.0f} s, start to end with the report, of it computing {computing:.0f} s; {size >> 20} MiB of JSONL"
    )
    return [
        Row(f"{what}, as a part of 3 minutes", seconds / _SECONDS, 1.0, detail, at_most=True),
        Row(f"{what}, as a part of 1 GB", peak / _BYTES, 1.0, f"{peak / 2**20:.0f} MB at most", at_most=True),
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


def _timed(folder: str) -> tuple[float, float, int]:
    """Seconds, those of the processor, and peak bytes of the command."""
    words = ["import", "path=rows.jsonl", "model.name=bench", "tracker=none"]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "kurve.cli", *words], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"kurve {' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss
