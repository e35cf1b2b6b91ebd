"""Where results go: the Tracker protocol, a tracker that writes files only, and one that keeps nothing."""

import json
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kurve.errors import TrackingError
from kurve.types import Curve, Report

STATUSES = ("FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is known of an evaluation before it starts."""

    key: str  # the same evaluation (spec, problems, n, verifier, report settings) has the same key
    name: str  # for people: model on benchmark
    params: Mapping[str, str]  # flattened resolved config
    tags: Mapping[str, str]  # kurve.*, git commit, store address
    config_yaml: str  # the resolved config, whole
    versions: Mapping[str, str]  # package -> version
    dataset_name: str
    dataset_source: str  # hub id or path
    dataset_digest: str
    prompts: Sequence[tuple[str, str]]  # (problem id, question), for the dataset input


@dataclass(frozen=True, slots=True)
class Point:
    """One number of a report; `step` is k on a curve and 0 for a scalar."""

    key: str
    value: float
    step: int


class Tracker(Protocol):
    """One run of one evaluation in a tracking system."""

    def check(self) -> None:
        """Refuse an unreachable or unusable destination, before sampling starts.

        Raises:
            TrackingError: the destination, what went wrong and what to do.
        """

    def start(self, run: RunInfo) -> bool:
        """Open a run, adopt the unfinished run of the same evaluation, or find the finished one.

        Returns:
            True if this evaluation still has to be logged; False if a finished run already holds it.

        Raises:
            TrackingError: the destination cannot be reached.
        """

    def log_report(self, report: Report, files: Sequence[Path]) -> None:
        """Log scalars, curves and tables, and keep `files` (figures, counts, previews) as artifacts.

        Raises:
            TrackingError: the destination cannot be reached; calling it again later is safe.
        """

    def finish(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED; without a run it does nothing.

        Raises:
            TrackingError: the destination cannot be reached, or the status is none of the three.
        """

    @property
    def url(self) -> str:
        """Where a person sees the run; empty before `start`."""

    @property
    def hint(self) -> str:
        """One sentence on how to look at the run, for the end of a command; may be empty."""


class NullTracker:
    """Keeps nothing: for trying things out and for programs that use the report themselves."""

    def check(self) -> None:
        """Nothing can be unreachable."""

    def start(self, run: RunInfo) -> bool:
        """Every evaluation still has to be logged."""
        return True

    def log_report(self, report: Report, files: Sequence[Path]) -> None:
        """Drop the report."""

    def finish(self, status: str) -> None:
        """Refuse a status that another tracker would refuse."""
        check_status(status)

    @property
    def url(self) -> str:
        """Empty: there is nothing to see."""
        return ""

    @property
    def hint(self) -> str:
        """Empty: there is nothing to see."""
        return ""


class DirTracker:
    """Writes each evaluation into a folder of its own, without a server or a database.

    `<folder>/<run name>-<first 8 of the key>/` holds `run.json` (key, name, status, attempt, times in ms),
    `params.json`, `tags.json`, `versions.json`, `dataset.json`, `config.yaml`, `metrics.jsonl` (one
    `{key, value, step, timestamp}` a line, curves with every k of the report) and `artifacts/`. Every file is
    replaced as a whole, so a reader never sees half of one.

    Args:
        folder: where the folders of the runs go; made when it is not there.
        new_run: open another folder for an evaluation that is already finished or under way.
    """

    def __init__(self, folder: str | Path, *, new_run: bool = False) -> None:
        self._root = Path(folder).expanduser().absolute()
        self._new_run = new_run
        self._run: Path | None = None

    def check(self) -> None:
        """Write and remove a file in the folder."""
        with _file_errors(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._root) as probe:
                probe.write(b"kurve")

    def start(self, run: RunInfo) -> bool:
        """Make the run's folder, or take up the one that holds the same key."""
        with _file_errors(self._root):
            found = None if self._new_run else self._find(run.key)
            before = _read_state(found) if found else {}
            self._run = found or self._new_folder(run)
            if before.get("status") == "FINISHED":
                return False
            self._run.mkdir(parents=True, exist_ok=True)
            attempt, started = before.get("attempt"), before.get("started")
            state = {
                "key": run.key,
                "name": run.name,
                "status": "RUNNING",
                "attempt": attempt + 1 if isinstance(attempt, int) else 1,
                "started": started if isinstance(started, int) else now_ms(),
            }
            _write_json(self._run / "run.json", state)
            self._describe(run)
        return True

    def log_report(self, report: Report, files: Sequence[Path]) -> None:
        """Copy the files, then replace the metrics: a second call leaves the same folder."""
        folder = self._require_run()
        check_files(files)
        points, skipped = report_points(report)
        with _file_errors(folder):
            artifacts = folder / "artifacts"
            artifacts.mkdir(exist_ok=True)
            for file in files:
                _copy_atomically(file, artifacts / file.name)
            stamp = _read_state(folder).get("started", 0)
            rows = [{"key": p.key, "value": p.value, "step": p.step, "timestamp": stamp} for p in points]
            _write_text(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
            notes = {"notes": list(report.notes), "not_finite": skipped}
            _write_json(folder / "notes.json", notes)

    def finish(self, status: str) -> None:
        """Write the status into `run.json`."""
        check_status(status)
        if self._run is None:
            return
        with _file_errors(self._run):
            _write_json(self._run / "run.json", _read_state(self._run) | {"status": status, "ended": now_ms()})

    @property
    def url(self) -> str:
        """Path of the run's folder; empty before `start`."""
        return str(self._run) if self._run else ""

    @property
    def hint(self) -> str:
        """Names the files worth opening first."""
        return f"Files: {self._run}/metrics.jsonl and {self._run}/artifacts" if self._run else ""

    def _require_run(self) -> Path:
        if self._run is None:
            raise TrackingError("a report came before a run was started; call start(run) first")
        return self._run

    def _find(self, key: str) -> Path | None:
        """The folder of this key, whatever name it was made under; a finished one first."""
        names = sorted(self._root.glob(f"*-{_slug(key[:8])}*")) if self._root.is_dir() else []
        same = [folder for folder in names if _read_state(folder).get("key") == key]
        finished = [folder for folder in same if _read_state(folder).get("status") == "FINISHED"]
        return next(iter(finished or same), None)

    def _new_folder(self, run: RunInfo) -> Path:
        """A free folder name: a run of another key whose first 8 characters agree keeps its folder."""
        stem = f"{_slug(run.name)}-{_slug(run.key[:8])}"
        folder, number = self._root / stem, 1
        while folder.exists():
            number += 1
            folder = self._root / f"{stem}-{number}"
        return folder

    def _describe(self, run: RunInfo) -> None:
        folder = self._require_run()
        dataset = {
            "name": run.dataset_name,
            "source": run.dataset_source,
            "digest": run.dataset_digest,
            "problems": [problem_id for problem_id, _ in run.prompts],
        }
        _write_json(folder / "params.json", dict(run.params))
        _write_json(folder / "tags.json", dict(run.tags))
        _write_json(folder / "versions.json", dict(run.versions))
        _write_json(folder / "dataset.json", dataset)
        _write_text(folder / "config.yaml", run.config_yaml)


def report_points(report: Report, *, per_curve: int | None = None) -> tuple[list[Point], list[str]]:
    """Every number of a report as points, and the keys that held NaN or an infinity.

    Keys are `<benchmark>/<scalar>` at step 0 and, for each curve, `<benchmark>/<curve>` and the band's
    `<benchmark>/<curve>_low` and `_high` at step k. What is not finite is left out, since trackers store it as
    something else (MLflow turns an infinity into 1.8e308).

    Args:
        report: what to log.
        per_curve: at most so many k a curve, chosen by `thin`; None keeps all.
    """
    found = [Point(f"{report.benchmark}/{key}", float(value), 0) for key, value in report.scalars.items()]
    for curve in report.curves:
        found += _curve_points(f"{report.benchmark}/{curve.name}", curve, per_curve)
    skipped = dict.fromkeys(point.key for point in found if not math.isfinite(point.value))
    return [point for point in found if math.isfinite(point.value)], list(skipped)


def thin(k: NDArray[np.int64], limit: int) -> NDArray[np.intp]:
    """Positions of at most `limit` of the k, dense where a log axis is wide.

    All of them when they are few enough; otherwise every k <= 32, the powers of two, the last, and the nearest
    to 16 points an octave (fewer when that is over the limit).

    Args:
        k: ascending, [K].
        limit: at least 64, so that what is always kept fits.
    """
    if limit < 64:
        raise TrackingError(f"a curve needs room for at least 64 points, got a limit of {limit}")
    if len(k) <= limit:
        return np.arange(len(k))
    always = np.flatnonzero((k <= 32) | ((k & (k - 1)) == 0) | (k == k[-1]))
    first, last = math.log2(max(int(k[0]), 32)), math.log2(int(k[-1]))
    for per_octave in range(16, 0, -1):
        targets = 2.0 ** np.arange(first, last, 1 / per_octave)
        chosen = np.union1d(always, np.minimum(np.searchsorted(k, targets), len(k) - 1))
        if len(chosen) <= limit:
            return chosen
    return always[:limit]


def check_files(files: Sequence[Path]) -> None:
    """Refuse missing files and two files of one name, which would overwrite each other."""
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise TrackingError(f"files to keep with the run do not exist: {', '.join(missing)}; write them first")
    names = [file.name for file in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TrackingError(f"several files to keep with the run are named {', '.join(twice)}; rename all but one")


def check_status(status: str) -> None:
    """Refuse a status that is none of FINISHED, FAILED and KILLED."""
    if status not in STATUSES:
        raise TrackingError(f"a run cannot end as {status!r}; it ends as one of {', '.join(STATUSES)}")


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _curve_points(key: str, curve: Curve, limit: int | None) -> Iterator[Point]:
    at = np.arange(len(curve.k)) if limit is None else thin(curve.k, limit)
    for name, values in ((key, curve.value), (f"{key}_low", curve.low), (f"{key}_high", curve.high)):
        yield from (
            Point(name, float(value), int(k)) for k, value in zip(curve.k[at], np.asarray(values)[at], strict=True)
        )


@contextmanager
def _file_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrackingError(
            f"cannot keep the run in {folder}: {error}; free space or make the folder writable, "
            f"name another one with tracker.folder=..., or keep nothing with tracker=none"
        ) from error


def _slug(name: str) -> str:
    """A file name of at most 100 harmless characters."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name[:400]).strip("-.")[:100] or "run"


def _read_state(folder: Path) -> dict[str, object]:
    """What `run.json` says; nothing for a folder that is not a run's."""
    try:
        state = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _write_json(path: Path, value: object) -> None:
    # ASCII escapes carry any text, lone surrogates included.
    _write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def _write_text(path: Path, text: str) -> None:
    with _replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def _copy_atomically(source: Path, target: Path) -> None:
    with _replacing(target) as temporary:
        shutil.copyfile(source, temporary)


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A file beside `target` that takes its place when the block ends, and is gone when it fails."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
