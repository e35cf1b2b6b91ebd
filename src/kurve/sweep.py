"""A sweep: jobs of one command that differ in settings, kept in one folder. What is finished is not done again.

    <paths.out>/sweeps/<name>/
        sweep.json       the command and the jobs, replaced as a whole
        sweep.lock       held by the process that starts the jobs
        <key>/job.json   how the job fares, replaced as a whole
        <key>/job.lock   held while the job runs; touched every few seconds, for hosts that do not see the lock
        <key>/...        what the job's command writes

A job's key is a digest of its resolved settings. So a job is the same one in whatever order, process or host it is
started, and its record says whether it is finished, how often it was tried, and what the last attempt came to.
"""

import contextlib
import dataclasses
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from kurve.errors import StoreError, SweepError
from kurve.store.disk import write_atomically
from kurve.store.lock import WriterLock, holder
from kurve.tracking import now_ms

RECORD, LOCK = "sweep.json", "sweep.lock"
JOB_RECORD, JOB_LOCK = "job.json", "job.lock"
BEAT = 15.0  # seconds between two signs of life
SILENCE = 90.0  # seconds without one after which a job on another host is taken for dead

_FORMAT = 1


class JobStatus(StrEnum):
    """How a job of a sweep fares."""

    WAITING = "WAITING"  # not started
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"  # its command ended with an error
    KILLED = "KILLED"  # it was told to stop
    LOST = "LOST"  # it was running, and its process is gone: kill -9, a dead host


@dataclass(frozen=True, slots=True)
class Job:
    """One point of a sweep."""

    key: str  # 12 hex digits of its settings
    overrides: tuple[str, ...]  # that a person would type


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is known of a job's last attempt."""

    status: JobStatus = JobStatus.WAITING
    attempt: int = 0
    host: str = ""
    pid: int = 0
    started: int = 0  # ms since 1970
    ended: int = 0  # ms since 1970; 0 while it runs
    message: str = ""  # of the error that ended it
    facts: Mapping[str, str] = field(default_factory=dict)  # what its command told: run_id, model, ...


@dataclass(frozen=True, slots=True)
class Sweep:
    """The jobs of a sweep, in the order in which they were asked for."""

    name: str
    command: str
    jobs: tuple[Job, ...]

    def folder(self, root: Path) -> Path:
        """Where the sweep is, below the folder of all sweeps."""
        return root / self.name


def joined(before: Sweep | None, now: Sweep) -> Sweep:
    """The sweep with the jobs of earlier starts that are not asked for now: nothing that was done is forgotten.

    Raises:
        SweepError: a sweep of that name has another command.
    """
    if before is None:
        return now
    if before.command != now.command:
        raise SweepError(
            f"the sweep {now.name!r} is one of kurve {before.command}, and this is kurve {now.command}; name another "
            "with sweep_name=..."
        )
    asked = {job.key for job in now.jobs}
    return dataclasses.replace(now, jobs=(*now.jobs, *(job for job in before.jobs if job.key not in asked)))


def read(folder: Path) -> Sweep | None:
    """The sweep in a folder; None if there is none.

    Raises:
        SweepError: its record is damaged or from a later version.
    """
    found = _read_json(folder / RECORD)
    if found is None:
        return None
    try:
        if found["format"] != _FORMAT:
            raise SweepError(
                f"{folder / RECORD} has format {found['format']}, this kurve reads {_FORMAT}; update kurve"
            )
        jobs = tuple(Job(str(one["key"]), tuple(map(str, one["overrides"]))) for one in found["jobs"])
        return Sweep(str(found["name"]), str(found["command"]), jobs)
    except (KeyError, TypeError) as error:
        raise SweepError(
            f"{folder / RECORD} is damaged ({type(error).__name__}: {error}); remove it: the same command writes it "
            "again, and finished jobs are found by their own folders"
        ) from error


def write(folder: Path, sweep: Sweep) -> None:
    """Replace `sweep.json`.

    Raises:
        SweepError: it cannot be written.
    """
    document = {"format": _FORMAT, **dataclasses.asdict(sweep)}
    _write_json(folder / RECORD, document)


def read_job(folder: Path) -> JobRecord:
    """What the record in a job's folder says; WAITING if there is none.

    Raises:
        SweepError: it is damaged.
    """
    found = _read_json(folder / JOB_RECORD)
    if found is None:
        return JobRecord()
    try:
        return JobRecord(**{**found, "status": JobStatus(found["status"]), "facts": dict(found["facts"])})
    except (KeyError, TypeError, ValueError) as error:
        raise SweepError(
            f"{folder / JOB_RECORD} is damaged ({type(error).__name__}: {error}); remove it, then the job is run again"
        ) from error


def state(folder: Path, *, now: float | None = None) -> JobRecord:
    """The record of a job as it really is: RUNNING whose process is gone is LOST.

    The lock tells where it can be seen, which is on the job's own host and on file systems that share locks; elsewhere
    a job is alive while its lock is touched.

    Args:
        folder: of the job.
        now: seconds since 1970; None is the clock of the file system's user.
    """
    record = read_job(folder)
    if record.status is not JobStatus.RUNNING or holder(folder / JOB_LOCK):
        return record
    if record.host != socket.gethostname():
        with contextlib.suppress(FileNotFoundError):
            if (time.time() if now is None else now) - (folder / JOB_LOCK).stat().st_mtime < SILENCE:
                return record
    latest = read_job(folder)  # it may have ended between the two looks
    return dataclasses.replace(latest, status=JobStatus.LOST) if latest.status is JobStatus.RUNNING else latest


def close_lost(folder: Path) -> JobRecord | None:
    """Write KILLED into the record of a job that is LOST; None if it is not.

    Raises:
        SweepError: the record cannot be written.
    """
    if state(folder).status is not JobStatus.LOST:
        return None
    with contextlib.suppress(StoreError):  # somebody has just started it again
        lock = WriterLock(folder / JOB_LOCK)
        try:
            before = read_job(folder)
            if before.status is not JobStatus.RUNNING:
                return None
            record = dataclasses.replace(before, status=JobStatus.KILLED, ended=now_ms(), message="process gone")
            _write_record(folder, record)
            return record
        finally:
            lock.release()
    return None


@dataclass(slots=True)
class Attempt:
    """A job at work."""

    number: int
    facts: dict[str, str] = field(default_factory=dict)  # filled in by what runs it


@contextlib.contextmanager
def attempt(folder: Path) -> Iterator[Attempt | None]:
    """Run a job's body once: RUNNING before it, FINISHED, FAILED or KILLED after it, whatever ends it.

    Yields None where there is nothing to do: the job is finished, or another process runs it (a launcher that starts a
    job twice).

    Raises:
        SweepError: the job's folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(folder / JOB_LOCK)
    except OSError as error:
        raise SweepError(f"cannot make {folder}: {error.strerror or error}; make room") from error
    except StoreError as error:
        if not holder(folder / JOB_LOCK):
            raise SweepError(str(error)) from error
        yield None
        return
    try:
        before = read_job(folder)
        if before.status is JobStatus.FINISHED:
            yield None
            return
        with _beating(folder / JOB_LOCK):
            yield from _tried(folder, before.attempt + 1)
    finally:
        lock.release()


def _tried(folder: Path, number: int) -> Iterator[Attempt]:
    at_work = Attempt(number)
    record = JobRecord(JobStatus.RUNNING, number, socket.gethostname(), os.getpid(), started=now_ms())
    _write_record(folder, record)
    status, message = JobStatus.KILLED, ""
    try:
        yield at_work
        status = JobStatus.FINISHED
    except Exception as error:
        status, message = JobStatus.FAILED, _in_a_line(error)
        raise
    except BaseException as error:
        message = type(error).__name__
        raise
    finally:
        ended = dataclasses.replace(record, status=status, ended=now_ms(), message=message, facts=at_work.facts)
        _write_record(folder, ended)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The right to start the sweep's jobs.

    Raises:
        SweepError: another process starts them, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(folder / LOCK)
    except OSError as error:
        raise SweepError(f"cannot make {folder}: {error.strerror or error}; paths.out=... names another") from error
    except StoreError as error:
        raise SweepError(str(error)) from error
    try:
        yield
    finally:
        lock.release()


def states(folder: Path, jobs: Sequence[Job]) -> list[JobRecord]:
    """How each of the jobs fares, in order."""
    return [state(folder / job.key) for job in jobs]


@contextlib.contextmanager
def _beating(path: Path) -> Iterator[None]:
    """Touch the file until the block ends."""
    end = threading.Event()

    def beat() -> None:
        while not end.wait(BEAT):
            with contextlib.suppress(OSError):  # a disk that is away for a while must not end the job
                os.utime(path)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _write_record(folder: Path, record: JobRecord) -> None:
    _write_json(folder / JOB_RECORD, dataclasses.asdict(record))


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    try:
        write_atomically(path, json.dumps(document, indent=1).encode("ascii") + b"\n")
    except OSError as error:
        raise SweepError(f"cannot write {path}: {error.strerror or error}; make room, then start again") from error


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SweepError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise SweepError(f"{path} is damaged ({error}); remove it, then start again") from error
    if not isinstance(found, dict):
        raise SweepError(f"{path} is damaged (no object); remove it, then start again")
    return found


def _in_a_line(error: BaseException) -> str:
    """The beginning of what an error says."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
