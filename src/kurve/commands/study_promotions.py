"""Which trained models of a study are to be promoted: the `promote` of its config, checked before any stage runs."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from kurve.commands.build import build, plain
from kurve.commands.promoting import check_alias, promotion_registry
from kurve.errors import ConfigError
from kurve.gate_settings import Gate
from kurve.study import Stage
from kurve.tracking import Tracker

_KEYS = ("gate", "alias", "evaluations", "required")


@dataclass(frozen=True, slots=True)
class Promotion:
    """A trained model that is to get an alias if a gate lets it pass."""

    stage: Stage  # that trains it
    gate: Gate
    alias: str
    evaluations: tuple[Stage, ...]  # that speak for it; none: those that it is registered with
    required: bool  # whether the study's exit code tells that it did not pass
    settings: DictConfig  # of `kurve promote`, for the gate's run


def read_promotions(cfg: DictConfig, stages: Sequence[Stage], tracker: Tracker) -> list[Promotion]:
    """The `promote` of a study's config, in order.

    Raises:
        ConfigError: a stage, gate, alias or evaluation that cannot be, or nothing to register the models in.
    """
    if cfg.promote is None:
        return []
    if not isinstance(cfg.promote, DictConfig):
        raise ConfigError(f"promote is {cfg.promote!r}; expected stages with settings, as <stage>: {{gate: default}}")
    nodes = plain(cfg.promote)
    found = [_promotion(cfg, str(name), node, stages) for name, node in nodes.items() if node is not None]
    if not found:
        return []
    if cfg.register is not True:
        raise ConfigError("promote needs the models to be registered: register=true, or leave it out with promote=null")
    if promotion_registry(tracker) is None:
        raise ConfigError(
            "promote needs a tracker with a model registry: tracker=mlflow, or leave it out with promote=null"
        )
    return found


def _promotion(cfg: DictConfig, name: str, node: Any, stages: Sequence[Stage]) -> Promotion:
    where = f"promote.{name}"
    trained = {stage.name: stage for stage in stages if stage.command == "train" and stage.role}
    if name not in trained:
        raise ConfigError(
            f"{where}: {name} is no stage of kurve train with a role, whose model is registered; those are "
            f"{', '.join(trained) or 'none'}"
        )
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where} is {node!r}; expected {{gate: default, alias: champion}}, or null for none")
    for key in node:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1)
            raise ConfigError(
                f"{where}.{key} is no setting of a promotion; "
                + (f"did you mean {near[0]}?" if near else f"it has {', '.join(_KEYS)}")
            )
    alias = check_alias(str(node.get("alias", "champion")), f"{where}.alias")
    required = node.get("required", True)
    if not isinstance(required, bool):
        raise ConfigError(f"{where}.required is {required!r}; expected true or false")
    settings = _settings(cfg, where, str(node.get("gate", "default")), alias)
    gate: Gate = build(settings.gate, f"{where}.gate")
    evaluations = _evaluations(where, node.get("evaluations"), trained[name], stages)
    if not evaluations and not gate.asks_nothing:
        raise ConfigError(f"{where}: no stage of kurve evaluate with a role and a base names {{{name}}}; add one")
    return Promotion(trained[name], gate, alias, evaluations, required, settings)


def _settings(cfg: DictConfig, where: str, gate: str, alias: str) -> DictConfig:
    """What `kurve promote` would be run with, but for the version, which is not there yet."""
    try:
        settings = compose("promote", overrides=[f"gate={gate}", f"alias='{alias}'"])
    except (HydraException, OmegaConfBaseException) as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"{where}.gate is {gate!r}, and there is no such gate: {text}") from error
    settings.paths, settings.tracker = cfg.paths, cfg.tracker
    return settings


def _evaluations(where: str, given: Any, trained: Stage, stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The evaluations of the trained model that are compared with a base: all, or those that are named."""
    usable = {
        stage.name: stage
        for stage in stages
        if stage.command == "evaluate" and stage.role and stage.base and trained.name in stage.needs
    }
    if given is None:
        return tuple(usable.values())
    if not isinstance(given, list) or not given or not all(isinstance(one, str) for one in given):
        raise ConfigError(f"{where}.evaluations is {given!r}; expected a list of stages, or null for all")
    for one in given:
        if one not in usable:
            raise ConfigError(
                f"{where}.evaluations names {one}, which is no stage of kurve evaluate with a role and a base that "
                f"names {{{trained.name}}}; those are {', '.join(usable) or 'none'}"
            )
    return tuple(usable[one] for one in given)
