"""Files of a spool: noted by path, size and sha256, copied where the original will not stay, uploaded as they were."""

import hashlib
import os
import posixpath
import tempfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import requests
from mlflow.environment_variables import MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE
from mlflow.exceptions import MlflowException
from mlflow.protos import service_pb2
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

from kurve.store.disk import sync_folder
from mlflow_plugins.kurve.spool.ids import ids_in
from mlflow_plugins.kurve.spool.journal import ARTIFACT, BLOBS, Record
from mlflow_plugins.kurve.spool.wire import AwayError, Wire, failure

SMALL = 8 << 20  # bytes; smaller files are copied into the spool wherever they are
SCHEME = "mlflow-artifacts"

_CHUNK = 1 << 20
_STORES = ("botocore", "boto3", "google", "azure")  # whose clients are not installed everywhere


class FileChangedError(MlflowException):  # type: ignore[misc]  # MLflow has no types
    """A file is not what it was when it was logged."""


def artifacts_of(provisional: str) -> str:
    """The address of a provisional run's artifacts."""
    return f"{SCHEME}:/{provisional}/artifacts"


def noted(file: Path, uri: str, path: str, folder: Path) -> Record:
    """The record of a file, which is copied if it is small or in a folder for temporary files.

    Args:
        file: as it is now.
        uri: of the artifacts that it belongs to.
        path: its name there.
        folder: of the journal.

    Raises:
        OSError: it cannot be read, or the disk has no room for the copy.
    """
    temporary = file.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve())
    if file.stat().st_size > SMALL and not temporary:
        return by_path(file, uri, path)
    sha256 = _copy(file, folder / BLOBS)
    size = (folder / BLOBS / sha256).stat().st_size
    return _record({"uri": uri, "path": path, "file": "", "size": size, "sha256": sha256})


def by_path(file: Path, uri: str, path: str) -> Record:
    """The record of a file that stays where it is.

    Raises:
        OSError: it cannot be read.
    """
    sha256 = _sha256(file)
    return _record(
        {"uri": uri, "path": path, "file": str(file.absolute()), "size": file.stat().st_size, "sha256": sha256}
    )


def local_file(record: Record, folder: Path) -> Path:
    """Where the file of a record is now.

    Raises:
        FileChangedError: it is gone, or not what it was.
    """
    body = record.body
    path = Path(body["file"]) if body["file"] else folder / BLOBS / body["sha256"]
    try:
        same = path.stat().st_size == body["size"] and (not body["file"] or _sha256(path) == body["sha256"])
    except OSError as error:
        raise FileChangedError(f"{path} cannot be read any more: {error.strerror}") from error
    if not same:
        raise FileChangedError(f"{path} was changed after it was logged (sha256 {body['sha256'][:12]}... then)")
    return path


class Uploads:
    """Sends files to where the server keeps those of a run."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._roots: dict[str, str] = {}  # by run

    def send(self, record: Record, folder: Path, known: Callable[[str], str | None]) -> None:
        """Upload the file of a record.

        Args:
            record: of a file.
            folder: of its journal.
            known: the server's id of a provisional one.

        Raises:
            AwayError: the server cannot be reached.
            MlflowException: it refuses, or the file is not what it was.
        """
        file = local_file(record, folder)
        uri = str(record.body["uri"])
        for provisional in ids_in(uri):
            uri = uri.replace(artifacts_of(provisional), self._root(known(provisional) or provisional))
        path = str(record.body["path"])
        if uri.startswith(f"{SCHEME}:") and record.body["size"] < MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE.get():
            root = MlflowArtifactsRepository.resolve_uri(uri, self._wire.uri)
            with file.open("rb") as opened:
                self._wire.put_file(root, path, opened, record.body["size"])
        else:
            self._by_mlflow(file, uri, path)

    def _root(self, run_id: str) -> str:
        if run_id not in self._roots:
            found: Any = self._wire.call(service_pb2.GetRun, {"run_id": run_id})
            self._roots[run_id] = str(found.run.info.artifact_uri)
        return self._roots[run_id]

    def _by_mlflow(self, file: Path, uri: str, path: str) -> None:
        """Let MLflow send it: in parts, or past the server to where its files are."""
        repository: Any = MlflowArtifactsRepository
        if not uri.startswith(f"{SCHEME}:"):
            repository = get_artifact_repository
        with TemporaryDirectory(prefix="kurve-spool-") as named:
            link = Path(named) / PurePosixPath(path).name  # MLflow takes the name of the file that it is given
            link.symlink_to(file.absolute())
            try:
                repository(uri, tracking_uri=self._wire.uri).log_artifact(str(link), posixpath.dirname(path) or None)
            except requests.HTTPError as error:
                raise failure(error.response.status_code if error.response is not None else 0, str(error)) from error
            except MlflowException:
                raise
            except Exception as error:
                if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _STORES:
                    raise
                raise AwayError(f"cannot store {path} at {uri}: {error}") from error


def _record(body: dict[str, Any]) -> Record:
    return Record(ARTIFACT, body, time.time_ns() // 1_000_000)


def _copy(file: Path, blobs: Path) -> str:
    """Copy a file to where its sha256 names it; the sha256."""
    blobs.mkdir(mode=0o700, exist_ok=True)
    handle, half = tempfile.mkstemp(dir=blobs, prefix=".")
    digest = hashlib.sha256()
    try:
        with file.open("rb") as source, os.fdopen(handle, "wb") as copy:
            while data := source.read(_CHUNK):
                digest.update(data)
                copy.write(data)
            copy.flush()
            os.fsync(copy.fileno())
        Path(half).replace(blobs / digest.hexdigest())
    except BaseException:
        Path(half).unlink(missing_ok=True)
        raise
    sync_folder(blobs)
    return digest.hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
