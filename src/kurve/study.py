"""A study: stages that build on one another, each a command with overrides. What is finished is not done again.

    <paths.out>/studies/<name>-<fingerprint>/
        study.json        the stages and what each made, replaced as a whole
        study.lock        held while it runs
        logs/<stage>.log  what the stage's command printed
        comparison/       what changed between base and the others
        promotions.json   what gates decided of the trained models, their reports in gate/

An override may name what an earlier stage made: `{base}` is its folder, `{base.run_id}` a fact or path by its name. So
the overrides say which stages a stage needs. A stage is finished when its command ended well with these very overrides
and what it made is still there.
"""

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from kurve.errors import ConfigError, StoreError, StudyError
from kurve.store.disk import write_atomically
from kurve.store.lock import WriterLock

ROLES = ("base", "tuned", "teacher", "distilled")
RECORD, LOCK = "study.json", "study.lock"
_T = TypeVar("_T")
_FORMAT = 1
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,60}")
_PLAIN = re.compile(r"[A-Za-z/][\w/.:@-]*")
_REFERENCE = re.compile(r"\{([A-Za-z][A-Za-z0-9_-]*)(?:\.([a-z_]+))?\}")


@dataclass(frozen=True, slots=True)
class Stage:
    """One command of a study."""

    name: str
    command: str  # train, evaluate, ...
    overrides: tuple[str, ...]  # may name what earlier stages made
    role: str = ""  # of the model: base, tuned, teacher or distilled
    base: str = ""  # stage of the same command that this one is compared with

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages that must be finished first."""
        named = [match[1] for text in self.overrides for match in _REFERENCE.finditer(text)]
        return tuple(dict.fromkeys([*named, *([self.base] if self.base else [])]))


@dataclass(frozen=True, slots=True)
class Made:
    """What a stage's command made."""

    folder: str  # of the training or the sample store
    paths: Mapping[str, str] = field(default_factory=dict)  # what else must be there
    facts: Mapping[str, str] = field(default_factory=dict)  # run_id, ...

    @property
    def is_there(self) -> bool:
        """Whether all of it still exists."""
        return all(Path(path).exists() for path in (self.folder, *self.paths.values()))

    def get(self, name: str) -> str | None:
        """A path or fact by its name; empty is the folder, None that there is no such thing."""
        return self.folder if not name else self.paths.get(name, self.facts.get(name))


@dataclass(frozen=True, slots=True)
class Finished:
    """A stage that ended well."""

    fingerprint: str  # of its command and overrides, with what they named filled in
    made: Made
    seconds: float


def check_stages(stages: Sequence[Stage]) -> None:
    """Refuse a list of stages that cannot be run, before any of them is.

    Raises:
        ConfigError: no stages; a name, role or reference that cannot be; or stages that need each other.
    """
    if not stages:
        raise ConfigError("the study has no stages; name one with experiment=<study>, or write stages: in a YAML file")
    known: dict[str, Stage] = {}
    for stage in stages:
        if not _NAME.fullmatch(stage.name):
            raise ConfigError(f"stages.{stage.name}: a stage's name is letters, digits, '_' and '-'")
        if stage.role and stage.role not in ROLES:
            raise ConfigError(f"stages.{stage.name}.role is {stage.role!r}; expected one of {', '.join(ROLES)}")
        missing = [name for name in stage.needs if name not in known]
        if missing:
            raise ConfigError(
                f"stages.{stage.name} needs {missing[0]}, which is no stage before it; before it are "
                f"{', '.join(known) or 'none'}"
            )
        if stage.base and known[stage.base].command != stage.command:
            raise ConfigError(
                f"stages.{stage.name}.base is {stage.base}, a stage of kurve {known[stage.base].command}; expected one "
                f"of kurve {stage.command}, with which it is compared"
            )
        known[stage.name] = stage


def fingerprint(stages: Sequence[Stage]) -> str:
    """12 hex digits of what a study does, whatever was done of it so far."""
    return _digest([dataclasses.astuple(stage) for stage in stages])


def stage_fingerprint(stage: Stage, finished: Mapping[str, Finished]) -> str:
    """12 hex digits of the stage's command with what its overrides name filled in."""
    return _digest([stage.command, *filled_in(stage, finished)])


def filled_in(stage: Stage, finished: Mapping[str, Finished]) -> list[str]:
    """The stage's overrides with what earlier stages made in place of their names.

    Raises:
        ConfigError: an earlier stage made no such thing.
    """

    def replace(match: re.Match[str]) -> str:
        made = finished[match[1]].made
        value = made.get(match[2] or "")
        if value is None:
            raise ConfigError(
                f"stages.{stage.name} names {match[0]}, and {match[1]} has no {match[2]}; it has "
                f"{', '.join([*made.paths, *made.facts])}"
            )
        return quoted(value)

    return [_REFERENCE.sub(replace, text) for text in stage.overrides]


def quoted(value: str) -> str:
    """A value as Hydra's command line reads it back, whatever characters it has."""
    if _PLAIN.fullmatch(value) and not value.replace("_", "").isalnum():
        return value
    return "'" + value.replace("'", "\\'") + "'"


def done(stages: Sequence[Stage], record: Mapping[str, Finished]) -> dict[str, Finished]:
    """The stages of the record that need not be done again, in order."""
    found: dict[str, Finished] = {}
    for stage in stages:
        before = record.get(stage.name)
        if before is None or not before.made.is_there or not set(stage.needs) <= set(found):
            continue
        if stage_fingerprint(stage, found) == before.fingerprint:
            found[stage.name] = before
    return found


def read(folder: Path) -> dict[str, Finished]:
    """What was finished of the study in a folder; empty for a new one.

    Raises:
        StudyError: its record is damaged.
    """
    return _read(folder, _finished_in) or {}


def read_stages(folder: Path) -> list[Stage]:
    """The stages of the study in a folder, in order; empty for a new one.

    Raises:
        StudyError: its record is damaged.
    """
    return _read(folder, _stages_in) or []


def _finished_in(document: dict[str, Any]) -> dict[str, Finished]:
    return {
        name: Finished(one["fingerprint"], Made(**one["made"]), float(one["seconds"]))
        for name, one in document["finished"].items()
    }


def _stages_in(document: dict[str, Any]) -> list[Stage]:
    return [Stage(**{**one, "overrides": tuple(one["overrides"])}) for one in document["stages"]]


def _read(folder: Path, what: Callable[[dict[str, Any]], _T]) -> _T | None:
    """What is read out of `study.json`; None if there is none."""
    path = folder / RECORD
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != _FORMAT:
            raise StudyError(f"{path} has format {document['format']}, this kurve reads {_FORMAT}; update kurve")
        return what(document)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StudyError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StudyError(
            f"{path} is damaged ({type(error).__name__}: {error}); remove it: stages that are finished are found again "
            "by their own folders"
        ) from error


def write(folder: Path, stages: Sequence[Stage], finished: Mapping[str, Finished]) -> None:
    """Replace `study.json`.

    Raises:
        StudyError: it cannot be written.
    """
    document = {
        "format": _FORMAT,
        "stages": [dataclasses.asdict(stage) for stage in stages],
        "finished": {name: dataclasses.asdict(one) for name, one in finished.items()},
    }
    try:
        write_atomically(folder / RECORD, json.dumps(document, indent=1).encode("ascii") + b"\n")
    except OSError as error:
        raise StudyError(f"cannot write {folder / RECORD}: {error.strerror or error}; make room") from error


def read_made(path: Path) -> Made | None:
    """The last thing that a command told in the file of KURVE_RESULT; None if it told nothing."""
    try:
        line = path.read_text(encoding="ascii").splitlines()[-1]
        found = json.loads(line)
        return Made(str(found["folder"]), dict(found["paths"]), dict(found["facts"]))
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The right to run the study in `folder`, which is made if needed.

    Raises:
        StudyError: another process runs it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(folder / LOCK)
    except OSError as error:
        raise StudyError(f"cannot make {folder}: {error.strerror or error}; paths.out=... names another") from error
    except StoreError as error:
        raise StudyError(str(error)) from error
    try:
        yield
    finally:
        lock.release()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode("ascii")).hexdigest()[:12]
