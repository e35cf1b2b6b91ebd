"""Trainings on two processes of this machine, started by one command: gloo in place of GPUs."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # has no types
import pytest

from kurve.training_record import TrainingRecord
from tests.trainings import LONG, SFT, here, run, start, tracked, trained, wait_for, wait_for_step

PATIENCE = 240.0  # seconds in which two processes start on a busy machine
RECORD = "outputs/models/*/training.json"
TWO = ("accelerate=cpu", "training.per_device_train_batch_size=4")
SHORT = (*SFT, *TWO, "training.max_steps=4", "training.save_steps=2")
ENDLESS = (*SFT, *TWO, "training.max_steps=5000", "training.save_steps=10", "training.save_total_limit=2")

AtWork = Callable[..., tuple["subprocess.Popen[str]", list[int], Path]]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("accelerate.num_processes=1", "accelerate.num_processes is 1; it must be a whole number, 2 or more"),
        ("accelerate.num_machines=2", "accelerate launch -m kurve.cli train ... on each"),
        ("accelerate.processes=2", "there is no setting 'accelerate.processes'"),
    ],
)
def test_processes_that_cannot_be_started_are_refused(word: str, said: str, tmp_path: Path) -> None:
    refused = here(tmp_path, *SHORT, word)
    assert refused.returncode == 2
    assert said in refused.stderr


def test_a_process_that_accelerate_started_starts_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    refused = here(tmp_path, *SHORT)
    assert refused.returncode == 2
    assert "leave one out" in refused.stderr


@pytest.fixture
def at_work() -> Iterator[AtWork]:
    """`work`, whose processes do not outlive a test that fails."""
    processes: list[subprocess.Popen[str]] = []
    yield partial(work, processes)
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_two_processes_leave_what_one_leaves(fresh: Path, first: tuple[Path, str, str]) -> None:
    both = start(fresh, *SHORT)
    printed, errors = both.communicate(timeout=2 * PATIENCE)
    assert both.returncode == 0, errors
    folder, record = trained(fresh)
    assert f"model    {folder / 'model'}" in printed
    assert printed.count("next:") == 1
    assert "torch.distributed" not in errors  # what accelerate says is in its log
    assert (record.recipe["processes"], record.attempts[-1].processes) == (2, 2)
    assert (record.status, record.final_step) == ("FINISHED", 4)
    assert tracked(fresh, "run.json")["status"] == "FINISHED"
    assert kept(fresh) == kept(first[0])
    again = run(fresh, *SHORT)
    assert "nothing was done" in again.stdout


def kept(place: Path) -> list[tuple[str, int]]:
    """Which numbers of which steps the only run has."""
    return sorted((point["key"], point["step"]) for point in tracked(place, "points.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_ends_the_training_and_the_same_command_goes_on(
    victim: int, fresh: Path, at_work: AtWork
) -> None:
    running, ranks, folder = at_work(fresh, *ENDLESS)
    os.kill(ranks[victim], signal.SIGKILL)
    _, errors = running.communicate(timeout=LONG)
    assert running.returncode == 2, errors
    assert gone(ranks)
    _, record = trained(fresh)
    assert record.status == ("KILLED" if victim == 0 else record.status)
    assert record.status in ("KILLED", "FAILED")
    assert tracked(fresh, "run.json")["status"] == record.status
    saved = max(json.loads((folder / "training.json").read_text())["steps"], key=int)
    running, ranks, _ = at_work(fresh, *ENDLESS, attempt=2)
    wait_for(folder, f"checkpoints/checkpoint-{int(saved) + 20}/trainer_state.json")
    running.terminate()
    running.communicate(timeout=LONG)
    _, record = trained(fresh)
    assert [one.first_step for one in record.attempts] == [0, int(saved)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGKILL])
def test_what_ends_the_starting_process_ends_all(number: signal.Signals, fresh: Path, at_work: AtWork) -> None:
    running, ranks, _ = at_work(fresh, *ENDLESS)
    running.send_signal(number)
    running.communicate(timeout=LONG)
    assert running.returncode == (130 if number in (signal.SIGTERM, signal.SIGINT) else -number)
    assert gone(ranks)
    record = ended(fresh)
    assert record.status == "KILLED"
    assert tracked(fresh, "run.json")["status"] == "KILLED"


def work(
    processes: list["subprocess.Popen[str]"], place: Path, *words: str, attempt: int = 1
) -> tuple["subprocess.Popen[str]", list[int], Path]:
    """Start a training and wait until it is at work.

    Args:
        processes: is told what was started.
        place: to start it in.
        words: of the command line.
        attempt: which of the training it is.

    Returns:
        The process that was started, its ranks in order, and the training's folder.
    """
    running = start(place, *words)
    processes.append(running)
    deadline = time.monotonic() + PATIENCE
    while statuses(place)[attempt - 1 :] != ["RUNNING"]:
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    folder, _ = trained(place)
    if attempt == 1:
        wait_for_step(folder, 12)
    ranks = {}
    for process in psutil.Process(running.pid).children(recursive=True):
        if "kurve.commands.training_rank" in process.cmdline():
            ranks[int(process.environ().get("RANK", -1))] = process.pid
    return running, [ranks[0], ranks[1]], folder


def statuses(place: Path) -> list[str]:
    """How each start of the only training fared; none before its record is there."""
    return [one.status for one in trained(place)[1].attempts] if list(place.glob(RECORD)) else []


def gone(ranks: list[int]) -> bool:
    """Whether all of them end within the time that they have."""
    deadline = time.monotonic() + 40
    while any(psutil.pid_exists(rank) for rank in ranks):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def ended(place: Path) -> TrainingRecord:
    """The record, once it no longer says RUNNING."""
    deadline = time.monotonic() + 20
    while trained(place)[1].status == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.2)
    return trained(place)[1]
