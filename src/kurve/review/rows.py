"""Which correct samples are reviewed, in which order, and what identifies each of them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kurve.errors import ConfigError
from kurve.types import Tally

Place = tuple[str, int]  # problem id and index of a sample


@dataclass(frozen=True, slots=True)
class Choice:
    """What goes on the sheet.

    Raises:
        ConfigError: a bound outside 0..1 or a range that is empty, or a number that is no whole one.
    """

    above: float  # accuracy c/n of a problem, not included
    below: float | None  # not included; None: no limit
    per_problem: int | None = None  # at most so many correct samples of each problem and model; None: all
    seed: int = 0  # of that choice and of the order
    blind: bool = True  # models are not named, and everything is in random order

    def __post_init__(self) -> None:
        """Refuse what chooses nothing."""
        if not 0 <= self.above < 1 or (self.below is not None and not self.above < self.below):
            raise ConfigError(
                f"accuracy.above is {self.above} and accuracy.below {self.below}; expected 0 <= above < below, as 0 "
                "and 0.05 (fractions, both bounds left out), or below=null for no upper bound"
            )

    def under_review(self, tally: Tally) -> NDArray[np.bool_]:
        """Which problems are reviewed: some sample is correct, and the accuracy is in the range, [P]."""
        chosen = [
            c / n > self.above and (self.below is None or c / n < self.below)
            for n, c in zip(tally.num_samples.tolist(), tally.num_correct.tolist(), strict=True)
        ]
        return np.array(chosen, dtype=np.bool_)

    @property
    def accuracy_words(self) -> str:
        """The range as people write it."""
        low = "0" if self.above == 0 else f"{100 * self.above:g} %"
        return f"accuracy above {low}" if self.below is None else f"accuracy in ({low}, {100 * self.below:g} %)"


@dataclass(frozen=True, slots=True)
class Correct:
    """The correct samples of one store's problems under review."""

    fingerprint: str  # of the store
    model: str  # what people call it
    places: Mapping[Place, str]  # the answer that the verifier read, by sample
    tally: Tally
    questions: Mapping[str, str]  # by problem id
    references: Mapping[str, str]  # reference answers by problem id, for people


@dataclass(frozen=True, slots=True)
class Row:
    """One correct sample on the sheet."""

    sample: str  # what identifies it: store, problem, index and text
    problem_id: str
    index: int
    question: str
    reference: str
    response: str
    answer: str  # as the verifier read it
    num_samples: int  # n of the problem
    num_correct: int  # c of the problem
    model: str  # what people call it; not shown on a blind sheet
    fingerprint: str  # of the store

    @property
    def accuracy(self) -> float:
        """Share of correct samples of the problem, a fraction."""
        return self.num_correct / self.num_samples


def sample_id(fingerprint: str, problem_id: str, index: int, text: str) -> str:
    """17 characters that belong to this text only; the letter keeps spreadsheets from reading a number."""
    return "s" + _digest(fingerprint, problem_id, str(index), text)[:16]


def choose(correct: Correct, choice: Choice) -> list[Place]:
    """The samples of one store that go on the sheet: a random part where a problem has too many.

    A larger `per_problem` keeps those of a smaller one.
    """
    by_problem: dict[str, list[int]] = {}
    for problem_id, index in correct.places:
        by_problem.setdefault(problem_id, []).append(index)
    chosen: list[Place] = []
    for problem_id, indices in by_problem.items():
        drawn = sorted(indices, key=lambda i: _digest(str(choice.seed), correct.fingerprint, problem_id, str(i)))
        chosen += [(problem_id, index) for index in sorted(drawn[: choice.per_problem])]
    return chosen


def ordered(rows: Iterable[Row], choice: Choice) -> list[Row]:
    """The sheet's order: problem by problem; if blind, problems and the samples of each in random order."""
    found = list(rows)
    if not choice.blind:
        return sorted(found, key=lambda row: (row.problem_id, row.model, row.index))
    seed = str(choice.seed)
    return sorted(found, key=lambda row: (_digest(seed, "order", row.problem_id), _digest(seed, "order", row.sample)))


def sheet_id(rows: Sequence[Row]) -> str:
    """12 hex digits that belong to this set of samples."""
    return _digest(*sorted(row.sample for row in rows))[:12]


def _digest(*parts: str) -> str:
    text = "\x1f".join(parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
