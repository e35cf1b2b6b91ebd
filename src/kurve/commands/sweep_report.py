"""`kurve sweep report`: what the configurations of a sweep measure over seeds, with the two kinds of chance apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from kurve import sweep
from kurve.commands.references import find, listed
from kurve.commands.sweep_measured import COMMANDS, Evaluated, evaluated, given_settings, seed_words, settings_but
from kurve.commands.sweep_report_show import report_table, words
from kurve.commands.sweep_show import differing
from kurve.commands.sweep_summary import Extra, show_run, summary, track
from kurve.errors import ConfigError, DataError, KurveError
from kurve.seed_files import numbers_of, write_seed_reports
from kurve.seed_report import Configuration, SeedCounts, SeedReport, pool_tallies, seed_report
from kurve.sweep import JobStatus, Sweep
from kurve.tracking import TimedPoint, Tracker, now_ms
from kurve.types import Tally

FOLDER = "report"  # in the sweep's folder


@dataclass(frozen=True, slots=True)
class Group:
    """Evaluations that differ in nothing but the seed."""

    benchmark: str
    stage: str
    settings: Mapping[str, str]
    members: tuple[Evaluated, ...]

    @property
    def is_base(self) -> bool:
        """Whether somebody said that it is of the model before training."""
        return self.members[0].role == "base"


@dataclass(frozen=True, slots=True)
class Base:
    """Counts of a model before training, from outside of the sweep or pooled over a group of it."""

    name: str
    benchmark: str  # empty where nobody says
    tally: Tally


def report_sweep(cfg: DictConfig, one: Sweep, folder: Path, tracker: Tracker) -> None:
    """Measure, print, write, and log to the sweep's own run.

    Args:
        cfg: `over`, `base`, `confidence` and `paths`.
        one: the sweep.
        folder: of it.
        tracker: of its jobs.

    Raises:
        ConfigError: the jobs of the sweep measure nothing, or `base` fits no benchmark.
        DataError: jobs of one benchmark are of different problems.
        SweepError: the folder cannot be written.
        TrackingError: the tracker cannot be reached; the files are there.
    """
    seeds, confidence = _seeds(cfg), _confidence(cfg)
    _refuse_trainings(one, folder)
    found, missing = _evaluated(one, folder)
    groups = _groups(found, seeds, Path(cfg.paths.models))
    if not groups:
        raise ConfigError(f"no job of the sweep {one.name!r} has measured anything yet; kurve sweep status {one.name}")
    groups, bases = _bases(cfg, groups, tracker)
    reports = _reports(groups, bases, cfg, seeds=seeds, confidence=confidence)
    files = write_seed_reports(reports, folder / FOLDER, name=one.name, missing=missing)
    _show(one.name, reports, missing, files)
    now = now_ms()
    points = [TimedPoint(key, value, 0, now) for report in reports for key, value in numbers_of(report).items()]
    records = sweep.states(folder, one.jobs)
    track(tracker, summary(one.name, one.command, folder, one.jobs, records=records), Extra(files, FOLDER, points))
    show_run(tracker)


def _seeds(cfg: DictConfig) -> list[str]:
    given = listed(cfg.over)
    if not all(given):
        raise ConfigError(f"over is {cfg.over!r}; expected settings that are seeds, as over=seed or over=[seed,x.seed]")
    return given


def _confidence(cfg: DictConfig) -> float:
    given = cfg.confidence
    if not isinstance(given, float) or not 0 < given < 1:
        raise ConfigError(f"confidence is {given!r}; expected a fraction between 0 and 1, as 0.95")
    return given


def _refuse_trainings(one: Sweep, folder: Path) -> None:
    """A training measures nothing by itself: name the evaluations that would."""
    if one.command in COMMANDS:
        return
    made = [record.facts.get("fingerprint", "") for record in sweep.states(folder, one.jobs)]
    trained = ",".join(fingerprint for fingerprint in made if fingerprint)
    then = (
        f"evaluate its models, then report that: kurve evaluate -m sweep_name={one.name}-evaluated "
        f"model.from_run={trained or '<fingerprints>'} benchmark=<benchmark>, then kurve sweep report "
        f"{one.name}-evaluated base=<evaluation of the model before training>"
    )
    raise ConfigError(f"the sweep {one.name!r} is one of kurve {one.command}, which measures no model; {then}")


def _evaluated(one: Sweep, folder: Path) -> tuple[list[Evaluated], list[dict[str, str]]]:
    """What the jobs measured, and those that measured nothing, with the reason."""
    found: list[Evaluated] = []
    missing = []
    records = sweep.states(folder, one.jobs)
    named = differing([job.overrides for job in one.jobs])
    for job, record, settings in zip(one.jobs, records, named, strict=True):
        reason = record.message
        try:
            here = evaluated(one.command, folder, job, record)
        except KurveError as error:
            here, reason = [], str(error)
        found += here
        if not here:
            status = str(record.status) if record.status is not JobStatus.FINISHED else "GONE"
            missing.append({"job": job.key, "settings": " ".join(settings), "status": status, "message": reason})
    return found, missing


def _groups(found: Sequence[Evaluated], seeds: Sequence[str], models: Path) -> list[Group]:
    """The evaluations by all that tells them apart but the seed, in the order of their first job."""
    by_key: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Evaluated]] = {}
    for one in found:
        settings = settings_but(one.job, seeds, models)
        by_key.setdefault((one.benchmark, one.stage, tuple(sorted(settings.items()))), []).append(one)
    return [
        Group(benchmark, stage, dict(settings), tuple(members))
        for (benchmark, stage, settings), members in by_key.items()
    ]


def _bases(cfg: DictConfig, groups: list[Group], tracker: Tracker) -> tuple[list[Group], list[Base]]:
    """The groups, with those marked that are the base, and the bases: what `base` names, else what is tagged as one.

    Raises:
        ConfigError: `base` names nothing, or no benchmark of the sweep has its problems.
        DataError: counts that cannot be pooled.
    """
    if cfg.base is None:
        return groups, [_pooled(group) for group in groups if group.is_base and not group.stage]
    bases = []
    for reference in listed(cfg.base):
        within = [group for group in groups if _is_named(group, reference)]
        if within:
            bases += [_pooled(group) for group in within]
            groups = [_marked(group) if group in within else group for group in groups]
            continue
        outside = find(cfg, "base", reference, tracker)
        base = Base(outside.counted.name, outside.benchmark, outside.counted.tally)
        if not any(_fits(base, group) for group in groups):
            raise ConfigError(
                f"base={reference} ({base.benchmark or 'of an unknown benchmark'}, {len(base.tally.problem_ids)} "
                f"problems) has the problems of no benchmark of the sweep "
                f"({', '.join(dict.fromkeys(group.benchmark for group in groups))}); evaluate the base on those"
            )
        bases.append(base)
    return groups, bases


def _is_named(group: Group, reference: str) -> bool:
    """Whether a reference is the key of one of the group's jobs, or settings that all its jobs have."""
    if any(one.job.key == reference for one in group.members):
        return True
    asked = reference.split()
    return all("=" in word for word in asked) and all(
        given_settings(one.job).get(word.partition("=")[0]) == word.partition("=")[2]
        for word in asked
        for one in group.members
    )


def _marked(group: Group) -> Group:
    return replace(group, members=tuple(replace(one, role="base") for one in group.members))


def _pooled(group: Group) -> Base:
    if len({one.weights for one in group.members}) > 1:
        names = ", ".join(f"{one.job.key} ({one.model})" for one in group.members)
        raise DataError(f"the base would be several models, {names}; name one of them: base=<key of a job>")
    tally = pool_tallies([one.tally for one in group.members], [one.job.key for one in group.members])
    return Base(group.members[0].model, group.benchmark, tally)


def _fits(base: Base, group: Group) -> bool:
    if base.benchmark and base.benchmark == group.benchmark:
        return True
    return not base.benchmark and set(base.tally.problem_ids) == set(group.members[0].tally.problem_ids)


def _reports(
    groups: Sequence[Group], bases: Sequence[Base], cfg: DictConfig, *, seeds: Sequence[str], confidence: float
) -> list[SeedReport]:
    """One report a benchmark, the base first."""
    models = Path(cfg.paths.models)
    reports = []
    for benchmark in dict.fromkeys(group.benchmark for group in groups):
        here = sorted((group for group in groups if group.benchmark == benchmark), key=lambda one: not one.is_base)
        base = _base_of(benchmark, here, bases)
        configurations = [
            Configuration(name, _seed_counts(group, base, seeds, models), group.is_base)
            for name, group in zip(_names(here), here, strict=True)
        ]
        if base is not None and not any(group.is_base for group in here):
            only = SeedCounts("", base.name, base.name, base.tally, job="base")
            configurations.insert(0, Configuration(f"base: {base.name}", (only,), is_base=True))
        reports.append(seed_report(benchmark or "these problems", configurations, confidence=confidence))
    return reports


def _base_of(benchmark: str, groups: Sequence[Group], bases: Sequence[Base]) -> Base | None:
    """The base on a benchmark; None if none is known.

    Raises:
        ConfigError: there are several.
    """
    fitting = [one for one in bases if any(_fits(one, group) for group in groups)]
    if len(fitting) > 1:
        raise ConfigError(
            f"{len(fitting)} bases fit {benchmark or 'these problems'} ({', '.join(one.name for one in fitting)}); "
            "name one: base=<key of a job, store, run or counts file>"
        )
    return fitting[0] if fitting else None


def _seed_counts(group: Group, base: Base | None, seeds: Sequence[str], models: Path) -> tuple[SeedCounts, ...]:
    def before(one: Evaluated) -> Tally | None:
        if group.is_base:
            return None
        return one.base.tally if one.base is not None else base.tally if base is not None else None

    return tuple(
        SeedCounts(
            seed_words(one.job, seeds, models),
            one.model,
            one.weights,
            one.tally,
            base=before(one),
            job=one.job.key,
            run_id=one.run_id,
        )
        for one in group.members
    )


def _names(groups: Sequence[Group]) -> list[str]:
    """What a person calls each group: the settings in which they differ; an algorithm stands for all that it brings."""
    keys = dict.fromkeys(key for group in groups for key in group.settings)
    apart = [key for key in keys if len({group.settings.get(key) for group in groups}) > 1]
    if "algorithm" in apart:
        apart = [key for key in apart if not key.startswith("training: algorithm.")]
    if len(apart) > 1 and "tags.role" in apart:
        apart.remove("tags.role")
    names = []
    for group in groups:
        said = [f"{key.removeprefix('training: ')}={group.settings[key]}" for key in apart if key in group.settings]
        names.append(" ".join([*([group.stage] if group.stage else []), *said]) or group.members[0].model)
    return [name if names.count(name) == 1 else f"{name} ({at})" for at, name in enumerate(names, start=1)]


def _show(
    name: str, reports: Sequence[SeedReport], missing: Sequence[Mapping[str, str]], files: Sequence[Path]
) -> None:
    console = Console(highlight=False)
    for report in reports:
        console.print(report_table(report))
        for line in words(report):
            console.print(Text(line), soft_wrap=True)
        console.print()
    for one in missing:
        said = f"missing: {one['job']} {one['settings']}: {one['status']} {one['message']}"
        console.print(Text(said.strip(), style="yellow"), soft_wrap=True)
    if missing:
        again = f"what is missing is in none of the numbers; the command of the sweep {name!r} tries it again"
        console.print(Text(again, style="yellow"), soft_wrap=True)
    console.print(Text(f"numbers  {files[0]}"), soft_wrap=True)
    for file in files:
        if file.suffix == ".png":
            console.print(Text(f"figure   {file}"), soft_wrap=True)
