"""Judge one answer with math-verify, without its timeouts (they are signals, and turn a right answer into a wrong one).

Runs inside a worker process. math-verify swallows exceptions and then says "wrong"; a MemoryError or RecursionError on
the way is noted here, and makes the judgement ERROR. Differences from `verify(parse(gold), parse(text))` on purpose:
several values in any order, a tolerance, units, percentages in boxes (math-verify reads them as strings), and golds
below 1e-5, which math-verify compares to 6 decimals or by absolute difference, so that 6.6e-34 equals 6.6e-33.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import math_verify.grader
import math_verify.parser

from kurve.types import Outcome
from kurve.verifiers.notation import percent_number, rewrite_e_notation, split_values, strip_unit

_TINY = 1e-5  # below, 6 decimals say next to nothing
_TINY_RELATIVE = 1e-6
_MAX_GOLDS = 4096
_MAX_ANSWER = 500
_RESOURCES = (MemoryError, RecursionError)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the grader says of one answer."""

    outcome: Outcome
    answer: str = ""
    detail: str = ""  # why it failed


@dataclass(frozen=True, slots=True)
class Gold:
    """A reference answer as math-verify reads it."""

    count: int  # values
    whole: list[list[Any]]  # readings of the whole answer
    parts: list[list[Any]]  # one reading for each value
    unit: str
    tolerance: float | None
    problem: str = ""  # why it cannot be used


class Grader:
    """Holds the parsed golds."""

    def __init__(self) -> None:
        self._golds: dict[tuple[tuple[str, ...], str, float | None], Gold] = {}
        self._failures: list[str] = []
        _watch(self._failures)

    def read_gold(self, values: tuple[str, ...], unit: str, tolerance: float | None) -> Gold:
        """Parse a reference answer, once."""
        key = (values, unit, tolerance)
        if key not in self._golds:
            if len(self._golds) >= _MAX_GOLDS:
                self._golds.clear()
            self._failures.clear()
            try:
                gold = _parse_gold(values, unit, tolerance)
            except _RESOURCES as error:
                gold = Gold(len(values), [], [], unit, tolerance, problem=type(error).__name__)
            if self._failures:
                gold = Gold(len(values), [], [], unit, tolerance, problem=self._failures[0])
            self._golds[key] = gold
        return self._golds[key]

    def judge(self, gold: Gold, text: str, *, boxed: bool) -> Judgement:
        """Judge the answer `text` (in a box), or the answer that math-verify's patterns find in `text`."""
        if gold.problem:
            return Judgement(Outcome.ERROR, detail=f"the reference answer cannot be read: {gold.problem}")
        self._failures.clear()
        answer = text[:_MAX_ANSWER] if boxed else ""
        try:
            readings = [parsed for reading in _readings(text, gold.unit, boxed=boxed) if (parsed := _parse(reading))]
            if not boxed and readings:
                answer = str(readings[0][-1])[:_MAX_ANSWER].strip("* ")
            right = bool(readings) and _is_right(gold, readings, text if boxed else answer)
        except Exception as error:  # noqa: BLE001  sympy raises nearly anything; here it becomes an outcome of its own
            return Judgement(Outcome.ERROR, answer, detail=f"{type(error).__name__}: {str(error)[:200]}")
        if right:
            return Judgement(Outcome.CORRECT, answer)
        if self._failures:
            return Judgement(Outcome.ERROR, answer, detail=self._failures[0])
        return Judgement(Outcome.WRONG if readings or boxed else Outcome.NO_ANSWER, answer)


def _parse(text: str) -> list[Any]:
    parsed: list[Any] = math_verify.parser.parse(text, parsing_timeout=None)
    return parsed


def _boxed(answer: str) -> str:
    return f"\\boxed{{{answer}}}"


def _parse_gold(values: tuple[str, ...], unit: str, tolerance: float | None) -> Gold:
    joined = ", ".join(values)  # without the space, "100,200" would be one number
    whole = [parsed for reading in _readings(joined, unit, boxed=True) if (parsed := _parse(reading))]
    parts = [_parse(_boxed(rewrite_e_notation(value))) for value in values]
    problem = "" if whole and all(parts) else f"math-verify finds no value in {joined[:200]!r}"
    return Gold(len(values), whole, parts, unit, tolerance, problem)


def _readings(text: str, unit: str, *, boxed: bool) -> Iterator[str]:
    """What is put before math-verify for an answer, most literal first."""
    if not boxed:
        yield text
        return
    yield _boxed(text)
    bare = strip_unit(text, unit)
    if bare != text:
        yield _boxed(bare)
    percent = percent_number(bare)
    if percent:
        yield _boxed(percent)
        yield f"{percent}%"


def _is_right(gold: Gold, readings: Sequence[list[Any]], answer: str) -> bool:
    if any(_equal(whole, reading) for whole in gold.whole for reading in readings):
        return True
    if gold.count > 1 and _gives_all(gold, answer):
        return True
    return gold.tolerance is not None and gold.count == 1 and any(_near(gold, reading) for reading in readings)


def _equal(gold: list[Any], answer: list[Any]) -> bool:
    return bool(math_verify.grader.verify(gold, answer, timeout_seconds=None)) and not _tiny_but_different(gold, answer)


def _gives_all(gold: Gold, answer: str) -> bool:
    """Whether each value of the gold has an answer of its own, whatever the order (a perfect matching)."""
    given = split_values(answer)
    if len(given) != gold.count:
        return False
    parsed = [_parse(_boxed(strip_unit(value, gold.unit))) for value in given]
    equal = [
        [
            _equal(value, other) or (gold.tolerance is not None and _close(value, other, gold.tolerance))
            for other in parsed
        ]
        for value in gold.parts
    ]
    taken: dict[int, int] = {}

    def place(value: int, tried: set[int]) -> bool:
        for other, same in enumerate(equal[value]):
            if same and other not in tried:
                tried.add(other)
                if other not in taken or place(taken[other], tried):
                    taken[other] = value
                    return True
        return False

    return all(place(value, set()) for value in range(gold.count))


def _near(gold: Gold, answer: list[Any]) -> bool:
    return gold.tolerance is not None and _close(gold.parts[0], answer, gold.tolerance)


def _close(gold: list[Any], answer: list[Any], tolerance: float) -> bool:
    expected, given = _number(gold), _number(answer)
    if expected is None or given is None:
        return False
    return abs(expected - given) <= tolerance * (1 + 1e-9)


def _tiny_but_different(gold: list[Any], answer: list[Any]) -> bool:
    expected = _number(gold)
    if expected is None or not 0 < abs(expected) < _TINY:
        return False
    given = _number(answer)
    return given is not None and abs(expected - given) > _TINY_RELATIVE * abs(expected)


def _number(parsed: list[Any]) -> float | None:
    """The first reading as a number, None if it is not one; a right-hand side counts for its equation."""
    expression = getattr(parsed[0], "rhs", parsed[0]) if parsed else None
    if not getattr(expression, "is_number", False):
        return None
    try:
        return float(expression)  # type: ignore[arg-type]  # any sympy number has __float__
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None


def _watch(failures: list[str]) -> None:
    """Note the running out of memory or stack in what math-verify calls and whose exceptions it swallows."""
    parser, grader = math_verify.parser, math_verify.grader
    for module, name in (
        (parser, "latex2sympy"),
        (parser, "normalize_latex"),
        (parser, "parse_expr"),
        (parser, "extract_target_from_pred"),
        (grader, "simplify"),
        (grader, "solve"),
        (grader, "ordered"),
        (grader, "default_sort_key"),
        (grader, "sympy_numeric_eq"),
        (grader, "sympy_expr_eq"),
    ):
        setattr(module, name, _noting(getattr(module, name), failures))

    def doit(expression: Any) -> Any:
        try:
            return expression.doit()
        except _RESOURCES as error:
            failures.append(type(error).__name__)
        except Exception:  # noqa: BLE001  as the function it replaces
            return expression
        return expression

    grader.safe_sympy_doit = doit


def _noting(function: Callable[..., Any], failures: list[str]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except _RESOURCES as error:
            failures.append(type(error).__name__)
            raise

    return call
