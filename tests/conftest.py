"""What all tests share: where real data is, and a command line to run."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from kurve import cli

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = Path(os.environ.get("KURVE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))


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
def kurve_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[RunKurve]:
    """`kurve` in this process and an empty folder, without the seconds that a new process takes to start.

    For what is refused or only shown. An exception that would be a traceback fails the test.
    """
    before = [(one, one.handlers[:], one.level) for one in map(logging.getLogger, (None, "kurve"))]
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        for name in set(os.environ) - set(command_environment()):
            monkeypatch.delenv(name)
        for name, value in {"COLUMNS": "160", "KURVE_CACHE": str(tmp_path / "cache"), **environment}.items():
            monkeypatch.setenv(name, value)
        words = command_line(arguments)[3:]
        capfd.readouterr()
        try:
            code = cli.run(words)
        except SystemExit as left:  # Hydra's --help
            code = int(left.code or 0)
        said = capfd.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    yield run
    for logger, handlers, level in before:  # Hydra sets them for the command
        logger.handlers = handlers
        logger.setLevel(level)


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
