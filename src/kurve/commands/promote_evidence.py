"""Which evaluations speak for a model version, and which for its base: read, checked, paired by benchmark."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from omegaconf import DictConfig

from kurve.commands.references import listed
from kurve.comparison import compare, in_words
from kurve.errors import ConfigError, DataError, EvidenceError, MetricError
from kurve.gate_report import Pairing
from kurve.gate_settings import Gate
from kurve.promotion import PromotionRegistry, RegisteredVersion, StoredEvaluation, is_of, load_evaluation
from kurve.tracking import Tracker

_MODEL = re.compile(r"models:/(?P<name>[^@/]+)[@/](?P<which>[^@/]+)")
_RUN = re.compile(r"(?:.*/runs/)?(?P<id>\w+)/?(?:[?#].*)?")
_BASE_TAG = "kurve.base_run_id"  # of a version: its base's training


def find_pairings(
    cfg: DictConfig, gate: Gate, version: RegisteredVersion, registry: PromotionRegistry, *, tracker: Tracker
) -> list[Pairing]:
    """The version's evaluations with those of its base, by benchmark in the order that the gate names.

    Args:
        cfg: `tuned` and `base`, null for what the version and its runs say.
        gate: whose benchmarks are wanted; None of them: all.
        version: to be judged.
        registry: where it is.
        tracker: where the runs are.

    Raises:
        ConfigError: a reference names nothing usable, or two evaluations are of one benchmark.
        EvidenceError: stored evidence is damaged or was altered.
        TrackingError: a run or file is gone, or the server cannot be reached.
    """
    given = cfg.tuned is not None
    runs = _runs("tuned", cfg.tuned, registry) if given else list(version.evaluations)
    tuned = _by_benchmark(_load(runs, tracker), gate, "tuned", f"{version.name} version {version.version}")
    for one in tuned.values():
        if not is_of(version, one):
            raise ConfigError(
                f"tuned: the run {one.run_id} sampled {one.model_path}, and {version.name} version {version.version} "
                f"is {version.path}; name an evaluation of this version"
            )
    bases = _bases(cfg, gate, list(tuned.values()), version, registry=registry, tracker=tracker)
    order = [name for name in gate.benchmarks or tuned if name in tuned]
    return [_pairing(version, tuned[name], bases.get(name), gate) for name in order]


def _bases(
    cfg: DictConfig,
    gate: Gate,
    tuned: Sequence[StoredEvaluation],
    version: RegisteredVersion,
    *,
    registry: PromotionRegistry,
    tracker: Tracker,
) -> dict[str, StoredEvaluation]:
    """The base's evaluations: those that are named, else those that the version's runs name, else its base's own."""
    if cfg.base is not None:
        return _by_benchmark(_load(_runs("base", cfg.base, registry), tracker), gate, "base", "the base")
    found: dict[str, StoredEvaluation] = {}
    for one in tuned:
        if one.base_run_id:
            base = _load([one.base_run_id], tracker)[0]
            found |= {base.benchmark: base} if base.benchmark == one.benchmark else {}
    if all(one.benchmark in found for one in tuned) or not version.tags.get(_BASE_TAG):
        return found
    registered = registry.trained_by(version.tags[_BASE_TAG])
    runs = [run for one in registered for run in one.evaluations]
    wanted = {one.benchmark for one in tuned} - set(found)
    others = [one for one in _load(dict.fromkeys(runs), tracker) if one.benchmark in wanted]
    return found | _by_benchmark(others, gate, "base", "the base")


def _runs(key: str, value: object, registry: PromotionRegistry) -> list[str]:
    """Ids of runs: given as such, by the address of their page, or by the model that they measured."""
    found: list[str] = []
    for reference in listed(value):
        if match := _MODEL.fullmatch(reference):
            measured = registry.version(match["name"], match["which"]).evaluations
            if not measured:
                raise ConfigError(f"{key}: no evaluation is known of {reference}; evaluate it, or name a run")
            found += measured
        elif match := _RUN.fullmatch(reference):
            found.append(match["id"])
        else:
            raise ConfigError(
                f"{key}={reference} names no evaluation in the tracker; expected the ids of runs with commas between "
                "them, or models:/<name>@<alias>"
            )
    return list(dict.fromkeys(found))


def _load(runs: Iterable[str], tracker: Tracker) -> list[StoredEvaluation]:
    try:
        return [load_evaluation(tracker, run) for run in runs]
    except DataError as error:
        raise EvidenceError(f"the evidence cannot be used: {error}") from error


def _by_benchmark(
    evaluations: Iterable[StoredEvaluation], gate: Gate, key: str, who: str
) -> dict[str, StoredEvaluation]:
    found: dict[str, StoredEvaluation] = {}
    for one in evaluations:
        if gate.benchmarks is not None and one.benchmark not in gate.benchmarks:
            continue
        if one.benchmark in found:
            raise ConfigError(
                f"{who} has several evaluations on {one.benchmark}: {found[one.benchmark].run_id}, {one.run_id}; name "
                f"one for each benchmark: {key}=<run id>,..."
            )
        found[one.benchmark] = one
    return found


def _pairing(version: RegisteredVersion, tuned: StoredEvaluation, base: StoredEvaluation | None, gate: Gate) -> Pairing:
    return Pairing(tuned.benchmark, tuned, base, _change_words(tuned, base, gate) if base else "")


def _change_words(tuned: StoredEvaluation, base: StoredEvaluation, gate: Gate) -> str:
    """What was gained and lost, for the version's page; empty where the problems do not pair."""
    try:
        one = compare(
            base.measured.tally,
            tuned.measured.tally,
            rng=np.random.default_rng(gate.seed),
            confidence=gate.confidence,
            draws=gate.draws,
        )
    except (DataError, MetricError):
        return ""
    numbers = [
        f"pass@{at.k} is {at.tuned:.1%}, the base's {at.base:.1%} ({100 * at.change.value:+.1f} points "
        f"[{100 * at.change.low:+.1f}, {100 * at.change.high:+.1f}])"
        for at in {at.k: at for at in (one.at_1, one.headline)}.values()
    ]
    sets = one.coverage
    return (
        f"Against {base.model or 'its base'} on {tuned.benchmark} ({one.difference.num_problems} problems): "
        f"{in_words(one)}. {'; '.join(numbers)}. Gained: {len(sets.tuned_only)} problems that only this version "
        f"solves; lost: {len(sets.base_only)} that only its base solves."
    )
