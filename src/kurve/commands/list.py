"""`kurve list`: what can be chosen, and what is stored."""

import difflib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kurve.commands.own_configs import own_folders
from kurve.errors import ConfigError
from kurve.store import list_stores
from kurve.types import SamplingSpec

STORED = "samples"
FIGURES = "figure"
PIPED_WIDTH = 1000  # columns: rows stay whole for grep and cut

_CONFIG_DIR = ("--config-dir", "-cd")
_NOT_LISTED = ("accelerate", "hydra", "local")


def main(arguments: Sequence[str]) -> int:
    """Print the options of a config group, or the sample stores; exit code 0.

    Raises:
        ConfigError: there is no such group, or a folder of configs is none.
    """
    folders, arguments = _config_dirs(arguments)
    groups = _groups([*folders, *own_folders()])
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPED_WIDTH)
    if not arguments or arguments[0] in ("-h", "--help"):
        console.print(Text(f"usage: kurve list <{'|'.join([*groups, FIGURES, STORED])}> [folder of the samples]"))
        return 0
    name, *rest = arguments
    if name == STORED:
        console.print(_stores(Path(rest[0]) if rest else _default_root()))
    elif name == FIGURES:
        console.print(_figures())
    elif name in groups:
        console.print(_options(groups[name], name))
    else:
        known = [*groups, FIGURES, STORED]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose one of: {', '.join(known)}"
        raise ConfigError(f"there is no group '{name}' to list; {hint}")
    return 0


def groups_of(arguments: Sequence[str]) -> list[str]:
    """Names of all that can be listed, with the folders of configs that the arguments name.

    Raises:
        ConfigError: a folder of configs is none.
    """
    folders, _ = _config_dirs(arguments)
    return [*_groups([*folders, *own_folders()]), FIGURES, STORED]


def _default_root() -> Path:
    import os

    return Path(os.environ.get("KURVE_OUT", "outputs")).expanduser() / "samples"


def _config_dirs(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The folders of `--config-dir`, as Hydra takes it, and the other words.

    Raises:
        ConfigError: no folder follows, or there is none of that name.
    """
    folders: list[Path] = []
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, sign, value = word.partition("=")
        if flag not in _CONFIG_DIR:
            others.append(word)
            continue
        given = value if sign else next(words, "")
        if not given or not Path(given).is_dir():
            raise ConfigError(f"{flag} takes a folder of configs, got '{given}': kurve list benchmark {flag} my_conf")
        folders.append(Path(given))
    return folders, others


def _groups(own: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Options of each group, with what their first comments say; kurve's own win, as when they are composed."""
    groups: dict[str, dict[str, str]] = {}
    roots: list[Traversable] = [*own, files("kurve.conf")]
    for root in roots:
        for entry in root.iterdir():
            if entry.is_dir() and entry.name not in _NOT_LISTED and not entry.name.startswith(("_", ".")):
                found = {
                    file.name.removesuffix(".yaml"): _header(file.read_text(encoding="utf-8"))
                    for file in entry.iterdir()
                    if file.name.endswith(".yaml")
                }
                if found:
                    groups.setdefault(entry.name, {}).update(found)
    return {name: groups[name] for name in sorted(groups)}


def _options(group: Mapping[str, str], name: str) -> Table:
    table = Table(title=f"{name}=...", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column(name, style="bold", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for option in sorted(group):
        table.add_row(Text(option), Text(group[option]))
    return table


def _figures() -> Table:
    from kurve.commands.figure_kinds import KINDS

    table = Table(title="kurve figure ... runs=<ref>,<ref>", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("figure", style="bold", no_wrap=True)
    table.add_column("in the paper", overflow="fold")
    table.add_column("what it shows", overflow="fold")
    table.add_column("needs", overflow="fold")
    for kind in KINDS:
        table.add_row(Text(kind.name), Text(", ".join(kind.aliases)), Text(kind.shows), Text(kind.needs))
    return table


def _header(text: str) -> str:
    """The comment lines a YAML file starts with, as one sentence."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.lstrip("# ").rstrip())
    return " ".join(lines)


def _stores(root: Path) -> Table:
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder of sample stores; give the folder: kurve list samples <folder>")
    table = Table(title=f"samples in {root}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("fingerprint", "model", "benchmark", "prompt", "T", "problems", "n", "verdicts", "size", "state"):
        table.add_column(column, overflow="fold", no_wrap=column == "fingerprint")
    for store in list_stores(root):
        if store.error or store.spec is None:
            table.add_row(Text(store.fingerprint), *[""] * 8, Text(store.error or "no spec.json", style="red"))
            continue
        spec = store.spec
        per_problem = str(store.min_samples)
        if store.max_samples != store.min_samples:
            per_problem += f"..{store.max_samples}"
        verdicts = ", ".join(f"{one.verifier}: {one.verdicts}" for one in store.verdicts)
        row = (
            store.fingerprint, spec.model, spec.benchmark, spec.prompt, _temperature(spec),
            str(store.problems), per_problem, verdicts, _size(store.bytes), store.held_by,
        )  # fmt: skip
        table.add_row(*map(Text, row))
    return table


def _temperature(spec: SamplingSpec) -> str:
    return "unknown" if spec.temperature is None else f"{spec.temperature:g}"


def _size(num_bytes: int) -> str:
    size = float(num_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
