"""What the documents say is true: links lead somewhere, commands exist, examples run."""

import json
import re
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from kurve.cli import COMMANDS
from tests.conftest import command_environment

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    code = "\n".join(re.findall(r"```.*?\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text))
    for command in re.findall(r"^kurve ([a-z]+)", code, re.MULTILINE):
        assert command in COMMANDS, command
    for name in re.findall(r"^make ([a-z-]+)", code, re.MULTILINE):
        assert name in targets, name


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "adding.md"], ids=lambda page: page.name)
def test_options_in_commands_exist(page: Path) -> None:
    for line in re.findall(r"^\s*kurve (?:evaluate|sample) .*$", page.read_text(encoding="utf-8"), re.MULTILINE):
        for group, options in re.findall(r"\b(model|benchmark|prompt|sampler|verifier|tracker)=([\w,]+)", line):
            for option in options.split(","):
                assert (REPOSITORY / "conf" / group / f"{option}.yaml").is_file(), f"{group}={option}"


def test_the_recipes_of_adding_md_work_on_a_scratch_copy(tmp_path: Path) -> None:
    """Each fenced block that names a file is written there, or appended to the file if it says so."""
    copytree(REPOSITORY / "src" / "kurve", tmp_path / "kurve", ignore=ignore_patterns("__pycache__"))
    copytree(REPOSITORY / "conf", tmp_path / "kurve" / "conf", ignore=ignore_patterns("__pycache__"))
    page = (REPOSITORY / "docs" / "adding.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^`([^`\n]+)`(, at the end)?:\n\n```\w*\n(.*?)```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    for name, at_the_end, content in blocks:
        path = tmp_path / name.replace("src/kurve/", "kurve/").replace("conf/", "kurve/conf/")
        assert path.exists() == bool(at_the_end) or not name.startswith(("src/", "conf/")), name
        with path.open("a" if at_the_end else "w", encoding="utf-8") as file:
            file.write(content)
    [command] = re.findall(r"^kurve (evaluate .*sampler=echo.*)$", page, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "kurve.cli", *command.split()],
        cwd=tmp_path,
        env={**command_environment(), "PYTHONPATH": str(tmp_path), "KURVE_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [report] = tmp_path.glob("outputs/runs/*/*/report/report.json")
    assert json.loads(report.read_text(encoding="utf-8"))["scalars"]["never_solved"] == pytest.approx(1.0)


def test_the_changelog_names_the_version() -> None:
    from kurve import __version__

    assert f"## {__version__}" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
