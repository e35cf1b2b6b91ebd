"""What a shell proposes after `kurve`: commands, then the groups, options and settings of one."""

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from kurve.commands.build import opened
from kurve.errors import ConfigError

_NEEDS_NO_CONFIG = ("list",)

# Readline replaces what follows the last `=` or `:` alone. Hydra takes `=` out of COMP_WORDBREAKS, for all programs.
_BASH = r"""
_kurve_complete() {
  local line=${COMP_LINE:0:COMP_POINT} IFS=$'\n' word start
  word=${line##*[[:space:]]}
  start=${word%"${word##*[=:]}"}
  COMPREPLY=($(COMP_LINE=$line kurve -sc query=bash 2>/dev/null))
  COMPREPLY=("${COMPREPLY[@]#"$start"}")
}
complete -o nospace -o default -F _kurve_complete kurve
"""
_SCRIPTS = {"bash": _BASH}


def main(arguments: Sequence[str], commands: Mapping[str, str], choices: Callable[[str], Mapping[str, str]]) -> str:
    """What `kurve -sc install=<shell>` or `query=<shell>` prints.

    Args:
        arguments: after `-sc`.
        commands: all commands, each with a line about it.
        choices: of a command, the groups without whose choice its config cannot be composed, with one of their options.

    Raises:
        ConfigError: another action or shell.
    """
    action, _, shell = (arguments[0] if len(arguments) == 1 else "").partition("=")
    if action == "install" and shell in _SCRIPTS:
        return _SCRIPTS[shell]
    if action == "query" and shell in _SCRIPTS:
        return "\n".join(proposals(os.environ.get("COMP_LINE", ""), commands, choices))
    raise ConfigError('kurve completes in bash: eval "$(kurve -sc install=bash)"')


def proposals(line: str, commands: Mapping[str, str], choices: Callable[[str], Mapping[str, str]]) -> list[str]:
    """Whole words that the last one of the line may become; those that are complete end with a space.

    Nothing is proposed for a line that cannot be understood: an error would be printed into the line being typed.
    """
    words = line.split()[1:]
    word = words.pop() if words and not line[-1].isspace() else ""
    if not words:
        return [f"{name} " for name in commands if name.startswith(word)]
    command, *given = words
    if command not in commands:
        return []
    from kurve.commands.list import groups_of

    if command in _NEEDS_NO_CONFIG:
        return [f"{name} " for name in groups_of(given) if name.startswith(word)]
    named = [f"{name} " for name in _actions(command) if not given and name.startswith(word)]
    return named + _of_hydra(command, given, word, choices(command))


def _actions(command: str) -> tuple[str, ...]:
    """Words without `=` that a command begins with."""
    if command != "sweep":
        return ()
    from kurve.commands.sweep import ACTIONS

    return ACTIONS


def _of_hydra(command: str, given: Sequence[str], word: str, choices: Mapping[str, str]) -> list[str]:
    """What Hydra proposes; of a list of values (`a,b`) the last one is completed."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.errors import HydraException
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin
    from omegaconf.errors import OmegaConfBaseException

    from kurve.commands.resolvers import register_resolvers

    register_resolvers()
    search_path = create_config_search_path("pkg://kurve.conf")
    for folder in _folders(given):
        search_path.append("command-line", folder.absolute().as_uri())
    key, sign, values = word.partition("=")
    before, comma, _ = values.rpartition(",")
    asked = key + sign + values[len(before) + len(comma) :]
    # A list of values is a sweep, of which Hydra composes nothing; words without `=` are ours.
    known = [opened(one) if command == "train" else one for one in given if "=" in one and "," not in one]
    named = {one.partition("=")[0] for one in known}
    known = [*(f"{group}={option}" for group, option in choices.items() if group not in named), *known]
    try:
        plugin = DefaultCompletionPlugin(ConfigLoaderImpl(search_path))
        found = plugin._query(config_name=command, line=" ".join([*known, asked]) if asked else f"{' '.join(known)} ")
    except (HydraException, OmegaConfBaseException, SystemExit, ValueError):
        return []
    return [_ended(key + sign + before + comma + one[len(key + sign) :]) for one in found if one.startswith(asked)]


def _folders(given: Sequence[str]) -> list[Path]:
    pairs = pairwise([*given, ""])
    named = [Path(after) for flag, after in pairs if flag in ("--config-dir", "-cd")]
    return [folder for folder in named if folder.is_dir()]


def _ended(proposal: str) -> str:
    return proposal if proposal.endswith(("=", ".", "/")) else f"{proposal} "
