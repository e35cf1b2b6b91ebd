"""Command lines as documents and configs write them: composed point by point, never run."""

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from kurve.cli import _named
from kurve.commands.build import opened
from kurve.commands.resolvers import register_resolvers


class Point(NamedTuple):
    """One job of a command line."""

    cfg: DictConfig
    choices: Mapping[str, str]  # of each config group
    hydra: DictConfig  # the config with Hydra's own part


@cache
def points(line: str, *, each_value: bool = False) -> list[Point]:
    """The jobs that `kurve <command> ...` starts: one, or every point of its sweep.

    With `each_value` only so many of a sweep that every value is among them.

    What is swept on the command line replaces what the config sweeps under the same key, as with Hydra's own sweeper.
    Placeholders such as <fingerprint> stand for some word.
    """
    _, command, *words = shlex.split(re.sub(r"<[^<>]*>", "x", line))
    register_resolvers()
    with initialize_config_module("kurve.conf", version_base="1.3"):
        given = _values([opened(word) for word in _named(command, words) if not word.startswith("-")])
        first = compose(command, overrides=[values[0] for values in given.values()], return_hydra_config=True)
        if first.hydra.mode != RunMode.MULTIRUN and "-m" not in words:
            assert all(len(values) == 1 for values in given.values()), f"-m is missing: {line}"
            return [_point(first)]
        swept = _values([f"{key}={value}" for key, value in (first.hydra.sweeper.params or {}).items()])
        axes = (swept | given).values()
        longest = range(max(map(len, axes), default=1))
        some = ([axis[at % len(axis)] for axis in axes] for at in longest)
        jobs = some if each_value else itertools.product(*axes)
        return [_point(compose(command, overrides=list(one), return_hydra_config=True)) for one in jobs]


def composed(command: str, *overrides: str) -> DictConfig:
    """The config of one command."""
    register_resolvers()
    with initialize_config_module("kurve.conf", version_base="1.3"):
        return compose(command, overrides=list(overrides))


def _values(words: list[str]) -> dict[str, list[str]]:
    """By key, each override that a job may get for it."""
    return {one.get_key_element(): _alternatives(one) for one in OverridesParser.create().parse_overrides(words)}


def _alternatives(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if isinstance(value := override.value(), IntervalSweep):  # of a search: its ends
        return [f"{override.get_key_element()}={end}" for end in (value.start, value.end)]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _point(cfg: DictConfig) -> Point:
    choices = OmegaConf.to_container(cfg.hydra.runtime.choices)
    assert isinstance(choices, dict)
    whole = cfg.copy()
    with open_dict(cfg):
        del cfg["hydra"]  # what it says of the job is known only when one runs
    return Point(cfg, {str(group): str(choice) for group, choice in choices.items()}, whole)


@contextmanager
def as_running(point: Point) -> Iterator[None]:
    """While the block lasts, Hydra says of this point what it says of a running job."""
    current = HydraConfig.instance()
    before, current.cfg = current.cfg, None
    try:
        current.set_config(point.hydra)
        yield
    finally:
        current.cfg = before
