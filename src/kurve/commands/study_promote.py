"""Promotions of a study: trained models that a gate judges once they are registered, each once.

`<study>/promotions.json` holds what was decided, so that a study that is run again does not take an alias back that
somebody has moved since. A decision is taken anew where gate, alias, weights or evaluations are others.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.promote_show import STYLES
from kurve.commands.promoting import carry_out, decide, promotion_registry
from kurve.commands.study_promotions import Promotion
from kurve.commands.study_result import register_stage
from kurve.errors import ConfigError, EvidenceError, GateError, KurveError, StudyError
from kurve.gate_report import GATE_FOLDER
from kurve.gate_settings import gate_json
from kurve.gates import GateOutcome
from kurve.store.disk import write_atomically
from kurve.study import Finished, Stage
from kurve.tracking import ModelVersion, Tracker

RECORD = "promotions.json"


@dataclass(frozen=True, slots=True)
class Promoted:
    """What became of a promotion."""

    name: str  # of the stage that trained the model
    gate: str
    alias: str
    version: str  # <registered model> version <number>
    outcome: str  # passed, failed or insufficient evidence
    reason: str  # of a gate that is not passed; empty otherwise
    did: str  # what became of the alias
    url: str  # of the gate's run; empty if there is none


def promote_all(
    cfg: DictConfig,
    folder: Path,
    promotions: Sequence[Promotion],
    stages: Sequence[Stage],
    *,
    finished: Mapping[str, Finished],
    versions: Mapping[str, ModelVersion],
) -> tuple[list[Promoted], list[str]]:
    """Carry out what was not decided before; one that goes wrong does not keep the others from it.

    Args:
        cfg: of the study.
        folder: of the study, named by its id.
        promotions: from `read_promotions`.
        stages: of the study, all finished.
        finished: what they made.
        versions: by stage, those that were registered just now; others are registered again, which finds them.

    Returns:
        What was decided, in order, and what went wrong, in words.
    """
    decided = _read(folder)
    found, wrong = list[Promoted](), list[str]()
    for promotion in promotions:
        name, key = promotion.stage.name, _key(promotion, finished)
        before = decided.get(name)
        if before and before[0] == key:
            found.append(dataclasses.replace(before[1], did=f"decided before, {promotion.alias} was not touched"))
            continue
        try:
            one = _promote(cfg, folder, promotion, stages, finished=finished, version=versions.get(name))
            decided[name] = key, one
            _write(folder, decided)
        except EvidenceError as error:  # not kept: damaged evidence may be mended
            one = _undecided(promotion, str(error))
        except KurveError as error:
            several = isinstance(error, ConfigError) and len(promotion.evaluations) > 1
            hint = f" (in a study: promote.{name}.evaluations=[<stage>])" if several else ""
            wrong.append(f"promote.{name}: {error}{hint}")
            continue
        found.append(one)
    return found, wrong


def _promote(
    cfg: DictConfig,
    folder: Path,
    promotion: Promotion,
    stages: Sequence[Stage],
    *,
    finished: Mapping[str, Finished],
    version: ModelVersion | None,
) -> Promoted:
    tracker: Tracker = build(cfg.tracker, "tracker")  # the gate's run is one of its own
    registry, stage = promotion_registry(tracker), promotion.stage
    if registry is None:
        raise ConfigError("the tracker has no model registry; name one that has: tracker=mlflow")
    registry.check()
    if version is None:
        version = register_stage(registry, stage, stages, finished, label=cfg.name, study=folder.name)
    settings = promotion.settings.copy()
    settings.registered_model, settings.version = version.name, version.version
    settings.tuned, settings.base = _runs(promotion, finished)
    judged = registry.version(version.name, version.version)
    decision = decide(settings, promotion.gate, judged, registry, alias=promotion.alias, tracker=tracker)
    done = carry_out(settings, decision, registry, tracker=tracker, folder=folder / GATE_FOLDER / stage.name)
    passed = decision.result.outcome is GateOutcome.PASSED
    return Promoted(
        name=stage.name,
        gate=promotion.gate.name,
        alias=promotion.alias,
        version=f"{judged.name} version {judged.version}",
        outcome=str(decision.result.outcome),
        reason="" if passed else decision.result.reason,
        did=done.did,
        url=done.url,
    )


def _undecided(promotion: Promotion, reason: str) -> Promoted:
    outcome = str(GateOutcome.INSUFFICIENT_EVIDENCE)
    did = f"{promotion.alias} was left where it is"
    return Promoted(promotion.stage.name, promotion.gate.name, promotion.alias, "", outcome, reason, did, "")


def _runs(promotion: Promotion, finished: Mapping[str, Finished]) -> tuple[list[str] | None, list[str] | None]:
    """This study's runs of the model and of its base: the version may have been evaluated by other studies too."""
    tracked = [one for one in promotion.evaluations if _run(finished[one.name])]
    tuned = [_run(finished[one.name]) for one in tracked]
    base = list(dict.fromkeys(_run(finished[one.base]) for one in tracked))
    return tuned or None, base if base and all(base) else None


def _run(finished: Finished) -> str:
    return finished.made.facts.get("run_id", "")


def _key(promotion: Promotion, finished: Mapping[str, Finished]) -> str:
    """What decides a promotion: weights, gate, alias and evaluations."""
    trained = finished[promotion.stage.name]
    return provenance.digest(
        "promotion",
        [trained.fingerprint, trained.made.folder],
        gate_json(promotion.gate),
        promotion.alias,
        _runs(promotion, finished),
    )


def _read(folder: Path) -> dict[str, tuple[str, Promoted]]:
    """By stage, what was decided and by what; a record that is damaged is none: the registry keeps decisions too."""
    try:
        document = json.loads((folder / RECORD).read_bytes())
        return {name: (str(key), Promoted(**one)) for name, (key, one) in document.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(folder: Path, decided: Mapping[str, tuple[str, Promoted]]) -> None:
    document = {name: (key, dataclasses.asdict(one)) for name, (key, one) in decided.items()}
    try:
        write_atomically(folder / RECORD, json.dumps(document, indent=1).encode("ascii") + b"\n")
    except OSError as error:
        raise StudyError(f"cannot write {folder / RECORD}: {error.strerror or error}; make room") from error


def show_promotions(promoted: Sequence[Promoted], console: Console) -> None:
    """Print what the gates said, in words."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("promotion", "gate", "says", "so"):
        table.add_column(name, overflow="fold")
    for one in promoted:
        so = f"{one.did}: {one.reason}" if one.reason else one.did
        says = Text(one.outcome, style=STYLES[GateOutcome(one.outcome)])
        table.add_row(Text(one.version or one.name), Text(f"{one.gate} for {one.alias}"), says, Text(so))
    console.print(table)


def refusal(promotions: Sequence[Promotion], promoted: Sequence[Promoted]) -> GateError | None:
    """What the exit code tells: a required promotion that failed, else one that lacks evidence; None if all passed."""
    required = {one.stage.name for one in promotions if one.required}
    refused = [one for one in promoted if one.name in required and one.outcome != GateOutcome.PASSED]
    if not refused:
        return None
    words = "; ".join(f"{one.version or one.name} ({one.outcome}: {one.reason})" for one in refused)
    failed = any(one.outcome == GateOutcome.FAILED for one in refused)
    return (GateError if failed else EvidenceError)(f"the study is done, and its gates do not let all pass: {words}")
