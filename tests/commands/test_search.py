"""Searches with Optuna as a user types them."""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands.test_evaluate import BASE, problems  # noqa: F401 a fixture
from tests.conftest import RunKurve, command_environment, command_line

pytest.importorskip("optuna", reason="the extra `optuna` is not installed")

SEARCH = (
    *BASE, "verifier=scripted", "benchmark.name=gsm8k_validation", "num_samples=8", "tracker=dir", "sweep_name=s", "-m",
    "hydra/sweeper=optuna", "hydra.sweeper.objectives=[maximize pass_at_1,maximize pass_at_4]",
)  # fmt: skip
SPACE = "seed=range(0,60)"

pytestmark = pytest.mark.usefixtures("problems")


def folder_of(place: Path, name: str = "s") -> Path:
    return place / "outputs" / "sweeps" / name


def trials(place: Path, name: str = "s") -> list[dict[str, str]]:
    with (folder_of(place, name) / "search" / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def attempts(place: Path) -> dict[str, int]:
    """How often each job was tried."""
    return {path.parent.name: json.loads(path.read_text())["attempt"] for path in folder_of(place).glob("*/job.json")}


@pytest.mark.slow
def test_a_search_goes_on_from_what_is_there_and_is_shown_with_its_front(kurve_here: RunKurve, tmp_path: Path) -> None:
    first = kurve_here("evaluate", *SEARCH, SPACE, "hydra.sweeper.n_trials=1")
    assert first.returncode == 0, first.stderr
    again = kurve_here("evaluate", *SEARCH, SPACE, "hydra.sweeper.n_trials=2")
    assert again.returncode == 0, again.stderr
    found = trials(tmp_path)
    assert [row["trial"] for row in found] == ["0", "1"]
    assert {row["status"] for row in found} == {"FINISHED"}
    assert "front" in {row["standing"] for row in found}
    assert set(attempts(tmp_path).values()) == {1}
    for row in found:
        report = json.loads((folder_of(tmp_path) / row["job"] / "report" / "report.json").read_text())
        assert float(row["pass_at_1"]) == pytest.approx(report["scalars"]["pass_at_1"])
        assert float(row["pass_at_1_low"]) <= float(row["pass_at_1"]) <= float(row["pass_at_1_high"])
        assert 0 <= int(row["seed"]) < 60
    assert (folder_of(tmp_path) / "search" / "pareto.svg").is_file()
    for word in ("pass@1 (max)", "front: no trial is better", "each trial is one seed", "pareto.png"):
        assert word in " ".join(again.stdout.split())
    summaries = sorted((tmp_path / "outputs" / "tracking").glob("sweep-s-*"))
    assert (summaries[-1] / "artifacts" / "search" / "pareto.png").is_file()
    tags = [json.loads((one / "tags.json").read_text()) for one in summaries]
    assert all(one["kurve.front"].startswith("trial ") for one in tags)

    other = kurve_here("evaluate", *SEARCH, "seed=range(0,30)")
    assert other.returncode == 2
    assert "holds another search: space differ" in other.stderr


@pytest.mark.slow
def test_the_same_search_proposes_the_same_whether_it_was_stopped_or_not(kurve_here: RunKurve, tmp_path: Path) -> None:
    whole = kurve_here("evaluate", *SEARCH, SPACE, "hydra.sweeper.n_trials=3")
    assert whole.returncode == 0, whole.stderr
    stopped = [*SEARCH, SPACE, "sweep_name=t"]
    for number in (1, 3):
        done = kurve_here("evaluate", *stopped, f"hydra.sweeper.n_trials={number}")
        assert done.returncode == 0, done.stderr
    one, other = ([row["seed"] for row in trials(tmp_path, name)] for name in ("s", "t"))
    assert one == other


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["benchmark.name=gsm8k"], "must not see test problems"),
        (["num_samples=8,0"], "num_samples=0"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_anything_starts(
    words: list[str], message: str, kurve_here: RunKurve, tmp_path: Path
) -> None:
    refused = kurve_here("evaluate", *SEARCH, SPACE, *words)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert not list((tmp_path / "outputs").glob("sweeps/*/*/job.json"))


@pytest.mark.slow
def test_a_trial_whose_settings_do_not_go_together_is_told_and_the_search_goes_on(
    kurve_here: RunKurve, tmp_path: Path
) -> None:
    apart = ("num_samples=8,4", "report.ks=[4],[8]", "hydra.sweeper.sampler=random", "hydra.sweeper.n_trials=6")
    done = kurve_here("evaluate", *SEARCH, *apart)  # pass@8 of 4 samples, which no single setting shows
    assert done.returncode == 0, done.stderr
    found = [((row["num_samples"], row["report.ks"]) == ("4", "[8]"), row["status"]) for row in trials(tmp_path)]
    assert len(found) == 6
    assert set(found) == {(True, "FAILED"), (False, "FINISHED")}
    assert "raise num_samples to 8" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_trials_that_fail_one_after_another_end_the_search(kurve_here: RunKurve, tmp_path: Path) -> None:
    done = kurve_here("evaluate", *SEARCH, SPACE, "sampler.fail_after=0", "hydra.sweeper.n_trials=9")
    assert done.returncode == 2
    assert "the last 3 trials failed" in done.stderr
    assert "the scripted engine stops" in done.stderr
    assert [row["status"] for row in trials(tmp_path)] == ["FAILED"] * 3


@pytest.mark.slow
def test_a_search_over_studies_survives_the_death_of_its_controller(kurve: RunKurve, tmp_path: Path) -> None:
    words = [
        "study", "sweep=countdown_search", "tracker=dir", "num_problems=24", "base_steps=20", "max_steps=2",
        "hydra.sweeper.n_trials=3",
    ]  # fmt: skip
    process = subprocess.Popen(
        command_line(words),
        cwd=tmp_path,
        env=command_environment() | {"KURVE_CACHE": str(tmp_path / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    place = folder_of(tmp_path, "countdown_search")
    deadline = time.monotonic() + 1500
    while len(list(place.glob("*/job.json"))) < 2:  # the second trial is at work
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path.parent.name: json.loads(path.read_text())["status"] for path in place.glob("*/job.json")}
    assert sorted(before.values()) == ["FINISHED", "RUNNING"]
    environment = command_environment() | {"KURVE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        command_line(words), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stderr
    found = trials(tmp_path, "countdown_search")
    assert len(found) == 3
    assert {row["status"] for row in found} == {"FINISHED"}
    after = {path.parent.name: json.loads(path.read_text())["attempt"] for path in place.glob("*/job.json")}
    assert {after[key] for key, status in before.items() if status == "FINISHED"} == {1}
    assert {after[key] for key, status in before.items() if status == "RUNNING"} == {2}
    for row in found:
        assert -1 <= float(row["delta_se_low"]) <= float(row["delta_se"]) <= float(row["delta_se_high"]) <= 1
        assert 2e-5 <= float(row["learning_rate"]) <= 2e-3
