"""A training as its record and its tracked run know it: opened, kept true, closed in every way out."""

import dataclasses
import logging
import platform
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from os import environ
from pathlib import Path

from omegaconf import DictConfig

from kurve import training_record
from kurve.algorithms import Log
from kurve.commands import provenance
from kurve.commands.models import FOLDER_TAG
from kurve.commands.training_plan import TrainingPlan, processes
from kurve.errors import TrackingError, TrainingError
from kurve.journal import Journal
from kurve.outbox import Outbox
from kurve.saved_steps import whats_missing
from kurve.store.disk import write_atomically
from kurve.tracking import RunInfo, Tracker
from kurve.training_progress import TrainingProgress
from kurve.training_record import CHECKPOINTS, CONFIG, Attempt, TrainingRecord

_TOKENS = "num_tokens"  # TRL's name for the tokens trained on so far
_log = logging.getLogger(__name__)


class Shown:
    """Passes what a training measures on to its journal, and what a person watches to the display."""

    def __init__(self, journal: Log, progress: TrainingProgress, first_step: int) -> None:
        self._journal, self._progress = journal, progress
        self.step = first_step  # done so far
        self.tokens = 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keep and show the numbers of one step."""
        self._journal.log(values, step)
        self._progress.measured(values)
        self.tokens = int(values.get(_TOKENS, self.tokens))

    def keep(self, file: Path, folder: str) -> None:
        """Keep a file with the run."""
        self._journal.keep(file, folder)

    def at(self, step: int, steps: int) -> None:
        """`step` of `steps` are done."""
        self.step = step
        self._progress.at(step, steps)


def new_record(plan: TrainingPlan) -> TrainingRecord:
    """The record of a training that was never started."""
    return TrainingRecord(
        fingerprint=plan.fingerprint,
        birth=secrets.token_hex(6),
        name=plan.name,
        algorithm=plan.algorithm_name,
        recipe=plan.recipe,
        base=plan.model,
        data=plan.data,
        seed=plan.seed,
        commit=provenance.git_commit(),
        versions=provenance.versions(),
        tags=plan.tags,
    )


def run_info(cfg: DictConfig, plan: TrainingPlan, folder: Path, record: TrainingRecord, *, overlap: int) -> RunInfo:
    """What the run says before training starts; its key is the folder's own, so a training made anew is a new run."""
    config = provenance.recorded(cfg)
    tags = {
        "kurve.kind": "training",
        "kurve.algorithm": plan.algorithm_name,
        FOLDER_TAG: str(folder),
        "kurve.fingerprint": record.fingerprint,
        "kurve.model": plan.name,
        "kurve.base": plan.model.name,
        "kurve.host": platform.node(),
        **record.tags,
    }
    if overlap:
        tags["kurve.overlap"] = str(overlap)
    if record.commit:
        tags["kurve.git_commit"] = record.commit
    if "SLURM_JOB_ID" in environ:
        tags["kurve.slurm_job_id"] = environ["SLURM_JOB_ID"]
    return RunInfo(
        key=provenance.digest("training", record.fingerprint, record.birth),
        name=f"{plan.name} on {plan.data['name']}",
        params=provenance.flat_params(config),
        tags=tags,
        config_yaml=provenance.as_yaml(config),
        versions=record.versions,
        dataset_name=plan.data["name"],
        dataset_source=plan.data["source"],
        dataset_digest=plan.data["digest"][:12],
        prompts=plan.asked.questions,
    )


def open_run(folder: Path, tracker: Tracker, info: RunInfo) -> None:
    """Open the run, or take up the one of an earlier start.

    When a training goes on and the tracker is away, its journal knows the run and sends what it holds later.

    Raises:
        TrackingError: the tracker is away and nothing was trained before.
    """
    try:
        tracker.check()
        tracker.start(info)
    except TrackingError as error:
        run_id, destination = Outbox(folder).run()
        if not run_id or destination != tracker.destination:
            raise
        _log.warning("%s\nTraining goes on without it; what it logs is sent when the tracker is back.", error)


@contextmanager
def attempt(
    folder: Path, record: TrainingRecord, tracker: Tracker, config: str, *, progress: TrainingProgress, first_step: int
) -> Iterator[Shown]:
    """One start of the training: run and record say RUNNING until the body ends, and how it ended afterwards.

    Args:
        folder: of the training.
        record: as it is before.
        tracker: its run is open.
        config: the resolved config, kept beside the record.
        progress: is shown what is measured.
        first_step: steps that were done before.

    Raises:
        TrackingError: the journal cannot be written. Trouble with the tracker itself is only told.
        TrainingError: the record cannot be written.
    """
    began, saved_before = time.monotonic(), set((folder / CHECKPOINTS).glob("*"))
    one = Attempt(_now(), first_step=first_step, processes=processes())
    if tracker.run_id:
        record = dataclasses.replace(record, run_id=tracker.run_id, run_url=tracker.url)
    earlier = tuple(map(_ended, record.attempts))

    def write(status: str, final_step: int = 0) -> None:
        now = dataclasses.replace(one, status=status, seconds=round(time.monotonic() - began, 1))
        tokens, attempts = record.tokens + shown.tokens, (*earlier, now)
        training_record.write(
            folder, dataclasses.replace(record, attempts=attempts, tokens=tokens, final_step=final_step)
        )

    with Journal(folder, tracker, first_step=first_step) as journal:
        shown = Shown(journal, progress, first_step)
        try:
            write(training_record.RUNNING)
            write_config(folder, config)
            yield shown
        except BaseException as error:
            _remove_torn(folder, saved_before)
            with suppress(TrainingError):  # the error that ended the body matters more
                write("KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED")
            raise
        write(training_record.FINISHED, final_step=shown.step)


def close_behind(folder: Path, tracker: Tracker, *, starts: int, stopped: bool) -> None:
    """Make record and run of a training true after its processes have ended, which may not have come to it themselves.

    A tracker that is away is told of, and the next start closes the run.

    Args:
        folder: of the training.
        tracker: that its run is in.
        starts: how many the record had before; what was ended by then stays as it is.
        stopped: the processes were told to stop, so that an error of one that lost the others is none.
    """
    with suppress(TrainingError), training_record.locked(folder):  # else somebody else trains by now
        record = training_record.read(folder)
        if record is None or len(record.attempts) == starts or record.finished:
            return
        *earlier, last = record.attempts
        status = "KILLED" if stopped or last.status == training_record.RUNNING else last.status
        if status != last.status:
            attempts = (*earlier, dataclasses.replace(last, status=status))
            training_record.write(folder, dataclasses.replace(record, attempts=attempts))
        try:
            tracker.check()
            if status != last.status or record.run_id in tracker.find_running({FOLDER_TAG: str(folder)}):
                tracker.attach(record.run_id)
                tracker.finish(status)
        except TrackingError as error:
            _log.warning("the run %s may still say RUNNING: %s", record.run_id, error)


def unsent(folder: Path) -> bool:
    """Whether the tracker lacks something that the training in `folder` measured."""
    outbox = Outbox(folder)
    run_id, destination = outbox.run()
    return bool(run_id) and not outbox.is_empty(f"{destination} {run_id}")


def write_config(folder: Path, text: str) -> None:
    """Keep the resolved config beside the record.

    Raises:
        TrainingError: it cannot be written.
    """
    try:
        write_atomically(folder / CONFIG, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise TrainingError(f"cannot write {folder / CONFIG}: {error.strerror or error}; make room") from error


def _ended(earlier: Attempt) -> Attempt:
    """An earlier start: one that could not say how it ended was killed, since the lock is ours now."""
    return dataclasses.replace(earlier, status="KILLED") if earlier.status == training_record.RUNNING else earlier


def _remove_torn(folder: Path, before: set[Path]) -> None:
    """Remove the checkpoint that was being written when this start ended, if there was one."""
    for path in set((folder / CHECKPOINTS).glob("checkpoint-*")) - before:
        if whats_missing(path):
            shutil.rmtree(path, ignore_errors=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
