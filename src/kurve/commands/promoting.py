"""Judge a registered version by a gate and carry out what it decided; shared by `kurve promote` and `kurve study`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from omegaconf import DictConfig

from kurve.commands import provenance
from kurve.commands.promote_evidence import find_pairings
from kurve.commands.promote_show import gate_page
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
class Decision:
    """What a gate says of a version, and what it rests on."""

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

    @property
    def refusal(self) -> GateError | None:
        """The error that says why the version is not promoted; None if it passed."""
        outcome, version = self.result.outcome, self.version
        said = f"the gate {self.result.gate.name!r} does not let {version.name} version {version.version} pass"
        if outcome is GateOutcome.FAILED:
            return GateError(f"{said}, it failed: {self.result.reason}")
        if outcome is GateOutcome.INSUFFICIENT_EVIDENCE:
            return EvidenceError(f"{said}, the evidence is not sufficient: {self.result.reason}")
        return None


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """What became of a decision."""

    did: str  # what became of the alias
    files: Sequence[Path] = ()  # that were written
    url: str = ""  # of the gate's run


def check_alias(alias: str, key: str = "alias") -> str:
    """The alias, if MLflow takes it; `key` is what the setting is called.

    Raises:
        ConfigError: it does not.
    """
    if not _ALIAS.fullmatch(alias) or _RESERVED.fullmatch(alias):
        raise ConfigError(
            f"{key}={alias} cannot be an alias: letters, digits, '_' and '-', and neither latest nor v<number>"
        )
    return alias


def promotion_registry(tracker: Tracker) -> PromotionRegistry | None:
    """The tracker's registry, if its versions can be promoted."""
    registry = tracker.registry()
    return registry if isinstance(registry, PromotionRegistry) else None


def decide(
    cfg: DictConfig,
    gate: Gate,
    version: RegisteredVersion,
    registry: PromotionRegistry,
    *,
    alias: str,
    tracker: Tracker,
) -> Decision:
    """What the gate says of the version; nothing is written.

    Args:
        cfg: `tuned` and `base` of conf/promote.yaml.
        gate: that judges.
        version: to be judged.
        registry: where it is.
        alias: that it is judged for.
        tracker: where the runs are.

    Raises:
        KurveError: as `find_pairings`.
    """
    pairings = [] if gate.asks_nothing else find_pairings(cfg, gate, version, registry, tracker=tracker)
    result = judge(gate, [one.evidence for one in pairings])
    return Decision(version, alias, pairings, result, gate_report(version, alias, pairings, result))


def carry_out(
    cfg: DictConfig, decision: Decision, registry: PromotionRegistry, *, tracker: Tracker, folder: Path
) -> CarriedOut:
    """Report, then version, then alias: what is cut off in between leaves the alias where it was.

    Args:
        cfg: the settings of the promotion, for its run.
        decision: that is carried out; done again it changes nothing.
        registry: where the version is.
        tracker: where the gate's run goes; it has no run yet.
        folder: where the report is written, which is made if needed.

    Raises:
        DataError: the report cannot be written.
        TrackingError: the server cannot be reached, or refuses the alias.
    """
    version, alias, passed = decision.version, decision.alias, decision.result.outcome is GateOutcome.PASSED
    if decision.result.gate.asks_nothing:  # no decision: what a gate said before stays
        registry.set_alias(version, alias)
        return CarriedOut(f"{alias} is now version {version.version}, nothing was asked for")
    files = _write(decision, folder)
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
    return CarriedOut(did, files, tracker.url)


def _write(decision: Decision, folder: Path) -> list[Path]:
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


def _run_info(cfg: DictConfig, decision: Decision) -> RunInfo:
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
