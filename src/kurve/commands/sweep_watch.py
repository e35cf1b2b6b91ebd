"""Tell how the jobs of a sweep go while a launcher is at work, from their records: one line a change."""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kurve import sweep
from kurve.commands.sweep_show import label, tail_of
from kurve.errors import SweepError
from kurve.sweep import Job, JobStatus

_READS = 200  # records a second, at most


@contextmanager
def watched(folder: Path, jobs: Sequence[tuple[Job, str]], *, known: int, total: int) -> Iterator[None]:
    """While the block lasts, say on stderr when a job starts and how it ends.

    Args:
        folder: of the sweep.
        jobs: those that are started now, and what a person calls each.
        known: jobs that are finished already.
        total: of the sweep.
    """
    end = threading.Event()
    watch = _Watch(folder, jobs, known, total)
    pause = max(0.5, len(jobs) / _READS)

    def follow() -> None:
        while not end.wait(pause):
            watch.look()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        watch.look()


class _Watch:
    def __init__(self, folder: Path, jobs: Sequence[tuple[Job, str]], known: int, total: int) -> None:
        self._folder, self._total, self._finished = folder, total, known
        self._labels = {job.key: named for job, named in jobs}
        self._seen = {job.key: self._look_at(job.key) for job, _ in jobs}

    def look(self) -> None:
        """Say what has changed since the last look."""
        for key, before in list(self._seen.items()):
            now = self._look_at(key)
            if now is None or now == before:
                continue
            self._seen[key] = now
            record = sweep.read_job(self._folder / key)
            if record.status is JobStatus.FINISHED:
                self._finished += 1
            done = f" ({self._finished} of {self._total} finished)" if record.ended else ""
            sys.stderr.write(f"{record.status:<8} {label(key, self._labels[key])}{tail_of(record)}{done}\n")
            sys.stderr.flush()

    def _look_at(self, key: str) -> tuple[JobStatus, int] | None:
        try:
            record = sweep.read_job(self._folder / key)
        except SweepError:  # the end of the sweep tells
            return None
        return record.status, record.attempt
