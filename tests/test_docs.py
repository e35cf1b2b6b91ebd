"""What the documents say is true: links lead somewhere, commands exist, examples run."""

import re
from pathlib import Path

import pytest

from kurve.cli import COMMANDS

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
    for command in re.findall(r"(?:^|`)kurve ([a-z]+)", text, re.MULTILINE):
        assert command in COMMANDS, command
    for name in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
        assert name in targets, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_in_commands_exist(page: Path) -> None:
    for line in re.findall(r"^\s*kurve (?:evaluate|sample) .*$", page.read_text(encoding="utf-8"), re.MULTILINE):
        for group, options in re.findall(r"\b(model|benchmark|prompt|sampler|verifier|tracker)=([\w,]+)", line):
            for option in options.split(","):
                assert (REPOSITORY / "conf" / group / f"{option}.yaml").is_file(), f"{group}={option}"


def test_the_changelog_names_the_version() -> None:
    from kurve import __version__

    assert f"## {__version__}" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
