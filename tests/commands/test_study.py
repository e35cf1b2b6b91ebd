"""`kurve study` as a user types it: a real training of 0.1M parameters, and evaluations with a scripted sampler."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # has no types
import pytest

from tests.commands.test_evaluate import GSM8K_ROWS
from tests.here import run_here
from tests.trainings import environment, here, place, run, start, wait_for

STUDY = ("study", "experiment=toy_study")


def studied(folder: Path) -> Path:
    """The only study in `folder`."""
    found = list((folder / "outputs" / "studies").glob("*/study.json"))
    assert len(found) == 1
    return found[0].parent


def finished(folder: Path) -> dict[str, Any]:
    """What the record of the only study in `folder` says."""
    return _finished(studied(folder) / "study.json")


def _finished(record: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(record.read_text())["finished"]
    return found


def runs(folder: Path) -> list[dict[str, Any]]:
    """Tags and state of every tracked run."""
    return [
        {**json.loads((path.parent / "tags.json").read_text()), **json.loads(path.read_text())}
        for path in (folder / "outputs" / "tracking").glob("*/run.json")
    ]


@pytest.fixture(scope="module")
def place_with_problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = place(tmp_path_factory.mktemp("study") / "place with a blank")
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GSM8K_ROWS), encoding="utf-8")
    return folder


@pytest.fixture
def fresh(place_with_problems: Path, tmp_path: Path) -> Path:
    """A folder with a model, demonstrations and problems, in which nothing was run."""
    return shutil.copytree(place_with_problems, tmp_path / "fresh")


@pytest.fixture(scope="module")
def studied_once(
    place_with_problems: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder in which the study was run once."""
    folder = shutil.copytree(place_with_problems, tmp_path_factory.mktemp("study") / "once")
    done = run(folder, *STUDY, "jobs=2")
    assert done.returncode == 0, done.stderr + done.stdout
    return folder, done


def test_a_study_ends_with_verdicts_figures_and_where_to_look(
    studied_once: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = studied_once
    assert "pass@16" in done.stdout
    assert "delta SE" in done.stdout
    assert f"study     {studied(folder)}" in done.stdout
    assert (studied(folder) / "comparison" / "gsm8k.png").is_file()
    numbers = json.loads((studied(folder) / "comparison" / "gsm8k.json").read_text())
    [pair] = numbers["pairs"]
    assert pair["base"] == "base"
    assert pair["tuned"] == "tuned"
    assert pair["num_problems"] == 4
    assert pair["ks"][-1] == 16


def test_every_run_says_which_study_role_and_base_it_has(
    studied_once: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = studied_once
    by_kind = {(run.get("kurve.kind"), run.get("kurve.role"), run.get("kurve.model")): run for run in runs(folder)}
    base, tuned = by_kind[None, "base", "base"], by_kind[None, "tuned", "tuned"]
    study = by_kind["study", None, None]
    assert {run["kurve.study"] for run in runs(folder)} == {studied(folder).name}
    assert {run["status"] for run in runs(folder)} == {"FINISHED"}
    assert tuned["kurve.base_run_id"] == finished(folder)["of_base"]["made"]["facts"]["run_id"]
    assert "kurve.base_run_id" not in base
    assert study["kurve.verdict.of_tuned"]


def test_the_tuned_run_gets_what_changed_against_its_base(
    studied_once: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = studied_once
    run_id = finished(folder)["of_tuned"]["made"]["facts"]["run_id"]
    points = [
        json.loads(line)
        for line in (folder / "outputs" / "tracking" / run_id / "points.jsonl").read_text().splitlines()
    ]
    keys = {point["key"] for point in points}
    assert {"gsm8k/delta_se", "gsm8k/delta_se_low", "gsm8k/delta_se_high", "gsm8k/delta_pass_at_1"} <= keys
    tags = json.loads((folder / "outputs" / "tracking" / run_id / "tags.json").read_text())
    [study] = [run for run in runs(folder) if run.get("kurve.kind") == "study"]
    assert tags["kurve.verdict.gsm8k"] == study["kurve.verdict.of_tuned"]


def test_a_second_start_skips_all_stages_and_says_the_same(
    studied_once: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = studied_once
    before = len(runs(folder))
    again = run(folder, *STUDY, "jobs=2")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("finished before") == 3
    assert again.stdout == done.stdout
    assert len(runs(folder)) == before


@pytest.mark.slow
def test_what_was_changed_is_done_again_and_no_more(
    studied_once: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = studied_once
    copy = shutil.copytree(folder, folder.parent / "changed")
    stored = {path.name for path in (copy / "outputs" / "samples").iterdir()}
    other = run(copy, *STUDY, "seconds=0.001")  # of the base alone, which is no other sampling
    assert other.returncode == 0, other.stderr
    assert "finished before" not in other.stderr  # another study, whose stages find their work done
    assert len(list((copy / "outputs" / "models").glob("*/training.json"))) == 1
    assert stored <= {path.name for path in (copy / "outputs" / "samples").iterdir()}


@pytest.mark.slow
def test_a_killed_study_takes_its_commands_with_it_and_goes_on(fresh: Path) -> None:
    words = (*STUDY, "seconds=0.2", "toy_steps=1")
    process = start(fresh, *words)
    wait_for(fresh, "outputs/samples/*/samples-*")
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    before = (
        set(finished(fresh))
        if (fresh / "outputs" / "studies").exists() and list((fresh / "outputs" / "studies").glob("*/study.json"))
        else set()
    )
    done = run(fresh, *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("finished before") == len(before)
    assert set(finished(fresh)) == {"trained", "of_base", "of_tuned"}


def test_a_failed_stage_is_told_with_its_reason_and_how_to_go_on(fresh: Path) -> None:
    (fresh / "problems.jsonl").write_text('{"question": "no answer"}\n')
    done = run(fresh, *STUDY, "stages.trained=null", "stages.of_tuned=null")
    assert done.returncode == 2
    assert "the stage of_base ended with exit code 2" in done.stderr
    assert "problems.jsonl" in done.stderr
    assert "Alone: kurve evaluate " in done.stderr
    assert "Go on: kurve study experiment=toy_study" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (['stages.of_base.overrides=["benchmark=gsm8k","nosuch=1"]'], ["stages.of_base", "nosuch"]),
        (['stages.of_base.overrides=["benchmark=nosuch"]'], ["stages.of_base", "nosuch"]),
        (["stages.of_tuned.base=trained"], ["stages.of_tuned.base", "kurve evaluate"]),
        (["stages.of_tuned.role=student"], ["student", "distilled"]),
        (["stages.of_base.command=paint"], ["paint", "train"]),
        (["+stages.of_base.overides=[]"], ["did you mean overrides"]),
        (["stages=3"], ["stages is 3"]),
        (["jobs=0"], ["jobs"]),
        (["compare.confidence=95"], ["compare.confidence"]),
        (["name=a/b"], ["a/b"]),
    ],
)
def test_a_mistake_is_refused_before_the_first_stage(fresh: Path, change: list[str], words: list[str]) -> None:
    done = here(fresh, *STUDY, *change)
    assert done.returncode == 2
    assert all(word in done.stderr for word in words), done.stderr
    assert not (fresh / "outputs" / "models").exists()
    assert not (fresh / "outputs" / "samples").exists()


def test_a_study_without_a_choice_names_the_choices(fresh: Path) -> None:
    done = run_here(fresh, ["study"], environment(fresh))
    assert done.returncode == 2
    assert "experiment" in done.stderr


@pytest.mark.slow
def test_a_study_is_stopped_by_sigterm_with_its_commands(fresh: Path) -> None:
    process = start(fresh, *STUDY, "seconds=0.2")
    wait_for(fresh, "outputs/models/*/training.json")
    time.sleep(0.5)
    process.terminate()
    process.communicate(timeout=90)
    assert process.returncode == 130
    states = {run["status"] for run in runs(fresh)}
    assert "RUNNING" not in states
