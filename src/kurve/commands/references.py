"""What `base=` and `tuned=` of a comparison may name: a counts file, a sample store, a run, a registered model."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, ListConfig, OmegaConf

from kurve.commands.compared import Counted
from kurve.commands.stopping import adaptive_tally, is_adaptive, stored_rule
from kurve.commands.stored import find_store, stored_config
from kurve.counts_file import SUFFIXES, read_counts_file
from kurve.errors import ConfigError, DataError, TrackingError
from kurve.export import COUNTS, REPORT, read_about, read_counts
from kurve.store import SampleStore, VerdictStore
from kurve.store.listing import list_verdicts
from kurve.strata import read_strata, with_strata
from kurve.tracking import Tracker
from kurve.types import Outcome, Tally

_MODEL = re.compile(r"models:/(?P<name>[^@/]+)[@/](?P<which>[^@/]+)")
_RUN = re.compile(r".*/runs/(?P<id>[^/?#]+)/?")
_KINDS = (
    f"a counts file ({', '.join(SUFFIXES)}), a report's folder, a sample store (folder or fingerprint), a run id, or "
    "models:/<name>@<alias>"
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a reference turned out to be."""

    counted: Counted
    source: str  # file, folder or run, absolute
    benchmark: str = ""  # where it is known
    run_id: str = ""  # of the evaluation's run, where it has one
    tags: Mapping[str, str] = field(default_factory=dict)  # of the run, or those that a store was drawn with
    temperature: float | None = None  # of the samples, where it is known


def find(cfg: DictConfig, key: str, reference: str, tracker: Tracker) -> Found:
    """The counts that a reference names.

    Args:
        cfg: the config of the command: `paths`, and `verdicts` if it has it.
        key: of the setting, for messages.
        reference: as it was given.
        tracker: where runs and models are looked up.

    Raises:
        ConfigError: it names nothing, or something without counts.
        DataError: what it names is damaged.
        TrackingError: the tracker cannot be reached.
    """
    if not reference.strip():
        raise ConfigError(f"{key} is empty; expected {_KINDS}")
    path = Path(reference).expanduser()
    if path.is_file():
        return Found(Counted(_stem(path), _read_file(key, path)), str(path.absolute()))
    if path.is_dir():
        return _folder(cfg, key, path.absolute())
    if match := _MODEL.fullmatch(reference):
        return _model(key, match["name"], match["which"], tracker)
    if (name := Path(reference).name) and name.lower().endswith(SUFFIXES):
        raise ConfigError(f"{key}={reference} does not exist (looked in {Path.cwd()}); expected {_KINDS}")
    if match := _RUN.fullmatch(reference):
        return _run(key, match["id"], tracker)
    if reference.isalnum() and any(Path(cfg.paths.samples).glob(f"{reference}*/spec.json")):
        return _store(cfg, find_store(cfg, reference))
    return _run(key, reference, tracker)


def listed(value: object) -> list[str]:
    """The references of a setting: a list, or several with commas between them."""
    given = list(value) if isinstance(value, ListConfig) else str(value).split(",")
    return [str(one).strip() for one in given]


def _read_file(key: str, path: Path) -> Tally:
    if not path.name.lower().endswith(SUFFIXES):
        raise ConfigError(f"{key}={path} is a file of another kind; expected {_KINDS}")
    return read_counts_file(path)


def _stem(path: Path) -> str:
    name = path.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)] or name
    return name


def _folder(cfg: DictConfig, key: str, folder: Path) -> Found:
    """A report's folder, a run's folder with a report in it, or a store."""
    for place in (folder, folder / "report", folder / "artifacts"):
        if (place / COUNTS).is_file():
            about = read_about(place / REPORT)
            counted = Counted(about.model or folder.name, read_counts(place / COUNTS))
            return Found(counted, str(place / COUNTS), about.benchmark, temperature=about.temperature)
    try:
        return _store(cfg, find_store(cfg, str(folder)))
    except ConfigError as error:
        raise ConfigError(f"{key}={folder} holds neither {COUNTS} nor samples; expected {_KINDS}") from error


def _store(cfg: DictConfig, folder: Path) -> Found:
    """The counts of a store by one set of verdicts."""
    with SampleStore.open_folder(folder) as store:
        ids = list(store.counts())
        verifier = one_verdict_set(folder, cfg.get("verdicts"))  # only `compare` has it
        with VerdictStore.open(store, verifier, read_only=True) as verdicts:
            counts = with_strata(_stored_counts(store, verdicts, ids), read_strata(folder))
        name, tags = _drawn_as(folder)
        return Found(
            Counted(name or Path(store.spec.model).name or store.spec.model, counts),
            str(folder),
            benchmark=store.spec.benchmark,
            tags=tags,
            temperature=store.spec.temperature,
        )


def _drawn_as(folder: Path) -> tuple[str, dict[str, str]]:
    """What the evaluation that drew the samples called its model, and its tags."""
    config = stored_config(folder)
    if config is None:
        return "", {}
    tags = OmegaConf.select(config, "tags", default=None) or {}
    given = {f"kurve.{key}": str(value) for key, value in tags.items() if value is not None}
    return str(OmegaConf.select(config, "model.name", default=None) or ""), given


def _stored_counts(store: SampleStore, verdicts: VerdictStore, ids: Sequence[str]) -> Tally:
    """All that is judged; of a store that was drawn from adaptively, what its rule or a fixed number lets count."""
    rule = stored_rule(store.folder)
    if rule is not None:
        return adaptive_tally(verdicts, ids, rule)
    fixed = min(store.counts().values()) if is_adaptive(store.folder) else None
    return tally_of(ids, verdicts.counts(ids, fixed))


def one_verdict_set(folder: Path, wanted: object) -> str:
    """The name of a store's set of verdicts: its only one, or the only one that begins with `wanted`.

    Raises:
        DataError: there is none, or several.
    """
    names = list_verdicts(folder)
    fitting = [name for name in names if wanted is None or name.startswith(str(wanted))]
    if len(fitting) != 1:
        which = f"verdicts={wanted} fits {len(fitting)} of them" if wanted is not None else "name one: verdicts=..."
        raise DataError(
            f"{folder} has {len(names)} sets of verdicts"
            + (f" ({', '.join(names)}); {which}" if names else f"; judge it first: kurve verify samples={folder}")
        )
    return fitting[0]


def tally_of(ids: Sequence[str], outcomes: Mapping[str, Counter[Outcome]]) -> Tally:
    """Counts of the given problems."""

    def column(*of: Outcome) -> NDArray[np.int64]:
        return np.array([sum(outcomes[one][kind] for kind in of) for one in ids], dtype=np.int64)

    judged = [outcome for outcome in Outcome if outcome is not Outcome.ERROR]
    return Tally(tuple(ids), column(*judged), column(Outcome.CORRECT), column(Outcome.ERROR))


def _model(key: str, name: str, which: str, tracker: Tracker) -> Found:
    registry = tracker.registry()
    if registry is None:
        raise ConfigError(
            f"{key}=models:/{name}@{which} needs a tracker with a model registry; name it: tracker=mlflow"
        )
    runs = list(registry.evaluations(name, which))
    if not runs:
        raise ConfigError(f"{key}: no evaluation is known of the model {name}@{which}; evaluate it, or name a run")
    if len(runs) > 1:
        about = [f"{run} ({tracker.tags(run).get('kurve.benchmark', 'no benchmark')})" for run in runs]
        raise ConfigError(f"{key}: the model {name}@{which} has {len(runs)} evaluations; name one: {', '.join(about)}")
    return _run(key, runs[0], tracker)


def _run(key: str, run_id: str, tracker: Tracker) -> Found:
    try:
        tags = tracker.tags(run_id)
        with TemporaryDirectory(prefix="kurve-") as folder:
            tally = read_counts(tracker.fetch(run_id, COUNTS, Path(folder)))
    except TrackingError as error:
        raise ConfigError(f"{key}={run_id}: {error}. Expected {_KINDS}") from error
    name = tags.get("kurve.model", run_id[:8])
    return Found(Counted(name, tally), f"run {run_id}", tags.get("kurve.benchmark", ""), run_id, tags)
