"""How the jobs of submitit's launchers are waited for: until all have ended, whatever ended them.

A job that is killed leaves no result. By itself submitit then leaves the others to themselves, and on a cluster of
Slurm's that keeps no accounts (`sacct` fails there) it waits for that result for ever. Here the queue is asked, which
answers on every cluster, and a missing result is no error: the job's own record says what it came to.
"""

import getpass
from collections.abc import Iterable
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

_ENDED = "ENDED"


class WaitForAll(Callback):
    """Named by `conf/cluster/slurm.yaml` and `submitit.yaml`; it works in the process that starts the jobs."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before jobs are submitted."""
        from submitit.core.core import Job
        from submitit.core.utils import FailedJobError, UncompletedJobError
        from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

        results = Job.results

        def results_if_any(self: Job[Any]) -> list[Any]:
            try:
                return results(self)
            except (FailedJobError, UncompletedJobError):
                return [None]

        class QueueWatcher(SlurmInfoWatcher):
            def _make_command(self) -> list[str] | None:
                mine = [
                    "squeue",
                    f"--user={getpass.getuser()}",
                    "--states=all",
                    "--array",
                    "--noheader",
                    "--format=%i %T",
                ]
                return mine if self._registered - self._finished else None

            def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
                text = string if isinstance(string, str) else string.decode()
                return read_queue(text, self._registered - self._finished)

        Job.results = results_if_any  # type: ignore[method-assign]  # there is no other way in
        SlurmJob.watcher = QueueWatcher(delay_s=60)


def read_queue(output: str, job_ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """The state of each job by what the queue printed; one that is not in it has ended.

    Args:
        output: a line a job, or a task of an array: its id (`12_3` for task 3 of array 12) and its state.
        job_ids: that are asked for.
    """
    listed = {words[0]: words[1] for line in output.splitlines() if len(words := line.split()) == 2}
    return {job_id: {"JobID": job_id, "State": listed.get(job_id, _ENDED)} for job_id in job_ids}
