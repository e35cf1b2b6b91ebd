"""Every pass@k of a benchmark at once, against the loop that people write."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks import Row
from kurve.metrics.passk import pass_at_k


def run(quick: bool = False) -> list[Row]:
    """Both rows; `quick` times less of the loop."""
    rng = np.random.default_rng(0)
    return [_against_the_loop(rng, loop_problems=5 if quick else 40), _a_hundred_thousand(rng)]


def _against_the_loop(rng: np.random.Generator, loop_problems: int) -> Row:
    n, num_problems = 1_024, 500
    counts = rng.integers(0, n + 1, num_problems)
    ours = _best(lambda: pass_at_k([n] * num_problems, counts), repeats=10)
    subset = counts[:loop_problems]
    usual = _best(lambda: _usual(n, subset), repeats=3) * num_problems / loop_problems
    difference = np.abs(pass_at_k([n] * loop_problems, subset) - _usual(n, subset)).max()
    return Row(
        name=f"pass@k, all k, n = {n:,}, {num_problems} problems, against the usual loop",
        ratio=usual / ours,
        goal=200.0,
        detail=f"{1e3 * ours:.1f} ms against {usual:.2f} s (loop timed on {loop_problems} problems and scaled; "
        f"largest difference {difference:.0e})",
    )


def _a_hundred_thousand(rng: np.random.Generator) -> Row:
    n, num_problems = 100_000, 30
    counts = rng.integers(0, n + 1, num_problems)
    seconds = _best(lambda: pass_at_k([n] * num_problems, counts), repeats=3)
    return Row(
        name=f"pass@k, all k, n = {n:,}, {num_problems} problems, as a part of 1 s",
        ratio=seconds,
        goal=1.0,
        at_most=True,
        detail=f"{seconds:.3f} s",
    )


def _usual(n: int, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The estimator of Chen et al. 2021 as published, for every k and problem."""
    values = np.zeros((counts.size, n))
    for row, c in enumerate(counts):
        for k in range(1, n + 1):
            values[row, k - 1] = 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))
    mean: NDArray[np.float64] = values.mean(axis=0)
    return mean


def _best(action: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest run."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)
