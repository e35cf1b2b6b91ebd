"""All samples of an evaluation as one file for its tracker, where that wants them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from kurve.commands.measure import Evaluation, counted
from kurve.samples_file import NAME, write_samples
from kurve.store import SampleStore, VerdictStore
from kurve.tracking import Tracker
from kurve.types import Sample, Verdict

_Indexed = TypeVar("_Indexed", Sample, Verdict)


def write_all_samples(
    tracker: Tracker, evaluation: Evaluation, store: SampleStore, folder: Path, *, verdicts: VerdictStore
) -> list[Path]:
    """Write the samples that the report counts, unless they are more than the tracker takes.

    Raises:
        DataError: no space, or the folder cannot be written.
        StoreError: the samples cannot be read.
    """
    limit = tracker.samples_limit
    if limit == 0:
        return []
    ids = [problem.id for problem in evaluation.benchmark.problems]
    samples, judged = counted(evaluation, store, verdicts)

    def first(given: Iterator[_Indexed]) -> Iterator[_Indexed]:
        return (one for one in given if one.index < evaluation.settings.num_samples)

    with Console(stderr=True).status("writing all samples for the run"):
        written = write_samples(folder / NAME, ids, first(samples), first(judged), most_chars=limit)
    return [folder / NAME] if written else []
