"""What `runs=` of the figure of perplexities names: what `kurve score` made, by run or folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from kurve.commands.figure_sources import Asked, Origin, named_runs
from kurve.errors import ConfigError, DataError, TrackingError
from kurve.figures.perplexity import Shown
from kurve.perplexity_files import NAME

_NUMBERS, _ROWS = f"{NAME}.json", f"{NAME}.parquet"


@dataclass(frozen=True, slots=True)
class Scored:
    """The distributions of all runs in the order they were named, each once."""

    shown: tuple[Shown, ...]
    unit: str  # of perplexity, the same for all
    title: str
    origins: tuple[Origin, ...]


def load_perplexities(asked: Asked) -> Scored:
    """The distributions that the named runs and folders hold.

    Raises:
        ConfigError: a reference holds no perplexities, `names` has the wrong length, or units differ.
        DataError: their files are damaged.
        TrackingError: the tracker cannot be reached.
    """
    shown: dict[str, Shown] = {}
    origins, units = [], {}
    for reference in named_runs(asked.cfg, asked.tracker):
        unit, found, origin = _load(asked, reference)
        shown |= {one.name: one for one in found if one.name not in shown}
        origins.append(origin)
        units[unit] = reference
    if len(units) > 1:
        differ = ", ".join(f"{unit} in {reference}" for unit, reference in units.items())
        raise ConfigError(f"perplexities of different units share no axis: {differ}; score all with the same unit=...")
    (unit,) = units
    return Scored(_named(asked, list(shown.values())), unit, f"Perplexity a {unit}", tuple(origins))


def _named(asked: Asked, shown: list[Shown]) -> tuple[Shown, ...]:
    names = asked.cfg.names
    if names is None:
        return tuple(shown)
    if len(names) != len(shown):
        have = ", ".join(one.name for one in shown)
        raise ConfigError(f"names has {len(names)} values; expected one for each of the distributions ({have})")
    return tuple(Shown(str(name), one.log_perplexities) for name, one in zip(names, shown, strict=True))


def _load(asked: Asked, reference: str) -> tuple[str, list[Shown], Origin]:
    path = Path(reference).expanduser()
    for folder in (path, path / NAME):
        if (folder / _ROWS).is_file():
            return *_read(folder), Origin(folder.parent.name, str(folder.absolute()))
    run_id = reference.rstrip("/").rpartition("/runs/")[2]
    with TemporaryDirectory(prefix="kurve-") as copies:
        try:
            for file in (_NUMBERS, _ROWS):
                copy = asked.tracker.fetch(run_id, f"{NAME}/{file}", Path(copies))
            tags = asked.tracker.tags(run_id)
        except TrackingError as error:
            raise ConfigError(f"runs={reference}: {error}. Expected {asked.needs}") from error
        return *_read(copy.parent), Origin(tags.get("kurve.model", run_id[:8]), f"run {run_id}", run_id)


def _read(folder: Path) -> tuple[str, list[Shown]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        unit = json.loads((folder / _NUMBERS).read_bytes())["unit"]
        table = pq.read_table(folder / _ROWS, columns=["distribution", "log_perplexity"])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(f"{folder} holds no perplexities: {error}; score again") from error
    names = np.asarray(table["distribution"].to_pylist(), dtype=object)
    values = table["log_perplexity"].to_numpy()
    return str(unit), [Shown(name, values[names == name]) for name in dict.fromkeys(names.tolist())]
