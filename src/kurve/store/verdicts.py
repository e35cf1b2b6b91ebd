"""The store of verdicts: one log for each verifier, beside the samples it judged."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from kurve.errors import StoreError
from kurve.store.beside import BATCH, BesideSamples
from kurve.store.records import ERROR_TAG, OUTCOMES, TAGS, Record, read_verdict, verdict_record
from kurve.types import Outcome, Verdict


class VerdictStore(BesideSamples):
    """The verdicts of one verifier on the samples of one store. A context manager.

    A verdict is tied to the text it judged: when a sample was lost and drawn again, its old verdict no longer
    counts. A verdict is final, except that ERROR gives way to any other outcome.
    """

    kind = "verdicts"
    maker = "verifier"

    @property
    def verifier(self) -> str:
        """The verifier's fingerprint."""
        return self.name

    def append(self, verdict: Verdict) -> bool:
        """Store one verdict; as `append_many`."""
        return self.append_many((verdict,)) == 1

    def append_many(self, verdicts: Iterable[Verdict]) -> int:
        """Store verdicts, ten thousand at a time.

        A verdict on a sample that already has one of the same outcome changes nothing; an ERROR never replaces.

        Returns:
            How many were stored.

        Raises:
            StoreError: the sample is not stored; it has a verdict of another outcome; no space. The verdicts before
                the last ten thousand are stored.
        """
        remaining, total = iter(verdicts), 0
        while batch := tuple(islice(remaining, BATCH)):
            total += self._append_batch(batch)
        return total

    def missing(
        self, problem_ids: Iterable[str], num_samples: int, *, retry_errors: bool = True
    ) -> dict[str, tuple[int, ...]]:
        """The stored samples below `num_samples` to be judged, by problem; fully judged problems are left out.

        With `retry_errors`, samples whose verdict is ERROR are judged again.
        """
        return self._open_indices(
            list(problem_ids), num_samples, lambda tags: (tags == 0) | (retry_errors & (tags == ERROR_TAG))
        )

    def to_judge(self, problem_ids: Iterable[str], num_samples: int) -> dict[str, NDArray[np.bool_]]:
        """What `missing` says as a mask by index, [indices so far]: a byte a sample rather than a hundred."""
        return dict(self._open_masks(list(problem_ids), num_samples, lambda tags: (tags == 0) | (tags == ERROR_TAG)))

    def counts(
        self, problem_ids: Iterable[str] | None = None, num_samples: int | None = None
    ) -> dict[str, Counter[Outcome]]:
        """How often each outcome occurs, by problem, over samples below `num_samples`; no text is read."""
        counted = {}
        for problem_id in self._samples.counts() if problem_ids is None else problem_ids:
            _, tags = self._current(problem_id, num_samples)
            numbers = np.bincount(tags, minlength=len(OUTCOMES) + 1)[1:].tolist()
            counted[problem_id] = Counter({o: n for o, n in zip(OUTCOMES, numbers, strict=True) if n})
        return counted

    def results(self, problem_id: str, num_samples: int | None = None) -> NDArray[np.int8]:
        """1 correct, 0 not, -1 ERROR, of the samples 0, 1, ... up to the first that is not stored or not judged, [N].

        No text is read.
        """
        _, tags = self._current(problem_id, num_samples)
        gaps = np.flatnonzero(tags == 0)
        known = tags[: gaps[0]] if gaps.size else tags
        return np.where(known == ERROR_TAG, -1, known == TAGS[Outcome.CORRECT]).astype(np.int8)

    def count(self) -> int:
        """Samples with a verdict, ERROR included."""
        return sum(counter.total() for counter in self.counts().values())

    def verdicts(self, problem_ids: Collection[str] | None = None, num_samples: int | None = None) -> Iterator[Verdict]:
        """The verdict that counts of every judged sample, once each, in the order they were stored.

        Raises:
            StoreError: a file is damaged.
        """
        return map(read_verdict, self._lines(problem_ids, num_samples))

    def _append_batch(self, verdicts: Sequence[Verdict]) -> int:
        with self._log.mutex:
            new: dict[tuple[str, int], Record] = {}
            for verdict in verdicts:
                record = verdict_record(verdict, self._mark(verdict.problem_id, verdict.index, purpose="to judge"))
                key = record.problem_id, record.sample_index
                before = new[key].tag if key in new else self._tag(*key, record.mark)
                if self._stores(before, record):
                    new[key] = record
            if new:
                self._log.write(tuple(new.values()))
            return len(new)

    def _stores(self, before: int, record: Record) -> bool:
        if before in (0, ERROR_TAG):
            return before != record.tag
        if record.tag not in (before, ERROR_TAG):
            raise StoreError(
                f"sample {record.sample_index} of problem {record.problem_id!r} in {self.folder} already has the "
                f"verdict {OUTCOMES[before - 1]} of verifier {self.verifier}, got {OUTCOMES[record.tag - 1]}; "
                "a verdict is final: judge only what missing() names, and give a changed verifier another fingerprint"
            )
        return False
