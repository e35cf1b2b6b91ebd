"""What is kept beside samples by one maker, such as a verifier's verdicts: a log tied to the samples it speaks of."""

import re
from collections.abc import Callable, Collection, Iterator
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from kurve.errors import StoreError
from kurve.store.lock import WriterLock
from kurve.store.log import Log
from kurve.store.samples import SampleStore

BATCH = 10_000  # records stored in one write
_FINGERPRINT = re.compile(r"[A-Za-z0-9_.]{1,64}")  # part of file names; without '-', which separates the number


class BesideSamples:
    """The records of one maker on the samples of one store. A context manager.

    A record is tied to the text it speaks of: when a sample was lost and drawn again, its old record no longer counts.
    """

    kind: ClassVar[str]  # beginning of the file names, such as verdicts
    maker: ClassVar[str]  # what makes them, for messages

    def __init__(self, samples: SampleStore, name: str, lock: WriterLock | None) -> None:
        """Use `open`."""
        self.folder = samples.folder
        self.name = name
        self._samples = samples
        self._lock = lock
        self._log = Log(samples.folder, f"{self.kind}-{name}", lock=lock, unique=False)

    @classmethod
    def open(cls, samples: SampleStore, name: str, *, read_only: bool = False) -> Self:
        """The records of the maker with this fingerprint; `samples` may be open for reading or writing.

        Raises:
            StoreError: another writer has them, they are damaged, or the folder is read-only.
        """
        if not _FINGERPRINT.fullmatch(name):
            raise StoreError(f"a {cls.maker}'s fingerprint is 1 to 64 letters, digits, '_' or '.', got {name!r}")
        if read_only:
            return cls(samples, name, None)
        lock = WriterLock(samples.folder / f"{cls.kind}-{name}.lock")
        try:
            return cls(samples, name, lock)
        except BaseException:  # whatever it was, it must not leave the store locked
            lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def has(self, problem_id: str, index: int) -> bool:
        """Whether the stored sample has a record, whatever it says."""
        mark = self._samples.mark(problem_id, index)
        with self._log.mutex:
            return mark is not None and self._tag(problem_id, index, mark) > 0

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

    def _lines(self, problem_ids: Collection[str] | None, num_samples: int | None) -> Iterator[bytes]:
        """The line that counts of every sample that has one, once each, in the order they were stored."""
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

        return self._log.read(wanted)

    def _open_masks(
        self, problem_ids: Collection[str], num_samples: int, is_open: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
    ) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """By problem, which stored samples below `num_samples` have an open tag; problems without any are left out."""
        for problem_id in problem_ids:
            stored, tags = self._current(problem_id, num_samples)
            open_ = stored & is_open(tags)
            if open_.any():
                yield problem_id, open_

    def _open_indices(
        self, problem_ids: Collection[str], num_samples: int, is_open: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
    ) -> dict[str, tuple[int, ...]]:
        """The indices that `_open_masks` marks."""
        masks = self._open_masks(problem_ids, num_samples, is_open)
        return {problem_id: tuple(np.flatnonzero(open_).tolist()) for problem_id, open_ in masks}

    def _mark(self, problem_id: str, index: int, *, purpose: str) -> int:
        """The mark of a stored sample; `purpose` says what for, as in 'to judge'."""
        mark = self._samples.mark(problem_id, index)
        if mark is None:
            raise StoreError(
                f"{self.folder} holds no sample {index} of problem {problem_id!r} {purpose}; store the "
                "sample first, or refresh the store if another process has"
            )
        return mark

    def _tag(self, problem_id: str, index: int, mark: int) -> int:
        own_mark, tag = self._log.keys.get(problem_id, index)
        return tag if own_mark == mark else 0

    def _current(self, problem_id: str, num_samples: int | None) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        """Which samples are stored, and the tag of the record on each (0: none), both [indices so far]."""
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
