"""`kurve study`: run a list of stages as one study, then say what changed between base and the others."""

import difflib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.text import Text

from kurve import study
from kurve.commands.build import build, opened, plain
from kurve.commands.compared import comparison_settings
from kurve.commands.made import tell
from kurve.commands.sample import stop_on_sigterm
from kurve.commands.sampling_plan import whole
from kurve.commands.study_promote import Promoted, promote_all, refusal, show_promotions
from kurve.commands.study_promotions import read_promotions
from kurve.commands.study_result import StagesCompared, compare_stages, publish_comparison
from kurve.commands.study_stages import run_stages
from kurve.commands.training_plan import label
from kurve.commands.verdicts import show_verdicts
from kurve.errors import ConfigError, StudyError
from kurve.study import Finished, Stage
from kurve.study_progress import StudyProgress
from kurve.tracking import Tracker

_STAGE_KEYS = ("command", "overrides", "role", "base")
_STAGE_COMMANDS = ("train", "sample", "evaluate", "verify", "report")
_TRACKED = ("train", "evaluate", "report")
_SAMPLING = ("sample", "evaluate")
_TAGGED = ("train", "evaluate")


def main(cfg: DictConfig) -> None:
    """Run the stages that are not finished, compare, promote, and show the verdicts.

    Raises:
        GateError: a promotion that is required is not passed; all else is done.
        KurveError: a user's mistake or a failed stage, in words; what is finished stays, the same command goes on.
    """
    stages = _stages(cfg)
    name = f"{label(cfg.name)}-{study.fingerprint(stages)}"
    jobs = whole(cfg.jobs, "jobs", least=1)
    if not isinstance(cfg.upload, bool):
        raise ConfigError(f"upload is {cfg.upload!r}; expected true or false")
    settings = comparison_settings(cfg)
    folder = Path(cfg.paths.out) / "studies" / name
    tracker: Tracker = build(cfg.tracker, "tracker")
    promotions = read_promotions(cfg, stages, tracker)
    with stop_on_sigterm(), study.locked(folder):
        finished = study.done(stages, study.read(folder))
        if len(finished) < len(stages):
            _check_composes(cfg, name, [stage for stage in stages if stage.name not in finished])
            tracker.check()
        _run(cfg, stages, finished, name=name, folder=folder, jobs=jobs)
        study.write(folder, stages, finished)
        compared = compare_stages(stages, finished, settings)
        versions = publish_comparison(cfg, name, folder, stages, finished=finished, compared=compared, tracker=tracker)
        promoted, wrong = promote_all(cfg, folder, promotions, stages, finished=finished, versions=versions)
    _show(folder, stages, finished, compared, tracker=tracker, promoted=promoted)
    tell("study", folder, paths={}, name=name, run_id=tracker.run_id, run_url=tracker.url)
    if wrong:
        raise StudyError("\n".join([*wrong, f"Go on: {_again()}"]))
    if refused := refusal(promotions, promoted):
        raise refused


def check(cfg: DictConfig) -> None:
    """Refuse stages that cannot be composed, without a tracking server at hand; see `sweeping`.

    Raises:
        KurveError: a user's mistake, in words.
    """
    stages = _stages(cfg)
    comparison_settings(cfg)
    build(cfg.tracker, "tracker")
    _check_composes(cfg, "check", stages)


def _stages(cfg: DictConfig) -> list[Stage]:
    """The stages of the config, in order.

    Raises:
        ConfigError: a stage that cannot be run.
    """
    if not isinstance(cfg.stages, DictConfig):
        raise ConfigError(f"stages is {cfg.stages!r}; expected names with settings, as <name>: {{command: train, ...}}")
    nodes = plain(cfg.stages)
    stages = [_stage(str(name), node) for name, node in nodes.items() if node is not None]
    study.check_stages(stages)
    return stages


def _stage(name: str, node: Any) -> Stage:
    if not isinstance(node, Mapping):
        raise ConfigError(f"stages.{name} is {node!r}; expected {{command: ..., overrides: [...]}}, or null for none")
    for key in node:
        if key not in _STAGE_KEYS:
            near = difflib.get_close_matches(str(key), _STAGE_KEYS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(_STAGE_KEYS)}"
            raise ConfigError(f"stages.{name}.{key} is no setting of a stage; {hint}")
    command, overrides = node.get("command"), node.get("overrides") or []
    if command not in _STAGE_COMMANDS:
        raise ConfigError(f"stages.{name}.command is {command!r}; expected one of {', '.join(_STAGE_COMMANDS)}")
    if not isinstance(overrides, list) or not all(isinstance(one, str) for one in overrides):
        raise ConfigError(
            f"stages.{name}.overrides is {overrides!r}; expected a list of texts, as ['model=qwen2_5_7b']"
        )
    return Stage(name, command, tuple(overrides), role=str(node.get("role") or ""), base=str(node.get("base") or ""))


def _check_composes(cfg: DictConfig, name: str, stages: list[Stage]) -> None:
    """Refuse a mistake in any stage's overrides before the first stage is run.

    Raises:
        ConfigError: the stage, and what Hydra says.
    """
    for stage in stages:
        _composed(cfg, name, stage)


def composed_stages(cfg: DictConfig) -> list[tuple[Stage, DictConfig]]:
    """The stages of the config in order, each with its own config; what earlier ones make is unknown in it.

    Raises:
        ConfigError: a stage that cannot be run.
    """
    return [(stage, _composed(cfg, "check", stage)) for stage in _stages(cfg)]


def _composed(cfg: DictConfig, name: str, stage: Stage) -> DictConfig:
    words = _overrides(cfg, name, stage, dict.fromkeys(stage.needs, _PLACEHOLDER))
    try:
        return compose(stage.command, overrides=[opened(word) if stage.command == "train" else word for word in words])
    except (HydraException, OmegaConfBaseException) as error:
        text = str(error).strip().splitlines()[0]
        raise ConfigError(f"stages.{stage.name}: kurve {stage.command} cannot be composed: {text}") from error


class _Anything(dict[str, str]):
    """Has whatever is asked of it, for a stage that was not run yet."""

    def get(self, key: str, default: Any = None) -> Any:
        return "unknown"


_PLACEHOLDER = Finished("", study.Made("unknown", _Anything()), 0.0)


def _run(
    cfg: DictConfig, stages: list[Stage], finished: dict[str, Finished], *, name: str, folder: Path, jobs: int
) -> None:
    logs = folder / "logs"
    try:
        logs.mkdir(exist_ok=True)
    except OSError as error:
        raise StudyError(f"cannot make {logs}: {error.strerror or error}; paths.out=... names another") from error
    with StudyProgress([stage.name for stage in stages]) as progress:
        for stage in finished:
            progress.found(stage)
        try:
            run_stages(
                stages,
                finished,
                study=name,
                arguments=lambda stage, made: _arguments(cfg, name, stage, made),
                logs=logs,
                jobs=jobs,
                progress=progress,
                keep=lambda made: study.write(folder, stages, made),
            )
        except StudyError as error:
            raise StudyError(f"{error}\nGo on: {_again()}") from error


def _again() -> str:
    return shlex.join(["kurve", "study", *HydraConfig.get().overrides.task])


def _arguments(cfg: DictConfig, name: str, stage: Stage, finished: Mapping[str, Finished]) -> list[str]:
    """The stage's command line after `kurve`."""
    return [stage.command, *_where_configs_are(), *_overrides(cfg, name, stage, finished)]


def _overrides(cfg: DictConfig, name: str, stage: Stage, finished: Mapping[str, Finished]) -> list[str]:
    """What the study shares with all stages that take it, and the stage's own overrides over it."""
    own = study.filled_in(stage, finished)
    shared = [f"paths.{key}={study.quoted(str(value))}" for key, value in cfg.paths.items()]
    shared += _forwarded("tracker") if stage.command in _TRACKED else []
    shared += _forwarded("sampler") if stage.command in _SAMPLING else []
    if stage.command in _TAGGED:
        tags = {"study": name, "role": stage.role, "base_run_id": _run_of(stage.base, finished)}
        shared += [f"tags.{key}={study.quoted(value)}" for key, value in tags.items() if value]
    given = {word.lstrip("+~").partition("=")[0] for word in own}
    groups = {key for key in given if key in ("tracker", "sampler")}
    kept = [word for word in shared if word.partition("=")[0] not in given and word.partition(".")[0] not in groups]
    return [*kept, *own]


def _forwarded(group: str) -> list[str]:
    """The study's choice of a group and the settings of it that were given on the command line."""
    hydra = HydraConfig.get()
    given = [word for word in hydra.overrides.task if word.lstrip("+").startswith(f"{group}.")]
    return [f"{group}={hydra.runtime.choices[group]}", *given]


def _where_configs_are() -> list[str]:
    """The folders of configs that the study was started with."""
    hydra = HydraConfig.get()
    given = [one.path for one in hydra.runtime.config_sources if one.provider == "command-line"]
    words = [word for path in given for word in ("--config-dir", str(path))]
    return [*words, *(word for word in hydra.overrides.hydra if word.startswith("hydra.searchpath"))]


def _run_of(base: str, finished: Mapping[str, Finished]) -> str:
    return finished[base].made.facts.get("run_id", "") if base else ""


def _show(
    folder: Path,
    stages: list[Stage],
    finished: Mapping[str, Finished],
    compared: list[StagesCompared],
    *,
    tracker: Tracker,
    promoted: Sequence[Promoted],
) -> None:
    """Print the verdicts, what the gates said, and where everything is."""
    console = Console(highlight=False)
    for group in compared:
        console.print(Text(f"\n{group.compared.benchmark}", style="bold"))
        show_verdicts(group.compared.comparisons, console)
    console.print()
    if promoted:
        show_promotions(promoted, console)
        console.print()
    lines = [("study", str(folder))]
    lines += [("figure", str(group.file(folder, ".png"))) for group in compared]
    for stage in stages:
        url = finished[stage.name].made.facts.get("run_url")
        if url and stage.role:
            lines.append((stage.name, url))
    lines += [(f"gate of {one.name}", one.url) for one in promoted if one.url]
    if tracker.url:
        lines.append(("run", tracker.url))
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        console.print(Text(f"{name:<{width}}  {text}"), soft_wrap=True)
    if tracker.hint:
        console.print(Text(tracker.hint), soft_wrap=True)
