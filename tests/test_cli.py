"""Words of a command line before Hydra sees them."""

import pytest

from kurve.cli import _named
from kurve.errors import ConfigError


@pytest.mark.parametrize(
    ("command", "word", "read"),
    [
        ("report", "samples=13e456789012", "samples='13e456789012'"),
        ("report", "samples=012345678901", "samples='012345678901'"),
        ("evaluate", "sampling.match_entropy=485620381474", "sampling.match_entropy='485620381474'"),
        ("evaluate", "model.from_run=13e456789012,e161aa66117d", "model.from_run='13e456789012',e161aa66117d"),
        ("merge", "samples=[e161aa66117d,1b3d4eaa643b]", "samples=[e161aa66117d,1b3d4eaa643b]"),
        ("merge", "samples=[13e456789012,1b3d4eaa643b]", "samples=['13e456789012',1b3d4eaa643b]"),
        ("report", "samples=/data/123456/13e456789012", "samples=/data/123456/13e456789012"),
        ("score", "samples=485620381474,e161aa66117d", "samples='485620381474,e161aa66117d'"),
        ("evaluate", "seed=123456789", "seed=123456789"),
        ("evaluate", "num_samples=1024", "num_samples=1024"),
        ("evaluate", "--help", "--help"),
    ],
)
def test_fingerprints_stay_texts_also_where_they_look_like_numbers(command: str, word: str, read: str) -> None:
    assert _named(command, [word]) == [read]


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["status"], ["action='status'"]),
        (["reconcile", "zoo"], ["action='reconcile'", "sweep_name='zoo'"]),
        (["status", "2026", "paths.out=here"], ["action='status'", "sweep_name='2026'", "paths.out=here"]),
        (["--help"], ["--help"]),
    ],
)
def test_a_sweep_s_action_and_name_are_given_as_words(words: list[str], read: list[str]) -> None:
    assert _named("sweep", words) == read


def test_a_sweep_takes_no_third_word() -> None:
    with pytest.raises(ConfigError, match="an action and the name of a sweep, got status a b"):
        _named("sweep", ["status", "a", "b"])
