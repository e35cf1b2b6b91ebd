"""`kurve promote`: judge a registered model's version by a gate, keep the report, move the alias if it is passed."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from kurve.commands.build import build
from kurve.commands.promote_show import show_decision
from kurve.commands.promoting import CarriedOut, carry_out, check_alias, decide, promotion_registry
from kurve.errors import ConfigError
from kurve.gate_report import GATE_FOLDER
from kurve.gate_settings import Gate
from kurve.tracking import Tracker


def main(cfg: DictConfig) -> None:
    """Judge, show, and unless it is a dry run record the decision and move the alias if the gate is passed.

    Raises:
        GateError: the gate is not passed; EvidenceError if the data do not tell.
        KurveError: a reference names nothing, or the server cannot be reached or refuses.
    """
    alias, name, number = check_alias(str(cfg.alias)), str(cfg.registered_model).strip(), str(cfg.version).strip()
    if not isinstance(cfg.dry_run, bool):
        raise ConfigError(f"dry_run is {cfg.dry_run!r}; expected true or false")
    gate: Gate = build(cfg.gate, "gate")
    tracker: Tracker = build(cfg.tracker, "tracker")
    registry = promotion_registry(tracker)
    if registry is None:
        raise ConfigError("kurve promote needs a tracker with a model registry; name it: tracker=mlflow")
    registry.check()
    decision = decide(cfg, gate, registry.version(name, number), registry, alias=alias, tracker=tracker)
    done = CarriedOut("dry run: nothing was written")
    if not cfg.dry_run:
        folder = Path(HydraConfig.get().runtime.output_dir) / GATE_FOLDER
        done = carry_out(cfg, decision, registry, tracker=tracker, folder=folder)
    show_decision(
        decision.version,
        alias,
        decision.result,
        decision.pairings,
        files=done.files,
        url=done.url,
        did=done.did,
    )
    if refusal := decision.refusal:
        raise refusal
