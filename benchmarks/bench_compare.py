"""`kurve compare` as a user types it: start, two counts files, band, bootstrap, figure; and the band against a loop."""

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import Row
from benchmarks.processes import python
from kurve.metrics.bootstrap import suprema
from kurve.metrics.passk import Floats

_PROBLEMS, _SAMPLES = 1_000, 1_024
_SECONDS, _BYTES = 5.0, 1 << 30


def run(quick: bool = False) -> list[Row]:
    """Three rows; `quick` runs the command once and fewer draws of the loop."""
    return [*_command(repeats=1 if quick else 3), _against_the_loop(loop_draws=20 if quick else 200)]


def _command(repeats: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="kurve-bench-") as folder:
        rng = np.random.default_rng(0)
        base = rng.beta(0.5, 2.0, _PROBLEMS)
        tuned = np.clip(1.3 * base, 0, 1) * (rng.random(_PROBLEMS) > 0.1)
        for name, p in (("base", base), ("tuned", tuned)):
            lines = [{"id": f"p{i}", "n": _SAMPLES, "c": int(c)} for i, c in enumerate(rng.binomial(_SAMPLES, p))]
            (Path(folder) / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        words = ["compare", "base=base.jsonl", "tuned=tuned.jsonl", "tracker=none", "output=out.json"]
        costs = [python(["-m", "kurve.cli", *words], Path(folder)) for _ in range(repeats)]
    seconds, peak = min(one.seconds for one in costs), max(one.peak for one in costs)
    what = f"kurve compare, two files of {_PROBLEMS:,} problems x {_SAMPLES:,} samples"
    return [
        Row(f"{what}, as a part of 5 s", seconds / _SECONDS, 1.0, f"{seconds:.2f} s, start to end", at_most=True),
        Row(f"{what}, as a part of 1 GB", peak / _BYTES, 1.0, f"{peak / 2**20:.0f} MB at most", at_most=True),
    ]


def _against_the_loop(loop_draws: int) -> Row:
    table = np.random.default_rng(0).random((_PROBLEMS, _SAMPLES)) - 0.5
    draws = 4_000
    started = time.perf_counter()
    suprema(table, np.random.default_rng(1), draws)
    ours = time.perf_counter() - started
    started = time.perf_counter()
    _bootstrap_loop(table, np.random.default_rng(1), loop_draws)
    loop = (time.perf_counter() - started) * draws / loop_draws
    return Row(
        name=f"{draws:,} draws behind a band, {_PROBLEMS:,} problems x {_SAMPLES:,} k, against a loop",
        ratio=loop / ours,
        goal=None,
        detail=f"{ours:.2f} s against {loop:.1f} s (loop timed on {loop_draws} draws and scaled)",
    )


def _bootstrap_loop(table: Floats, rng: np.random.Generator, draws: int) -> Floats:
    """Means of resampled problems, as scripts compute them, one draw at a time."""
    return np.array([table[rng.integers(len(table), size=len(table))].mean(axis=0) for _ in range(draws)])
