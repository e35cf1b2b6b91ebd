"""`kurve promote`: judge a registered model's version by a gate, keep the report, move the alias if it is passed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.promote_evidence import find_pairings
from kurve.commands.promote_show import gate_page, show_decision
from kurve.commands.publishing import publish_files
from kurve.errors import ConfigError, DataError, EvidenceError, GateError, TrackingError
from kurve.figures.files import write_whole
from kurve.gate_report import GATE_FOLDER, GATE_KIND, GATE_PAGE, GATE_REPORT, Pairing, gate_report, sha256
from kurve.gate_settings import Gate, gate_json
from kurve.gates import GateOutcome, GateResult, judge
from kurve.promotion import PromotionRegistry, RegisteredVersion
from kurve.tracking import RunInfo, Tracker

_ALIAS = re.compile(r"[\w-]{1,255}")
_RESERVED = re.compile(r"latest|v\d+", re.IGNORECASE)  # MLflow's own


@dataclass(frozen=True, slots=True)
class _Decision:
    """What the gate says of a version, and what it rests on."""

    version: RegisteredVersion
    alias: str
    pairings: Sequence[Pairing]
    result: GateResult
    report: bytes

    @property
    def words(self) -> str:
        """For the version's page."""
        said = f"{self.result.gate.name} for the alias {self.alias}: {self.result.outcome}"
        why = "" if self.result.outcome is GateOutcome.PASSED else f", since {self.result.reason}"
        return " ".join([f"{said}{why}.", *(one.words for one in self.pairings if one.words)])


def main(cfg: DictConfig) -> None:
    """Judge, show, and unless it is a dry run record the decision and move the alias if the gate is passed.

    Raises:
        GateError: the gate is not passed; EvidenceError if the data do not tell.
        KurveError: a reference names nothing, or the server cannot be reached or refuses.
    """
    alias, name, number = _alias(cfg), str(cfg.registered_model).strip(), str(cfg.version).strip()
    if not isinstance(cfg.dry_run, bool):
        raise ConfigError(f"dry_run is {cfg.dry_run!r}; expected true or false")
    gate: Gate = build(cfg.gate, "gate")
    tracker: Tracker = build(cfg.tracker, "tracker")
    registry = tracker.registry()
    if not isinstance(registry, PromotionRegistry):
        raise ConfigError("kurve promote needs a tracker with a model registry; name it: tracker=mlflow")
    registry.check()
    version = registry.version(name, number)
    pairings = [] if gate.asks_nothing else find_pairings(cfg, gate, version, registry, tracker)
    result = judge(gate, [one.evidence for one in pairings])
    decision = _Decision(version, alias, pairings, result, gate_report(version, alias, pairings, result))
    if cfg.dry_run:
        show_decision(version, alias, result, pairings, files=(), url="", did="dry run: nothing was written")
    else:
        _carry_out(cfg, decision, registry, tracker)
    _leave(decision)


def _alias(cfg: DictConfig) -> str:
    alias = str(cfg.alias)
    if not _ALIAS.fullmatch(alias) or _RESERVED.fullmatch(alias):
        raise ConfigError(
            f"alias={alias} cannot be an alias: letters, digits, '_' and '-', and neither latest nor v<number>"
        )
    return alias


def _carry_out(cfg: DictConfig, decision: _Decision, registry: PromotionRegistry, tracker: Tracker) -> None:
    """Report, then version, then alias: what is cut off in between leaves the alias where it was."""
    version, alias, passed = decision.version, decision.alias, decision.result.outcome is GateOutcome.PASSED
    if decision.result.gate.asks_nothing:  # no decision: what a gate said before stays
        registry.set_alias(version, alias)
        did = f"{alias} is now version {version.version}, nothing was asked for"
        show_decision(version, alias, decision.result, (), files=(), url="", did=did)
        return
    files = _write(decision)
    tracker.check()
    publish_files(tracker, _run_info(cfg, decision), files, GATE_FOLDER)
    _check_kept(tracker, decision.report)
    facts = {
        "outcome": str(decision.result.outcome),
        "gate": decision.result.gate.name,
        "run_id": tracker.run_id,
        "sha256": sha256(decision.report),
    }
    registry.record_gate(version, alias, facts, decision.words)
    if passed:
        registry.set_alias(version, alias)
    did = f"{alias} is now version {version.version}" if passed else f"{alias} was left where it is"
    show_decision(version, alias, decision.result, decision.pairings, files=files, url=tracker.url, did=did)


def _write(decision: _Decision) -> list[Path]:
    folder = Path(HydraConfig.get().runtime.output_dir) / GATE_FOLDER
    page = gate_page(decision.version, decision.alias, decision.result, decision.pairings)
    contents = {GATE_REPORT: decision.report, GATE_PAGE: page.encode()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            write_whole(folder / name, data)
    except OSError as error:
        raise DataError(
            f"cannot write the gate's report to {folder}: {error}; make room, then promote again"
        ) from error
    return [folder / name for name in contents]


def _check_kept(tracker: Tracker, report: bytes) -> None:
    """The run holds this very report, also where an earlier call had logged it."""
    with TemporaryDirectory(prefix="kurve-") as folder:
        kept = tracker.fetch(tracker.run_id, f"{GATE_FOLDER}/{GATE_REPORT}", Path(folder)).read_bytes()
    if kept != report:
        raise TrackingError(
            f"the report that the run {tracker.run_id} keeps was altered; delete the run (mlflow runs delete --run-id "
            f"{tracker.run_id}), then promote again"
        )


def _run_info(cfg: DictConfig, decision: _Decision) -> RunInfo:
    config = provenance.recorded(cfg)
    version, result = decision.version, decision.result
    tags = {
        "kurve.kind": GATE_KIND,
        "kurve.gate": result.gate.name,
        "kurve.gate.outcome": str(result.outcome),
        "kurve.gate.alias": decision.alias,
        "kurve.gate.version": f"models:/{version.name}/{version.version}",
        "kurve.source_run_ids": ", ".join(one.run_id for p in decision.pairings for one in (p.tuned, p.base) if one),
    }
    if commit := provenance.git_commit():
        tags["kurve.git_commit"] = commit
    return RunInfo(
        key=provenance.digest(GATE_KIND, sha256(decision.report)),
        name=f"gate {result.gate.name}: {version.name} version {version.version} for {decision.alias}"[:200],
        params={f"gate.{key}": str(value) for key, value in gate_json(result.gate).items()},
        tags={key: value for key, value in tags.items() if value},
        config_yaml=provenance.as_yaml(config),
        versions=provenance.versions(),
    )


def _leave(decision: _Decision) -> None:
    """The exit code says what the gate said."""
    outcome, version = decision.result.outcome, decision.version
    said = f"the gate {decision.result.gate.name!r} does not let {version.name} version {version.version} pass"
    if outcome is GateOutcome.FAILED:
        raise GateError(f"{said}, it failed: {decision.result.reason}")
    if outcome is GateOutcome.INSUFFICIENT_EVIDENCE:
        raise EvidenceError(f"{said}, the evidence is not sufficient: {decision.result.reason}")
