"""What the jobs of a sweep measured: the counts of their evaluations, and by which settings jobs are told apart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kurve import study, training_record
from kurve.errors import ConfigError, DataError
from kurve.export import COUNTS, REPORT, read_counts
from kurve.study import Finished, Stage
from kurve.sweep import Job, JobRecord, JobStatus
from kurve.types import Tally

COMMANDS = ("evaluate", "report", "study")  # whose jobs measure something
FROM_RUN = "model.from_run"
_DECIDES = ("algorithm", "training", "lora", "model", "teacher", "data", "benchmark", "prompt", "verifier")


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The evaluation that a job made, or a stage of the study that is the job."""

    job: Job
    stage: str  # of a study, empty otherwise
    role: str  # of the model: base, tuned, ...; empty where nobody said
    benchmark: str
    model: str  # name for people
    weights: str  # what tells the model from others
    run_id: str
    tally: Tally
    base: "Evaluated | None" = None  # of the stage that it is compared with


def evaluated(command: str, folder: Path, job: Job, record: JobRecord) -> list[Evaluated]:
    """The evaluations of one finished job.

    Args:
        command: of the sweep.
        folder: of the sweep.
        job: which.
        record: how it fares.

    Raises:
        DataError: what it made is gone or damaged.
        StudyError: the record of its study is damaged.
    """
    if record.status is not JobStatus.FINISHED:
        return []
    if command != "study":
        report = folder / job.key / "report"
        facts = {**_facts_of(report), **record.facts}
        return [_read(job, report, facts, stage="", role=given_settings(job).get("tags.role", ""))]
    place = Path(record.facts.get("folder", ""))
    finished = study.read(place) if record.facts.get("folder") else {}
    if not finished:
        raise DataError(
            f"the study of {job.key} is not at {record.facts.get('folder') or 'a place that is known'}; start it again"
        )
    return _of_study(job, study.read_stages(place), finished)


def given_settings(job: Job) -> dict[str, str]:
    """A job's overrides by key."""
    pairs = (word.lstrip("+~").partition("=") for word in job.overrides)
    return {key: value for key, _, value in pairs}


def settings_but(job: Job, seeds: Sequence[str], models: Path) -> dict[str, str]:
    """What tells a job from others that differ in more than the seed.

    Of a job that measures a training (`model.from_run`) it is what decided that training, also without its seeds, so
    that trainings which differ in nothing else count as seeds of one configuration.

    Args:
        job: whose.
        seeds: keys of the settings that are seeds.
        models: folder of the trainings.
    """
    settings = {key: value for key, value in given_settings(job).items() if key not in seeds}
    reference = settings.get(FROM_RUN)
    if reference is None:
        return settings
    training = _training(models, reference.strip("'\""))
    return settings if training is None else {**settings, **training, FROM_RUN: "a training"}


def seed_words(job: Job, seeds: Sequence[str], models: Path) -> str:
    """What a person calls a job's seed: of the job, and of the training that it measures."""
    given = given_settings(job)
    words = [f"{key}={given[key]}" for key in seeds if key in given]
    if (reference := given.get(FROM_RUN)) is not None:
        try:
            _, record = training_record.find(models, reference.strip("'\""))
            words.insert(0, f"training seed={record.seed}")
        except ConfigError:
            words.insert(0, f"{FROM_RUN}={reference}")
    return " ".join(words) or "one seed"


def _of_study(job: Job, stages: Sequence[Stage], finished: Mapping[str, Finished]) -> list[Evaluated]:
    """The evaluations that are compared, each with its base, and the bases themselves."""
    by_name = {stage.name: stage for stage in stages if stage.command == "evaluate" and stage.name in finished}
    bases = dict.fromkeys(stage.base for stage in by_name.values() if stage.base in by_name)
    read = {name: _of_stage(job, by_name[name], finished[name]) for name in bases}
    compared = [
        _of_stage(job, stage, finished[name], read.get(stage.base))
        for name, stage in by_name.items()
        if stage.base and name not in read
    ]
    return [*read.values(), *compared]


def _of_stage(job: Job, stage: Stage, finished: Finished, base: Evaluated | None = None) -> Evaluated:
    role = stage.role if base is not None else "base"
    report = Path(finished.made.paths["report"])
    return _read(job, report, finished.made.facts, stage=stage.name, role=role, base=base)


def _read(
    job: Job, report: Path, facts: Mapping[str, str], *, stage: str, role: str, base: Evaluated | None = None
) -> Evaluated:
    tally = read_counts(report / COUNTS)
    benchmark, model = facts.get("benchmark", ""), facts.get("model", "")
    return Evaluated(job, stage, role, benchmark, model, _weights(report, model), facts.get("run_id", ""), tally, base)


def _facts_of(report: Path) -> dict[str, str]:
    document = _document(report)
    return {key: str(document[key]) for key in ("benchmark", "model") if document.get(key)}


def _weights(report: Path, model: str) -> str:
    """What tells the weights from others, by what the samples' settings say of them."""
    spec = _document(report).get("spec")
    spec = spec if isinstance(spec, dict) else {}
    return json.dumps([spec.get(key) for key in ("model", "model_revision", "lora")]) if spec.get("model") else model


def _document(report: Path) -> dict[str, Any]:
    try:
        found = json.loads((report / REPORT).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _training(models: Path, reference: str) -> dict[str, str] | None:
    """What decided a training, without its seeds; None where it is not on this machine.

    A training that starts from another one is that one's settings too.
    """
    try:
        folder, record = training_record.find(models, reference)
        config = yaml.safe_load((folder / training_record.CONFIG).read_text(encoding="utf-8"))
    except (ConfigError, OSError, yaml.YAMLError):
        return None
    if not isinstance(config, dict):
        return None
    flat = dict(_flat({key: config[key] for key in _DECIDES if key in config}, ""))
    kept = {f"training: {key}": value for key, value in flat.items() if key.rpartition(".")[2] != "seed"}
    initial = kept.pop(f"training: {FROM_RUN}", None)
    before = _training(models, initial) if initial not in (None, "None") else None
    if initial not in (None, "None") and before is None:
        kept[f"training: {FROM_RUN}"] = str(initial)
    earlier = {f"initial {key}": value for key, value in (before or {}).items()}
    return {"algorithm": record.algorithm, **kept, **earlier}


def _flat(value: Any, prefix: str) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [
            pair for key, inner in value.items() for pair in _flat(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    return [(prefix, str(value))]
