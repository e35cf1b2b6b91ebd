"""What evaluations cost by their number of samples, fitted, and carried on to 10^8: `python -m benchmarks scale`."""

import math
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import Row
from benchmarks.scale_costs import Point, measured
from benchmarks.scale_pipeline import Setup, Unit, ends, simulate

EACH = 1_000  # samples a problem
PROBLEMS = (10, 30, 100, 300)
QUICK = (3, 10)
BANDS = (500, 2_000, 10_000)
GPUS = (16, 64, 256, 1024)
STEPS = ("append", "merge", "judge", "resume", "report", "parquet")
GRADE = 0.0014  # seconds of a processor a verdict: `python -m benchmarks grading`
TRACK = 0.84  # seconds a report: `python -m benchmarks tracking`
TARGET = 10_240_000  # samples of one model in a study of 10 x 10,000 x 1,024


@dataclass(frozen=True, slots=True)
class Line:
    """cost = start + each x samples, with the standard error of `each`."""

    start: float
    each: float
    error: float

    def at(self, samples: float) -> float:
        """The cost of so many samples."""
        return self.start + self.each * samples


def run(quick: bool = False) -> list[Row]:
    """Rows with the costs of one model's 10,240,000 samples, and the simulated end of the whole study."""
    points = _measure(QUICK if quick else PROBLEMS, BANDS[:1] if quick else BANDS)
    lines = {step: fit(points[step], "seconds") for step in STEPS}
    memory = {step: fit(points[step], "peak") for step in STEPS}
    written = {step: fit(points[step], "written") for step in ("append", "merge", "judge", "parquet")}
    rows = [_step_row(step, lines[step], memory[step]) for step in STEPS]
    rows += [
        Row(f"{step}: bytes a sample", line.each, None, f"{line.each:.0f} ± {line.error:.0f}")
        for step, line in written.items()
    ]
    rows += [_band_row(point) for point in points["band"]]
    unit = _unit(lines, points["band"])
    return rows + [_study_row(gpus, unit) for gpus in GPUS]


def fit(points: Sequence[Point], what: str) -> Line:
    """Least squares, each point weighted by its inverse, since what disturbs a measurement grows with it."""
    samples = np.array([point.samples for point in points], dtype=float)
    costs = np.array([getattr(point, what) for point in points], dtype=float)
    design = np.stack([np.ones_like(samples), samples], axis=1) / costs[:, None]
    found, *_ = np.linalg.lstsq(design, np.ones_like(costs), rcond=None)
    free = len(points) - 2
    if free < 1:
        return Line(float(found[0]), float(found[1]), math.nan)
    rest = float(((design @ found - 1) ** 2).sum()) / free
    error = math.sqrt(rest * float(np.linalg.inv(design.T @ design)[1, 1]))
    return Line(float(found[0]), float(found[1]), error)


def _measure(sizes: Sequence[int], bands: Sequence[int]) -> dict[str, list[Point]]:
    points: dict[str, list[Point]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="kurve-bench-") as folder:
        for problems in sizes:
            root = Path(folder) / str(problems)
            for step in STEPS:
                points[step].append(_told(measured(step, root, problems, EACH)))
            shutil.rmtree(root)
        points["band"] = [_told(measured("band", Path(folder), problems, 1_024)) for problems in bands]
    return points


def _told(point: Point) -> Point:
    sys.stderr.write(f"{point}\n")
    return point


def _step_row(step: str, line: Line, memory: Line) -> Row:
    seconds, peak = line.at(TARGET), memory.at(TARGET)
    detail = (
        f"{1e6 * line.each:.1f} ± {1e6 * line.error:.1f} us a sample; extrapolated to {TARGET:,}: {seconds / 60:.1f} "
        f"min of a processor, {peak / 2**30:.2f} GiB at most ({memory.each:.0f} ± {memory.error:.0f} B a sample)"
    )
    return Row(f"{step}, microseconds a sample", 1e6 * line.each, None, detail)


def _band_row(point: Point) -> Row:
    detail = f"{point.seconds:.2f} s of a processor, {point.peak / 2**20:.0f} MiB at most"
    return Row(f"curve and band of {point.problems:,} problems x 1,024, seconds", point.seconds, None, detail)


def _unit(lines: dict[str, Line], bands: Sequence[Point]) -> Unit:
    return Unit(
        merge=max(lines["merge"].each, 0.0),  # next to nothing a sample: what is compressed is taken over as it is
        judge=lines["judge"].each,
        grade=GRADE,
        report=lines["report"].each,
        band=max(point.seconds / point.problems for point in bands),
        track=TRACK,
    )


def _study_row(gpus: int, unit: Unit) -> Row:
    setup = replace(Setup(), gpus=gpus)
    last = ends(simulate(setup, unit))
    drawn, done = last["draw"] / 3600, last["track"] / 3600
    each = setup.problems * setup.samples
    detail = (
        f"simulated: drawn after {drawn:.1f} h, everything done after {done:.1f} h; {setup.shards} shards a model, "
        f"{setup.cores} cores; {gpus * setup.tokens_per_second / setup.tokens:,.0f} samples/s are stored; of a model, "
        f"merging {each * unit.merge / 3600:.2f} h, verifying {each * unit.grade / 3600:.2f} core-hours, reporting "
        f"{each * unit.report / 3600:.2f} h"
    )
    return Row(f"10 x 10,000 x 1,024 samples on {gpus} GPUs, all of it by the drawing", done / drawn, None, detail)
