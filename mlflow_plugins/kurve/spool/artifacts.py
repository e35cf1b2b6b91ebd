"""MLflow's artifacts of a tracking server, with the spool between.

Files of runs are journaled; those of logged models are not, since a model cannot be made while the server is away.
"""

import posixpath
import re
import shutil
from pathlib import Path
from typing import Any

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.artifact.artifact_repo import verify_artifact_path
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
from mlflow.tracking._tracking_service.utils import get_tracking_uri
from mlflow.utils.workspace_context import get_request_workspace

from mlflow_plugins.kurve.spool.files import local_file
from mlflow_plugins.kurve.spool.ids import ids_in
from mlflow_plugins.kurve.spool.journal import Record
from mlflow_plugins.kurve.spool.process import Spool, spool_for
from mlflow_plugins.kurve.spool.spooled import Spooled
from mlflow_plugins.kurve.spool.wire import AwayError

READ_AFTER = 5.0  # seconds that a question waits for what was logged before it to be sent

_OF_A_MODEL = re.compile(r"/models/m-[0-9a-f]{32}(/|$)")


def build_repository(
    root: Path | None, artifact_uri: str, tracking_uri: str | None, registry_uri: str | None
) -> MlflowArtifactsRepository:
    """MLflow's own repository, or for files of runs the one that spools if there is a folder for it."""
    server = tracking_uri or get_tracking_uri()
    spools = root is not None and str(server).startswith(("http://", "https://"))
    if not spools or root is None or _OF_A_MODEL.search(artifact_uri) or get_request_workspace() is not None:
        return MlflowArtifactsRepository(artifact_uri, tracking_uri, registry_uri)
    return SpoolingArtifacts(artifact_uri, server, spool_for(root, server))


class SpoolingArtifacts(MlflowArtifactsRepository):  # type: ignore[misc]  # MLflow has no types
    """The artifacts of a run, which may be one that the server does not know yet.

    Args:
        artifact_uri: of the run.
        tracking_uri: of the server.
        spool: of this process, for the server.
    """

    def __init__(self, artifact_uri: str, tracking_uri: str, spool: Spool) -> None:
        super().__init__(artifact_uri, tracking_uri)
        self._uri = artifact_uri
        self._spool = spool
        self._spooled = Spooled(spool.folder)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Note the file, to be uploaded soon."""
        verify_artifact_path(artifact_path)
        file = Path(local_file)
        self._spool.put_file(file, self._uri, posixpath.join(artifact_path or "", file.name))

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """What the server has, or while it is away what the journals have."""
        if self._asks_the_server():
            return list(self._on_server().list_artifacts(path))
        folder = f"{path.rstrip('/')}/" if path else ""
        sizes: dict[str, int | None] = {}
        held = self._held()
        if not held and not ids_in(self._uri):
            raise AwayError(f"the files of {self._uri} cannot be listed: the server is away, and the spool has none")
        for name, (record, _) in held.items():
            if name.startswith(folder):
                first, rest, _ = name.removeprefix(folder).partition("/")
                sizes[folder + first] = None if rest else int(record.body["size"])
        return [FileInfo(name, size is None, size) for name, size in sorted(sizes.items())]

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete on the server, once it has what was logged before."""
        self._spool.flush(READ_AFTER)
        self._on_server().delete_artifacts(artifact_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        if self._asks_the_server():
            self._on_server()._download_file(remote_file_path, local_path)
            return
        found = self._held().get(remote_file_path)
        if found is None:
            raise MlflowException(f"the spool has no file {remote_file_path}", error_code=RESOURCE_DOES_NOT_EXIST)
        shutil.copyfile(local_file(*found), local_path)

    def _asks_the_server(self) -> bool:
        """Whether it has what was logged, and can be asked."""
        whole = self._spool.flush(READ_AFTER)
        known = all(self._spool.folder.ids.get(one) for one in ids_in(self._uri))
        return whole and known and not self._spool.away

    def _on_server(self) -> Any:
        """MLflow's repository of what the address means on the server."""
        return MlflowArtifactsRepository(self._spool.resolve(self._uri), self.tracking_uri)

    def _held(self) -> dict[str, tuple[Record, Path]]:
        self._spooled.refresh()
        return self._spooled.artifacts(self._uri)
