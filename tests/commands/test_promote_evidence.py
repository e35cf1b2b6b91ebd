import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import DictConfig, OmegaConf

from kurve.commands.promote_evidence import find_pairings
from kurve.errors import ConfigError, EvidenceError
from kurve.export import COUNTS
from kurve.gate_report import Pairing
from kurve.gate_settings import Gate
from kurve.promotion import PromotionRegistry, RegisteredVersion
from kurve.tracking import Tracker
from tests.gating import BASE, BETTER, RunsInMemory, registered_version

GATE = Gate("test", superiority_margin=0.0, draws=200)


class Models:
    """A registry of some versions."""

    def __init__(self, **versions: RegisteredVersion) -> None:
        self._versions: Mapping[str, RegisteredVersion] = versions

    def version(self, name: str, which: str) -> RegisteredVersion:
        return self._versions[name]

    def trained_by(self, run_id: str) -> Sequence[RegisteredVersion]:
        return [one for one in self._versions.values() if one.run_id == run_id]


@pytest.fixture
def runs(tmp_path: Path) -> RunsInMemory:
    own = RunsInMemory()
    for benchmark in ("easy", "hard"):
        own.add(f"base{benchmark}", tmp_path, BASE, model="base", benchmark=benchmark)
        own.add(f"tuned{benchmark}", tmp_path, BETTER, model="tuned", benchmark=benchmark)
    return own


def found(
    runs: RunsInMemory, version: RegisteredVersion, gate: Gate = GATE, models: Models | None = None, **given: Any
) -> list[Pairing]:
    cfg: DictConfig = OmegaConf.create({"tuned": None, "base": None, **given})
    registry = cast(PromotionRegistry, models or Models())
    return find_pairings(cfg, gate, version, registry, tracker=cast(Tracker, runs))


def names(pairings: Sequence[Pairing]) -> list[tuple[str, str, str]]:
    return [(one.benchmark, one.tuned.run_id, one.base.run_id if one.base else "") for one in pairings]


def test_the_base_is_the_one_that_the_runs_name(runs: RunsInMemory) -> None:
    runs.tagged["tunedeasy"]["kurve.base_run_id"] = "baseeasy"
    runs.tagged["tunedhard"]["kurve.base_run_id"] = "baseeasy"  # of another benchmark
    pairings = found(runs, registered_version("tuned", "tunedhard", "tunedeasy"))
    assert names(pairings) == [("hard", "tunedhard", ""), ("easy", "tunedeasy", "baseeasy")]
    assert "pass@1 is 51.0%, the base's 20.3% (+30.7 points" in pairings[1].words
    assert pairings[0].words == ""


def test_else_it_is_the_model_that_the_training_started_from(runs: RunsInMemory) -> None:
    version = registered_version("tuned", "tunedeasy", "tunedhard")
    version = dataclasses.replace(version, tags={**version.tags, "kurve.base_run_id": "trained-base"})
    base = dataclasses.replace(registered_version("base", "baseeasy", "basehard"), run_id="trained-base")
    pairings = found(runs, version, models=Models(base=base))
    assert names(pairings) == [("easy", "tunedeasy", "baseeasy"), ("hard", "tunedhard", "basehard")]


def test_what_is_named_wins_and_the_gate_says_which_benchmarks_in_which_order(runs: RunsInMemory) -> None:
    version = registered_version("tuned")
    gate = dataclasses.replace(GATE, benchmarks=("hard", "other", "easy"))
    given = {"tuned": "tunedeasy, http://host/#/experiments/1/runs/tunedhard", "base": "models:/base@champion"}
    models = Models(base=registered_version("base", "baseeasy", "basehard"))
    expected = [("hard", "tunedhard", "basehard"), ("easy", "tunedeasy", "baseeasy")]
    assert names(found(runs, version, gate, models, **given)) == expected
    only = dataclasses.replace(GATE, benchmarks=("hard",))
    assert names(found(runs, version, only, models, **given)) == expected[:1]


def test_two_evaluations_of_one_benchmark_are_refused_with_both(runs: RunsInMemory, tmp_path: Path) -> None:
    runs.add("again", tmp_path, BETTER, model="tuned")
    with pytest.raises(ConfigError, match="several evaluations on easy: tunedeasy, again; name one"):
        found(runs, registered_version("tuned", "tunedeasy", "again"))


def test_evidence_that_was_altered_is_no_evidence(runs: RunsInMemory) -> None:
    runs.files["tunedeasy"][COUNTS] = runs.files["baseeasy"][COUNTS]
    with pytest.raises(EvidenceError, match="one of both was altered"):
        found(runs, registered_version("tuned", "tunedeasy"))


def test_a_model_that_was_never_evaluated_is_no_base(runs: RunsInMemory) -> None:
    models = Models(base=registered_version("base"))
    with pytest.raises(ConfigError, match="no evaluation is known of models:/base/1"):
        found(runs, registered_version("tuned", "tunedeasy"), models=models, base="models:/base/1")
