"""What `kurve score` is asked about: sample stores, and a file of reference texts that becomes one."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

from kurve.benchmarks.files import SUFFIXES, Row
from kurve.benchmarks.files import read as read_rows
from kurve.commands.stored import find_store, stored_config
from kurve.errors import ConfigError, DataError, TrackingError
from kurve.store import SampleStore, StoredPrompt
from kurve.tracking import Tracker
from kurve.types import Model, Sample, SamplingSpec

REFERENCE = "reference"  # engine of a store of reference texts, and how its samples ended
_COLUMNS = ("id", "text", "question")


@dataclass(frozen=True, slots=True)
class Source:
    """A sample store and what its responses are called."""

    store: SampleStore  # open for reading
    name: str
    run_id: str = ""  # of the evaluation, where it was named by its run

    @property
    def folder(self) -> Path:
        """The store's folder."""
        return self.store.folder


def find_sources(cfg: DictConfig, tracker: Tracker) -> list[Source]:
    """The stores that `samples` names, each once.

    Raises:
        ConfigError: one names nothing, one comes twice, or `names` does not fit them.
    """
    given = cfg.samples if isinstance(cfg.samples, ListConfig) else str(cfg.samples).split(",")
    found = [_source(cfg, str(one).strip(), tracker) for one in given]
    twice = [str(folder) for folder, count in Counter(one.folder for one in found).items() if count > 1]
    if twice:
        raise ConfigError(f"samples names {', '.join(twice)} more than once; name each store once")
    return [replace(one, name=name) for one, name in zip(found, _names(cfg, found), strict=True)]


def base_place(cfg: DictConfig, sources: Sequence[Source], model: Model, lora: str) -> int | None:
    """Which store the scoring model drew: the one that `base` names, else the first with its weights; None if none.

    Raises:
        ConfigError: `base` is none of the stores.
    """
    if cfg.base is not None:
        folder = find_store(cfg, str(cfg.base))
        place = next((place for place, one in enumerate(sources) if one.folder == folder), None)
        if place is None:
            raise ConfigError(f"base={cfg.base} is not among samples={cfg.samples}; name it there too")
        return place
    for place, source in enumerate(sources):
        if drew(source.store.spec, model, lora):
            return place
    return None


def drew(spec: SamplingSpec, model: Model, lora: str) -> bool:
    """Whether a store was drawn from these weights: the same digest of a local folder, or hub id and revision."""
    local = Path(model.path).is_absolute()
    same_place = (local and bool(model.revision)) or spec.model == model.path
    return (
        same_place and spec.model_revision == model.revision and spec.lora.partition("@")[2] == lora.partition("@")[2]
    )


def reference_source(cfg: DictConfig, sources: Sequence[Source]) -> Source | None:
    """The reference texts as a store of their own, beside the others, found again by what they say.

    A text belongs to the stored problem with its id, else to the one that asks its question.

    Raises:
        ConfigError: no such file, or columns that it does not have.
        DataError: a row is malformed, or no text belongs to a stored problem.
    """
    if cfg.reference is None:
        return None
    path = Path(str(cfg.reference)).expanduser()
    if not path.is_file():
        raise ConfigError(f"reference={path} does not exist (looked in {Path.cwd()}); give a JSONL or Parquet file")
    if not path.name.lower().endswith(SUFFIXES):
        raise ConfigError(f"reference={path} is a file of another kind; expected {', '.join(SUFFIXES)}")
    columns = _reference_columns(cfg)
    prompts: dict[str, StoredPrompt] = {}
    for source in sources:
        for prompt in source.store.prompts():
            prompts.setdefault(prompt.problem_id, prompt)
    samples = list(_reference_samples(read_rows(path)[0], prompts, columns))
    if not samples:
        raise DataError(
            f"reference={path}: none of its rows is of a stored problem; its ids (column {columns['id']}) must be "
            f"those of the stores, as {', '.join(list(prompts)[:3])}, or its questions (column {columns['question']})"
        )
    asked = {sample.problem_id: prompts[sample.problem_id] for sample in samples}
    spec = _reference_spec(path, sources[0].store.spec, samples, asked)
    with SampleStore.open(Path(cfg.paths.samples), spec) as store:
        store.copy_prompts(asked.values())
        store.append_many(samples)
    return Source(SampleStore.open_folder(store.folder), path.name)


def _source(cfg: DictConfig, reference: str, tracker: Tracker) -> Source:
    if not reference:
        raise ConfigError("samples is empty; give sample stores (folder or fingerprint) with commas between them")
    run_id = ""
    try:
        folder = find_store(cfg, reference)
    except ConfigError as error:
        try:
            folder = Path(tracker.tags(reference)["kurve.store"])
        except (TrackingError, KeyError):
            raise error from None
        if not (folder / "spec.json").is_file():
            raise ConfigError(
                f"samples={reference}: the run's samples are in {folder}, which is not on this machine; copy the "
                "folder and name it"
            ) from error
        run_id = reference
    store = SampleStore.open_folder(folder)
    if not store.count():
        raise DataError(f"{folder} holds no samples yet; draw some: kurve sample, or kurve evaluate")
    name = Path(store.spec.model).name or store.spec.model
    config = stored_config(folder)
    named = OmegaConf.select(config, "model.name") if config is not None else None
    return Source(store, str(named or name), run_id)


def _names(cfg: DictConfig, found: Sequence[Source]) -> list[str]:
    names = [one.name for one in found]
    if cfg.names is not None:
        if not isinstance(cfg.names, ListConfig) or len(cfg.names) != len(found):
            raise ConfigError(f"names is {cfg.names}; expected one name for each of the {len(found)} stores")
        names = [str(name) for name in cfg.names]
        if len(set(names)) < len(names):
            raise ConfigError(f"names has {', '.join(names)}; expected different ones")
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]


def _reference_columns(cfg: DictConfig) -> Mapping[str, str]:
    given = cfg.reference_columns
    if not isinstance(given, DictConfig) or any(key not in _COLUMNS for key in given):
        raise ConfigError(f"reference_columns is {given}; expected {', '.join(_COLUMNS)}, as reference_columns.id=id")
    return {key: str(given.get(key) or key) for key in _COLUMNS}


def _reference_samples(
    rows: Sequence[Row], prompts: Mapping[str, StoredPrompt], columns: Mapping[str, str]
) -> Iterator[Sample]:
    by_question = {prompt.question: problem_id for problem_id, prompt in prompts.items() if prompt.question}
    numbers: Counter[str] = Counter()
    for row in rows:
        text = row.values.get(columns["text"])
        if not isinstance(text, str):
            raise DataError(
                f"{row.place}: {columns['text']} is {text!r}; expected a text; name its column: "
                f"reference_columns.text=... (it has {', '.join(row.values)})"
            )
        problem_id = str(row.values.get(columns["id"], ""))
        if problem_id not in prompts:
            problem_id = by_question.get(str(row.values.get(columns["question"], "")), "")
        if problem_id:
            yield Sample(problem_id, numbers[problem_id], text, REFERENCE, num_tokens=0, engine=REFERENCE)
            numbers[problem_id] += 1


def _reference_spec(
    path: Path, like: SamplingSpec, samples: Sequence[Sample], asked: Mapping[str, StoredPrompt]
) -> SamplingSpec:
    """A spec that nothing else has: texts and prompts decide it, the drawing settings say that nothing was drawn."""
    said = [(sample.problem_id, sample.text, asked[sample.problem_id].digest) for sample in samples]
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
    return replace(
        like, model=path.name, model_revision=digest, lora="", temperature=1.0, top_p=1.0, top_k=0, min_p=0.0,
        max_tokens=0, stop=(), engine=REFERENCE, seed="0",
    )  # fmt: skip
