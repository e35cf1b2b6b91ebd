"""Evaluations for gates: counts of simulated models, in memory and as the files that an evaluation keeps."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kurve.errors import TrackingError
from kurve.export import COUNTS, REPORT, file_contents
from kurve.gates import Measured
from kurve.promotion import RegisteredVersion
from kurve.types import Curve, Report, SamplingSpec, Tally

SPEC = SamplingSpec("/models/m", "r1", "", "easy", "b1", "raw", "d1", 1.0, 1.0, 0, 0.0, 256, (), "replay", "0")
NUM_PROBLEMS, NUM_SAMPLES = 80, 64


def tally(
    accuracy: float, *, seed: int = 0, unsolved: float = 0.0, problems: int = NUM_PROBLEMS, samples: int = NUM_SAMPLES
) -> Tally:
    """Counts of a model that solves a sample with about this probability, and some problems never."""
    rng = np.random.default_rng(seed)
    rates = np.where(np.arange(problems) < unsolved * problems, 0.0, accuracy * (0.5 + rng.random(problems)))
    solved = rng.binomial(samples, np.clip(rates, 0, 1))
    whole = np.full(problems, samples)
    return Tally(tuple(f"p{i}" for i in range(problems)), whole, solved, np.zeros(problems, dtype=np.int64))


BASE, BETTER, NARROWER = tally(0.2, seed=1), tally(0.5, seed=2), tally(0.6, seed=3, unsolved=0.4)


def measured(counts: Tally, truncation: float | None = 0.0, **settings: object) -> Measured:
    return Measured(counts, truncation, {"temperature": 1.0, **settings})


def report_files(
    folder: Path, counts: Tally, *, model: str, benchmark: str = "easy", scalars: Mapping[str, float] | None = None
) -> list[Path]:
    """counts.parquet and report.json as an evaluation writes them."""
    fraction = counts.num_correct / counts.num_samples
    ks = np.array([1], dtype=np.int64)
    value = np.array([fraction.mean()])
    curve = Curve("pass_at_k", ks, value, value, value, np.array([False]), 0.95)
    found = {"num_errors": float(counts.num_errors.sum()), "truncation_rate": 0.01, **(scalars or {})}
    path = f"/models/{model}"
    spec = SamplingSpec(**{**{f: getattr(SPEC, f) for f in SPEC.__slots__}, "model": path, "benchmark": benchmark})
    report = Report(benchmark, spec, "v1", counts, found, curves=(curve,), model=model)
    folder.mkdir(parents=True)
    for name in (COUNTS, REPORT):
        (folder / name).write_bytes(file_contents(report)[name])
    return [folder / COUNTS, folder / REPORT]


class RunsInMemory:
    """Runs as a tracker shows them: tags and files by the id of the run."""

    def __init__(self) -> None:
        self.tagged: dict[str, dict[str, str]] = {}
        self.files: dict[str, dict[str, bytes]] = {}

    def add(self, run_id: str, folder: Path, counts: Tally, *, model: str, benchmark: str = "easy") -> str:
        paths = report_files(folder / run_id, counts, model=model, benchmark=benchmark)
        self.tagged[run_id] = {"kurve.benchmark": benchmark}
        self.files[run_id] = {path.name: path.read_bytes() for path in paths}
        return run_id

    def tags(self, run_id: str) -> Mapping[str, str]:
        if run_id not in self.tagged:
            raise TrackingError(f"there is no run {run_id}")
        return self.tagged[run_id]

    def fetch(self, run_id: str, file: str, folder: Path) -> Path:
        if file not in self.files.get(run_id, {}):
            raise TrackingError(f"the run {run_id} kept no file {file}")
        (folder / file).write_bytes(self.files[run_id][file])
        return folder / file


def registered_version(model: str, *evaluations: str, number: str = "1") -> RegisteredVersion:
    tags = {"kurve.path": f"/models/{model}", "kurve.sha256": "ab" * 32}
    return RegisteredVersion("m", number, f"models:/{model}", "trained", 1_700_000_000_000, tags, evaluations)
