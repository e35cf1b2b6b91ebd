"""What TAB proposes, asked of the functions and of a real bash."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kurve.cli import _EXAMPLES, COMMANDS
from kurve.commands.completion import proposals
from tests.conftest import RunKurve, command_environment


def proposed(line: str) -> list[str]:
    return proposals(line, COMMANDS, lambda command: _EXAMPLES.get(command, {}))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kurve ev", ["evaluate "]),
        ("kurve s", ["study ", "sample ", "score ", "sync ", "sweep "]),
        ("kurve evaluate benchm", ["benchmark.", "benchmark="]),
        ("kurve evaluate model=qwen2_5_7b benchmark=ma", ["benchmark=math500 "]),
        ("kurve evaluate -m benchmark=math500,ai", ["benchmark=math500,aime24 "]),
        ("kurve evaluate -m seed=0,1 benchmark=math500 sampling.temp", ["sampling.temperature="]),
        ("kurve train training.learning_r", ["training.learning_rate="]),
        ("kurve sweep st", ["status "]),
        ("kurve sweep re", ["reconcile ", "report ", "report="]),
        ("kurve list be", ["benchmark "]),
        ("kurve nothing ", []),
        ("kurve evaluate benchmark=none_such sampl", ["sampler=", "sampling="]),
        ("kurve evaluate 'quoted", []),
        ("kurve evaluate --no-such-flag seed=1 'x=[ ", []),
    ],
)
def test_words_are_completed_by_what_they_may_become(line: str, words: list[str]) -> None:
    assert proposed(line) == words


def test_an_option_of_one_s_own_is_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own" / "benchmark").mkdir(parents=True)
    (tmp_path / "own" / "benchmark" / "xylophone.yaml").write_text("_target_: own.load\n")
    assert proposed(f"kurve evaluate --config-dir {tmp_path / 'own'} benchmark=xy") == ["benchmark=xylophone "]
    assert proposed("kurve evaluate benchmark=xy") == []
    monkeypatch.setenv("KURVE_CONF", str(tmp_path / "own"))
    assert proposed("kurve evaluate benchmark=xy") == ["benchmark=xylophone "]


def test_other_shells_and_actions_are_refused_with_what_to_type(kurve_here: RunKurve) -> None:
    for words in (("install=tcsh",), (), ("uninstall=bash",), ("install=bash", "x")):
        refused = kurve_here("-sc", *words) if words else kurve_here("--shell-completion")
        assert refused.returncode == 2
        assert 'eval "$(kurve -sc install=bash)"' in refused.stderr


def in_bash(line: str, folder: Path) -> list[str]:
    """What a bash that has installed our completion puts in place of the word that readline sees."""
    (folder / "kurve").write_text(f'#!/usr/bin/env bash\nexec {sys.executable} -m kurve.cli "$@"\n')
    (folder / "kurve").chmod(0o755)
    script = (
        'eval "$(kurve -sc install=bash)"; complete -p kurve >&2; '
        'COMP_LINE=$LINE COMP_POINT=${#LINE}; _kurve_complete; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = command_environment() | {"PATH": f"{folder}:{os.environ['PATH']}", "LINE": line}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    assert re.search(r"complete .*-F _kurve_complete kurve", done.stderr), done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kurve ev", ["evaluate "]),
        ("kurve evaluate benchm", ["benchmark.", "benchmark="]),
        ("kurve evaluate benchmark=ma", ["math500 "]),  # readline keeps what is before the `=`
        ("kurve nothing ", [""]),
    ],
)
def test_a_real_bash_completes_commands_groups_and_options(line: str, words: list[str], tmp_path: Path) -> None:
    assert in_bash(line, tmp_path) == words
