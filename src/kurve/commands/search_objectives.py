"""What a search improves: quantities that the jobs measure, on problems that are there to be tuned on."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from omegaconf import DictConfig, OmegaConf

from kurve.commands.study import composed_stages
from kurve.commands.sweep_measured import Evaluated
from kurve.errors import ConfigError, DataError
from kurve.metrics.bootstrap import Estimate, mean_interval
from kurve.metrics.efficiency import delta_se_k
from kurve.metrics.paired import difference_interval
from kurve.metrics.passk import Floats, pass_at_k_of
from kurve.metrics.tallies import problems_at
from kurve.seed_report import gap_per_problem

DELTA_SE = "delta_se"
DIRECTIONS = ("minimize", "maximize")
_FORM = re.compile(r"(?:(?P<stage>[A-Za-z][\w-]*)/)?(?P<quantity>delta_se|pass_at_(?P<k>[1-9]\d*))")
_TO_TUNE_ON = {"tuning", "validation", "valid", "val", "dev"}


@dataclass(frozen=True, slots=True)
class Objective:
    """A quantity of an evaluation, and whether more or less of it is better."""

    name: str  # as it was given
    stage: str  # of a study; empty where there is one to choose from
    k: int | None  # of pass@k; None is delta SE
    direction: str  # minimize or maximize


@dataclass(frozen=True, slots=True)
class Value:
    """An objective's value in one trial."""

    estimate: Estimate  # for problems like these
    per_problem: Floats  # in the order of the sorted ids, [P]
    problem_ids: tuple[str, ...]  # sorted, [P]


def objectives_of(given: Sequence[str]) -> list[Objective]:
    """The objectives of the config, each a direction and a quantity: "minimize delta_se".

    Raises:
        ConfigError: none, one twice, or one that is no quantity or has no direction.
    """
    found = []
    for text in [given] if isinstance(given, str) else given:
        direction, _, name = str(text).strip().partition(" ")
        match = _FORM.fullmatch(name.strip())
        if match is None or direction not in DIRECTIONS:
            raise ConfigError(
                f"hydra.sweeper.objectives has {text!r}; expected {' or '.join(DIRECTIONS)} and a quantity, delta_se "
                "or pass_at_<k>, before it <stage>/ where a study compares several"
            )
        found.append(Objective(match[0], match["stage"] or "", int(match["k"]) if match["k"] else None, direction))
    if not found or len({one.name for one in found}) < len(found):
        raise ConfigError(
            f"hydra.sweeper.objectives is {list(given)}; expected different ones, as [minimize delta_se,maximize "
            "pass_at_256]"
        )
    return found


def check_objectives(cfg: DictConfig, command: str, objectives: Sequence[Objective], *, allow_test: bool) -> None:
    """Refuse objectives that the command does not measure, or measures on problems that are no validation problems.

    Raises:
        ConfigError: which, and what to do.
    """
    evaluations = _evaluations(cfg, command)
    for one in objectives:
        stage = _stage_of(one, {name: compared for name, (_, compared) in evaluations.items()})
        node, compared = evaluations[stage]
        if one.k is None and not compared:
            raise ConfigError(
                f"{one.name} needs a base to compare with, which kurve {command} does not measure; search with kurve "
                "study, whose stages train, evaluate and compare"
            )
        budget = OmegaConf.select(node, "num_samples")
        if one.k is not None and isinstance(budget, int) and one.k > budget:
            raise ConfigError(f"{one.name} needs {one.k} samples a problem, and num_samples is {budget}; raise it")
        if not allow_test:
            _refuse_test_problems(node, stage)


def values_of(objectives: Sequence[Objective], found: Sequence[Evaluated], *, confidence: float) -> list[Value]:
    """The objectives' values in what one job measured.

    Raises:
        DataError: an evaluation is not there, or has too few samples.
    """
    compared = {one.stage: one for one in found if one.base is not None} or {one.stage: one for one in found}
    return [_value(one, compared[_stage_of(one, dict.fromkeys(compared, True))], confidence) for one in objectives]


def _value(objective: Objective, found: Evaluated, confidence: float) -> Value:
    order = np.argsort(np.array(found.tally.problem_ids, dtype=object), kind="stable")
    tally = problems_at(found.tally, order)
    if objective.k is not None:
        if objective.k > int(tally.reach.min()):
            raise DataError(
                f"{objective.name}: a problem has only {int(tally.reach.min())} judged samples; sample more"
            )
        values = pass_at_k_of(tally, [objective.k])[:, 0]
        return Value(mean_interval(values, confidence=confidence), values, tally.problem_ids)
    if found.base is None:
        raise DataError(f"{objective.name}: {found.job.key} has no base that it was compared with")
    known = {problem_id: row for row, problem_id in enumerate(found.base.tally.problem_ids)}
    if set(known) != set(tally.problem_ids):
        raise DataError(f"{objective.name}: base and tuned model of {found.job.key} are of different problems")
    base = problems_at(found.base.tally, np.array([known[one] for one in tally.problem_ids], dtype=np.intp))
    values = gap_per_problem(base, tally, delta_se_k(base))
    return Value(difference_interval(values, confidence=confidence), values, tally.problem_ids)


def _evaluations(cfg: DictConfig, command: str) -> dict[str, tuple[DictConfig, bool]]:
    """By stage, the config of what a job evaluates, and whether it is compared; only those that are, if any is."""
    if command == "evaluate":
        return {"": (cfg, False)}
    if command != "study":
        raise ConfigError(f"kurve {command} measures no model, so there is nothing to search for; use kurve study")
    stages = {stage.name: (stage, node) for stage, node in composed_stages(cfg) if stage.command == "evaluate"}
    compared = {name: (node, True) for name, (stage, node) in stages.items() if stage.base}
    return compared or {name: (node, False) for name, (_, node) in stages.items()}


def _stage_of(one: Objective, stages: Mapping[str, bool]) -> str:
    if one.stage in stages:
        return one.stage
    if not one.stage and len(stages) == 1:
        return next(iter(stages))
    known = ", ".join(f"{name}/{one.name.rpartition('/')[2]}" for name in stages if name) or "no stage"
    raise ConfigError(f"the objective {one.name} does not say of which evaluation; expected one of {known}")


def _refuse_test_problems(node: DictConfig, stage: str) -> None:
    """Only problems that say that they are there to be tuned on are: a test set that a search saw is none any more."""
    name, split = (str(OmegaConf.select(node, f"benchmark.{key}") or "") for key in ("name", "split"))
    parts = set(re.split(r"[^a-z]+", name.lower()))
    if parts & _TO_TUNE_ON or split.lower() in _TO_TUNE_ON:
        return
    where = f"stages.{stage} evaluates" if stage else "it evaluates"
    raise ConfigError(
        f"a search must not see test problems, and {where} on {name or 'problems without a name'}"
        f"{f' (split {split})' if split else ''}. Give problems to tune on: benchmark.split=tuning for countdown, "
        "else a part that is neither trained nor tested on, under a name that says so: benchmark.name=..._validation. "
        "hydra.sweeper.allow_test=true searches all the same"
    )
