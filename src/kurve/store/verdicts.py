"""The store of verdicts: one log for each verifier, beside the samples it judged."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kurve.errors import StoreError
from kurve.store.lock import WriterLock
from kurve.store.log import Log
from kurve.store.records import ERROR_TAG, OUTCOMES, TAGS, Record, read_verdict, verdict_record
from kurve.store.samples import SampleStore
from kurve.types import Outcome, Verdict

_BATCH = 10_000
_FINGERPRINT = re.compile(r"[A-Za-z0-9_.]{1,64}")  # part of file names; without '-', which separates the number


class VerdictStore:
    """The verdicts of one verifier on the samples of one store. A context manager.

    A verdict is tied to the text it judged: when a sample was lost and drawn again, its old verdict no longer
    counts. A verdict is final, except that ERROR gives way to any other outcome.
    """

    def __init__(self, samples: SampleStore, verifier: str, lock: WriterLock | None) -> None:
        """Use `open`."""
        self.folder = samples.folder
        self.verifier = verifier
        self._samples = samples
        self._lock = lock
        self._log = Log(samples.folder, f"verdicts-{verifier}", lock=lock, unique=False)

    @classmethod
    def open(cls, samples: SampleStore, verifier: str, *, read_only: bool = False) -> Self:
        """The verdicts of the verifier with this fingerprint; `samples` may be open for reading or writing.

        Raises:
            StoreError: another writer has them, they are damaged, or the folder is read-only.
        """
        if not _FINGERPRINT.fullmatch(verifier):
            raise StoreError(f"a verifier's fingerprint is 1 to 64 letters, digits, '_' or '.', got {verifier!r}")
        if read_only:
            return cls(samples, verifier, None)
        lock = WriterLock(samples.folder / f"verdicts-{verifier}.lock")
        try:
            return cls(samples, verifier, lock)
        except BaseException:  # whatever it was, it must not leave the store locked
            lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

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
        while batch := tuple(islice(remaining, _BATCH)):
            total += self._append_batch(batch)
        return total

    def has(self, problem_id: str, index: int) -> bool:
        """Whether the stored sample has a verdict, ERROR included."""
        mark = self._samples.mark(problem_id, index)
        with self._log.mutex:
            return mark is not None and self._tag(problem_id, index, mark) > 0

    def missing(
        self, problem_ids: Iterable[str], num_samples: int, *, retry_errors: bool = True
    ) -> dict[str, tuple[int, ...]]:
        """The stored samples below `num_samples` to be judged, by problem; fully judged problems are left out.

        With `retry_errors`, samples whose verdict is ERROR are judged again.
        """
        wanted = {}
        for problem_id in problem_ids:
            stored, tags = self._current(problem_id, num_samples)
            open_ = stored & ((tags == 0) | (retry_errors & (tags == ERROR_TAG)))
            if open_.any():
                wanted[problem_id] = tuple(np.flatnonzero(open_).tolist())
        return wanted

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
        ids = list(self._samples.counts()) if problem_ids is None else list(problem_ids)
        left = {problem_id: bytearray(self._current(problem_id, num_samples)[1].tobytes()) for problem_id in ids}

        def wanted(problem_id: str, index: int, mark: int, tag: int) -> bool:
            tags = left.get(problem_id)
            if tags is None or index >= len(tags) or tags[index] != tag:
                return False
            if self._samples.mark(problem_id, index) != mark:
                return False
            tags[index] = 0
            return True

        return map(read_verdict, self._log.read(wanted))

    def refresh(self) -> None:
        """See what another process has appended since (`samples` is refreshed by itself).

        Raises:
            StoreError: damaged or unreadable files.
        """
        self._log.refresh()

    def close(self) -> None:
        """Push everything to the disk and let the next writer in.

        Raises:
            StoreError: the disk failed in the last seconds.
        """
        try:
            self._log.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    def _append_batch(self, verdicts: Sequence[Verdict]) -> int:
        with self._log.mutex:
            new: dict[tuple[str, int], Record] = {}
            for verdict in verdicts:
                record = self._record(verdict)
                key = record.problem_id, record.sample_index
                before = new[key].tag if key in new else self._tag(*key, record.mark)
                if self._stores(before, record):
                    new[key] = record
            if new:
                self._log.write(tuple(new.values()))
            return len(new)

    def _record(self, verdict: Verdict) -> Record:
        mark = self._samples.mark(verdict.problem_id, verdict.index)
        if mark is None:
            raise StoreError(
                f"{self.folder} holds no sample {verdict.index} of problem {verdict.problem_id!r} to judge; store the "
                "sample first, or refresh the store if another process has"
            )
        return verdict_record(verdict, mark)

    def _tag(self, problem_id: str, index: int, mark: int) -> int:
        judged_mark, tag = self._log.keys.get(problem_id, index)
        return tag if judged_mark == mark else 0

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

    def _current(self, problem_id: str, num_samples: int | None) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        """Which samples are stored, and the tag of the verdict on each (0: none), both [indices so far]."""
        sample_marks, sample_tags = self._samples.marks(problem_id)
        sample_marks, sample_tags = sample_marks[:num_samples], sample_tags[:num_samples]
        with self._log.mutex:
            marks = self._log.keys.marks(problem_id)[: len(sample_tags)]
            tags = np.zeros(len(sample_tags), dtype=np.uint8)
            tags[: len(marks)] = self._log.keys.tags(problem_id)[: len(marks)]
        stored = sample_tags > 0
        tags[: len(marks)][marks != sample_marks[: len(marks)]] = 0
        tags[~stored] = 0
        return stored, tags
