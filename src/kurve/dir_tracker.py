"""A tracker that writes files only: no server, no database."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from kurve.errors import RejectedError, TrackingError
from kurve.report_points import report_points
from kurve.tracking import (
    Registry,
    RunInfo,
    TimedPoint,
    check_files,
    check_folder,
    check_status,
    finite,
    is_evaluation,
    now_ms,
)
from kurve.types import Report

_POINTS = "points.jsonl"


class DirTracker:
    """Writes each evaluation or training into a folder of its own, without a server or a database.

    `<folder>/<run name>-<first 8 of the key>/` holds `run.json` (key, name, status, attempt, times in ms),
    `params.json`, `tags.json`, `versions.json`, `dataset.json`, `config.yaml`, `metrics.jsonl` (one
    `{key, value, step, timestamp}` a line, curves with every k of the report) and `artifacts/`. Every file is
    replaced as a whole, so a reader never sees half of one; only `points.jsonl`, the numbers of a training in the
    same form, is appended to.

    Args:
        folder: where the folders of the runs go; made when it is not there.
        new_run: open another folder for an evaluation that is already finished or under way.
    """

    def __init__(self, folder: str | Path, *, new_run: bool = False) -> None:
        self._root = Path(folder).expanduser().absolute()
        self._new_run = new_run
        self._run: Path | None = None
        self._logged: set[TimedPoint] | None = None  # what points.jsonl holds; None: not read yet

    def check(self) -> None:
        """Write and remove a file in the folder."""
        with _file_errors(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._root) as probe:
                probe.write(b"kurve")

    def start(self, run: RunInfo) -> bool:
        """Make the run's folder, or take up the one that holds the same key."""
        self._logged = None
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
        folder = self._require_run("a report")
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

    def log_points(self, points: Sequence[TimedPoint]) -> None:
        """Append the points that the file does not hold yet."""
        folder = self._require_run("points")
        with _file_errors(folder):
            if self._logged is None:
                self._logged = _read_points(folder / _POINTS)
            new = [point for point in dict.fromkeys(finite(points)) if point not in self._logged]
            _append(folder / _POINTS, "".join(json.dumps(_row(point)) + "\n" for point in new))
            self._logged.update(new)

    def log_files(self, files: Sequence[Path], folder: str) -> None:
        """Copy the files to `artifacts/<folder>`."""
        run = self._require_run("files")
        check_folder(folder)
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise RejectedError(f"files to keep with the run do not exist: {', '.join(missing)}")
        with _file_errors(run):
            target = run / "artifacts" / folder
            target.mkdir(parents=True, exist_ok=True)
            for file in files:
                _copy_atomically(file, target / file.name)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Add them to `tags.json`."""
        run = self._require_run("tags")
        with _file_errors(run):
            _write_json(run / "tags.json", {**self.tags(run.name), **tags})

    def finish(self, status: str, ended: int | None = None) -> None:
        """Write the status into `run.json`."""
        check_status(status)
        if self._run is None:
            return
        state = {"status": status, "ended": now_ms() if ended is None else ended}
        with _file_errors(self._run):
            _write_json(self._run / "run.json", _read_state(self._run) | state)

    def attach(self, run_id: str) -> None:
        """Log into the run's folder."""
        self._run, self._logged = self._existing(run_id), None

    def tags(self, run_id: str) -> Mapping[str, str]:
        """What `tags.json` of the run's folder holds."""
        path = self._existing(run_id) / "tags.json"
        try:
            return {str(key): str(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
        except (OSError, ValueError, AttributeError) as error:
            raise TrackingError(f"cannot read the run's tags in {path}: {error}; was the folder changed?") from error

    def fetch(self, run_id: str, file: str, folder: Path) -> Path:
        """The file among the run's artifacts, in its place."""
        path = self._existing(run_id) / "artifacts" / file
        if not path.is_file():
            raise TrackingError(f"the run {run_id} in {self._root} kept no file {file}; is it an evaluation's run?")
        return path

    def find_evaluations(self, tags: Mapping[str, str]) -> Sequence[str]:
        """The folders of finished evaluations whose `tags.json` has all of these."""
        return [name for name, given in self._tagged(tags, "FINISHED") if is_evaluation(given)]

    def find_running(self, tags: Mapping[str, str]) -> Sequence[str]:
        """The folders of runs that say RUNNING whose `tags.json` has all of these."""
        return [name for name, _ in self._tagged(tags, "RUNNING")]

    def registry(self) -> Registry | None:
        """None: files keep no registry; a training's folder says where its model is."""
        return None

    def in_background(self) -> AbstractContextManager[None]:
        """Files do not keep anybody waiting."""
        return nullcontext()

    @property
    def samples_limit(self) -> int | None:
        """0: the sample store is on the same machine."""
        return 0

    @property
    def run_id(self) -> str:
        """Name of the run's folder; empty before `start`."""
        return self._run.name if self._run else ""

    @property
    def destination(self) -> str:
        """The folder of all runs."""
        return str(self._root)

    @property
    def url(self) -> str:
        """Path of the run's folder; empty before `start`."""
        return str(self._run) if self._run else ""

    @property
    def hint(self) -> str:
        """Names the files worth opening first; a training has points, an evaluation has metrics."""
        if self._run is None:
            return ""
        numbers = next((name for name in ("metrics.jsonl", "points.jsonl") if (self._run / name).is_file()), "")
        return f"Files: {' and '.join(str(self._run / name) for name in (numbers, 'artifacts') if name)}"

    def _require_run(self, what: str) -> Path:
        if self._run is None:
            raise TrackingError(f"{what} came before a run was started; call start(run) first")
        return self._run

    def _tagged(self, tags: Mapping[str, str], status: str) -> list[tuple[str, Mapping[str, str]]]:
        """Folders of the runs of that status with all of these tags, the earliest first, and all their tags."""
        found = []
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            state = _read_state(folder)
            if state.get("status") != status:
                continue
            given = self.tags(folder.name)
            if tags.items() <= given.items():
                started = state.get("started")
                found.append((started if isinstance(started, int) else 0, folder.name, given))
        return [(name, given) for _, name, given in sorted(found, key=lambda one: one[:2])]

    def _existing(self, run_id: str) -> Path:
        folder = self._root / run_id
        if not run_id or folder.parent != self._root or not _read_state(folder):
            raise TrackingError(
                f"there is no run {run_id!r} in {self._root}; its folders are the runs, or name another root "
                "with tracker.folder=..."
            )
        return folder

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
        folder = self._require_run("a description")
        dataset = {
            "name": run.dataset_name,
            "source": run.dataset_source,
            "digest": run.dataset_digest,
            "problems": [problem_id for problem_id, _ in run.prompts],
        }
        _write_json(folder / "params.json", dict(run.params))
        _write_json(folder / "tags.json", dict(run.tags))
        _write_json(folder / "versions.json", dict(run.versions))
        if run.dataset_name:
            _write_json(folder / "dataset.json", dataset)
        _write_text(folder / "config.yaml", run.config_yaml)


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


def _row(point: TimedPoint) -> dict[str, object]:
    return {"key": point.key, "value": point.value, "step": point.step, "timestamp": point.timestamp}


def _read_points(path: Path) -> set[TimedPoint]:
    """The whole lines of the file; what a crash left of a last one is cut off."""
    if not path.exists():
        return set()
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    found = set()
    for line in whole.splitlines():
        try:
            found.add(TimedPoint(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise TrackingError(f"{path} has a line that is no point ({error}); move the file away") from error
    return found


def _append(path: Path, text: str) -> None:
    """All of the text, or none of it when the disk is full."""
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        data = memoryview(text.encode())
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:
            file.truncate(before)
            raise


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
