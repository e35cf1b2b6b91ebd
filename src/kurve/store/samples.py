"""The store of samples: what was drawn, and what is still missing."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kurve.errors import StoreError
from kurve.store.disk import disk_error
from kurve.store.keys import MAX_INDEX
from kurve.store.lock import WriterLock
from kurve.store.log import Log
from kurve.store.records import (
    Record,
    StoredPrompt,
    prompt_record,
    read_prompt,
    read_sample,
    sample_record,
    stored_prompt,
)
from kurve.store.spec import check_address, check_same, fingerprint, read_spec, write_spec
from kurve.types import Prompt, Sample, SamplingSpec

LOCK = "samples.lock"
_CHUNK = 1 << 20  # bytes; `append_many` stores this much at a time, whole


class SampleStore:
    """All samples drawn under one spec, in one folder. A context manager.

    One process writes; any number read, at any time. A reader sees what was there when it was opened, and after
    `refresh` what came since. Appending is safe from several threads.
    """

    def __init__(self, folder: Path, spec: SamplingSpec, lock: WriterLock | None) -> None:
        """Use `open` or `open_folder`."""
        self.folder = folder
        self.spec = spec
        self._lock = lock
        self._log = Log(folder, "samples", lock=lock)
        self._prompts = Log(folder, "prompts", lock=lock)
        self._digests = {prompt.problem_id: prompt.digest for prompt in self.prompts()}

    @classmethod
    def open(cls, root: Path, spec: SamplingSpec, *, read_only: bool = False) -> Self:
        """The store of a spec under `root`, made if it does not exist.

        Raises:
            StoreError: another writer has it, other settings are in it, it is damaged, or the folder is read-only;
                with `read_only` also if it does not exist.
        """
        folder = Path(root) / fingerprint(spec)
        if read_only:
            check_same(folder, spec, read_spec(folder))
            return cls(folder, spec, None)
        return cls.create(folder, spec)

    @classmethod
    def open_folder(cls, folder: Path, *, read_only: bool = True, any_name: bool = False) -> Self:
        """An existing store by its folder; the spec is read from it.

        Args:
            folder: of the store.
            read_only: take no lock, and append nothing.
            any_name: a folder need not have the name of its store, as a shard's.

        Raises:
            StoreError: no store there, a renamed folder, another writer, or damage.
        """
        folder = Path(folder).absolute()
        spec = read_spec(folder)
        if not any_name:
            check_address(folder, spec)
        return cls(folder, spec, None) if read_only else cls.create(folder, spec)

    @classmethod
    def create(cls, folder: Path, spec: SamplingSpec) -> Self:
        """Open `folder` for writing under whatever name; `open` is the usual way.

        Raises:
            StoreError: as `open`.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, folder, "create") from error
        lock = WriterLock(folder / LOCK)
        try:
            if (folder / "spec.json").exists():
                check_same(folder, spec, read_spec(folder))
            else:
                write_spec(folder, spec)
            return cls(folder, spec, lock)
        except BaseException:  # whatever it was, it must not leave the store locked
            lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def fingerprint(self) -> str:
        """12 hex digits of the spec."""
        return fingerprint(self.spec)

    def append(self, sample: Sample) -> bool:
        """Store one sample; when this returns it survives a kill of the process.

        Returns:
            False if exactly this sample is already stored, which changes nothing.

        Raises:
            StoreError: another text is already stored under its (problem, index); no space (what is stored stays
                valid, and appending may be tried again); or the store is open for reading only.
        """
        record = sample_record(sample)
        with self._log.mutex:
            if self._already(record, {}):
                return False
            self._log.write((record,))
        return True

    def append_many(self, samples: Iterable[Sample]) -> int:
        """Store samples, about a megabyte at a time: faster than one by one.

        Returns:
            How many were new.

        Raises:
            StoreError: as `append`; the samples before the last megabyte are stored.
        """
        return self.append_records(sample_record(sample) for sample in samples)

    def append_records(self, records: Iterable[Record]) -> int:
        """`append_many` for lines as they are, such as those of another store.

        Returns:
            How many were new.

        Raises:
            StoreError: as `append_many`.
        """
        total = 0
        for chunk in _chunks(records):
            with self._log.mutex:
                new: dict[tuple[str, int], Record] = {}
                for record in chunk:
                    if not self._already(record, new):
                        new[record.problem_id, record.sample_index] = record
                if new:
                    self._log.write(tuple(new.values()))
            total += len(new)
        return total

    def missing(self, problem_ids: Iterable[str], num_samples: int) -> dict[str, tuple[int, ...]]:
        """The indices below `num_samples` not yet stored, by problem; complete problems are left out.

        Raises:
            StoreError: `num_samples` is outside 0..10 million.
        """
        if not 0 <= num_samples <= MAX_INDEX:
            raise StoreError(f"a store holds up to {MAX_INDEX} samples a problem, got num_samples={num_samples}")
        wanted = {}
        with self._log.mutex:
            for problem_id in problem_ids:
                tags = self._log.keys.tags(problem_id)[:num_samples]
                absent = (*np.flatnonzero(tags == 0).tolist(), *range(len(tags), num_samples))
                if absent:
                    wanted[problem_id] = absent
        return wanted

    def has(self, problem_id: str, index: int) -> bool:
        """Whether a sample is stored."""
        return self.mark(problem_id, index) is not None

    def mark(self, problem_id: str, index: int) -> int | None:
        """CRC-32 of a stored sample, which ties verdicts to the text they judged; None if it is not stored."""
        with self._log.mutex:
            mark, tag = self._log.keys.get(problem_id, index)
        return mark if tag else None

    def marks(self, problem_id: str) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """`mark` of every index so far, and 1 where a sample is stored; both [indices so far]."""
        with self._log.mutex:
            return self._log.keys.marks(problem_id), self._log.keys.tags(problem_id)

    def counts(self) -> dict[str, int]:
        """Stored samples by problem, without reading any text."""
        with self._log.mutex:
            return {problem_id: self._log.keys.count(problem_id) for problem_id in self._log.keys}

    def extent(self, problem_ids: Iterable[str]) -> int:
        """One more than the largest stored index of these problems; 0 without samples."""
        with self._log.mutex:
            held = (np.flatnonzero(self._log.keys.tags(problem_id)) for problem_id in problem_ids)
            return max((int(indices[-1]) + 1 for indices in held if len(indices)), default=0)

    def count(self) -> int:
        """Stored samples of all problems."""
        return sum(self.counts().values())

    def samples(self, problem_ids: Collection[str] | None = None, num_samples: int | None = None) -> Iterator[Sample]:
        """The stored samples in the order they were stored, one segment in memory at a time.

        Args:
            problem_ids: only these problems; None takes all.
            num_samples: only indices below this; None takes all.

        Raises:
            StoreError: a file is damaged: which, where and what to do.
        """
        problems = None if problem_ids is None else frozenset(problem_ids)
        limit = MAX_INDEX if num_samples is None else num_samples

        def wanted(problem_id: str, index: int, _mark: int, _tag: int) -> bool:
            return index < limit and (problems is None or problem_id in problems)

        return map(read_sample, self._log.read(wanted))

    def take(self, other: "SampleStore") -> int:
        """Store what another store holds and this one lacks: compressed files as they are, the rest line by line.

        Returns:
            How many samples were new.

        Raises:
            StoreError: as `append`; some may be stored then, and `take` again takes the rest.
        """
        with self._log.mutex:
            before = self.count()
            adopted = self._log.adopt(other._log)
            self.append_records(
                other._log.records(lambda one, index, _mark, _tag: not self.has(one, index), skip=adopted)
            )
            return self.count() - before

    def records(self, wanted: Callable[[str, int, int, int], bool]) -> Iterator[Record]:
        """The lines as they are whose (problem id, index, mark, tag) is wanted, in the order they were stored.

        Raises:
            StoreError: a file is damaged.
        """
        return self._log.records(wanted)

    def record_prompts(self, prompts: Iterable[Prompt], questions: Mapping[str, str] | None = None) -> None:
        """Keep what is sent for each problem, once; call it before sampling.

        Args:
            prompts: what is sent to the model.
            questions: the problem's own words by problem id, kept beside it for people.

        Raises:
            StoreError: a problem was sampled before with another prompt: its dataset changed under the same id.
        """
        named = questions or {}
        self.copy_prompts(stored_prompt(prompt, named.get(prompt.problem_id, "")) for prompt in prompts)

    def copy_prompts(self, prompts: Iterable[StoredPrompt]) -> None:
        """`record_prompts` for prompts that come out of another store.

        Raises:
            StoreError: as `record_prompts`; then none of them is kept.
        """
        with self._prompts.mutex:
            new: dict[str, StoredPrompt] = {}
            changed = []
            for prompt in prompts:
                known = self._digests.get(prompt.problem_id)
                if known is None and prompt.problem_id in new:
                    known = new[prompt.problem_id].digest
                if known is None:
                    new[prompt.problem_id] = prompt
                elif known != prompt.digest:
                    changed.append(prompt.problem_id)
            if changed:
                raise StoreError(_changed_prompts(self.folder, changed))
            if new:
                self._prompts.write([prompt_record(prompt) for prompt in new.values()])
                self._digests |= {problem_id: prompt.digest for problem_id, prompt in new.items()}

    def prompts(self) -> Iterator[StoredPrompt]:
        """What was sent for each problem.

        Raises:
            StoreError: the file is damaged.
        """
        return map(read_prompt, self._prompts.read(lambda *_: True))

    def refresh(self) -> None:
        """See what another process has appended since.

        Raises:
            StoreError: damaged or unreadable files.
        """
        self._log.refresh()
        self._prompts.refresh()
        self._digests = {prompt.problem_id: prompt.digest for prompt in self.prompts()}

    def sync(self) -> None:
        """Push what was stored to the disk; `close` does it too.

        Raises:
            StoreError: the disk failed.
        """
        self._log.sync()

    def close(self) -> None:
        """Push everything to the disk and let the next writer in.

        Raises:
            StoreError: the disk failed in the last seconds.
        """
        with ExitStack() as last:
            if self._lock is not None:
                last.callback(self._lock.release)
            last.callback(self._prompts.close)
            last.callback(self._log.close)

    def _already(self, record: Record, pending: Mapping[tuple[str, int], Record]) -> bool:
        mark, tag = self._log.keys.get(record.problem_id, record.sample_index)
        waiting = pending.get((record.problem_id, record.sample_index))
        if waiting is not None:
            mark, tag = waiting.mark, waiting.tag
        if tag and mark != record.mark:
            raise StoreError(
                f"{self.folder} already holds another sample {record.sample_index} of problem {record.problem_id!r}; "
                "a stored sample is never replaced: draw only what missing() names"
            )
        return bool(tag)


def _chunks(records: Iterable[Record]) -> Iterator[Sequence[Record]]:
    chunk, size = [], 0
    for record in records:
        chunk.append(record)
        size += len(record.line)
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _changed_prompts(folder: Path, changed: Sequence[str]) -> str:
    named = ", ".join(repr(problem_id) for problem_id in changed[:5])
    more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
    return (
        f"the prompts of {len(changed)} problems ({named}{more}) differ from those sampled in {folder}: the dataset "
        "changed under the same ids; pin the dataset's revision, name the new one in benchmark.revision (which starts "
        "a store of its own), or move the folder away"
    )
