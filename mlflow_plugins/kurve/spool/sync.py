"""What `kurve sync` does with a spool: list what is left in it, and send it."""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kurve.errors import ConfigError, TrackingError
from kurve.spooling import Left, Sent
from mlflow_plugins.kurve.spool import journal, spool_root
from mlflow_plugins.kurve.spool.folder import SERVER, ServerFolder, without_password
from mlflow_plugins.kurve.spool.sender import Sender
from mlflow_plugins.kurve.spool.wire import AwayError, DeniedError, DoubtfulError, Wire

READ_SECONDS = 60.0  # that the server may take to answer; nothing else waits
LOCK_SECONDS = 60.0  # that a process which is sending gets to finish
_DOUBT_SECONDS = 2.0  # before a request is asked again that may pass
_OLD_SECONDS = 3600.0  # of what a process left half made


class MlflowSpool:
    """All journals of a spool; see `kurve.spooling.Spool`.

    Args:
        folder: of the spool, or of one server or one process in it; None takes KURVE_SPOOL_DIR.
        uri: of the server; None takes the one that each journal was written for, with the user and password of
            MLFLOW_TRACKING_URI if it is the same server.
    """

    def __init__(self, *, folder: str | Path | None = None, uri: str | None = None) -> None:
        self._root = Path(folder).expanduser().absolute() if folder else spool_root()
        self._uri = uri

    def left(self) -> list[Left]:
        """The journals that are not sent, or have something in quarantine, the oldest first."""
        found = [(ServerFolder(path.parent), path) for path in self._journals()]
        return [_left(server, path) for server, path in found]

    def send(self, left: Left, tell: Callable[[int, int], None], *, retry: bool = False) -> Sent:
        """Send one journal to its server; see `kurve.spooling.Spool.send`."""
        server = ServerFolder(left.folder.parent)
        uri = self._uri or _with_password(server.uri)
        if not uri:
            raise ConfigError(f"{server.path / SERVER} does not name the server; name it: spool_uri=http://host:port")
        goal = journal.size_of(left.folder)
        sender = Sender(server, Wire(uri, read=READ_SECONDS), lambda: tell(journal.sent_bytes(left.folder), goal))
        try:
            _send_all(sender, left.folder, retry=retry)
        except AwayError as error:
            raise TrackingError(_in_words(without_password(uri), error)) from error
        except OSError as error:
            raise TrackingError(f"cannot note in {left.folder} what was sent: {error}; make room") from error
        sent = sender.sent
        journal.retire(left.folder)
        return Sent(sent.runs, sent.records, sent.files, sent.refused, tuple(dict.fromkeys(sent.reasons)))

    def _journals(self) -> Iterator[Path]:
        root = self._root
        if root is None or not root.is_dir():
            return
        if (root / journal.JOURNAL).exists():
            yield root
            return
        for server in [root] if (root / SERVER).exists() else sorted(root.glob(f"*/{SERVER}")):
            folder = server if server.is_dir() else server.parent
            _sweep(folder)
            yield from journal.journals(folder)


def _left(server: ServerFolder, folder: Path) -> Left:
    lines = list(journal.read_lines(folder / journal.JOURNAL, journal.sent_bytes(folder)))
    aside = (folder / name for name in (journal.QUARANTINE, journal.TRYING))
    return Left(
        folder=folder,
        server=server.uri,
        records=len(lines),
        files=sum(line.record is not None and line.record.api == journal.ARTIFACT for line in lines),
        quarantined=sum(1 for path in aside for _ in journal.read_lines(path)),
        alive=journal.is_alive(folder),
    )


def _send_all(sender: Sender, folder: Path, *, retry: bool) -> None:
    """Send a journal; wait for another process that is sending it, and ask again what may pass."""
    deadline = time.monotonic() + LOCK_SECONDS
    send: Callable[[Path], bool] = sender.send_again if retry else sender.send
    while True:
        try:
            if send(folder):
                return
        except DoubtfulError:
            time.sleep(_DOUBT_SECONDS)
            continue
        except FileNotFoundError:  # another process has sent and removed it
            if folder.exists():
                raise
            return
        if time.monotonic() > deadline:
            raise AwayError(f"another process has been sending {folder} for {LOCK_SECONDS:g} s")


def _in_words(shown: str, error: AwayError) -> str:
    cause = re.search(r"Connection refused|[Tt]imed out|Name or service not known|another process .*", str(error))
    said = cause[0] if cause else str(error)[:300]
    if isinstance(error, DeniedError):
        do = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN) to one who may write"
    else:
        do = "start it, or name it where it is now with spool_uri=http://host:port"
    return f"cannot send the spool to {shown}: {said}; {do}, then start again: nothing is lost, and nothing sent twice"


def _with_password(uri: str) -> str:
    """The address as MLFLOW_TRACKING_URI has it, if that is the same server."""
    given = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    return given if given and without_password(given) == uri else uri


def _sweep(server: Path) -> None:
    """Remove what killed processes left half made or half removed."""
    for hidden in server.glob(".2*"):
        with contextlib.suppress(OSError):
            if time.time() - hidden.stat().st_mtime > _OLD_SECONDS:
                shutil.rmtree(hidden, ignore_errors=True)
