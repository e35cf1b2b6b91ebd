"""`kurve train`: train a model, track it, keep its checkpoints. Stopped at any point, the next start goes on."""

import logging
import os
import shlex
from contextlib import ExitStack
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from kurve import training_record
from kurve.benchmarks.rows import Benchmark
from kurve.chatter import Echo, redirect
from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.made import tell
from kurve.commands.overlap import check_overlap, evaluation_benchmarks
from kurve.commands.register import registry_of, trained_model
from kurve.commands.sample import stop_on_sigterm
from kurve.commands.training_job import held_out_benchmark, run_job
from kurve.commands.training_launch import launch, launch_settings
from kurve.commands.training_plan import TrainingPlan, make_training_plan, processes, rank
from kurve.commands.training_run import attempt, close_behind, new_record, open_run, run_info, unsent
from kurve.errors import ConfigError, KurveError, TrackingError, TrainingError
from kurve.progress import duration
from kurve.samplers.checkpoints import check_model_files, is_local
from kurve.saved_steps import damage, last_resumable, step_of, steps_in
from kurve.tracking import ModelVersion, Tracker
from kurve.training_progress import TrainingProgress
from kurve.training_record import CHECKPOINTS, MODEL, TrainingRecord

LOG = "trainer.log"  # in the training's folder: what torch, transformers and TRL say

_log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> None:
    """Train one model to the end, from its last checkpoint if there is one.

    Raises:
        KurveError: a user's mistake or a failure, in words; checkpoints stay, and the same command goes on.
    """
    settings = launch_settings(cfg)
    if settings is None:
        train(cfg)
        return
    plan = make_training_plan(cfg)
    folder = training_folder(cfg, plan)
    record = training_record.read(folder)
    with stop_on_sigterm():
        if record is not None and record.finished:
            _lead(cfg, plan, folder)
            return
        _check(cfg, plan)
        try:
            launch(cfg, settings)
        except BaseException as reason:
            starts, stopped = len(record.attempts) if record else 0, not isinstance(reason, KurveError)
            close_behind(folder, build(cfg.tracker, "tracker"), starts=starts, stopped=stopped)
            raise


def train(cfg: DictConfig) -> None:
    """Do this process's part of the training, which is all of it unless accelerate has started several.

    Raises:
        KurveError: a user's mistake or a failure, in words; checkpoints stay, and the same command goes on.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports every trainer that is made
    plan = make_training_plan(cfg)
    folder = training_folder(cfg, plan)
    with stop_on_sigterm():
        if rank():
            _join(cfg, plan, folder)
        else:
            _lead(cfg, plan, folder)


def check(cfg: DictConfig) -> None:
    """Refuse what cannot work without the hardware, the weights or a tracking server at hand; see `sweeping`.

    Raises:
        KurveError: a user's mistake, in words.
    """
    launch_settings(cfg)
    _check(cfg, make_training_plan(cfg))


def _check(cfg: DictConfig, plan: TrainingPlan) -> None:
    plan.algorithm.check(plan.args, processes=processes(cfg))
    held_out_benchmark(cfg)
    check_overlap(plan.asked, evaluation_benchmarks(cfg), allowed=bool(cfg.allow_overlap))
    registry_of(cfg, build(cfg.tracker, "tracker"))


def training_folder(cfg: DictConfig, plan: TrainingPlan) -> Path:
    """Where this training is or will be: the folder of its fingerprint, or `output`.

    Raises:
        ConfigError: `output` holds another training, named with what differs, or files that are none.
    """
    root = Path(cfg.paths.models)
    if cfg.output is None:
        address = plan.fingerprint
        return training_record.with_fingerprint(root, address) or root / f"{plan.name}-{address}"
    folder = Path(str(cfg.output)).expanduser().absolute()
    record = training_record.read(folder)
    if record is not None and record.fingerprint != plan.fingerprint:
        differing = "; ".join(training_record.differences(plan.recipe, record.recipe))
        raise ConfigError(
            f"output={folder} holds the training {record.name}-{record.fingerprint} with another config ({differing}, "
            "this one against that one); name another folder, or leave output out"
        )
    if record is None and folder.exists() and not _is_free(folder):
        raise ConfigError(f"output={folder} exists and is no training's folder; name another, or leave output out")
    return folder


def _is_free(folder: Path) -> bool:
    """Whether nothing is in the folder but the lock of a training that never began."""
    return folder.is_dir() and all(path.name == training_record.LOCK for path in folder.iterdir())


def _lead(cfg: DictConfig, plan: TrainingPlan, folder: Path) -> None:
    """What the first (usually the only) process does: it alone tracks, writes the record and talks to the person."""
    record, hint, registry = training_record.read(folder), None, None
    if record is None or not record.finished or cfg.register is not None or cfg.upload:
        tracker: Tracker = build(cfg.tracker, "tracker")
        registry = registry_of(cfg, tracker)
        if record is None or not record.finished:
            overlap = refuse(cfg, plan, evaluation_benchmarks(cfg))
            with training_record.locked(folder):
                record = training_record.read(folder)
                if record is None or not record.finished:  # another process may have finished it meanwhile
                    _train(cfg, plan, folder, record or new_record(plan), tracker=tracker, overlap=overlap)
                    record, hint = training_record.read(folder), tracker.hint
    if record is None:
        raise TrainingError(f"{folder} was removed while it was in use; start again")
    if hint is None and record.run_id:
        _join_sweep(cfg, record.run_id)
    version = None
    if registry is not None:
        version = registry.register(trained_model(folder, name=cfg.register, upload=cfg.upload))
    _show(cfg, folder, record, hint, version=version)
    tell(
        "train",
        folder,
        paths={"model": folder / MODEL},
        run_id=record.run_id,
        run_url=record.run_url,
        name=record.name,
        fingerprint=record.fingerprint,
        step=str(record.final_step),
    )


def _join(cfg: DictConfig, plan: TrainingPlan, folder: Path) -> None:
    """What the other processes do: their share of the work, in silence. They meet the first one inside the trainer."""
    record = training_record.read(folder)
    if record is None or not record.finished:
        refuse(cfg, plan, [])
        with redirect(folder / f"trainer-{rank()}.log"):
            run_job(cfg, plan, folder, last_resumable(folder / CHECKPOINTS, processes()), log=_Silent(), callbacks=())


def _join_sweep(cfg: DictConfig, run_id: str) -> None:
    """Let the run of a training that was finished before be in the sweep that asks for it, as a finished evaluation."""
    if not (tags := provenance.sweeps()):
        return
    tracker: Tracker = build(cfg.tracker, "tracker")
    try:
        tracker.attach(run_id)
        tracker.log_tags(tags)
    except TrackingError as error:
        _log.warning("the run %s of the training is not in the sweep's view: %s", run_id, error)


def refuse(cfg: DictConfig, plan: TrainingPlan, evaluation: list[Benchmark]) -> int:
    """Refuse what cannot work; returns how many problems of the evaluation are trained on, where that is allowed.

    Raises:
        ConfigError: the setting, and what to change.
    """
    plan.algorithm.check(plan.args, processes=processes())
    held_out = held_out_benchmark(cfg)
    benchmarks = [*evaluation, *([held_out] if held_out else [])]
    overlap = check_overlap(plan.asked, benchmarks, allowed=bool(cfg.allow_overlap))
    models = [model for model in (plan.model, plan.teacher) if model is not None]
    for model in models:
        check_model_files(model)
        if is_local(model.path) and (reason := damage(Path(model.path).expanduser())):
            raise ConfigError(f"the weights in {model.path} cannot be loaded: {reason}; copy the model again")

    from kurve.algorithms.trainers.device import check_device
    from kurve.algorithms.trainers.weights import local_folder

    check_device(plan.all_args)
    for model in models:
        local_folder(model)  # a hub model is fetched now, while a person sees its progress
    return overlap


def _train(
    cfg: DictConfig, plan: TrainingPlan, folder: Path, record: TrainingRecord, *, tracker: Tracker, overlap: int
) -> None:
    checkpoint = last_resumable(folder / CHECKPOINTS, processes())
    first_step = step_of(checkpoint) if checkpoint else 0
    info = run_info(cfg, plan, folder, record, overlap=overlap)
    open_run(folder, tracker, info)
    with ExitStack() as stack:
        progress = stack.enter_context(TrainingProgress())
        shown = stack.enter_context(
            attempt(folder, record, tracker, info.config_yaml, progress=progress, first_step=first_step)
        )
        log = folder / LOG
        offset = log.stat().st_size if log.exists() else 0
        stack.enter_context(redirect(log))
        stack.enter_context(Echo(log, offset))
        try:
            from kurve.algorithms.trainers.steps import Steps

            run_job(cfg, plan, folder, checkpoint, log=shown, callbacks=(Steps(shown.at),))
        except TrainingError as error:
            raise TrainingError(f"{error}\n(what the libraries said: {log})") from error


def _show(
    cfg: DictConfig, folder: Path, record: TrainingRecord, hint: str | None, *, version: ModelVersion | None
) -> None:
    """Print what was made and what to do with it; no hint: it was made before."""
    console = Console(highlight=False)
    tokens = f", {record.tokens:,} tokens" if record.tokens else ""
    before = "  (trained before; nothing was done)" if hint is None else ""
    done = f"  {record.final_step:,} steps in {duration(record.seconds)}{tokens}{before}"
    console.print(Text(record.name, style="bold") + Text(done), soft_wrap=True)
    lines = [("model", str(folder / MODEL))]
    if steps := list(steps_in(folder / CHECKPOINTS)):
        lines.append(("steps", ", ".join(map(str, steps))))
    if record.run_url:
        lines.append(("run", record.run_url))
    if version is not None:
        lines.append(("version", f"{version.name} version {version.version}  {version.url}"))
    if unsent(folder):
        lines.append(("to send:", shlex.join(["kurve", "sync", str(folder)])))
    named = record.fingerprint if folder.parent == Path(cfg.paths.models) else shlex.quote(str(folder))
    benchmark = next((one for one in cfg.evaluation or () if isinstance(one, str)), "<benchmark>")
    lines.append(("next:", f"kurve evaluate model.from_run={named} benchmark={benchmark}"))
    for label, text in lines:
        console.print(Text(f"{label:<8} {text}"), soft_wrap=True)
    if hint:
        console.print(Text(hint), soft_wrap=True)


class _Silent:
    """The log of a process that tracks nothing."""

    def log(self, values: object, step: int) -> None:
        """Drop the numbers."""

    def keep(self, file: Path, folder: str) -> None:
        """Drop the file."""
