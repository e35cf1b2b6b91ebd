"""Files that were kept with a run, as paths on this machine: where they lie, or in a cache of limited size.

A store on this machine's disk is read in place. Of any other (S3, GCS, ...) a file is fetched once: MLflow's artifact
stores cannot read a part of a file. They tell no digest either, so that a fetched file is known by its run, name, size
and the end of the run; an evaluation that is logged again has another end.
"""

import contextlib
import os
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.server import handlers

from mlflow_plugins.kurve.compare.asked import refusal
from mlflow_plugins.kurve.describe import FOLDER

CACHE_FOLDER, CACHE_MB = "KURVE_PAGE_CACHE", "KURVE_PAGE_CACHE_MB"  # environment of the server
DEFAULT_CACHE_MB = 4096

_IN_USE = 120  # seconds since its last use in which a cached file is never removed
_locks: dict[str, threading.Lock] = {}


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of a run; equal ones have equal content."""

    path: str
    version: str
    size: int  # bytes


def active_run(run_id: str) -> Run:
    """The run, unless it does not exist or was deleted.

    Raises:
        MlflowException: RESOURCE_DOES_NOT_EXIST.
    """
    run = handlers._get_tracking_store().get_run(run_id)
    if run.info.lifecycle_stage != "active":
        raise missing(f"the run {run_id} was deleted")
    return run


def run_file(run: Run, name: str, most: int) -> LocalFile | None:
    """A file under `kurve/` of the run; None if it kept none of that name.

    Raises:
        MlflowException: it is larger than `most` bytes or than the cache, or the artifact store failed.
    """
    repository, path = _place(run, f"{FOLDER}/{name}")
    try:
        local = repository.get_local_path(path)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    if local is None:
        return _fetched(run, repository, path, most)
    if not os.path.isfile(local):  # noqa: PTH113 (MLflow's own string)
        return None
    state = Path(local).stat()
    _refuse_large(run, name, state.st_size, most)
    return LocalFile(local, f"{state.st_mtime_ns}-{state.st_size}-{state.st_ino}", state.st_size)


def missing(message: str) -> MlflowException:
    """An answer with status 404."""
    return MlflowException(message, error_code=RESOURCE_DOES_NOT_EXIST)


def _place(run: Run, path: str) -> tuple[Any, str]:
    """The repository of a run's artifacts as the server itself would read it, and the path in it."""
    root = run.info.artifact_uri
    if not handlers._is_servable_proxied_run_artifact_root(root):
        return handlers._get_artifact_repo(run), path
    proxied = handlers._get_proxied_run_artifact_destination_path(root, path)
    return handlers._get_artifact_repo_mlflow_artifacts(), handlers._get_workspace_scoped_repo_path_if_enabled(proxied)


def _fetched(run: Run, repository: Any, path: str, most: int) -> LocalFile | None:
    parent, _, name = path.rpartition("/")
    sizes = {one.path.rpartition("/")[2]: one.file_size for one in repository.list_artifacts(parent) if not one.is_dir}
    if name not in sizes:
        return None
    size = int(sizes[name] or 0)
    _refuse_large(run, name, size, most)
    version = f"{size}-{run.info.end_time}"
    folder = _cache_folder()
    target = folder / sha256(f"{run.info.run_id}\n{path}\n{version}".encode()).hexdigest()
    with _locks.setdefault(target.name, threading.Lock()):
        if not target.exists():
            _make_room(folder, size)
            with tempfile.TemporaryDirectory(dir=folder) as part:
                Path(repository.download_artifacts(path, part)).replace(target)
    with contextlib.suppress(OSError):
        os.utime(target)
    return LocalFile(str(target), version, size)


def _refuse_large(run: Run, name: str, size: int, most: int) -> None:
    if size > most:
        raise refusal(f"{name} of the run {run.info.run_id} has {size:,} bytes; the page reads at most {most:,}")


def _cache_folder() -> Path:
    """Of this user alone: what lies there was read with the server's rights."""
    given = os.environ.get(CACHE_FOLDER)
    folder = Path(given) if given else Path(tempfile.gettempdir()) / f"kurve-page-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise refusal(f"the server's cache is not its own folder; set {CACHE_FOLDER} to one that is")
    return folder


def _make_room(folder: Path, size: int) -> None:
    """Remove what was not used for longest until `size` bytes fit."""
    limit = int(os.environ.get(CACHE_MB, DEFAULT_CACHE_MB)) * 1_000_000
    if size > limit:
        raise refusal(f"a file of {size:,} bytes does not fit into the server's cache; raise {CACHE_MB} on the server")
    free = shutil.disk_usage(folder).free
    kept = sorted((one.stat().st_mtime, one.stat().st_size, one) for one in folder.iterdir() if one.is_file())
    used = sum(bytes_ for _, bytes_, _ in kept)
    for last_use, bytes_, one in kept:
        if used + size <= limit and size < free:
            return
        if time.time() - last_use > _IN_USE:
            one.unlink(missing_ok=True)
            used, free = used - bytes_, free + bytes_
