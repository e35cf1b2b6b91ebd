"""`kurve study` with promotions, on stages that are finished: counts of simulated models in a real SQLite store."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from kurve import study
from kurve.study import Finished, Made, Stage
from kurve.types import Tally
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.commands.test_register import training
from tests.conftest import REPOSITORY, RunKurve, command_environment, command_line
from tests.gating import BASE, BETTER, NARROWER, report_files
from tests.here import run_here
from tests.tracking_samples import run_info

STUDY = ("study", "experiment=gated_study", "compare.draws=200")
EVALUATED = {"of_base": BASE, "of_good": BETTER, "of_narrow": NARROWER}


def stages() -> list[Stage]:
    file = REPOSITORY / "tests" / "conf" / "experiment" / "gated_study.yaml"
    return [
        Stage(name, one["command"], tuple(one["overrides"]), role=one["role"], base=one.get("base", ""))
        for name, one in yaml.safe_load(file.read_text())["stages"].items()
    ]


def made(folder: Path, evaluated: Mapping[str, Tally]) -> Path:
    """The folder of a study whose stages are finished, with their runs in `mlflow.db` and their files."""
    finished: dict[str, Finished] = {}
    for stage in stages():
        place = folder / "outputs" / stage.name
        if stage.command == "train":
            one = Made(str(training(place, run_id="")))
        else:
            base = finished[stage.base].made.facts["run_id"] if stage.base else ""
            run_id = logged(folder, stage.name, evaluated[stage.name], base)
            facts = {"run_id": run_id, "model": stage.name, "benchmark": "easy"}
            one = Made(str(place), {"report": str(place)}, facts)
        finished[stage.name] = Finished(study.stage_fingerprint(stage, finished), one, 1.0)
    target = folder / "outputs" / "studies" / f"gated-{study.fingerprint(stages())}"
    target.mkdir(parents=True)
    study.write(target, stages(), finished)
    return target


def logged(folder: Path, name: str, counts: Tally, base: str) -> str:
    tracker = MlflowTracker(uri=f"sqlite:///{folder}/mlflow.db", saved_view=False, folder=folder)
    tracker.start(run_info(name, tags={"kurve.base_run_id": base} if base else {}))
    tracker.log_files(report_files(folder / "outputs" / name, counts, model=name), "")
    tracker.finish("FINISHED")
    return tracker.run_id


class Place:
    """A folder with the finished study, and what the registry and the experiment there hold."""

    def __init__(self, folder: Path, evaluated: Mapping[str, Tally]) -> None:
        self.folder, self.study = folder, made(folder, evaluated)
        self.client = MlflowClient(f"sqlite:///{folder}/mlflow.db")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_here(self.folder, command_line([*STUDY, *words])[3:], command_environment())

    def champion(self, model: str) -> str:
        return str(self.client.get_registered_model(model).aliases.get("champion", ""))

    def gates(self) -> list[str]:
        """Outcomes of the runs of gates."""
        experiments = [one.experiment_id for one in self.client.search_experiments()]
        found = self.client.search_runs(experiments, "tags.`kurve.kind` = 'gate'")
        return sorted(run.data.tags["kurve.gate.outcome"] for run in found)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("gated"), EVALUATED)


def said(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.slow
def test_what_passes_is_promoted_at_the_end_of_its_study_and_never_twice(place: Place) -> None:
    done = place.run()
    assert done.returncode == 0, done.stderr  # the narrow model need not pass
    assert "passed champion is now version 1" in said(done.stdout)
    assert "failed champion was left where it is: easy: pass@64 changed by" in said(done.stdout)
    assert "delta SE" in done.stdout
    assert (place.champion("gated-good"), place.champion("gated-narrow")) == ("1", "")
    assert place.gates() == ["failed", "passed"]
    assert (place.study / "gate" / "good" / "gate.json").is_file()

    place.client.delete_registered_model_alias("gated-good", "champion")  # as somebody may do
    again = place.run()
    assert again.returncode == 0, again.stderr
    assert "passed decided before, champion was not touched" in said(again.stdout)
    assert place.champion("gated-good") == ""

    (place.study / "promotions.json").unlink()  # as if it was cut off before it was written
    once_more = place.run()
    assert once_more.returncode == 0, once_more.stderr
    assert place.champion("gated-good") == "1"
    assert place.gates() == ["failed", "passed"]
    assert len(place.client.search_model_versions("name = 'gated-good'")) == 1


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ("promote.narrow.required=true", 1, "gated-narrow version 1 (failed: easy: pass@64 changed by"),
        ("promote.good.gate=paper", 3, "gated-good version 1 (insufficient evidence: "),
    ],
)
def test_the_exit_code_tells_that_a_required_model_is_not_promoted_and_all_else_is_done(
    place: Place, change: str, code: int, words: str
) -> None:
    done = place.run(change)
    assert done.returncode == code, done.stderr
    assert words in said(done.stderr)
    assert "Traceback" not in done.stderr
    assert "delta SE" in done.stdout
    assert f"study {place.study}" in said(done.stdout)


@pytest.mark.slow
def test_what_goes_wrong_with_one_promotion_is_told_and_the_others_are_made(tmp_path: Path) -> None:
    place = Place(tmp_path, EVALUATED)
    (tmp_path / "outputs" / "narrow" / "model" / "model.safetensors").unlink()
    [counts] = (tmp_path / "mlartifacts").glob(f"*/{run_of(place, 'of_good')}/artifacts/kurve/report.json")
    counts.write_text("{}")
    assert place.run("register=false", "promote=null").returncode == 0  # the study itself is logged
    done = place.run()
    assert done.returncode == 2
    assert "promote.narrow: " in done.stderr
    assert "Go on: kurve study experiment=gated_study" in done.stderr
    assert "insufficient evidence" in said(done.stdout)
    assert place.champion("gated-good") == ""
    training(tmp_path / "outputs" / "narrow" / "again")
    shutil.copytree(
        tmp_path / "outputs" / "narrow" / "again" / "model",
        tmp_path / "outputs" / "narrow" / "model",
        dirs_exist_ok=True,
    )
    mended = place.run()
    assert mended.returncode == 3, mended.stderr
    assert place.gates() == ["failed"]


def run_of(place: Place, stage: str) -> str:
    return study.read(place.study)[stage].made.facts["run_id"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["promote=champion"], "promote is 'champion'"),
        (["+promote.nosuch.gate=default"], "promote.nosuch: nosuch is no stage of kurve train with a role"),
        (["+promote.of_good.gate=default"], "those are good, narrow"),
        (["promote.good=default"], "promote.good is 'default'"),
        (["+promote.good.gates=default"], "promote.good.gates is no setting of a promotion; did you mean gate?"),
        (["promote.good.gate=strictest"], "there is no such gate"),
        (["+promote.good.alias=v3"], "promote.good.alias=v3 cannot be an alias"),
        (["+promote.good.alias='a b'"], "promote.good.alias=a b cannot be an alias"),
        (["promote.narrow.required=maybe"], "promote.narrow.required is 'maybe'"),
        (["+promote.good.evaluations=[of_narrow]"], "names of_narrow, which is no stage of kurve evaluate"),
        (["+promote.good.evaluations=of_good"], "promote.good.evaluations is 'of_good'"),
        (["stages.of_good=null"], "promote.good: no stage of kurve evaluate with a role and a base names {good}"),
        (["tracker=dir"], "promote needs a tracker with a model registry"),
        (["tracker=none"], "promote needs a tracker with a model registry"),
        (["register=false"], "promote needs the models to be registered"),
    ],
)
def test_a_mistake_in_a_promotion_is_refused_before_the_first_stage(
    kurve_here: RunKurve, tmp_path: Path, change: list[str], words: str
) -> None:
    done = kurve_here(*STUDY, *change)
    assert done.returncode == 2
    assert words in said(done.stderr)
    assert not (tmp_path / "outputs" / "studies").exists()
    assert not (tmp_path / "mlflow.db").exists()
