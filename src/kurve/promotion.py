"""What moving an alias needs of a registry and of tracked runs; and an evaluation's stored counts as evidence.

Numbers are taken from the files that an evaluation kept, never from metrics, which anybody may log: counts.parquet has
to agree with the digest that report.json recorded when it was written.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, runtime_checkable

from kurve.errors import DataError
from kurve.export import COUNTS, REPORT, counts_sha256, read_counts
from kurve.gates import Measured
from kurve.tracking import Registry

SANDBOX_TAG, UNSAFE = "kurve.sandbox", "unsafe"
_MOST_BYTES = 1 << 28  # of a file; a million problems take a tenth of it
_SAME = ("benchmark_revision", "temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "prompt_digest")


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version of a registered model, as the registry holds it."""

    name: str
    version: str
    source: str  # where the registry says the weights are
    run_id: str  # of its training; empty if there is none
    created: int  # ms since 1970; tells a version from a later one of the same number
    tags: Mapping[str, str]
    evaluations: Sequence[str]  # ids of the runs that measured it, the earliest first
    url: str = ""  # where a person sees it

    @property
    def path(self) -> str:
        """Folder of the weights; empty if kurve did not register it."""
        return self.tags.get("kurve.path", "")

    @property
    def sha256(self) -> str:
        """Of the weights; empty if kurve did not register it."""
        return self.tags.get("kurve.sha256", "")


@runtime_checkable
class PromotionRegistry(Registry, Protocol):
    """A registry whose versions can be given an alias, with the reason for it."""

    def version(self, name: str, which: str) -> RegisteredVersion:
        """A version by its number or alias.

        Raises:
            TrackingError: there is no such model or version, or the registry cannot be reached.
        """

    def trained_by(self, run_id: str) -> Sequence[RegisteredVersion]:
        """The versions whose weights a training made, the earliest first.

        Raises:
            TrackingError: the registry cannot be reached.
        """

    def record_gate(self, version: RegisteredVersion, alias: str, decision: Mapping[str, str], words: str) -> None:
        """Keep what a gate decided with the version, in place of what it decided for this alias before.

        Args:
            version: that was judged.
            alias: that it was judged for.
            decision: `outcome`, `gate`, `run_id` and `sha256` of the report; kept as a whole or not at all.
            words: plain text for the version's page, in place of an earlier gate's.

        Raises:
            TrackingError: the registry cannot be reached.
        """

    def set_alias(self, version: RegisteredVersion, alias: str) -> None:
        """Let the alias name this version.

        Raises:
            TrackingError: the registry refuses it, with its reason, or cannot be reached.
        """


class RunFiles(Protocol):
    """Tracked runs, as a Tracker shows them."""

    def tags(self, run_id: str) -> Mapping[str, str]:
        """The tags of a run."""

    def fetch(self, run_id: str, file: str, folder: Path) -> Path:
        """A copy of a file that was kept with a run, in `folder`."""


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """An evaluation as its run kept it."""

    run_id: str
    benchmark: str
    model: str  # what people call it
    model_path: str  # the weights that were sampled
    measured: Measured
    sha256: Mapping[str, str]  # of each file that was read, by its name
    base_run_id: str  # of the base's evaluation; empty where it is not recorded


def load_evaluation(runs: RunFiles, run_id: str) -> StoredEvaluation:
    """Read an evaluation's files and check that the counts are those that were logged.

    Raises:
        DataError: a file is damaged, or was altered since.
        TrackingError: there is no such run or file, or the tracker cannot be reached.
    """
    tags = runs.tags(run_id)
    with TemporaryDirectory(prefix="kurve-") as folder:
        paths = {name: runs.fetch(run_id, name, Path(folder)) for name in (COUNTS, REPORT)}
        sha256 = {name: _sha256(path, run_id) for name, path in paths.items()}
        tally = read_counts(paths[COUNTS])
        report = _report(paths[REPORT], run_id)
    scalars, spec = report["scalars"], report["spec"]
    if counts_sha256(tally) != report.get("counts_sha256"):
        raise DataError(
            f"the counts of the run {run_id} are not those that its {REPORT} recorded: one of both was altered; "
            "evaluate again"
        )
    if int(tally.num_errors.sum()) != scalars.get("num_errors"):
        raise DataError(f"the verifier errors of the run {run_id} are not those that its {REPORT} recorded")
    settings = {key: spec.get(key) for key in _SAME} | {"verifier": report.get("verifier")}
    unsafe = tags.get(SANDBOX_TAG, "").casefold() == UNSAFE
    return StoredEvaluation(
        run_id=run_id,
        benchmark=str(report.get("benchmark") or ""),
        model=str(report.get("model") or ""),
        model_path=str(spec.get("model") or ""),
        measured=Measured(tally, _rate(scalars.get("truncation_rate")), settings, unsafe),
        sha256=sha256,
        base_run_id=tags.get("kurve.base_run_id", ""),
    )


def is_of(version: RegisteredVersion, evaluation: StoredEvaluation) -> bool:
    """Whether an evaluation measured this version, as far as both say what they are."""
    if evaluation.run_id in version.evaluations:
        return True
    return not version.path or evaluation.model_path == version.path


def _sha256(path: Path, run_id: str) -> str:
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(
            f"{path.name} of the run {run_id} has more than {_MOST_BYTES:,} bytes, which no evaluation keeps"
        )
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _report(path: Path, run_id: str) -> dict[str, Any]:
    try:
        report = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{REPORT} of the run {run_id} is no JSON: {error}; evaluate again") from error
    if not isinstance(report, dict) or not all(isinstance(report.get(key), dict) for key in ("scalars", "spec")):
        raise DataError(f"{REPORT} of the run {run_id} is no report of an evaluation; evaluate again")
    return report


def _rate(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
