"""Find a stored evaluation again: its samples, its settings, its benchmark."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from kurve.benchmarks.rows import Benchmark
from kurve.commands.build import build
from kurve.errors import ConfigError, DataError, TrackingError
from kurve.store import SampleStore
from kurve.tracking import Tracker
from kurve.types import Problem

EVALUATION = "evaluation.yaml"  # in the store's folder: the config it was last drawn with
PROBLEMS = "problems.jsonl"  # in the folder of an imported store
IMPORTED = "kurve.benchmarks.imported.load"
_KINDS = "expected the sample store (folder or fingerprint) or the id of its evaluation's run"


def find_store(cfg: DictConfig, reference: str) -> Path:
    """The folder that `samples=` names: a path, or a fingerprint (or its beginning) under paths.samples.

    Raises:
        ConfigError: there is no such store, or several.
    """
    as_path = Path(reference).expanduser()
    if as_path.is_dir() and any(next(as_path.glob(name), None) for name in ("spec.json", "samples-*")):
        return as_path.absolute()
    root = Path(cfg.paths.samples)
    found = sorted(path.parent for path in root.glob(f"{reference}*/spec.json")) if reference.isalnum() else []
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"samples={reference} fits {', '.join(path.name for path in found)}; give more of it")
    raise ConfigError(
        f"samples={reference} is neither the folder of a sample store nor a fingerprint under {root}; "
        "kurve list samples shows what is stored"
    )


def find_evaluated(cfg: DictConfig, key: str, reference: str, tracker: Tracker) -> Path:
    """The folder of the samples of an evaluation that is named as `find_store` names it, or by its run.

    Args:
        cfg: the config of the command, with `paths`.
        key: of the setting, for messages.
        reference: as it was given.
        tracker: where a run is looked up.

    Raises:
        ConfigError: there is no such store or run, or its samples are elsewhere.
    """
    try:
        return find_store(cfg, reference)
    except ConfigError as error:
        if "fits" in str(error) or ("/" in reference and "/runs/" not in reference):
            raise ConfigError(f"{key}: {error}; {_KINDS}") from error
    run_id = reference.rstrip("/").rpartition("/runs/")[2]
    try:
        tags = tracker.tags(run_id)
    except TrackingError as error:
        raise ConfigError(
            f"{key}={reference} is no sample store under {cfg.paths.samples}, and no run is known by that "
            f"name ({error}); {_KINDS}"
        ) from error
    for place in (tags.get("kurve.store", ""), tags.get("kurve.fingerprint", "")):
        if place and (Path(place).is_dir() or "/" not in place):
            return find_store(cfg, place)
    raise ConfigError(
        f"{key}={reference} is a run whose samples are not on this machine (they are in "
        f"{tags.get('kurve.store', 'no store')}); copy that folder here and name it: {key}=<folder>"
    )


def stored_config(folder: Path) -> DictConfig | None:
    """The config the store was last drawn with, or imported with; None for one that was merged of unlike ones."""
    path = folder / EVALUATION
    if not path.is_file():
        return None
    cfg = OmegaConf.load(path)
    if not isinstance(cfg, DictConfig):
        raise DataError(f"{path} is not a kurve config; remove it and name the benchmark: benchmark=...")
    if OmegaConf.select(cfg, "benchmark._target_") == IMPORTED:
        cfg.benchmark.path = str(folder / PROBLEMS)  # the store may have been moved
    return cfg


def given_verdicts(drawn_with: DictConfig | None) -> str:
    """The set of verdicts that samples were imported with; empty if there is none, or another verifier is asked for."""
    asked = any(one.startswith(("verifier=", "verifier.")) for one in HydraConfig.get().overrides.task)
    name = OmegaConf.select(drawn_with, "imported.verdicts") if drawn_with is not None else None
    return str(name) if name and not asked else ""


def stored_benchmark(cfg: DictConfig, drawn_with: DictConfig | None, store: SampleStore) -> Benchmark:
    """The benchmark of the samples: the one named on the command line, else the one they were drawn for.

    Problems without a stored sample are left out; `limit` keeps the benchmark's first ones, whatever the limit of the
    evaluation that drew last.

    Raises:
        ConfigError: none is named and none is on record.
        DataError: the benchmark cannot be loaded, has none of the stored problems, or asks other questions.
    """
    node = cfg.benchmark if cfg.get("benchmark") is not None else drawn_with and drawn_with.get("benchmark")
    if node is None:
        raise ConfigError(f"{store.folder} does not say which benchmark it was drawn for; name it: benchmark=...")
    if "limit" in node:
        node = copy.deepcopy(node)
        node.limit = cfg.limit
    benchmark: Benchmark = build(node, "benchmark")
    counts: Mapping[str, int] = store.counts()
    kept = tuple(problem for problem in benchmark.problems if counts.get(problem.id))
    if not kept:
        raise DataError(
            f"none of the {len(benchmark.problems)} problems of {benchmark.name} ({benchmark.source}) has samples in "
            f"{store.folder}; its ids look like {', '.join(list(counts)[:3]) or 'nothing: it is empty'}"
        )
    _check_questions(store, kept)
    strata = dict(zip((problem.id for problem in benchmark.problems), benchmark.strata, strict=False))
    return dataclasses.replace(
        benchmark, problems=kept, strata=tuple(strata[problem.id] for problem in kept) if strata else ()
    )


def _check_questions(store: SampleStore, problems: Sequence[Problem]) -> None:
    """Refuse golds for other questions than those that were asked."""
    asked = {prompt.problem_id: prompt.question for prompt in store.prompts()}
    changed = [problem.id for problem in problems if asked.get(problem.id, problem.question) != problem.question]
    if changed:
        raise DataError(
            f"{len(changed)} problems ({', '.join(changed[:3])}) ask something else in the benchmark than "
            f"when they were sampled into {store.folder}; name the data they were drawn from: benchmark.path=..."
        )
