"""Journals of processes that are killed, fork or have no disk left."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kurve.dir_tracker import DirTracker
from kurve.journal import Journal, close_abandoned
from kurve.outbox import send_all
from kurve.tracking import NullTracker
from tests.journals import lines, logged, status

LOGGER = """
import sys
from pathlib import Path
from kurve.dir_tracker import DirTracker
from kurve.journal import Journal
from tests.tracking_samples import run_info
tracker = DirTracker(sys.argv[1] + "/runs")
tracker.start(run_info())
with Journal(Path(sys.argv[1]) / "training", tracker, every=0.02) as journal:
    step = 0
    while True:
        journal.log({"reward": step / 7}, step)
        print(step, flush=True)
        step += 1
"""


@pytest.mark.parametrize("after", [50, 1500])
def test_kill_9_costs_no_line_that_was_logged(tmp_path: Path, after: int) -> None:
    child = subprocess.Popen([sys.executable, "-c", LOGGER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) == after:
            break
    child.send_signal(signal.SIGKILL)
    last = max([after, *map(int, child.stdout.read().split()[:-1])])  # the last line may be torn
    child.wait()
    tracker = DirTracker(tmp_path / "runs")
    assert close_abandoned(tmp_path / "training")
    assert not close_abandoned(tmp_path / "training")
    send_all(tmp_path / "training", tracker)
    steps = [step for _, step, _ in logged(tracker)]
    assert steps == list(range(len(steps)))
    assert len(steps) > last
    assert status(tracker) == "KILLED"


def test_a_training_that_runs_or_ended_is_not_abandoned(tmp_path: Path) -> None:
    with Journal(tmp_path / "training", NullTracker()):
        assert not close_abandoned(tmp_path / "training")
    assert not close_abandoned(tmp_path / "training")
    assert not close_abandoned(tmp_path / "no training")


def test_a_training_that_ends_while_one_looks_is_not_abandoned(tmp_path: Path) -> None:
    """It is seen to be running, and lets its lock go before that is waited for to the end."""
    journal = Journal(tmp_path / "training", NullTracker())
    with journal:
        looking = threading.Thread(target=close_abandoned, args=(tmp_path / "training",))
        looking.start()
        time.sleep(0.1)
    looking.join()
    assert [line["status"] for line in lines(tmp_path / "training")] == ["RUNNING", "FINISHED"]


FULL_DISK = """
import logging, resource, signal, sys, time
from pathlib import Path
from kurve.dir_tracker import DirTracker
from kurve.journal import Journal
from tests.tracking_samples import run_info
logging.basicConfig()
away = sys.argv[2] == "away"
tracker = DirTracker(sys.argv[1] + "/runs")
tracker.start(run_info())
if away:
    tracker._run = Path("/proc/model-on-gsm8k-01234567")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
with Journal(Path(sys.argv[1]) / "training", tracker, every=0.05, pause=0.1, patience=8) as journal:
    journal.log({"reward": 0.0}, 0)
    time.sleep(0.5)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    slowest = 0.0
    for step in range(1, 3000):
        started = time.monotonic()
        journal.log({"reward": float(step)}, step)
        slowest = max(slowest, time.monotonic() - started)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    if away:
        tracker._run = Path(sys.argv[1]) / "runs" / "model-on-gsm8k-01234567"
    print(slowest)
"""


@pytest.mark.parametrize("server", ["there", "away"])
def test_a_full_disk_stops_nothing_and_what_was_held_is_kept(tmp_path: Path, server: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), server], capture_output=True, text=True, check=True, timeout=60
    )
    assert float(done.stdout) < 0.5
    assert done.stderr.count("metrics are kept in memory") == 1
    assert "lost" not in done.stderr
    tracker = DirTracker(tmp_path / "runs")
    tracker.attach("model-on-gsm8k-01234567")
    assert sorted(step for _, step, _ in logged(tracker)) == list(range(3000))
    assert status(tracker) == "FINISHED"


def test_a_forked_child_does_not_keep_the_journal_locked(tmp_path: Path) -> None:
    with Journal(tmp_path / "training", NullTracker()):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        with Journal(tmp_path / "training", NullTracker()):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
