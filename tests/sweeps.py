"""Sweeps as their jobs leave them, made without running one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig, OmegaConf

from kurve import sweep
from kurve.sweep import Job, JobStatus, Sweep
from kurve.types import Tally


@dataclass(frozen=True)
class Left:
    """A job and what it left."""

    overrides: tuple[str, ...]
    tally: Tally | None = None
    benchmark: str = "gsm8k"
    model: str = "m"
    status: JobStatus = JobStatus.FINISHED
    facts: dict[str, str] = field(default_factory=dict)
    message: str = ""


def counts(correct: Sequence[int] | np.ndarray, n: int = 16, ids: Sequence[str] | None = None) -> Tally:
    """Counts of problems p0, p1, ... with n samples each."""
    c = np.asarray(correct, dtype=np.int64)
    names = tuple(ids or (f"p{at}" for at in range(c.size)))
    return Tally(names, np.full(c.size, n), c, np.zeros(c.size, dtype=np.int64))


def drawn(rng: np.random.Generator, chances: np.ndarray, n: int = 16) -> Tally:
    """Counts of problems that are solved with these chances."""
    return counts(rng.binomial(n, chances), n)


def write_report(folder: Path, tally: Tally, *, benchmark: str, model: str) -> None:
    """The parts of a report that hold counts and say what they are of."""
    folder.mkdir(parents=True)
    columns = {
        "id": list(tally.problem_ids),
        "n": tally.num_samples,
        "c": tally.num_correct,
        "errors": tally.num_errors,
    }
    pq.write_table(pa.table(columns), folder / "counts.parquet")
    spec = {"model": model, "model_revision": "", "lora": ""}
    document = {"model": model, "benchmark": benchmark, "spec": spec, "scalars": {}}
    (folder / "report.json").write_text(json.dumps(document))


def left(root: Path, name: str, jobs: Sequence[Left], command: str = "evaluate") -> Sweep:
    """Write the folder of a sweep below `root`, as if these jobs had run."""
    made = Sweep(name, command, tuple(Job(f"{at:012x}", one.overrides) for at, one in enumerate(jobs, start=1)))
    folder = made.folder(root)
    folder.mkdir(parents=True)
    sweep.write(folder, made)
    for job, one in zip(made.jobs, jobs, strict=True):
        place = folder / job.key
        place.mkdir()
        record = {
            "status": str(one.status), "attempt": 1, "host": "elsewhere", "pid": 1, "started": 1, "ended": 2,
            "message": one.message, "facts": one.facts,
        }  # fmt: skip
        (place / sweep.JOB_RECORD).write_text(json.dumps(record))
        if one.tally is not None:
            write_report(place / "report", one.tally, benchmark=one.benchmark, model=one.model)
    return made


def config(folder: Path, **settings: object) -> DictConfig:
    """The config of `kurve sweep report` in a folder of results."""
    paths = {"out": str(folder), "samples": str(folder / "samples"), "models": str(folder / "models")}
    return OmegaConf.create({"paths": paths, "over": "seed", "base": None, "confidence": 0.95, **settings})
