"""Where results go: the Tracker protocol, what it takes, and a tracker that keeps nothing."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from kurve.errors import RejectedError, TrackingError
from kurve.types import Report

_KINDS_OF_EVALUATIONS = ("", "base", "rlvr", "distill")  # the latter as users tag their own
STATUSES = ("FINISHED", "FAILED", "KILLED")
# A file `<name>.image.png` has axes that all runs share: a tracker that can lay images of runs side by side does so.
IMAGE_SUFFIX = ".image.png"


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is known of an evaluation or a training before it starts."""

    key: str  # the same evaluation (spec, problems, n, verifier, report settings) or training has the same key
    name: str  # for people: model on benchmark
    params: Mapping[str, str]  # flattened resolved config
    tags: Mapping[str, str]  # kurve.*, git commit, store address
    config_yaml: str  # the resolved config, whole
    versions: Mapping[str, str]  # package -> version
    dataset_name: str = ""  # empty: no dataset input
    dataset_source: str = ""  # hub id or path
    dataset_digest: str = ""
    prompts: Sequence[tuple[str, str]] = ()  # (problem id, question), for the dataset input


@dataclass(frozen=True, slots=True)
class Point:
    """One number of a report; `step` is k on a curve and 0 for a scalar."""

    key: str
    value: float
    step: int


@dataclass(frozen=True, slots=True)
class TimedPoint:
    """One number that a training measured, and when: sent twice, it is still one point."""

    key: str
    value: float
    step: int
    timestamp: int  # ms since 1970


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A trained model for a registry: where its weights are, which ones they are, where they come from."""

    name: str  # of the registered model, whose versions share it
    path: str  # absolute folder of the weights, which stay there
    sha256: str  # over all files of the folder, 64 hex digits
    step: int  # of the training
    run_id: str  # of the training; empty if it has none here
    evaluations: Sequence[str]  # ids of the runs that measured it
    tags: Mapping[str, str]  # kurve.study, kurve.role, kurve.algorithm, kurve.base, kurve.fingerprint
    upload: bool = False  # the registry gets a copy of the weights


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A model as a registry holds it."""

    name: str  # may differ from the one that was asked for in characters that the registry does not take
    version: str
    url: str  # where a person sees it


class Registry(Protocol):
    """Named models in versions, each with its origin and the numbers that were measured of it."""

    def check(self) -> None:
        """Refuse an unreachable registry, before anything is trained for it.

        Raises:
            TrackingError: the destination, what went wrong and what to do.
        """

    def register(self, model: ModelInfo) -> ModelVersion:
        """Make a version of the model, or find the one of the same name, path and sha256 and add what is new.

        The weights are copied only if the model says so.

        Raises:
            TrackingError: a run or the name cannot be used, or the registry cannot be reached; calling it again
                later is safe.
        """

    def evaluations(self, name: str, which: str) -> Sequence[str]:
        """Ids of the runs that measured a version of a model, the earliest first.

        Args:
            name: of the registered model.
            which: its alias, or the number of the version.

        Raises:
            TrackingError: there is no such model or version, or the registry cannot be reached.
        """


class Tracker(Protocol):
    """One run of one evaluation or training in a tracking system."""

    def check(self) -> None:
        """Refuse an unreachable or unusable destination, before sampling starts.

        Raises:
            TrackingError: the destination, what went wrong and what to do.
        """

    def start(self, run: RunInfo) -> bool:
        """Open a run, adopt the unfinished run of the same evaluation, or find the finished one.

        Returns:
            True if this evaluation still has to be logged; False if a finished run already holds it.

        Raises:
            TrackingError: the destination cannot be reached.
        """

    def log_report(self, report: Report, files: Sequence[Path]) -> None:
        """Log scalars, curves and tables, and keep `files` (figures, counts, previews) as artifacts.

        Raises:
            TrackingError: the destination cannot be reached; calling it again later is safe.
        """

    def log_points(self, points: Sequence[TimedPoint]) -> None:
        """Log numbers with their own time; repeating a call adds nothing. What is not finite is left out.

        Raises:
            RejectedError: one of the points will never be taken; none or some of the others were logged.
            TrackingError: the destination cannot be reached; calling it again later is safe.
        """

    def log_files(self, files: Sequence[Path], folder: str) -> None:
        """Keep files as artifacts under `folder` (relative, `/` between its parts); a file of that name is replaced.

        Raises:
            RejectedError: a file or the folder will never be taken, as one that does not exist.
            TrackingError: the destination cannot be reached; calling it again later is safe.
        """

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run; those named `kurve.verdict.<benchmark>` say what a model gained and lost, in words.

        Raises:
            TrackingError: the destination cannot be reached; calling it again later is safe.
        """

    def finish(self, status: str, ended: int | None = None) -> None:
        """Close the run as FINISHED, FAILED or KILLED; without a run it does nothing.

        Args:
            status: one of the three.
            ended: when it ended, in ms since 1970; None is now.

        Raises:
            TrackingError: the destination cannot be reached, or the status is none of the three.
        """

    def attach(self, run_id: str) -> None:
        """Log into a run that exists, whatever its status, without changing or describing it.

        Raises:
            TrackingError: there is no such run, it was deleted, or the destination cannot be reached.
        """

    def tags(self, run_id: str) -> Mapping[str, str]:
        """The tags of any run, as `start` was given them.

        Raises:
            TrackingError: there is no such run, or the destination cannot be reached.
        """

    def fetch(self, run_id: str, file: str, folder: Path) -> Path:
        """A copy of a file that was kept with any run, in `folder`.

        Args:
            run_id: of the run.
            file: its name as it was logged, `<folder>/<name>` if it was logged into one.
            folder: an existing folder of the caller.

        Raises:
            TrackingError: there is no such run or file, or the destination cannot be reached.
        """

    def find_evaluations(self, tags: Mapping[str, str]) -> Sequence[str]:
        """Ids of the finished evaluations with all of these tags, the earliest first.

        Raises:
            TrackingError: the destination cannot be reached.
        """

    def find_running(self, tags: Mapping[str, str]) -> Sequence[str]:
        """Ids of the runs with all of these tags that were not closed, the earliest first, whether alive or not.

        Raises:
            TrackingError: the destination cannot be reached.
        """

    def registry(self) -> Registry | None:
        """Where trained models are registered beside the runs; None for a tracker that keeps no registry."""

    def in_background(self) -> AbstractContextManager[None]:
        """While the block lasts, a thread may log here: calls fail within seconds rather than wait for a server."""

    @property
    def samples_limit(self) -> int | None:
        """Characters of all responses together up to which `log_report` gets them all; 0: never, None: always."""

    @property
    def run_id(self) -> str:
        """What names the run for `attach` and `tags`; empty before `start`."""

    @property
    def destination(self) -> str:
        """Where runs go, absolute and without a password; empty if they go nowhere."""

    @property
    def url(self) -> str:
        """Where a person sees the run; empty before `start`."""

    @property
    def hint(self) -> str:
        """One sentence on how to look at the run, for the end of a command; may be empty."""


class NullTracker:
    """Keeps nothing: for trying things out and for programs that use the report themselves."""

    def check(self) -> None:
        """Nothing can be unreachable."""

    def start(self, run: RunInfo) -> bool:
        """Every evaluation still has to be logged."""
        return True

    def log_report(self, report: Report, files: Sequence[Path]) -> None:
        """Drop the report."""

    def log_points(self, points: Sequence[TimedPoint]) -> None:
        """Drop the points."""

    def log_files(self, files: Sequence[Path], folder: str) -> None:
        """Drop the files."""

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Drop the tags."""

    def finish(self, status: str, ended: int | None = None) -> None:
        """Refuse a status that another tracker would refuse."""
        check_status(status)

    def attach(self, run_id: str) -> None:
        """Refuse: no run was ever kept."""
        raise TrackingError(f"tracker=none keeps no runs, so there is no run {run_id!r}; name the tracker that has it")

    def tags(self, run_id: str) -> Mapping[str, str]:
        """Refuse: no run was ever kept."""
        raise TrackingError(f"tracker=none keeps no runs, so there is no run {run_id!r}; name the tracker that has it")

    def fetch(self, run_id: str, file: str, folder: Path) -> Path:
        """Refuse: no run was ever kept."""
        raise TrackingError(f"tracker=none keeps no runs, so there is no run {run_id!r}; name the tracker that has it")

    def find_evaluations(self, tags: Mapping[str, str]) -> Sequence[str]:
        """Refuse: no run was ever kept."""
        raise TrackingError("tracker=none keeps no runs, so none has a tag; name the tracker that has them")

    def find_running(self, tags: Mapping[str, str]) -> Sequence[str]:
        """None: no run was ever kept."""
        return ()

    def registry(self) -> Registry | None:
        """None: models are kept nowhere."""
        return None

    def in_background(self) -> AbstractContextManager[None]:
        """Nothing can be slow."""
        return nullcontext()

    @property
    def samples_limit(self) -> int | None:
        """0: nothing is kept."""
        return 0

    @property
    def run_id(self) -> str:
        """Empty: there is no run."""
        return ""

    @property
    def destination(self) -> str:
        """Empty: runs go nowhere."""
        return ""

    @property
    def url(self) -> str:
        """Empty: there is nothing to see."""
        return ""

    @property
    def hint(self) -> str:
        """Empty: there is nothing to see."""
        return ""


def check_files(files: Sequence[Path]) -> None:
    """Refuse missing files and two files of one name, which would overwrite each other."""
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise TrackingError(f"files to keep with the run do not exist: {', '.join(missing)}; write them first")
    names = [file.name for file in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TrackingError(f"several files to keep with the run are named {', '.join(twice)}; rename all but one")


def check_folder(folder: str) -> None:
    """Refuse a folder of artifacts that is not a plain relative path; empty means their root."""
    parts = PurePosixPath(folder).parts
    if folder.startswith("/") or ".." in parts or "\\" in folder or "\x00" in folder:
        raise RejectedError(f"artifacts cannot be kept under {folder!r}; give a relative folder such as 'rollouts'")


def finite(points: Sequence[TimedPoint]) -> list[TimedPoint]:
    """The points without NaN and infinities."""
    return [point for point in points if math.isfinite(point.value)]


def check_status(status: str) -> None:
    """Refuse a status that is none of FINISHED, FAILED and KILLED."""
    if status not in STATUSES:
        raise TrackingError(f"a run cannot end as {status!r}; it ends as one of {', '.join(STATUSES)}")


def is_evaluation(tags: Mapping[str, str]) -> bool:
    """Whether the run of these tags measured a model, rather than trained or compared some."""
    return tags.get("kurve.kind", "") in _KINDS_OF_EVALUATIONS


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
