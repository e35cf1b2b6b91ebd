"""Whether Slurm's jobs have ended, by what the queue prints."""

from kurve.commands.submitit_jobs import read_queue


def test_a_job_that_is_no_longer_in_the_queue_has_ended() -> None:
    output = "12_3 RUNNING\n12_4 PENDING\n7 COMPLETING\n99 RUNNING\n"
    states = {job: found["State"] for job, found in read_queue(output, ["12_3", "12_4", "12_5", "7"]).items()}
    assert states == {"12_3": "RUNNING", "12_4": "PENDING", "12_5": "ENDED", "7": "COMPLETING"}


def test_an_empty_queue_has_ended_all() -> None:
    assert read_queue("", ["1", "2"]) == {job: {"JobID": job, "State": "ENDED"} for job in ("1", "2")}
