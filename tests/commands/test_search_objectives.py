"""What a search may improve, and where it may be measured."""

from typing import Any

import numpy as np
import pytest
from hydra import initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from kurve.commands.search_objectives import Objective, check_objectives, objectives_of, values_of
from kurve.commands.search_settings import search_of
from kurve.commands.sweep_measured import Evaluated
from kurve.errors import ConfigError, DataError
from kurve.metrics.efficiency import delta_se
from kurve.sweep import Job
from kurve.types import Tally
from tests.composing import as_running, points
from tests.sweeps import counts

BOTH = objectives_of(["minimize delta_se", "maximize pass_at_8"])
JOB = Job("a" * 12, ("seed=0",))


def evaluated(tally: Tally, base: Tally | None = None, stage: str = "") -> Evaluated:
    before = None if base is None else Evaluated(JOB, "of_base", "base", "b", "base", "base", "", base)
    return Evaluated(JOB, stage, "tuned", "b", "m", "m", "", tally, base=before)


def test_an_objective_is_a_direction_and_a_quantity() -> None:
    assert objectives_of(["minimize of_grpo/delta_se", "maximize pass_at_256"]) == [
        Objective("of_grpo/delta_se", "of_grpo", None, "minimize"),
        Objective("pass_at_256", "", 256, "maximize"),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["maximise pass_at_1"], "expected minimize or maximize"),
        (["maximize reward"], "expected minimize or maximize"),
        (["delta_se"], "expected minimize or maximize"),
        ([], "expected different ones"),
        (["maximize pass_at_1", "minimize pass_at_1"], "expected different ones"),
    ],
)
def test_what_is_no_objective_is_refused(given: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        objectives_of(given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "grid"}, "hydra.sweeper.sampler"),
        ({"n_trials": 0}, "hydra.sweeper.n_trials"),
        ({"n_jobs": 0}, "hydra.sweeper.n_jobs"),
        ({"seed": -1}, "hydra.sweeper.seed"),
        ({"allow_test": "yes"}, "hydra.sweeper.allow_test"),
    ],
)
def test_settings_of_a_search_are_checked(settings: dict[str, Any], message: str) -> None:
    good = {"objectives": ["minimize delta_se"], "n_trials": 2, "n_jobs": 1, "sampler": "tpe", "seed": 0}
    with pytest.raises(ConfigError, match=message):
        search_of(OverridesParser.create().parse_overrides(["a=1,2"]), **{**good, "allow_test": False, **settings})


@pytest.mark.parametrize(
    ("name", "split", "may"),
    [
        ("countdown", "tuning", True),
        ("omni_math_validation", "train", True),
        ("my-dev-set", None, True),
        ("countdown", "test", False),
        ("aime24", "train", False),  # the only split that the hub has of a test set
        ("omni_math_train", "train", False),  # it would reward what was learnt by heart
        ("contest", None, False),
    ],
)
def test_only_problems_that_say_so_may_be_tuned_on(name: str, split: str | None, may: bool) -> None:
    cfg = OmegaConf.create({"benchmark": {"name": name, "split": split}, "num_samples": 8})
    check_objectives(cfg, "evaluate", BOTH[1:], allow_test=True)
    if may:
        check_objectives(cfg, "evaluate", BOTH[1:], allow_test=False)
    else:
        with pytest.raises(ConfigError, match="must not see test problems"):
            check_objectives(cfg, "evaluate", BOTH[1:], allow_test=False)


@pytest.mark.parametrize(
    ("command", "given", "message"),
    [
        ("evaluate", "minimize delta_se", "search with kurve study"),
        ("evaluate", "maximize pass_at_16", "num_samples is 8"),
        ("evaluate", "maximize other/pass_at_1", "does not say of which evaluation"),
        ("train", "maximize pass_at_1", "use kurve study"),
    ],
)
def test_objectives_that_the_command_does_not_measure_are_refused(command: str, given: str, message: str) -> None:
    cfg = OmegaConf.create({"benchmark": {"name": "dev"}, "num_samples": 8})
    with pytest.raises(ConfigError, match=message):
        check_objectives(cfg, command, objectives_of([given]), allow_test=False)


@pytest.mark.slow
def test_the_embedded_search_measures_on_tuning_problems_and_the_embedded_study_on_test_problems() -> None:
    [point], [other] = (points(f"kurve study experiment={name}") for name in ("countdown_search", "countdown"))
    with initialize_config_module("kurve.conf", version_base="1.3"):
        with as_running(point):
            check_objectives(point.cfg, "study", objectives_of(["minimize delta_se"]), allow_test=False)
        with as_running(other):
            for name, message in (
                ("delta_se", r"does not say of which evaluation.*evaluate_grpo/delta_se"),
                ("evaluate_grpo/delta_se", "evaluate_grpo evaluates on countdown"),
            ):
                with pytest.raises(ConfigError, match=message):
                    check_objectives(other.cfg, "study", objectives_of([f"minimize {name}"]), allow_test=False)


def test_values_follow_from_the_counts_whatever_order_their_problems_have() -> None:
    base, tuned = counts([1, 4, 16, 0]), counts([3, 8, 15, 1])
    rows = [2, 0, 3, 1]
    shuffled = counts(tuned.num_correct[rows], ids=[tuned.problem_ids[row] for row in rows])
    gap, at_8 = values_of(BOTH, [evaluated(shuffled, base)], confidence=0.95)
    assert gap.estimate == delta_se(base, tuned, 16)
    assert gap.problem_ids == at_8.problem_ids == base.problem_ids
    assert at_8.estimate.value == pytest.approx(np.mean(at_8.per_problem))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (evaluated(counts([1, 2], n=4)), "only 4 judged samples"),
        (evaluated(counts([1, 2]), None), "no base"),
        (evaluated(counts([1, 2]), counts([1, 2], ids=["x", "y"])), "different problems"),
    ],
)
def test_what_was_not_measured_is_told(found: Evaluated, message: str) -> None:
    with pytest.raises(DataError, match=message):
        values_of(BOTH[::-1], [found], confidence=0.95)


def test_an_objective_of_a_stage_takes_that_stage() -> None:
    found = [evaluated(counts([value, value]), counts([8, 8]), stage) for stage, value in (("one", 4), ("two", 12))]
    [value] = values_of(objectives_of(["maximize two/pass_at_1"]), found, confidence=0.95)
    assert value.estimate.value == 0.75
    with pytest.raises(ConfigError, match="one/pass_at_1, two/pass_at_1"):
        values_of(objectives_of(["maximize pass_at_1"]), found, confidence=0.95)
