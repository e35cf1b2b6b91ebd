"""What votes and diversity need of every sample, gathered while verdicts and samples stream past in any order.

No text is kept, only numbers that say which are equal: some 45 bytes a sample. A million answers collide with odds of
one in ten million.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kurve.types import Outcome, Problem, Responses, Sample, Verdict
from kurve.verifiers.second import normal_form

_NONE = -1  # no answer; `hash` never gives it
_ANSWERED = (Outcome.CORRECT, Outcome.WRONG, Outcome.TIMEOUT)


@dataclass(slots=True)
class _Judged:
    """Columns of one problem's verdicts, failed judgements left out."""

    index: "array[int]" = field(default_factory=lambda: array("q"))
    correct: "array[int]" = field(default_factory=lambda: array("b"))
    answer: "array[int]" = field(default_factory=lambda: array("q"))
    unnamed: int = 0


@dataclass(slots=True)
class _Drawn:
    """Columns of one problem's samples."""

    index: "array[int]" = field(default_factory=lambda: array("q"))
    text: "array[int]" = field(default_factory=lambda: array("q"))
    logprob: "array[float]" = field(default_factory=lambda: array("d"))
    num_tokens: "array[int]" = field(default_factory=lambda: array("q"))


class Gathered:
    """The columns of all problems; `judged` and `drawn` take one row each, `responses` joins them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._problems = problems
        self._judged = [_Judged() for _ in problems]
        self._drawn = [_Drawn() for _ in problems]

    def judged(self, row: int, verdict: Verdict) -> None:
        """Take the verdict on a sample of problem `row`."""
        if verdict.outcome is Outcome.ERROR:
            return
        columns = self._judged[row]
        columns.index.append(verdict.index)
        columns.correct.append(verdict.outcome is Outcome.CORRECT)
        answered = verdict.outcome in _ANSWERED and verdict.answer.strip() != ""
        unit = self._problems[row].reference.unit
        columns.answer.append(hash(normal_form(verdict.answer, unit)) if answered else _NONE)
        columns.unnamed += verdict.outcome is Outcome.WRONG and not answered

    def drawn(self, row: int, sample: Sample) -> None:
        """Take a sample of problem `row`."""
        columns = self._drawn[row]
        columns.index.append(sample.index)
        columns.text.append(hash(sample.text))
        columns.logprob.append(np.nan if sample.logprob_sum is None else sample.logprob_sum)
        columns.num_tokens.append(sample.num_tokens)

    def responses(self) -> list[Responses]:
        """The judged samples of every problem, beside what was drawn of them."""
        rows = zip(self._problems, self._judged, self._drawn, strict=True)
        return [_joined(problem.id, judged, drawn) for problem, judged, drawn in rows]


def _joined(problem_id: str, judged: _Judged, drawn: _Drawn) -> Responses:
    index = np.frombuffer(judged.index, dtype=np.int64)
    order = np.argsort(index)
    index = index[order]
    correct = np.frombuffer(judged.correct, dtype=np.int8)[order] > 0
    stored = np.frombuffer(drawn.index, dtype=np.int64)
    _, there, source = np.intersect1d(index, stored, assume_unique=True, return_indices=True)
    text, tokens = np.full(index.size, _NONE, dtype=np.int64), np.zeros(index.size, dtype=np.int64)
    logprob = np.full(index.size, np.nan)
    text[there] = _numbers(np.frombuffer(drawn.text, dtype=np.int64)[source])
    logprob[there] = np.frombuffer(drawn.logprob, dtype=np.float64)[source]
    tokens[there] = np.frombuffer(drawn.num_tokens, dtype=np.int64)[source]
    answer = _numbers(np.frombuffer(judged.answer, dtype=np.int64)[order])
    return Responses(problem_id, correct, answer, text, logprob, tokens, judged.unnamed)


def _numbers(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers from 0 in the order of first appearance, the same in every process; -1 stays."""
    given = hashes != _NONE
    _, first, place = np.unique(hashes[given], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    numbers = np.full(hashes.size, _NONE, dtype=np.int64)
    numbers[given] = rank[place.reshape(-1)]
    return numbers
