"""The store of verdicts on chains of thought: one log for each judge, beside the samples it judged."""

import hashlib
import re
from pathlib import Path
from typing import Self

from kurve.errors import StoreError
from kurve.store.beside import BesideSamples
from kurve.store.log import Log
from kurve.store.records import COT_TAGS, cot_record, read_cot
from kurve.store.samples import SampleStore
from kurve.types import CotVerdict, Soundness

_NAME = re.compile(r"cot-([0-9a-f]{12})-\d{4,}\.jsonl(?:\.zst)?")
_GIVES_WAY = (Soundness.ERROR, Soundness.UNSURE)
MAX_JUDGE = 200  # characters of a judge's name


class ReviewStore(BesideSamples):
    """What one judge says of the samples of one store. A context manager.

    Nothing is ever removed: a verdict that is revised is followed by the new one, which counts from then on. A verdict
    is tied to the text it judged, as those of `VerdictStore`.
    """

    kind = "cot"
    maker = "judge"
    judge = ""

    @classmethod
    def open(cls, samples: SampleStore, name: str, *, read_only: bool = False) -> Self:
        """The verdicts of a judge; `samples` may be open for reading.

        Raises:
            StoreError: a name that is empty or too long, another writer, damaged files, or a read-only folder.
        """
        if not name.strip() or len(name) > MAX_JUDGE:
            raise StoreError(f"a judge's name is 1 to {MAX_JUDGE} characters, got {name[:80]!r}")
        store = super().open(samples, _digest(name), read_only=read_only)
        store.judge = name
        return store

    def append(self, verdict: CotVerdict, *, revise: bool = False) -> bool:
        """Store one verdict; when this returns it survives a kill of the process.

        UNSURE and ERROR give way to any other verdict. ERROR itself never replaces one.

        Returns:
            False if it changes nothing: the same is already stored, or it is an ERROR beside a verdict.

        Raises:
            StoreError: the sample is not stored; another verdict of the judge is, and `revise` is not set; no space.
        """
        mark = self._mark(verdict.problem_id, verdict.index, purpose="to judge")
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

    def _soundness(self, problem_id: str, index: int) -> Soundness | None:
        mark = self._samples.mark(problem_id, index)
        return None if mark is None else COT_TAGS.get(self._tag(problem_id, index, mark))


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


def _digest(judge: str) -> str:
    """A judge may have any name, a file may not."""
    return hashlib.sha256(judge.encode("utf-8", "surrogatepass")).hexdigest()[:12]
