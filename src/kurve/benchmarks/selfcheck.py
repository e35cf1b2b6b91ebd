"""Which reference answers math-verify understands: a gold that it reads only as a string matches no rewriting of it."""

import logging
import re
from collections.abc import Iterable
from functools import lru_cache

from kurve.types import Problem

_INTEGER = r"-?\d{1,300}"
_SURE = re.compile(
    rf"{_INTEGER}(?:\.\d{{1,300}})?"
    rf"|-?\\frac\{{{_INTEGER}\}}\{{[1-9]\d{{,299}}\}}"
    rf"|\({_INTEGER}(?:,\s*{_INTEGER}){{1,99}}\)"
)
_PROSE = re.compile(r"(?<![\\{a-zA-Z])[a-zA-Z]{4,}\s+[a-zA-Z]{4,}")
_LONGEST = 2_000  # characters
_DEEPEST = 12  # brackets; math-verify needs about 0.1 s for each further level of parentheses


def string_only(problems: Iterable[Problem]) -> tuple[str, ...]:
    """Ids of the problems with an answer that math-verify parses to no expression, in order.

    Numbers, fractions and tuples of whole numbers are recognised without parsing and results are cached, so GSM8K costs
    nothing. Sentences count as strings, although the parser makes products of their letters, and so do very long or
    deeply nested answers, because the parser has no time limit here.
    """
    return tuple(problem.id for problem in problems if not all(map(_is_expression, problem.reference.values)))


@lru_cache(maxsize=8_192)
def _is_expression(value: str) -> bool:
    if _SURE.fullmatch(value):
        return True
    if len(value) > _LONGEST or _depth(value) > _DEEPEST or _PROSE.search(value):
        return False
    from math_verify import parse

    log = logging.getLogger("math_verify.parser")
    was_disabled, log.disabled = log.disabled, True  # it warns that the time limit is off, which is on purpose:
    try:  # its limit takes the caller's SIGALRM and works in the main thread only
        return any(not isinstance(found, str) for found in parse(f"${value}$", parsing_timeout=None))
    finally:
        log.disabled = was_disabled


def _depth(value: str) -> int:
    depth = deepest = 0
    for char in value:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    return deepest
