"""What `runs=` of a figure names: evaluations with their counts, and what is known of each."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.progress import track

from kurve.arrangement import BASE, Evaluated
from kurve.commands.references import Found, find, listed
from kurve.errors import ConfigError, TrackingError
from kurve.export import REPORT, read_about
from kurve.figures.panels import Style
from kurve.tracking import Tracker

STUDY = "study:"
_STEP = re.compile(r"(?P<series>.*?)(?:@|[-_ ](?:checkpoint|global_step|step)[-_ ]?)(?P<step>\d{1,12})", re.IGNORECASE)
_EXPECTED = {
    "names": "names of the models",
    "benchmarks": "names of benchmarks",
    "temperatures": "temperatures from 0 on",
    "steps": "whole steps from 0 on, 0 for the base",
}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a figure is asked to be."""

    cfg: DictConfig
    tracker: Tracker
    style: Style
    needs: str  # of the figure, for messages
    group_by: str | None = None
    drop_unpaired: bool = False

    def tracked(self, values: Sequence[_T], doing: str) -> Iterable[_T]:
        """The values, with a bar on a terminal when there are several."""
        if len(values) < 4:
            return values
        console = Console(stderr=True)
        return track(values, description=doing, console=console, transient=True, disable=not console.is_terminal)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where numbers of a figure come from, for its record."""

    name: str
    place: str  # file, folder or run
    run_id: str = ""
    role: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """An evaluation of a figure, and where it is."""

    evaluated: Evaluated
    place: str  # file, folder or run
    run_id: str = ""

    @property
    def origin(self) -> Origin:
        """The evaluation as the figure's record names it."""
        one = self.evaluated
        details = {
            "benchmark": one.benchmark,
            "temperature": one.temperature,
            "step": one.step,
            "problems": len(one.tally.problem_ids),
            "samples": int(one.tally.reach.min()),
        }
        return Origin(one.name, self.place, self.run_id, one.role, details)


def load_sources(asked: Asked) -> list[Source]:
    """Every evaluation that `base` and `runs` name, in order, with names, benchmarks, temperatures and steps as given.

    Where no base is named and runs tell the evaluation that they are compared with, that one is loaded too.

    Raises:
        ConfigError: a reference names nothing, or a list has the wrong length.
        DataError: what it names is damaged.
        TrackingError: the tracker cannot be reached.
    """
    cfg, tracker = asked.cfg, asked.tracker
    runs = named_runs(cfg, tracker)
    found = [find(cfg, "runs", one, tracker) for one in asked.tracked(runs, "reading")]
    given = listed(cfg.base) if cfg.base is not None else []
    known = {*runs, *(one.counted.name for one in found), *(map(str, cfg.names or ()))}
    if given:
        more = {one: find(cfg, "base", one, tracker) for one in dict.fromkeys(given) if one not in known}
    else:
        more = {one: find(cfg, "the run's kurve.base_run_id", one, tracker) for one in _untold_bases(found)}
    references = [*more, *runs]
    sources = _as_given(cfg, [_source(one, tracker) for one in (*more.values(), *found)])
    bases = {*given, *more}
    return [
        replace(one, evaluated=replace(one.evaluated, role=BASE))
        if reference in bases or one.evaluated.name in bases
        else one
        for one, reference in zip(sources, references, strict=True)
    ]


def named_runs(cfg: DictConfig, tracker: Tracker) -> list[str]:
    """The references of `runs`, studies as their evaluations.

    Raises:
        ConfigError: none is given, or a study without evaluations.
    """
    if cfg.runs is None:
        raise ConfigError(
            "kurve figure needs runs=<ref>[,<ref>...]: run ids, report folders, sample stores, counts files, "
            f"models:/<name>@<alias>, or {STUDY}<kurve.study of the runs>"
        )
    runs: list[str] = []
    for one in listed(cfg.runs):
        runs += _study(one.removeprefix(STUDY), tracker) if one.startswith(STUDY) else [one]
    return runs


def _study(name: str, tracker: Tracker) -> list[str]:
    """The evaluations of a study; of those of one store the newest, which holds all samples."""
    if not name:
        raise ConfigError(f"{STUDY} needs the study's name, the tag kurve.study of its runs, as {STUDY}fig2_math")
    try:
        runs = tracker.find_evaluations({"kurve.study": name})
    except TrackingError as error:
        raise ConfigError(f"runs={STUDY}{name}: {error}") from error
    newest = {tracker.tags(run).get("kurve.fingerprint", run): run for run in runs}
    kept = [run for run in runs if run in newest.values()]
    if not kept:
        raise ConfigError(
            f"runs={STUDY}{name}: no finished evaluation at {tracker.destination} has the tag kurve.study={name}"
        )
    return kept


def _untold_bases(found: Sequence[Found]) -> list[str]:
    """Runs that others name as their base, where no base of their benchmark is among them."""
    have = {one.run_id for one in found}
    with_base = {one.benchmark for one in found if one.tags.get("kurve.role") == BASE}
    wanted = [one.tags.get("kurve.base_run_id", "") for one in found if one.benchmark not in with_base]
    return [run_id for run_id in dict.fromkeys(wanted) if run_id and run_id not in have]


def _source(found: Found, tracker: Tracker) -> Source:
    name = found.counted.name
    at = _STEP.fullmatch(name)
    temperature = found.temperature
    if temperature is None and found.run_id:
        temperature = _temperature(found.run_id, tracker)
    evaluated = Evaluated(
        name=name,
        tally=found.counted.tally,
        benchmark=found.benchmark,
        role=found.tags.get("kurve.role", ""),
        run_id=found.run_id,
        base_run_id=found.tags.get("kurve.base_run_id", ""),
        temperature=temperature,
        step=int(at["step"]) if at else None,
        series=at["series"] if at else name,
    )
    return Source(evaluated, found.source, found.run_id)


def _temperature(run_id: str, tracker: Tracker) -> float | None:
    """What the run's report says; runs of other tools keep none."""
    with TemporaryDirectory(prefix="kurve-") as folder:
        try:
            return read_about(tracker.fetch(run_id, REPORT, Path(folder))).temperature
        except TrackingError:
            return None


def _as_given(cfg: DictConfig, sources: Sequence[Source]) -> list[Source]:
    """The sources with what the caller says of them, one value each."""
    names = _list(cfg, "names", sources, _text)
    benchmarks = _list(cfg, "benchmarks", sources, _text)
    temperatures = _list(cfg, "temperatures", sources, _number)
    steps = _list(cfg, "steps", sources, _step)
    changed = []
    for place, one in enumerate(sources):
        evaluated = one.evaluated
        if names is not None:
            at = _STEP.fullmatch(names[place])
            series = at["series"] if at else evaluated.series if evaluated.step is not None else names[place]
            evaluated = replace(evaluated, name=names[place], series=series)
            evaluated = replace(evaluated, step=int(at["step"])) if at else evaluated
        if benchmarks is not None:
            evaluated = replace(evaluated, benchmark=benchmarks[place])
        if temperatures is not None:
            evaluated = replace(evaluated, temperature=temperatures[place])
        if steps is not None:
            evaluated = replace(evaluated, step=steps[place])
        changed.append(replace(one, evaluated=evaluated))
    return changed


def _list(cfg: DictConfig, key: str, sources: Sequence[Source], read: Callable[[object], _T | None]) -> list[_T] | None:
    """A setting with one value for each source; `read` gives None for what does not fit."""
    if cfg[key] is None:
        return None
    values = list(cfg[key]) if isinstance(cfg[key], ListConfig) else [cfg[key]]
    if len(values) != len(sources):
        shown = ", ".join(one.evaluated.name for one in sources)
        raise ConfigError(f"{key} has {len(values)} values; expected one for each of the {len(sources)} runs ({shown})")
    found = []
    for value in values:
        if (fitting := read(value)) is None:
            raise ConfigError(f"{key} has {value!r}; expected {_EXPECTED[key]}")
        found.append(fitting)
    return found


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int | float) and str(value).strip() else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


def _step(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
