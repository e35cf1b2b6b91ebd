"""Which problem a row belongs to: the dataset's own id, or a hash of the question, or the benchmark's id for it."""

import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from kurve.benchmarks.cells import content_id
from kurve.benchmarks.imported import Item
from kurve.benchmarks.rows import Benchmark
from kurve.errors import DataError
from kurve.importers.imported import Imported
from kurve.types import Problem

_FEWEST = 12  # characters of a question that is looked for within a prompt


class FromFile:
    """Problems as the files name them."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self._hashes: dict[str, str] = {}
        self._places: dict[str, str] = {}

    def find(self, row: Imported) -> str:
        """The row's problem, which is kept with its question and reference answer.

        Raises:
            DataError: neither an id nor a question, text that is no Unicode, or another question or reference answer
                than an earlier row has under the same id.
        """
        problem_id = row.problem_id or self._hash(row)
        known = self.items.get(problem_id)
        if known is None:
            _check_text(problem_id, row.question, row.gold, row.place)
            self.items[problem_id] = Item(problem_id, row.question, row.gold, row.prompt)
            self._places[problem_id] = row.place
        elif known.question != row.question and self._hash(row) != content_id(known.question):
            raise self._differs(problem_id, "question", known.question, row.question, place=row.place)
        elif known.gold != row.gold:
            raise self._differs(problem_id, "reference answer", known.gold, row.gold, place=row.place)
        return problem_id

    def _hash(self, row: Imported) -> str:
        if not row.question.strip():
            raise DataError(f"{row.place}: neither an id nor a question says which problem this is a sample of")
        if (found := self._hashes.get(row.question)) is None:
            _check_text(row.question, "", None, row.place)
            found = self._hashes[row.question] = content_id(row.question)
        return found

    def _differs(self, problem_id: str, what: str, first: object, now: object, *, place: str) -> DataError:
        return DataError(
            f"{place}: problem {problem_id!r} has the {what} {now!r:.80}, but {first!r:.80} at "
            f"{self._places[problem_id]}; samples of different data cannot be in one store"
        )


class OfBenchmark:
    """Problems of a benchmark, found by question, so that imported samples pair with our own evaluations."""

    def __init__(self, benchmark: Benchmark) -> None:
        self.name = benchmark.name
        self._problems = {problem.id: problem for problem in benchmark.problems}
        self._texts = {problem.id: _normalised(problem.question) for problem in benchmark.problems}
        self._by_text = _unique(self._texts)
        self.items: dict[str, Item] = {}
        self._found: dict[tuple[str, str], str | None] = {}

    def find(self, row: Imported) -> str | None:
        """The problem's id in the benchmark; None if the benchmark has no such problem."""
        key = row.problem_id, row.question or row.prompt
        if key not in self._found:
            self._found[key] = self._look_up(row)
            if (found := self._found[key]) is not None and found not in self.items:
                self.items[found] = _item(self._problems[found], row)
        return self._found[key]

    def _look_up(self, row: Imported) -> str | None:
        asked = row.question or row.prompt
        if not asked.strip():
            return row.problem_id if row.problem_id in self._problems else None
        text = _normalised(asked)
        if exact := self._by_text.get(text):
            return exact
        if row.problem_id in self._problems and self._texts[row.problem_id] in text:
            return row.problem_id
        return self._within(text) or self._within(_normalised(row.prompt))

    def _within(self, text: str) -> str | None:
        """The problem whose question a prompt holds: of several the one that ends last, then the longest."""
        places = {
            problem_id: (place + len(question), len(question))
            for problem_id, question in self._texts.items()
            if len(question) >= _FEWEST and (place := text.rfind(question)) >= 0
        }
        return max(places, key=lambda problem_id: places[problem_id]) if places else None


def _unique(texts: Mapping[str, str]) -> dict[str, str]:
    """Id by text, for texts that only one problem has."""
    found: dict[str, str] = {}
    for problem_id, text in texts.items():
        found[text] = problem_id if text not in found else ""
    return found


def _item(problem: Problem, row: Imported) -> Item:
    return Item(problem.id, problem.question, problem.reference.raw, row.prompt)


@lru_cache(maxsize=4096)
def _normalised(question: str) -> str:
    return " ".join(unicodedata.normalize("NFC", question).split())


def _check_text(problem_id: str, question: str, gold: str | None, place: str) -> None:
    try:
        for text in (problem_id, question, gold or ""):
            text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: not valid Unicode: a lone surrogate in {error.object[:40]!r}") from error
