"""The records of a sweep: what is known of its jobs after whatever ended them."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kurve import sweep
from kurve.errors import SweepError
from kurve.sweep import Job, JobStatus, Sweep

TWO = Sweep("two", "evaluate", (Job("a" * 12, ("seed=0",)), Job("b" * 12, ("seed=1",))))


@contextmanager
def running_elsewhere(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs the job until it is killed."""
    code = f"""
        import sys, time
        from pathlib import Path
        from kurve import sweep
        with sweep.attempt(Path({str(folder)!r})) as attempt:
            print("at work", flush=True)
            time.sleep(600)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_sweep_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    assert sweep.read(tmp_path) is None
    sweep.write(tmp_path, TWO)
    assert sweep.read(tmp_path) == TWO


def test_jobs_that_are_not_asked_for_any_more_are_kept(tmp_path: Path) -> None:
    now = Sweep("two", "evaluate", (Job("c" * 12, ("seed=2",)), TWO.jobs[1]))
    assert sweep.joined(TWO, now).jobs == (*now.jobs, TWO.jobs[0])
    with pytest.raises(SweepError, match="kurve evaluate, and this is kurve train"):
        sweep.joined(TWO, Sweep("two", "train", ()))


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 9}', b'{"format": 1, "jobs": 3}'])
def test_a_damaged_record_is_told_with_what_to_do(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / sweep.RECORD).write_bytes(damage)
    with pytest.raises(SweepError, match=r"remove it|update kurve"):
        sweep.read(tmp_path)


def test_a_job_that_ends_well_is_finished_and_not_run_again(tmp_path: Path) -> None:
    with sweep.attempt(tmp_path) as first:
        assert first is not None
        assert sweep.state(tmp_path).status is JobStatus.RUNNING
        first.facts["run_id"] = "abc"
    record = sweep.state(tmp_path)
    assert (record.status, record.attempt, record.facts) == (JobStatus.FINISHED, 1, {"run_id": "abc"})
    assert record.started <= record.ended
    with sweep.attempt(tmp_path) as second:
        assert second is None
    assert sweep.read_job(tmp_path) == record


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("no such thing"), JobStatus.FAILED, "ValueError: no such thing"),
        (KeyboardInterrupt(), JobStatus.KILLED, "KeyboardInterrupt"),
        (SystemExit(3), JobStatus.KILLED, "SystemExit"),
    ],
)
def test_whatever_ends_a_job_is_on_record_and_it_is_tried_again(
    error: BaseException, status: JobStatus, message: str, tmp_path: Path
) -> None:
    with pytest.raises(type(error)), sweep.attempt(tmp_path):
        raise error
    record = sweep.read_job(tmp_path)
    assert (record.status, record.message) == (status, message)
    with sweep.attempt(tmp_path) as again:
        assert again is not None
    assert (sweep.read_job(tmp_path).status, sweep.read_job(tmp_path).attempt) == (JobStatus.FINISHED, 2)


def test_a_job_at_work_in_another_process_is_not_run_twice(tmp_path: Path) -> None:
    with running_elsewhere(tmp_path) as process:
        assert sweep.state(tmp_path).status is JobStatus.RUNNING
        assert sweep.state(tmp_path).pid == process.pid
        assert sweep.close_lost(tmp_path) is None
        with sweep.attempt(tmp_path) as mine:
            assert mine is None


def test_a_job_killed_with_kill_9_is_lost_then_killed_and_can_be_run_again(tmp_path: Path) -> None:
    with running_elsewhere(tmp_path) as process:
        process.kill()
        process.wait()
        assert sweep.read_job(tmp_path).status is JobStatus.RUNNING
        assert sweep.state(tmp_path).status is JobStatus.LOST
        closed = sweep.close_lost(tmp_path)
    assert closed is not None
    assert closed.status is sweep.state(tmp_path).status is JobStatus.KILLED
    with sweep.attempt(tmp_path) as again:
        assert again is not None
        assert again.number == 2


def test_a_job_on_another_host_is_alive_while_it_shows_signs_of_life(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), sweep.attempt(tmp_path):
        raise KeyboardInterrupt
    path = tmp_path / sweep.JOB_RECORD
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"status": "RUNNING", "host": f"not-{socket.gethostname()}"}))
    os.utime(tmp_path / sweep.JOB_LOCK, (1_000_000, 1_000_000))
    assert sweep.state(tmp_path, now=1_000_000 + sweep.SILENCE - 1).status is JobStatus.RUNNING
    assert sweep.state(tmp_path, now=1_000_000 + sweep.SILENCE + 1).status is JobStatus.LOST


def test_a_sweep_is_started_by_one_process_at_a_time(tmp_path: Path) -> None:
    with sweep.locked(tmp_path), pytest.raises(SweepError, match="is being written by"), sweep.locked(tmp_path):
        pytest.fail("two held the lock")
