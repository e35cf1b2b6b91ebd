"""docs/extend.md, done: its three files, with kurve from a wheel, in an environment that has no other kurve."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import command_environment
from tests.hydra_plugins.test_search_path import blocks
from tests.test_docs import commands_in
from tests.wheel import REPOSITORY, build_wheel

FILES = {"conf/benchmark/doubles.yaml", "conf/algorithm/median.yaml", "doubles.py"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin/` of an environment with kurve's wheel, and what it needs from this one, whose own kurve is not seen."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    [site] = (folder / "venv" / "lib").glob("python*/site-packages")
    wheel = build_wheel(folder / "build")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, str(wheel)], check=True)
    # A folder that is named in a .pth file has its packages on the path, but its own .pth files are not read: those
    # of editable installations are among them.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of three files, and the program."""
    folder = tmp_path_factory.mktemp("my_project")
    shown = blocks("extend.md")
    assert set(shown) == FILES | {"app.py"}
    for name, content in shown.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def run(command: Sequence[str], project: Path, *, path: str = ".") -> str:
    """What a command prints in the project's folder.

    Raises:
        AssertionError: it fails.
    """
    environment = command_environment() | {"KURVE_CACHE": str(project / "cache"), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = path
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_project_of_three_files_evaluates_and_trains(installed: Path, project: Path) -> None:
    where = run(
        [str(installed / "python"), "-c", "import kurve, hydra_plugins.kurve as h; print(kurve.__file__, h.__file__)"],
        project,
    )
    assert where.count(str(installed.parent / "lib")) == 2
    lines = commands_in(REPOSITORY / "docs" / "extend.md")
    assert [line.split()[1] for line in lines] == ["list", "evaluate", "train"]
    listed, evaluated, _ = (run([str(installed / "kurve"), *line.split()[1:]], project) for line in lines)
    assert re.search(r"doubles +1 \+ 1, 2 \+ 2, up to 20 \+ 20", listed)
    assert "countdown_initial on doubles" in evaluated
    [report] = project.glob("outputs/runs/*/*/report/report.json")
    assert json.loads(report.read_text(encoding="utf-8"))["benchmark"] == "doubles"
    [record] = project.glob("outputs/models/median-*/training.json")
    made = json.loads(record.read_text(encoding="utf-8"))
    assert (made["algorithm"], made["status"], made["final_step"]) == ("median", "FINISHED", 1)
    assert made["recipe"]["algorithm"]["advantage"]["_target_"] == "doubles.median_baseline"


def test_a_sweep_of_the_project_runs_in_other_processes(installed: Path, project: Path) -> None:
    [_, line, _] = commands_in(REPOSITORY / "docs" / "extend.md")
    sweep = ["evaluate", "-m", *line.split()[2:], "cluster=local", "seed=1,2", "num_samples=2"]
    assert run([str(installed / "kurve"), *sweep], project).count("FINISHED") == 2


def test_the_program_has_our_groups_from_a_wheel(installed: Path, project: Path) -> None:
    text = (REPOSITORY / "docs" / "extend.md").read_text(encoding="utf-8")
    lines = re.findall(r"^python (app\.py .*)$", text, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        said = run([str(installed / "python"), *line.split()], project, path=os.devnull)
        assert "arithmetic" in said
        assert "Dan has 23 pencils" in said
