import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import copied_databases as copied_databases
from tests.slurm import Slurm, missing_programs, slurm
from tests.trainings import SHORT, place, run


@pytest.fixture(scope="session")
def place_with_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return place(tmp_path_factory.mktemp("train") / "place")


@pytest.fixture
def fresh(place_with_model: Path, tmp_path: Path) -> Path:
    """A folder with a model and demonstrations, and no training yet."""
    return shutil.copytree(place_with_model, tmp_path / "fresh")


@pytest.fixture(scope="session")
def first(place_with_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder in which `SHORT` was trained, with what was printed and its stderr."""
    folder = shutil.copytree(place_with_model, tmp_path_factory.mktemp("train") / "first")
    done = run(folder, *SHORT)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A Slurm of one node with two GPUs."""
    if missing := missing_programs():
        pytest.skip(f"of Slurm {', '.join(missing)} are not installed; make system-deps")
    with slurm(tmp_path_factory.mktemp("slurm")) as started:
        yield started
