"""What the documents say is true: links lead somewhere, commands exist, examples run."""

import json
import re
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from kurve.cli import COMMANDS
from kurve.commands.build import build, plain
from kurve.commands.sampling_plan import decoding_of
from kurve.types import Model
from tests.composing import points
from tests.conftest import command_environment
from tests.samplers.tiny import make_tiny_model

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]


def commands_in(page: Path) -> list[str]:
    """The command lines of kurve in a page's blocks of code, also those that accelerate launches, each on one line."""
    blocks = re.findall(r"```.*?\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.strip() for block in blocks for line in re.sub(r"\s*\\\n\s*", " ", block).splitlines()]
    launched = [re.sub(r"^(\w+=\S+ )*accelerate launch .*-m kurve\.cli ", "kurve ", line) for line in lines]
    return [re.sub(r"\s+#.*", "", line) for line in launched if line.startswith("kurve ")]


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
def test_commands_in_blocks_of_code_compose_with_their_options_and_keys(page: Path) -> None:
    for line in commands_in(page):
        if line.startswith("kurve list") or "--config-dir" in line:  # no config, or the reader's own
            continue
        for cfg, *_ in points(line, each_value=True):
            if line.startswith("kurve train"):
                given = {"teacher": Model("teacher", "org/teacher")} if "teacher" in cfg else {}
                build(cfg.algorithm, "algorithm", **given).check(plain(cfg.training), processes=8)
            elif line.split()[1] in ("evaluate", "sample", "plan"):
                decoding_of(cfg)
                build(cfg.prompt, "prompt")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of kurve with the recipes of adding.md: a block that names a file is written there or appended to it."""
    folder = tmp_path_factory.mktemp("adding")
    copytree(REPOSITORY / "src" / "kurve", folder / "kurve", ignore=ignore_patterns("__pycache__"))
    copytree(REPOSITORY / "conf", folder / "kurve" / "conf", ignore=ignore_patterns("__pycache__"))
    page = (REPOSITORY / "docs" / "adding.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^`([^`\n]+)`(, at the end)?:\n\n```\w*\n(.*?)```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 7
    for name, at_the_end, content in blocks:
        path = folder / name.replace("src/kurve/", "kurve/").replace("conf/", "kurve/conf/")
        assert path.exists() == bool(at_the_end) or not name.startswith(("src/", "conf/")), name
        with path.open("a" if at_the_end else "w", encoding="utf-8") as file:
            file.write(content)
    return folder


def run_recipe(scratch: Path, beginning: str) -> None:
    """Run the command of adding.md that begins like this, in the scratch copy."""
    [command] = [line for line in commands_in(REPOSITORY / "docs" / "adding.md") if line.startswith(beginning)]
    done = subprocess.run(
        [sys.executable, "-m", "kurve.cli", *command.split()[1:]],
        cwd=scratch,
        env={**command_environment(), "PYTHONPATH": str(scratch), "KURVE_CACHE": str(scratch / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_recipes_of_benchmark_metric_and_sampler_work_on_a_scratch_copy(scratch: Path) -> None:
    run_recipe(scratch, "kurve evaluate")
    [report] = scratch.glob("outputs/runs/*/*/report/report.json")
    assert json.loads(report.read_text(encoding="utf-8"))["scalars"]["never_solved"] == pytest.approx(1.0)


@pytest.mark.slow
def test_the_recipe_of_an_algorithm_trains_on_a_scratch_copy(scratch: Path) -> None:
    make_tiny_model(scratch / "small-model")
    run_recipe(scratch, "kurve train")
    [record] = scratch.glob("outputs/models/median-*/training.json")
    made = json.loads(record.read_text(encoding="utf-8"))
    assert (made["algorithm"], made["status"], made["final_step"]) == ("median", "FINISHED", 1)
    assert "median_baseline" in made["recipe"]["algorithm"]["advantage"]["_target_"]


def test_the_changelog_names_the_version() -> None:
    from kurve import __version__

    assert f"## {__version__}" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
