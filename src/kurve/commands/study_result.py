"""The end of a study: what changed between base and the others, as verdicts, files, a run and registered models."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.plan import whole
from kurve.commands.register import trained_model
from kurve.comparison import Comparison, as_json, compare, in_words, pass_at_k_curve
from kurve.errors import ConfigError, StudyError
from kurve.export import read_counts
from kurve.figures import comparison as figures
from kurve.figures.files import save, write_whole
from kurve.study import Finished, Stage
from kurve.tracking import RunInfo, TimedPoint, Tracker, now_ms
from kurve.types import Curve, Tally

FOLDER = "comparison"


@dataclass(frozen=True, slots=True)
class Settings:
    """How models are compared."""

    confidence: float  # of intervals and bands, a fraction
    draws: int
    seed: int  # of the draws


@dataclass(frozen=True, slots=True)
class Compared:
    """Evaluations on one benchmark that share their base."""

    benchmark: str
    name: str  # of its files: the benchmark's, or the base stage's where two bases share a benchmark
    base_curve: Curve
    tuned: tuple[tuple[Stage, Comparison, Curve], ...]
    seed: int  # of the draws

    @property
    def comparisons(self) -> list[Comparison]:
        """Every other model with the base, in the order of the stages."""
        return [one for _, one, _ in self.tuned]

    def file(self, folder: Path, suffix: str) -> Path:
        """Where the study in `folder` keeps the figure or the numbers."""
        return folder / FOLDER / f"{self.name}{suffix}"


def comparison_settings(cfg: DictConfig) -> Settings:
    """The `compare` of the config.

    Raises:
        ConfigError: a number is out of range.
    """
    seed = whole(cfg.compare.seed, "compare.seed", least=0)
    draws = whole(cfg.compare.draws, "compare.draws", least=100)
    confidence = cfg.compare.confidence
    if not isinstance(confidence, float) or not 0 < confidence < 1:
        raise ConfigError(f"compare.confidence is {confidence!r}; expected a fraction between 0 and 1, as 0.95")
    return Settings(confidence, draws, seed)


def compare_stages(stages: Sequence[Stage], finished: Mapping[str, Finished], settings: Settings) -> list[Compared]:
    """Compare every evaluation with the one that its `base` names, problem by problem.

    Raises:
        DataError: two evaluations are not of the same problems.
    """
    by_base: dict[str, list[Stage]] = {}
    for stage in stages:
        if stage.base and stage.command == "evaluate":
            by_base.setdefault(stage.base, []).append(stage)
    benchmarks = [_fact(finished[base], "benchmark") for base in by_base]
    found = []
    for (base, others), benchmark in zip(by_base.items(), benchmarks, strict=True):
        before = _tally(finished[base])
        tuned = []
        for stage in others:
            after = _tally(finished[stage.name])
            one = compare(
                before,
                after,
                rng=np.random.default_rng(settings.seed),
                names=(_fact(finished[base], "model"), _fact(finished[stage.name], "model")),
                confidence=settings.confidence,
                draws=settings.draws,
            )
            tuned.append((stage, one, _curve(after, settings)))
        name = benchmark if benchmarks.count(benchmark) == 1 else base
        found.append(Compared(benchmark, name, _curve(before, settings), tuple(tuned), settings.seed))
    return found


def publish_comparison(
    cfg: DictConfig,
    name: str,
    folder: Path,
    stages: Sequence[Stage],
    finished: Mapping[str, Finished],
    compared: Sequence[Compared],
    tracker: Tracker,
) -> None:
    """Write numbers and figures; log them, once, to a run of the study and to the runs of the compared models.

    Raises:
        StudyError: the files cannot be written.
        TrackingError: the tracker cannot be reached; the same command does the rest.
    """
    files = _write(folder, compared)
    if not tracker.start(_run_info(cfg, name, stages, finished, compared)):
        return
    try:
        tracker.log_files(files, FOLDER)
        tracker.log_points([point for group in compared for point in _points(group)])
        _tell_the_compared(cfg, finished, compared)
        if cfg.register:
            _register(cfg, name, stages, finished, tracker)
    except BaseException:
        tracker.finish("FAILED")
        raise
    tracker.finish("FINISHED")


def _tally(finished: Finished) -> Tally:
    return read_counts(Path(finished.made.paths["report"]) / "counts.parquet")


def _fact(finished: Finished, name: str) -> str:
    return finished.made.facts[name]


def _curve(tally: Tally, settings: Settings) -> Curve:
    return pass_at_k_curve(tally, np.random.default_rng(settings.seed), confidence=settings.confidence)


def _write(folder: Path, compared: Sequence[Compared]) -> list[Path]:
    files = []
    try:
        (folder / FOLDER).mkdir(exist_ok=True)
        for group in compared:
            numbers = group.file(folder, ".json")
            pairs = [as_json(one, seed=group.seed) for one in group.comparisons]
            write_whole(numbers, json.dumps({"benchmark": group.benchmark, "pairs": pairs}, indent=1).encode())
            models = [figures.Compared(group.comparisons[0].base, group.base_curve, None)]
            models += [figures.Compared(one.tuned, curve, one.difference) for _, one, curve in group.tuned]
            figure = figures.comparison_figure(models, title=f"pass@k on {group.benchmark}")
            files += [numbers, *save(figure, folder / FOLDER, group.name)]
    except OSError as error:
        raise StudyError(f"cannot write to {folder / FOLDER}: {error.strerror or error}; make room") from error
    return files


def _run_info(
    cfg: DictConfig,
    name: str,
    stages: Sequence[Stage],
    finished: Mapping[str, Finished],
    compared: Sequence[Compared],
) -> RunInfo:
    config = provenance.recorded(cfg)
    tags = {"kurve.kind": "study", "kurve.study": name}
    for group in compared:
        for stage, one, _ in group.tuned:
            tags[f"kurve.verdict.{stage.name}"] = in_words(one)
    if commit := provenance.git_commit():
        tags["kurve.git_commit"] = commit
    # What the stages made is part of the key: a study whose stages were done anew is another run.
    made = {stage: (one.fingerprint, one.made.folder) for stage, one in finished.items()}
    return RunInfo(
        key=provenance.digest("study", name, made, config["compare"]),
        name=f"study {name}",
        params={f"stages.{stage.name}": " ".join([stage.command, *stage.overrides]) for stage in stages},
        tags=tags,
        config_yaml=provenance.as_yaml(config),
        versions=provenance.versions(),
        dataset_name="",
        dataset_source="",
        dataset_digest="",
        prompts=(),
    )


def _points(group: Compared) -> list[TimedPoint]:
    """The headline numbers of each compared model, by its name."""
    now = now_ms()
    return [
        TimedPoint(f"{group.name}/{one.tuned}/{key}", value, 0, now)
        for one in group.comparisons
        for key, value in _headline(one).items()
    ]


def _headline(one: Comparison) -> dict[str, float]:
    """Numbers by name, fractions; the crossover is absent where there is none."""
    k = one.headline.k
    found = {
        "delta_pass_at_1": one.at_1.change,
        f"delta_pass_at_{k}": one.headline.change,
        "delta_se": one.delta_se,
    }
    numbers: dict[str, float] = {}
    for key, estimate in found.items():
        numbers |= {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
    return numbers | ({"crossover_k": one.crossover.point} if np.isfinite(one.crossover.point) else {})


def _tell_the_compared(cfg: DictConfig, finished: Mapping[str, Finished], compared: Sequence[Compared]) -> None:
    """Log to each compared model's own run what changed against its base."""
    for group in compared:
        for stage, one, _ in group.tuned:
            run_id = finished[stage.name].made.facts.get("run_id")
            if run_id:
                own: Tracker = build(cfg.tracker, "tracker")
                own.attach(run_id)
                now = now_ms()
                numbers = _headline(one).items()
                own.log_points([TimedPoint(f"{group.benchmark}/{key}", value, 0, now) for key, value in numbers])


def _register(
    cfg: DictConfig, name: str, stages: Sequence[Stage], finished: Mapping[str, Finished], tracker: Tracker
) -> None:
    """Put every trained model that has a role into the registry, with the runs that evaluated it."""
    registry = tracker.registry()
    if registry is None:
        return
    for stage in stages:
        if stage.command != "train" or not stage.role:
            continue
        evaluated = [
            finished[one.name].made.facts["run_id"]
            for one in stages
            if one.command == "evaluate" and one.role and stage.name in one.needs
        ]
        registry.register(
            trained_model(
                Path(finished[stage.name].made.folder),
                name=f"{cfg.name}-{stage.name}",
                evaluations=[run_id for run_id in evaluated if run_id],
                tags={"kurve.study": name, "kurve.role": stage.role},
            )
        )
