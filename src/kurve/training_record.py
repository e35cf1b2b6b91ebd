"""A training's folder: what its model was made from, how far it is, and where its checkpoints are.

    <paths.models>/<name>-<fingerprint>/
        training.json   provenance and status, replaced as a whole
        config.yaml     the resolved config
        training.lock   held while it trains
        trainer.log     what the training libraries say
        checkpoints/checkpoint-<step>/
        model/          the result, loadable by vLLM and transformers; there once it is complete
        journal/        what was measured

The fingerprint addresses all that decides the result, so the same training is found again, by whatever name.
"""

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kurve.errors import ConfigError, StoreError, TrainingError
from kurve.saved_steps import steps_in
from kurve.store.disk import write_atomically
from kurve.store.lock import WriterLock
from kurve.types import Model

RECORD = "training.json"
CONFIG = "config.yaml"
LOCK = "training.lock"
MODEL = "model"
CHECKPOINTS = "checkpoints"
RUNNING, FINISHED = "RUNNING", "FINISHED"
_FORMAT = 1
_FINGERPRINT = re.compile(r"[0-9a-f]{4,12}")
_LISTED = 5  # trainings named in a message


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a training."""

    started: str  # time, ISO 8601
    first_step: int  # steps done before it
    processes: int
    status: str = RUNNING  # RUNNING, FINISHED, FAILED or KILLED; after kill -9 RUNNING until the next start
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What `training.json` holds."""

    fingerprint: str  # of `recipe`, 12 hex digits
    birth: str  # random, made with the folder: names the run of this training
    name: str
    algorithm: str
    recipe: Mapping[str, Any]  # all that decides the result
    base: Model  # initial weights
    data: Mapping[str, Any]  # name, source, digest, size
    seed: int
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    final_step: int = 0  # of the model in model/; 0 until it is finished
    tokens: int = 0  # seen in training, where the algorithm counts them
    run_id: str = ""
    run_url: str = ""

    @property
    def status(self) -> str:
        """RUNNING, FINISHED, FAILED or KILLED; empty before the first start."""
        return self.attempts[-1].status if self.attempts else ""

    @property
    def finished(self) -> bool:
        """Whether the model is complete."""
        return self.status == FINISHED

    @property
    def seconds(self) -> float:
        """Wall-clock time over all starts that ended in an orderly way."""
        return sum(attempt.seconds for attempt in self.attempts)


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """12 hex digits of the recipe's canonical JSON, which no command line reads as a number."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digits = hashlib.sha256(text.encode("ascii")).hexdigest()
    letter = re.search(r"[a-df]", digits[11:])  # 1234e5678901 would be read as a float
    at = letter.start() if letter and not re.search(r"[a-df]", digits[:12]) else 0
    return digits[at : at + 12]


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The dotted keys in which two recipes differ, with both values, in words."""
    mine, theirs = dict(_flat(one, "")), dict(_flat(other, ""))
    absent = "nothing"
    return [
        f"{key}: {mine.get(key, absent)} against {theirs.get(key, absent)}"
        for key in sorted(mine.keys() | theirs.keys())
        if mine.get(key, absent) != theirs.get(key, absent)
    ]


def write(folder: Path, record: TrainingRecord) -> None:
    """Replace `training.json`.

    Raises:
        TrainingError: it cannot be written.
    """
    steps = {str(step): str(path.relative_to(folder)) for step, path in steps_in(folder / CHECKPOINTS).items()}
    document = {"format": _FORMAT, "status": record.status, "steps": steps, **dataclasses.asdict(record)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / RECORD, json.dumps(document, indent=1, ensure_ascii=True).encode("ascii") + b"\n")
    except OSError as error:
        raise TrainingError(
            f"cannot write {folder / RECORD}: {error.strerror or error}; make room, or name another folder: "
            "paths.models=..."
        ) from error


def read(folder: Path) -> TrainingRecord | None:
    """The record in a folder; None where there is none.

    Raises:
        TrainingError: it is damaged, or a newer kurve wrote it.
    """
    path = folder / RECORD
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != _FORMAT:
            raise TrainingError(f"{path} has format {document['format']}, this kurve reads {_FORMAT}; update kurve")
        known = {one.name: document[one.name] for one in dataclasses.fields(TrainingRecord)}
        known["base"] = Model(**known["base"])
        known["attempts"] = tuple(Attempt(**attempt) for attempt in known["attempts"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise TrainingError(
            f"{path} is damaged ({type(error).__name__}: {error}); move the folder away to train anew"
        ) from error
    return TrainingRecord(**known)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The right to train into `folder`, which is made if needed.

    Raises:
        TrainingError: another process trains into it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(folder / LOCK)
    except OSError as error:
        raise TrainingError(
            f"cannot make {folder}: {error.strerror or error}; paths.models=... names another"
        ) from error
    except StoreError as error:
        raise TrainingError(str(error)) from error
    try:
        yield
    finally:
        lock.release()


def with_fingerprint(root: Path, address: str) -> Path | None:
    """The folder of the training with this fingerprint under `root`, by whatever name it was started."""
    found = sorted(path.parent for path in root.glob(f"*-{address}/{RECORD}"))
    return found[0] if found else None


def find(root: Path, reference: str) -> tuple[Path, TrainingRecord]:
    """The training that a person names: its folder, its fingerprint or the beginning, its run id or the run's URL.

    Raises:
        ConfigError: there is no such training under `root`, or several.
        TrainingError: its record is damaged.
    """
    as_path = Path(reference).expanduser()
    if record := read(as_path):
        return as_path.absolute(), record
    if as_path.parent.name == CHECKPOINTS or as_path.name == MODEL:
        raise ConfigError(f"from_run={reference} is a model's folder; give the training's, or model.path={reference}")
    folders = sorted(path.parent for path in root.glob(f"*/{RECORD}"))
    if _FINGERPRINT.fullmatch(reference):
        found = [folder for folder in folders if folder.name.rpartition("-")[2].startswith(reference)]
    else:
        found = [folder for folder in folders if folder.name == reference]
    records = [(folder, record) for folder in found or folders if (record := read(folder))]
    if not found:
        records = [(folder, record) for folder, record in records if _is_run(record, reference)]
    if len(records) == 1:
        return records[0]
    if records:
        raise ConfigError(f"from_run={reference} fits {', '.join(folder.name for folder, _ in records)}; give more")
    held = ", ".join(folder.name for folder in folders[-_LISTED:]) or "none"
    raise ConfigError(
        f"from_run={reference} is neither the folder, the fingerprint nor the run of a training under {root} "
        f"(there: {held}); give its folder, or paths.models=<folder of the trainings>"
    )


def step_folder(folder: Path, record: TrainingRecord, step: int | None) -> tuple[Path, int]:
    """The folder of the weights after `step` steps (None: the result) and their step.

    Raises:
        ConfigError: the training is not finished, or saved nothing at that step; the message lists what there is.
    """
    saved = steps_in(folder / CHECKPOINTS)
    steps = sorted(saved.keys() | ({record.final_step} if record.finished else set()))
    if step is None and record.finished:
        return folder / MODEL, record.final_step
    if step is not None and step in saved:
        return saved[step], step
    if step is not None and record.finished and step == record.final_step:
        return folder / MODEL, step
    has = f"it has step {', '.join(map(str, steps))}" if steps else "it has saved no step yet"
    if step is None:
        raise ConfigError(f"{folder} is not finished (its last start is {record.status}); {has}: model.step=...")
    raise ConfigError(f"{folder} has nothing at step {step}; {has}")


def _is_run(record: TrainingRecord, reference: str) -> bool:
    return reference.rstrip("/") in {record.run_id, record.run_url.rstrip("/")} - {""}


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, json.dumps(value, sort_keys=True)
