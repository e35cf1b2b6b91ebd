"""`kurve figure <name>`: a figure of the study from stored runs, with the numbers in it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from kurve import __version__
from kurve.arrangement import BY_BENCHMARK, BY_PAIR
from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.compared import comparison_settings
from kurve.commands.figure_kinds import Kind, Made, kind_of
from kurve.commands.figure_sources import Asked
from kurve.commands.publishing import publish_files
from kurve.commands.sampling_plan import whole
from kurve.errors import ConfigError, DataError
from kurve.figures.drawn import csv_bytes
from kurve.figures.files import save, write_whole
from kurve.figures.panels import Style
from kurve.tracking import RunInfo, Tracker

FOLDER = "figure"
FORMATS = ("png", "svg", "pdf")
_NAMED = 12  # ids that are spelled out


def main(cfg: DictConfig) -> None:
    """Draw the figure, write it with its numbers, track it.

    Raises:
        KurveError: there is no such figure, a reference names nothing or lacks what the figure needs, problems do not
            pair, or a place cannot be written.
    """
    kind = kind_of(cfg.figure)
    style = _style(cfg)
    group_by, drop = (
        _choice(cfg, "group_by", (BY_BENCHMARK, BY_PAIR, None)),
        _choice(cfg, "unpaired", ("refuse", "drop")),
    )
    output = _output(cfg)
    tracker: Tracker = build(cfg.tracker, "tracker")
    if cfg.runs is not None:
        tracker.check()
    made = kind.make(Asked(cfg, tracker, style, kind.needs, group_by=group_by, drop_unpaired=drop == "drop"))
    folder = Path(HydraConfig.get().runtime.output_dir) / FOLDER
    files = _write(kind, made, style, folder, output=output)
    new = publish_files(tracker, _run_info(cfg, kind, made, style), files, FOLDER)
    _show(kind, made, files, output, tracker=tracker, new=new)


def _style(cfg: DictConfig) -> Style:
    settings = comparison_settings(cfg)
    if cfg.title is not None and not isinstance(cfg.title, str):
        raise ConfigError(f"title is {cfg.title!r}; expected a text")
    if not isinstance(cfg.differences, bool):
        raise ConfigError(f"differences is {cfg.differences!r}; expected true or false")
    return Style(
        title=cfg.title or "",
        confidence=settings.confidence,
        draws=settings.draws,
        seed=settings.seed,
        differences=cfg.differences,
        k=whole(cfg.k, "k", least=1),
    )


def _choice(cfg: DictConfig, key: str, values: Sequence[str | None]) -> str | None:
    if cfg[key] not in values:
        raise ConfigError(f"{key} is {cfg[key]!r}; expected {' or '.join(one or 'null' for one in values)}")
    value: str | None = cfg[key]
    return value


def _output(cfg: DictConfig) -> Path | None:
    """A folder for all files, or one file of a format."""
    if cfg.output is None:
        return None
    if not isinstance(cfg.output, str) or not cfg.output:
        raise ConfigError(f"output is {cfg.output!r}; expected a folder, or a file as output=figure.pdf")
    output = Path(cfg.output).expanduser()
    suffix = output.suffix.lower().removeprefix(".")
    if suffix in FORMATS and not output.is_dir():
        if not output.parent.is_dir():
            raise ConfigError(f"output={output} cannot be written: there is no folder {output.parent}")
    elif (output.exists() and not output.is_dir()) or (not output.exists() and suffix):
        raise ConfigError(f"output={output} is neither a folder nor a file of {', '.join(FORMATS)}")
    return output


def _write(kind: Kind, made: Made, style: Style, folder: Path, *, output: Path | None) -> list[Path]:
    """The figure in all formats, its numbers as CSV, and what it was made of as JSON, also into `output`."""
    tables = {f"{kind.name}.csv": made.drawn.data} | {f"{kind.name}-{one.name}.csv": one for one in made.drawn.more}
    contents = {name: csv_bytes(table) for name, table in tables.items()}
    contents[f"{kind.name}.json"] = json.dumps(_about(kind, made, style), indent=1).encode()
    try:
        files = save(made.drawn.figure, folder, kind.name, kinds=FORMATS)
        for name, data in contents.items():
            write_whole(folder / name, data)
            files.append(folder / name)
        if output is not None and output.suffix.lower().removeprefix(".") in FORMATS and not output.is_dir():
            write_whole(output, (folder / f"{kind.name}{output.suffix.lower()}").read_bytes())
        elif output is not None:
            output.mkdir(parents=True, exist_ok=True)
            for file in files:
                write_whole(output / file.name, file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot write the figure: {error}; make room or name another place") from error
    return files


def _about(kind: Kind, made: Made, style: Style) -> Mapping[str, object]:
    """What the figure was made of: enough to draw it again."""
    sources = [
        {
            "name": one.name,
            "role": one.role,
            "source": one.place,
            "run_id": one.run_id,
            **one.details,
        }
        for one in made.sources
    ]
    return {
        "figure": kind.name,
        "shows": kind.shows,
        "settings": asdict(style),
        "panels": list(made.panels),
        "left_out": list(made.left_out),
        "sources": sources,
        "kurve": __version__,
    }


def _run_info(cfg: DictConfig, kind: Kind, made: Made, style: Style) -> RunInfo:
    config = provenance.recorded(cfg)
    runs = list(dict.fromkeys(one.run_id for one in made.sources if one.run_id))
    bases = [one.run_id for one in made.sources if one.run_id and one.role == "base"]
    tags = {"kurve.kind": "figure", "kurve.figure": kind.name}
    if runs:
        tags["kurve.source_run_ids"] = ", ".join(runs)
    if len(bases) == 1:
        tags["kurve.base_run_id"] = bases[0]
    if commit := provenance.git_commit():
        tags["kurve.git_commit"] = commit
    about = _about(kind, made, style)
    data = [csv_bytes(table).decode() for table in (made.drawn.data, *made.drawn.more)]
    models = list(dict.fromkeys(one.name for one in made.sources))
    return RunInfo(
        key=provenance.digest("figure", about, data),
        name=f"figure {kind.name}: {', '.join(models)}"[:200],
        params=provenance.flat_params(config),
        tags=tags,
        config_yaml=provenance.as_yaml(config),
        versions=provenance.versions(),
    )


def _show(kind: Kind, made: Made, files: Sequence[Path], output: Path | None, *, tracker: Tracker, new: bool) -> None:
    console = Console(highlight=False)
    console.print(Text(f"\n{kind.name}: {kind.shows}", style="bold"), soft_wrap=True)
    for panel in made.panels:
        console.print(Text(f"  {panel}"), soft_wrap=True)
    if made.left_out:
        rest = len(made.left_out) - _NAMED
        named = ", ".join(made.left_out[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
        console.print(Text(f"left out, not in every model of a panel: {named}", style="yellow"), soft_wrap=True)
    console.print(Text(f"figure   {files[0]}, also {', '.join(f'.{one}' for one in FORMATS[1:])}"), soft_wrap=True)
    numbers = [file for file in files if file.suffix == ".csv"]
    console.print(Text(f"numbers  {', '.join(map(str, numbers))}"), soft_wrap=True)
    if output is not None:
        console.print(Text(f"copy     {output}"), soft_wrap=True)
    if tracker.url:
        console.print(Text(f"run      {tracker.url}" + ("" if new else "  (logged before)")), soft_wrap=True)
    if tracker.hint:
        console.print(Text(tracker.hint), soft_wrap=True)
