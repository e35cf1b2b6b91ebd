"""A throwaway PostgreSQL server on loopback, from the machine's own packages, with a new database for whoever asks."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from tests.mlflow_plugins.servers import free_port

_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server; `uri` without a driver, as people write it."""

    port: int

    def database(self, name: str) -> str:
        """The address of a new, empty database."""
        with closing(psycopg2.connect(host="127.0.0.1", port=self.port, user="kurve", dbname="postgres")) as connection:
            connection.autocommit = True
            connection.cursor().execute(f'CREATE DATABASE "{name}"')
        return f"postgresql://kurve:geheim@127.0.0.1:{self.port}/{name}"


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A server while the block lasts; the test is skipped where none can be started.

    PostgreSQL refuses to run as root, so root lends it to nobody.
    """
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    user = []
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("PostgreSQL refuses to run as root and setpriv is not installed")
        user = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    folder = Path(tempfile.mkdtemp(prefix="kurve-pg-"))
    if user:
        os.chown(folder, _NOBODY, _NOBODY)
    port = free_port()
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200"

    def run(*words: str | Path) -> None:
        command = [*user, *map(str, words)]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, f"{command} ended with {done.returncode}"

    try:
        run(initdb, "-D", folder / "data", "-U", "kurve", "-A", "trust", "-N")
        run(pg_ctl, "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield Cluster(port)
        finally:
            run(pg_ctl, "-D", folder / "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _program(name: str) -> str:
    """A program of PostgreSQL; Debian keeps those of a server out of PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(versions[-1]) if versions else None)
    if found is None:
        pytest.skip(f"PostgreSQL ({name}) is not installed; `make system-deps` installs it")
    return found
