"""A real `mlflow server` on loopback that can be stopped and started again."""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError, URLError

import psutil  # type: ignore[import-untyped]  # has no types


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Answer:
    """What a server said."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def ask(
    url: str, *, user: tuple[str, str] | None = None, method: str = "GET", body: object = None, host: str = ""
) -> Answer:
    """One request, with a JSON body and as a user if given."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(user).encode()).decode()
    if host:
        headers["Host"] = host
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return Answer(answer.status, answer.read(), dict(answer.headers))
    except HTTPError as error:
        return Answer(error.code, error.read(), dict(error.headers))


class Server:
    """One worker, an artifact folder under `folder`, and a SQLite file there unless another database is named."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        database: str = "",
        python: Path | str = sys.executable,
    ) -> None:
        self.folder = folder
        self._python = str(python)
        self._database = database or f"sqlite:///{folder / 'server.db'}"
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._options = options
        self._prefix = options[options.index("--static-prefix") + 1] if "--static-prefix" in options else ""
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [self._python, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)]
        command += ["--backend-store-uri", self._database]
        command += ["--artifacts-destination", str(self.folder / "files"), *self._options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        environment |= self._environment
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 240
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"no server: {(self.folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Kill it with all its workers, as a crash would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def memory(self) -> int:
        """Bytes that it and its workers hold at the moment, what they share counted for each."""
        return sum(int(one.memory_info().rss) for one in self._processes())

    @property
    def bytes_read(self) -> int:
        """Bytes that it and its workers have read from files and connections so far."""
        return sum(int(one.io_counters().read_chars) for one in self._processes())

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None
        own = psutil.Process(self._process.pid)
        return [own, *own.children(recursive=True)]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}{self._prefix}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


@contextlib.contextmanager
def serving(
    folder: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    database: str = "",
    python: Path | str = sys.executable,
) -> Iterator[Server]:
    """A server while the block lasts."""
    server = Server(folder, *options, environment=environment, database=database, python=python)
    server.start()
    try:
        yield server
    finally:
        server.stop()
