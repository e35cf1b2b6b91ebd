"""Reach a tracking server or database: its address, a quick look before the work, short retries, one kind of error."""

import fcntl
import logging
import os
import re
import shlex
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
import sqlalchemy
import urllib3
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import URL, make_url

from kurve.errors import RejectedError, TrackingError
from mlflow_plugins.kurve.spool import is_away

LOCK_TIMEOUT = 120  # seconds; what is done under the lock takes well under one

BACKGROUND_TIMEOUT = 20  # seconds for a request of a thread that tries again by itself

_FILLING = int.from_bytes(b"kurve")  # in PostgreSQL a lock is a number that its users agree on
_ARTIFACT_STORES = ("botocore", "boto3", "google", "azure")  # their clients are not installed everywhere
# MLflow prints a link of its own to stdout when a run ends, and a bar for every file.
_SILENCE = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "1", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
_TALKATIVE = ("mlflow", "mlflow.store.db.utils", "alembic", "urllib3")  # loggers
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_AUTH_CODES = {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where runs go."""

    uri: str  # as MLflow takes it; never relative
    shown: str  # the same without password, for people
    kind: str  # http, sqlite, database (any other) or other (a plugin's scheme)
    artifacts: Path | None  # where new experiments keep files, when no server decides it
    secret: str = ""  # the password, to be blotted out of messages

    @property
    def browser(self) -> str:
        """Base of the pages a person opens; a database needs `mlflow server` on its usual port."""
        return self.shown.rstrip("/") if self.kind == "http" else "http://127.0.0.1:5000"

    @property
    def server_command(self) -> str:
        """What starts a server on a database; empty for a server."""
        return "" if self.kind == "http" else f"mlflow server --backend-store-uri {shlex.quote(self.shown)}"


def resolve(uri: str | None, folder: Path) -> Address:
    """The address that `uri` means, or MLFLOW_TRACKING_URI, or `mlflow.db` in `folder`.

    Raises:
        TrackingError: a folder, an in-memory database or something that is no URI.
    """
    given = (uri or os.environ.get("MLFLOW_TRACKING_URI", "")).strip()
    if not given:
        return _sqlite_file(folder / "mlflow.db", "")
    scheme = urlsplit(given).scheme
    if scheme in ("http", "https"):
        return _server(given)
    if scheme.partition("+")[0] in _DATABASES:
        return _database(given, folder)
    if given.startswith("databricks"):
        return Address(given, given, "other", None)
    if scheme in ("", "file") and os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("1", "true"):
        raise TrackingError(
            f"tracker.uri or MLFLOW_TRACKING_URI is {given!r}, a folder, where MLflow no longer keeps runs; "
            f"use sqlite:///{(folder / 'mlflow.db')}, a server's http address, or tracker=dir"
        )
    return Address(given, given, "other", None)


def connect(address: Address, timeout: int, *, may_spool: bool = False) -> MlflowClient:
    """A client of a destination that answers within about `timeout` seconds.

    MLflow itself tries a database ten times (over 100 s), so that one is opened by hand first.

    Args:
        address: where to.
        timeout: seconds.
        may_spool: a server that cannot be reached will do, if what is logged is spooled.

    Raises:
        whatever `errors_of` translates.
    """
    with ExitStack() as stack:
        if address.kind in ("sqlite", "database"):
            stack.enter_context(_opened(address, timeout))
        client = MlflowClient(tracking_uri=address.uri, registry_uri=address.uri)
        try:
            client.search_experiments(max_results=1)
        except MlflowException:
            if not (may_spool and is_away(address.uri)):
                raise
    return client


@contextmanager
def talking(address: Address, action: str, *, timeout: int, retries: int, ask_user: bool = True) -> Iterator[None]:
    """Short requests, quiet MLflow, one process at a time on SQLite, and TrackingError for all that goes wrong.

    Args:
        address: where to.
        action: what is being done, for the message ("cannot <action> at ...").
        timeout: seconds for a request.
        retries: of a request, after 0, 2, 4, ... seconds.
        ask_user: MLFLOW_HTTP_REQUEST_* that are set already win.
    """
    settings = _request_settings(timeout, retries)
    if ask_user:
        settings = {name: value for name, value in settings.items() if name not in os.environ}
    with ExitStack() as stack:
        stack.enter_context(errors_of(address, action))
        stack.enter_context(_environment(settings | _SILENCE))
        stack.enter_context(_quiet())
        stack.enter_context(_turn(address))
        yield


@contextmanager
def background() -> Iterator[None]:
    """Requests that give up within seconds, in all threads of the process while the block lasts.

    What `talking` would set for each call is set once here, so that a thread which logs beside a training does not
    write to the environment, which C libraries read at any time and without a lock.
    """
    settings = _request_settings(BACKGROUND_TIMEOUT, 0) | _SILENCE
    with _environment(settings), _quiet():
        yield


@contextmanager
def errors_of(address: Address, action: str) -> Iterator[None]:
    """Turn what MLflow, HTTP, the database and the file system raise into TrackingError.

    A RejectedError is what the server understood and will never take; everything else may pass with time.
    """
    try:
        yield
    except (
        MlflowException,
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        sqlalchemy.exc.SQLAlchemyError,
        ImportError,  # the database's driver
        UnicodeError,  # a host name that cannot be encoded
        OSError,
    ) as error:
        kind = RejectedError if _is_refusal(error) else TrackingError
        raise kind(_message(address, action, error)) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _ARTIFACT_STORES:
            raise
        raise TrackingError(_message(address, action, error)) from error


def _server(uri: str) -> Address:
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    if not host:
        raise TrackingError(f"tracker.uri is {uri!r}, which names no host; write http://host:port")
    secret = parts.password or ""
    shown = urlunsplit((parts.scheme, host, parts.path, "", ""))
    return Address(uri.rstrip("/"), shown, "http", None, unquote(secret))


def _database(uri: str, folder: Path) -> Address:
    try:
        url = make_url(uri)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise TrackingError(f"tracker.uri is no database address ({error}); write e.g. sqlite:////path/db") from error
    if url.drivername == "postgresql" and find_spec("psycopg") is None and find_spec("psycopg2") is not None:
        # SQLAlchemy 2.1 takes psycopg for the driver of a bare postgresql://, MLflow's own advice is psycopg2.
        url, uri = url.set(drivername="postgresql+psycopg2"), uri.replace("postgresql:", "postgresql+psycopg2:", 1)
    if not url.drivername.startswith("sqlite"):
        return Address(uri, url.render_as_string(), "database", folder / "mlartifacts", str(url.password or ""))
    if url.database in (None, "", ":memory:"):
        raise TrackingError(f"tracker.uri is {uri!r}, an in-memory database that ends with the process; name a file")
    return _sqlite_file(folder / str(url.database), f"?{uri.partition('?')[2]}" if url.query else "")


def _sqlite_file(path: Path, query: str) -> Address:
    if {"?", "%"} & set(str(path)):  # libraries disagree on how to escape them, and would make another folder
        raise TrackingError(f"a database address cannot hold a '?' or '%', got {path}; set tracker.uri to another path")
    whole = f"sqlite:///{path.absolute()}{query}"
    return Address(whole, whole, "sqlite", path.absolute().parent / "mlartifacts")


@contextmanager
def _opened(address: Address, timeout: int) -> Iterator[None]:
    """A connection of our own to a database; only one of kurve's, on whatever machine, to an empty PostgreSQL.

    MLflow makes the tables when it first connects, and several that do so at once fail each other.
    """
    url: URL = make_url(address.uri)
    if address.kind == "sqlite":
        path = Path(str(url.database))
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {path.parent}")
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(f"{path} is read-only")
    arguments = {"connect_timeout": timeout} if url.drivername.startswith(("postgresql", "mysql")) else {}
    engine = sqlalchemy.create_engine(url, connect_args=arguments, poolclass=sqlalchemy.pool.NullPool)
    try:
        with engine.connect() as connection:
            has_tables = sqlalchemy.inspect(connection).has_table("alembic_version")
            connection.rollback()
            if url.drivername.startswith("postgresql") and not has_tables:
                # Until the end of the transaction, which a pool of connections in between keeps to one of them.
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_FILLING})")
            yield
    finally:
        engine.dispose()


@contextmanager
def _turn(address: Address) -> Iterator[None]:
    """One kurve process at a time on a database of this machine.

    Several that create the tables of a new one at once fail each other, and SQLite refuses a reader that wants to
    write while another one does. Servers do this by themselves.
    """
    if address.kind not in ("sqlite", "database"):
        yield
        return
    with _lock_file(address).open("a") as lock:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield


def _lock_file(address: Address) -> Path:
    if address.kind == "sqlite":
        path = Path(str(make_url(address.uri).database))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f"{path.name}.lock")
    digest = sha256(address.uri.encode("utf-8", "replace")).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"kurve-{os.getuid()}-{digest}.lock"


def _request_settings(timeout: int, retries: int) -> dict[str, str]:
    return {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    }


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """MLflow reads its request settings from the environment at each call; the user's values come back."""
    settings = {name: value for name, value in settings.items() if os.environ.get(name) != value}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Quiet:
    """MLflow, Alembic and urllib3 tell of each retry, migration and traceback; our one error says it.

    Several threads may be inside at once: the first sets the levels, the last puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._levels: dict[str, int] = {}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._levels = {name: logging.getLogger(name).level for name in _TALKATIVE}
                self._set(dict.fromkeys(_TALKATIVE, logging.CRITICAL))
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._set(self._levels)

    def _set(self, levels: dict[str, int]) -> None:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


_quiet = _Quiet()


def _message(address: Address, action: str, error: BaseException) -> str:
    text = _short(error)
    for hidden in filter(None, (address.uri if address.uri != address.shown else "", address.secret)):
        text = text.replace(hidden, "***")
    return f"cannot {action} at {address.shown}: {text}; {_remedy(address, error)}"


def _is_refusal(error: BaseException) -> bool:
    """MLflow's word for a bad value, or an HTTP status that says so of a file.

    BAD_REQUEST is not among them: it is also what MLflow makes of a database that has no connection free.
    """
    status = getattr(getattr(error, "response", None), "status_code", None)
    return getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE" or status in (400, 413)


def _short(error: BaseException) -> str:
    """What went wrong: of an unreachable server the cause alone, which urllib3 wraps in its own words."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    cause = re.search(r"(\[Errno -?\d+\] [\w ]+|Connection refused|[Tt]imed out|Name or service not known)", text)
    if cause and "HTTPConnectionPool" in text.replace("HTTPS", "HTTP"):
        return cause[1].strip()
    return text[:600]


def _remedy(address: Address, error: BaseException) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    code = getattr(error, "error_code", "")
    elsewhere = "or keep files only with tracker=dir, or nothing with tracker=none"
    if status in (401, 403) or code in _AUTH_CODES:
        return (
            "the server refuses this user: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or "
            f"MLFLOW_TRACKING_TOKEN) to one who may write to the experiment, {elsewhere}"
        )
    if code == "RESOURCE_DOES_NOT_EXIST":
        return "check the id, or name the server or database that has it with tracker.uri or MLFLOW_TRACKING_URI"
    if address.kind == "http":
        return f"start the server or name a running one with tracker.uri or MLFLOW_TRACKING_URI, {elsewhere}"
    if isinstance(error, ImportError):
        return f"install the database's Python driver, {elsewhere}"
    if address.kind == "sqlite":
        return f"make the file and its folder writable, or name another with tracker.uri=sqlite:////path, {elsewhere}"
    return f"start the database or name another with tracker.uri or MLFLOW_TRACKING_URI, {elsewhere}"
