"""The end of a study: what changed between base and the others, as verdicts, files, a run and registered models."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.compared import Compared, Counted, Settings, compare_all, tell_the_compared
from kurve.commands.register import trained_model
from kurve.comparison import in_words
from kurve.errors import NotKeptError, StudyError
from kurve.export import read_counts
from kurve.study import Finished, Stage
from kurve.tracking import ModelVersion, Registry, RunInfo, Tracker

FOLDER = "comparison"
NOT_REGISTERED = "not-registered.txt"  # why, as long as the registry could not be reached

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StagesCompared:
    """The evaluations that name one base, compared with it."""

    stages: tuple[Stage, ...]
    compared: Compared

    def file(self, folder: Path, suffix: str) -> Path:
        """Where the study in `folder` keeps the figure or the numbers."""
        return folder / FOLDER / f"{self.compared.name}{suffix}"


def compare_stages(
    stages: Sequence[Stage], finished: Mapping[str, Finished], settings: Settings
) -> list[StagesCompared]:
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
        name = benchmark if benchmarks.count(benchmark) == 1 else base  # two bases may share a benchmark
        tuned = [_counted(finished[stage.name]) for stage in others]
        one = compare_all(_counted(finished[base]), tuned, benchmark=benchmark, name=name, settings=settings)
        found.append(StagesCompared(tuple(others), one))
    return found


def publish_comparison(
    cfg: DictConfig,
    name: str,
    folder: Path,
    stages: Sequence[Stage],
    *,
    finished: Mapping[str, Finished],
    compared: Sequence[StagesCompared],
    tracker: Tracker,
) -> dict[str, ModelVersion]:
    """Write numbers and figures; log them, once, to a run of the study and to the runs of the compared models.

    Returns:
        By stage, the models that were registered now; none where a finished run of the study is there.

    Raises:
        StudyError: the files cannot be written.
        TrackingError: the tracker cannot be reached; the same command does the rest.
    """
    files = _write(folder, compared)
    register = partial(_register, cfg, name, stages, finished, tracker=tracker, verdicts=_verdicts(compared))
    if not tracker.start(_run_info(cfg, name, stages, finished, compared=compared)):
        late = cfg.register and (folder / FOLDER / NOT_REGISTERED).exists()
        return _register_or_say(folder, register) if late else {}
    versions = {}
    try:
        tracker.log_files(files, FOLDER)
        tracker.log_points([point for group in compared for point in group.compared.points()])
        _tell_the_compared(cfg, finished, compared)
        if cfg.register:
            versions = _register_or_say(folder, register)
    except BaseException:
        tracker.finish("FAILED")
        raise
    tracker.finish("FINISHED")
    return versions


def register_stage(
    registry: Registry,
    stage: Stage,
    stages: Sequence[Stage],
    finished: Mapping[str, Finished],
    *,
    label: str,
    study: str,
    verdicts: Mapping[str, Mapping[str, str]] | None = None,
    upload: bool = False,
) -> ModelVersion:
    """Put a trained model that has a role into the registry, or find it there; all its weights are read.

    Args:
        registry: that takes it.
        stage: that trained it.
        stages: of the study, for those that evaluated it.
        finished: what they made.
        label: of the study, with which the model's name begins.
        study: the study's id.
        verdicts: by evaluation, tags with what its model gained and lost against its base.
        upload: the registry gets a copy of the weights.

    Raises:
        KurveError: the weights are gone, or the registry cannot be reached.
    """
    evaluations = [one for one in stages if one.command == "evaluate" and one.role and stage.name in one.needs]
    evaluated = [finished[one.name].made.facts["run_id"] for one in evaluations]
    said = {tag: words for one in evaluations for tag, words in (verdicts or {}).get(one.name, {}).items()}
    return registry.register(
        trained_model(
            Path(finished[stage.name].made.folder),
            name=f"{label}-{stage.name}",
            evaluations=[run_id for run_id in evaluated if run_id],
            tags={"kurve.study": study, "kurve.role": stage.role, **said},
            upload=upload,
        )
    )


def _counted(finished: Finished) -> Counted:
    return Counted(_fact(finished, "model"), read_counts(Path(finished.made.paths["report"]) / "counts.parquet"))


def _fact(finished: Finished, name: str) -> str:
    return finished.made.facts[name]


def _write(folder: Path, compared: Sequence[StagesCompared]) -> list[Path]:
    try:
        return [file for group in compared for file in group.compared.write(folder / FOLDER)]
    except OSError as error:
        raise StudyError(f"cannot write to {folder / FOLDER}: {error.strerror or error}; make room") from error


def _run_info(
    cfg: DictConfig,
    name: str,
    stages: Sequence[Stage],
    finished: Mapping[str, Finished],
    *,
    compared: Sequence[StagesCompared],
) -> RunInfo:
    config = provenance.recorded(cfg)
    tags = {"kurve.kind": "study", "kurve.study": name}
    for group in compared:
        for stage, one in zip(group.stages, group.compared.comparisons, strict=True):
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
    )


def _tell_the_compared(cfg: DictConfig, finished: Mapping[str, Finished], compared: Sequence[StagesCompared]) -> None:
    """Log to each compared model's own run what changed against its base."""
    for group in compared:
        for stage, one in zip(group.stages, group.compared.comparisons, strict=True):
            run_id = finished[stage.name].made.facts.get("run_id")
            if run_id:
                tell_the_compared(build(cfg.tracker, "tracker"), run_id, group.compared.benchmark, one)


def _verdicts(compared: Sequence[StagesCompared]) -> dict[str, dict[str, str]]:
    """By evaluation, a tag with what its model gained and lost against its base."""
    return {
        stage.name: {f"kurve.verdict.{group.compared.benchmark}": in_words(one)}
        for group in compared
        for stage, one in zip(group.stages, group.compared.comparisons, strict=True)
    }


def _register_or_say(folder: Path, register: Callable[[], dict[str, ModelVersion]]) -> dict[str, ModelVersion]:
    """Register the models; while the tracker is away and the rest is spooled, say so, for the next start to do it."""
    note = folder / FOLDER / NOT_REGISTERED
    try:
        versions = register()
    except NotKeptError as error:
        note.write_text(f"{error}\n", encoding="utf-8")
        _log.warning("no model is registered: %s. The same `kurve study`, after `kurve sync`, registers them.", error)
        return {}
    note.unlink(missing_ok=True)
    return versions


def _register(
    cfg: DictConfig,
    name: str,
    stages: Sequence[Stage],
    finished: Mapping[str, Finished],
    *,
    tracker: Tracker,
    verdicts: Mapping[str, Mapping[str, str]],
) -> dict[str, ModelVersion]:
    """Register every trained model that has a role; none where the tracker keeps no registry."""
    registry = tracker.registry()
    if registry is None:
        return {}
    register = partial(register_stage, label=cfg.name, study=name, verdicts=verdicts, upload=cfg.upload)
    return {
        stage.name: register(registry, stage, stages, finished)
        for stage in stages
        if stage.command == "train" and stage.role
    }
