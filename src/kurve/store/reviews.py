"""The store of verdicts on chains of thought: one log for each judge, beside the samples it judged."""

import hashlib
import re
from pathlib import Path
from typing import Self

from kurve.errors import StoreError
from kurve.store.lock import WriterLock
from kurve.store.log import Log
from kurve.store.records import COT_TAGS, cot_record, read_cot
from kurve.store.samples import SampleStore
from kurve.types import CotVerdict, Soundness

_NAME = re.compile(r"cot-([0-9a-f]{12})-\d{4,}\.jsonl(?:\.zst)?")
_GIVES_WAY = (Soundness.ERROR, Soundness.UNSURE)
MAX_JUDGE = 200  # characters of a judge's name


class ReviewStore:
    """What one judge says of the samples of one store. A context manager.

    Nothing is ever removed: a verdict that is revised is followed by the new one, which counts from then on. A verdict
    is tied to the text it judged, as those of `VerdictStore`.
    """

    def __init__(self, samples: SampleStore, judge: str, lock: WriterLock | None) -> None:
        """Use `open`."""
        self.judge = judge
        self._samples = samples
        self._lock = lock
        self._log = Log(samples.folder, _log_name(judge), lock=lock, unique=False)

    @classmethod
    def open(cls, samples: SampleStore, judge: str, *, read_only: bool = False) -> Self:
        """The verdicts of a judge; `samples` may be open for reading.

        Raises:
            StoreError: a name that is empty or too long, another writer, damaged files, or a read-only folder.
        """
        if not judge.strip() or len(judge) > MAX_JUDGE:
            raise StoreError(f"a judge's name is 1 to {MAX_JUDGE} characters, got {judge[:80]!r}")
        if read_only:
            return cls(samples, judge, None)
        lock = WriterLock(samples.folder / f"{_log_name(judge)}.lock")
        try:
            return cls(samples, judge, lock)
        except BaseException:  # whatever it was, it must not leave the log locked
            lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def append(self, verdict: CotVerdict, *, revise: bool = False) -> bool:
        """Store one verdict; when this returns it survives a kill of the process.

        UNSURE and ERROR give way to any other verdict. ERROR itself never replaces one.

        Returns:
            False if it changes nothing: the same is already stored, or it is an ERROR beside a verdict.

        Raises:
            StoreError: the sample is not stored; another verdict of the judge is, and `revise` is not set; no space.
        """
        mark = self._samples.mark(verdict.problem_id, verdict.index)
        if mark is None:
            raise StoreError(
                f"{self._samples.folder} holds no sample {verdict.index} of {verdict.problem_id!r} to judge"
            )
        record = cot_record(verdict, mark)
        with self._log.mutex:
            before = self._soundness(verdict.problem_id, verdict.index)
            if before is not None and (verdict.soundness in (before, Soundness.ERROR)):
                return False
            if before is not None and before not in _GIVES_WAY and not revise:
                raise StoreError(
                    f"{self.judge} has already judged sample {verdict.index} of problem {verdict.problem_id!r} as "
                    f"{before}, and now as {verdict.soundness}"
                )
            self._log.write((record,))
        return True

    def soundness(self, problem_id: str, index: int) -> Soundness | None:
        """The verdict that counts on a stored sample; None without one."""
        with self._log.mutex:
            return self._soundness(problem_id, index)

    def verdicts(self) -> dict[tuple[str, int], CotVerdict]:
        """The verdict that counts of every judged sample, by problem and index.

        Raises:
            StoreError: a file is damaged.
        """

        def wanted(problem_id: str, index: int, mark: int, _tag: int) -> bool:
            return self._samples.mark(problem_id, index) == mark

        found = {}
        for line in self._log.read(wanted):
            verdict = read_cot(line)
            found[verdict.problem_id, verdict.index] = verdict  # the later one counts
        return found

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

    def _soundness(self, problem_id: str, index: int) -> Soundness | None:
        mark, tag = self._log.keys.get(problem_id, index)
        return COT_TAGS[tag] if tag and mark == self._samples.mark(problem_id, index) else None


def list_judges(samples: SampleStore) -> list[str]:
    """The names of all judges of a store's samples, in alphabetical order.

    Raises:
        StoreError: a file is damaged.
    """
    logs = {match[1] for path in samples.folder.iterdir() if (match := _NAME.fullmatch(path.name))}
    names = (_judge_of(samples.folder, log) for log in logs)
    return sorted(name for name in names if name)


def _judge_of(folder: Path, log: str) -> str:
    """The judge whose log it is; empty while it holds no verdict."""
    lines = Log(folder, f"cot-{log}", lock=None, unique=False).read(lambda *_: True)
    first = next(lines, None)
    return "" if first is None else read_cot(first).judge


def _log_name(judge: str) -> str:
    """A judge may have any name, a file may not."""
    return f"cot-{hashlib.sha256(judge.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
