"""What all tests share: where real data is, and a command line to run."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.here import run_here

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = Path(os.environ.get("KURVE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))


def started(arguments: Sequence[str], folder: Path) -> "subprocess.Popen[bytes]":
    """`kurve` at work in a folder, unheard, in a session of its own: it is killed with all that it starts."""
    return subprocess.Popen(
        command_line(arguments),
        cwd=folder,
        env={**command_environment(), "KURVE_CACHE": str(folder / "cache")},  # as the fixtures have it
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real benchmark files."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real benchmark data is not at {SHARED_DATA}; set KURVE_SHARED_DATA")
    return SHARED_DATA


RunKurve = Callable[..., subprocess.CompletedProcess[str]]


def command_line(arguments: Sequence[str]) -> list[str]:
    """`kurve` with these arguments, the scripted sampler among the samplers of commands that compose a config."""
    extra = ["--config-dir", str(REPOSITORY / "tests" / "conf")] if arguments[0] not in ("list", "--help") else []
    return [sys.executable, "-m", "kurve.cli", *arguments, *extra]


def command_environment() -> dict[str, str]:
    """The environment of a user who has no tracking server and an empty cache."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "KURVE_", "HYDRA_"))}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "160"}


@pytest.fixture
def kurve_here(tmp_path: Path) -> RunKurve:
    """Run `kurve` in an empty folder, in this process: for what is refused or only shown."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {**command_environment(), "KURVE_CACHE": str(tmp_path / "cache"), **environment}
        return run_here(tmp_path, command_line(arguments)[3:], given)

    return run


@pytest.fixture
def kurve(tmp_path: Path) -> RunKurve:
    """Run `kurve` in an empty folder, as a user would."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command_line(arguments),
            cwd=tmp_path,
            env={**command_environment(), "KURVE_CACHE": str(tmp_path / "cache"), **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
