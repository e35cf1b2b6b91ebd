"""Judge countdown solutions: a chain of equations that uses every given number once and ends at the target."""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Sequence
from typing import Self

from kurve.types import Outcome, Problem, Sample, Verdict

LARGEST = 99  # of the numbers in a chain
_REVISION = 1  # of the rules; raise it when a verdict may change
_NUMBER = "[1-9][0-9]{0,3}"
_QUESTION = re.compile(rf"((?:{_NUMBER} )+)-> ({_NUMBER}) :")
_EQUATION = re.compile(rf"({_NUMBER}) ([-+*/]) ({_NUMBER}) = ({_NUMBER})")
_MAX_SHOWN = 500
_logger = logging.getLogger(__name__)


class CountdownVerifier:
    """Outcome by exact arithmetic, in this process: a judgement takes microseconds and cannot hang.

    The response must be nothing but equations, `a + b = c` with + - * or /, joined by ` , `. CORRECT: each equation
    holds in whole numbers from 1 to 99, takes two of the numbers left and puts back its result, and the last one
    leaves the target alone. WRONG: a chain that is not so. NO_ANSWER: no such chain of equations at all. TRUNCATED:
    cut at the token limit, whatever stood there until then, since the end of a chain is part of the answer. ERROR:
    the problem is none of countdown.
    """

    def __init__(self) -> None:
        identity = f"countdown {_REVISION} {_QUESTION.pattern} {_EQUATION.pattern} {LARGEST}"
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:12]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def verify(self, items: Sequence[tuple[Problem, Sample]]) -> list[Verdict]:
        """Judge each sample against its problem; one verdict an item, in order. May be called from any thread."""
        verdicts = [_judge(problem, sample) for problem, sample in items]
        foreign = [verdict.problem_id for verdict in verdicts if verdict.outcome is Outcome.ERROR]
        if foreign:
            _logger.warning(
                "%d of %d samples answer no countdown problem (`4 7 7 8 -> 32 :`), first %s; check verifier and data",
                len(foreign), len(verdicts), foreign[0],
            )  # fmt: skip
        return verdicts


def _judge(problem: Problem, sample: Sample) -> Verdict:
    """`Verdict.answer` is the chain as it was read."""
    asked = _QUESTION.fullmatch(problem.question)
    if asked is None or problem.reference.values != (asked[2],):
        return Verdict(sample.problem_id, sample.index, Outcome.ERROR)
    if sample.finish_reason == "length":
        return Verdict(sample.problem_id, sample.index, Outcome.TRUNCATED)
    chain = sample.text.strip()
    equations = [_EQUATION.fullmatch(part) for part in chain.split(" , ")]
    parts = [equation.groups() for equation in equations if equation is not None]
    if len(parts) < len(equations):
        return Verdict(sample.problem_id, sample.index, Outcome.NO_ANSWER)
    numbers = [int(number) for number in asked[1].split()]
    outcome = Outcome.CORRECT if _left(numbers, parts) == {int(asked[2]): 1} else Outcome.WRONG
    return Verdict(sample.problem_id, sample.index, outcome, chain[:_MAX_SHOWN])


def _left(numbers: Sequence[int], equations: Sequence[tuple[str, ...]]) -> Counter[int] | None:
    """The numbers left by the equations; None if one of them is false or takes a number that is not there."""
    left = Counter(numbers)
    for first, operator, second, result in equations:
        a, b, c = int(first), int(second), int(result)
        left.subtract((a, b))
        if left[a] < 0 or left[b] < 0 or c > LARGEST or not _holds(a, operator, b, c):
            return None
        left = +left
        left[c] += 1
    return left


def _holds(a: int, operator: str, b: int, c: int) -> bool:
    if operator == "+":
        return a + b == c
    if operator == "-":
        return a - b == c
    if operator == "*":
        return a * b == c
    return a == b * c
