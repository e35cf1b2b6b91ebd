"""Samples and verdicts into the stores, a few thousand rows at a time; what is there already stays as it is."""

from collections.abc import Iterable, Iterator
from itertools import islice

from kurve.importers.identify import FromFile, OfBenchmark
from kurve.importers.imported import Imported
from kurve.importers.reading import Meter
from kurve.importers.survey import Placed, Source, Tick
from kurve.store import SampleStore, VerdictStore
from kurve.types import Prompt, Sample, Verdict

_BATCH = 2_048


def write(
    source: Source,
    problems: FromFile | OfBenchmark,
    store: SampleStore,
    verdicts: VerdictStore,
    *,
    meter: Meter,
    tick: Tick,
) -> int:
    """Store every sample, and its verdict if the file has one.

    Args:
        source: what `survey` has read.
        problems: those it has found.
        store: open for writing.
        verdicts: the tool's own, open for writing.
        meter: told how far reading has come.
        tick: told how many rows have been stored.

    Returns:
        How many samples were new.

    Raises:
        StoreError: the store holds other samples under the same index, or cannot be written.
        DataError: the file has changed since it was surveyed and cannot be read any more.
    """
    items = problems.items.values()
    store.record_prompts((Prompt(item.id, item.prompt) for item in items), {item.id: item.question for item in items})
    new = done = 0
    for batch in _batches(source.rows(problems, meter, lambda _: None)):
        new += store.append_many(
            _sample(row, problem_id, index, source.importer.NAME) for row, problem_id, index in batch
        )
        verdicts.append_many(
            Verdict(problem_id, index, row.outcome, row.answer)
            for row, problem_id, index in batch
            if row.outcome is not None
        )
        done += len(batch)
        tick(done)
    return new


def _batches(rows: Iterable[Placed]) -> Iterator[list[Placed]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _sample(row: Imported, problem_id: str, index: int, engine: str) -> Sample:
    return Sample(
        problem_id,
        index,
        row.text,
        row.finish_reason,
        row.num_tokens,
        logprob_sum=row.logprob_sum,
        engine=engine,
    )
