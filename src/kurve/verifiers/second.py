r"""An independent second grader: normalised strings and exact rational arithmetic, no sympy, no math-verify.

It knows less (no algebra, no roots beyond their spelling), so it errs towards WRONG; where it disagrees with the first
grader, a person should look. Linear in the length of the answer.
"""

import re
from fractions import Fraction
from functools import lru_cache

from kurve.types import Answer, Outcome
from kurve.verifiers.notation import percent_number, rewrite_e_notation, split_values, strip_unit

_RELATIVE = Fraction(1, 10**6)  # for decimals: they may be rounded
_MAX_DIGITS = 1000
_MAX_EXPONENT = 400
_MAX_LENGTH = 400  # longer answers are compared as strings
_MAX_NESTING = 60
_DROPPED = re.compile(
    r"\\(?:left|right|displaystyle|!|,|;|:|quad|qquad|bigl|bigr|big)(?![a-zA-Z])"
    r"|(?<!\\)\\ |\\\$|[\s$~]|\^\{?\\circ\}?|°"
)
_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf|operatorname)\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dtc]frac")
_BARE_FRACTION = re.compile(r"\\frac(\d)(\d)")
_BARE_ROOT = re.compile(r"\\sqrt(\d)")
_CHOICE = re.compile(r"\(([A-Z])\)")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:(?:,|\{,\})\d{3})+(?:\.\d+)?")
_ASSIGNMENT = re.compile(r"[a-zA-Z](?:_\{?\w+\}?)?(?:\([a-zA-Z]\))?=")
_TOKEN = re.compile(r"(\d+\.?\d*|\.\d+)|(\\frac|\\times|\\cdot|\\div|[-+*/^(){}])")
_PLAIN = re.compile(r"[0-9 +\-*/=(),.]*")
_TUPLE = re.compile(r"[(\[].*,.*[)\]]", re.DOTALL)


def second_opinion(reference: Answer, answer: str) -> Outcome:
    """CORRECT if `answer` is the reference by spelling or by value, else WRONG."""
    given = strip_unit(answer.strip(), reference.unit)
    expected = list(reference.values)
    if len(expected) == 1 and _same(expected[0], given, reference.tolerance):
        return Outcome.CORRECT
    values = split_values(given)
    if len(expected) == 1:
        expected = split_values(expected[0])
    if len(values) != len(expected) or len(values) > 5000:
        return Outcome.WRONG
    return Outcome.CORRECT if _same_values(expected, values, reference) else Outcome.WRONG


@lru_cache(maxsize=100_000)
def normal_form(answer: str, unit: str = "") -> str:
    """One spelling for answers that are equal as literals: its exact value if it is arithmetic, else what is left
    without spaces and markup.

    What only algebra shows to be equal stays apart, and so do a decimal and the fraction that it rounds.
    """
    text = _normal(strip_unit(answer.strip(), unit))
    value = _value(text)
    return text if value is None else f"{value.numerator:x}/{value.denominator:x}"  # decimals of any length cost


def _same_values(expected: list[str], values: list[str], reference: Answer) -> bool:
    values = [strip_unit(value, reference.unit) for value in values]
    if sorted(map(_normal, expected)) == sorted(map(_normal, values)):
        return True
    if len(expected) > 50:
        return False
    left = list(values)
    for value in expected:
        match = next((other for other in left if _same(value, other, reference.tolerance)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same(expected: str, given: str, tolerance: float | None) -> bool:
    one, other = _normal(expected), _normal(given)
    if one == other:
        return bool(one)
    if _TUPLE.fullmatch(one) and _TUPLE.fullmatch(other) and len(one) + len(other) < 2 * _MAX_LENGTH:
        if one[0] != other[0] or one[-1] != other[-1]:
            return False
        ones, others = split_values(one[1:-1]), split_values(other[1:-1])
        return len(ones) == len(others) > 1 and all(_same(a, b, tolerance) for a, b in zip(ones, others, strict=True))
    a, b = _value(one), _value(other)
    if a is None or b is None:
        return False
    if tolerance is not None:
        return abs(a - b) <= Fraction(tolerance)
    rounded = "." in one or "." in other
    return a == b or (rounded and abs(a - b) <= _RELATIVE * abs(a))


def _normal(text: str) -> str:
    if _PLAIN.fullmatch(text):  # most answers: nothing below would change more than this
        text = text.replace(" ", "").rstrip(".")
        return text.replace(",", "") if _GROUPED.fullmatch(text) else text
    percent = percent_number(text)
    text = _TEXT.sub(r"\1", rewrite_e_notation(percent or text))
    text = _FRACTION.sub(r"\\frac", _DROPPED.sub("", text)).rstrip(".").replace("\\%", "").replace("−", "-")
    text = _BARE_ROOT.sub(r"\\sqrt{\1}", _BARE_FRACTION.sub(r"\\frac{\1}{\2}", text))
    if _GROUPED.fullmatch(text):
        text = text.replace("{,}", "").replace(",", "")
    choice = _CHOICE.fullmatch(text)
    if choice:
        return choice[1]
    assignment = _ASSIGNMENT.match(text)
    return text[assignment.end() :] if assignment else text


def _value(text: str) -> Fraction | None:
    """The exact value of arithmetic on literals, None for anything else."""
    if not text or len(text) > _MAX_LENGTH:
        return None
    tokens, end = [], 0
    for match in _TOKEN.finditer(text):
        if match.start() != end:
            return None
        tokens.append(match[0])
        end = match.end()
    if end != len(text):
        return None
    try:
        return _Arithmetic(tokens).read()
    except (_NotArithmetic, ZeroDivisionError):
        return None


class _NotArithmetic(Exception):  # noqa: N818  never leaves this module
    """The tokens are no arithmetic expression, or too large a one."""


class _Arithmetic:
    """Recursive descent over + - * / ^ and \frac; numbers stay below 10^400."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    def read(self) -> Fraction:
        value = self._sum()
        if self._at != len(self._tokens):
            raise _NotArithmetic
        return value

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _sum(self) -> Fraction:
        self._depth += 1
        if self._depth > _MAX_NESTING:
            raise _NotArithmetic
        value = self._product()
        while self._peek() in ("+", "-"):
            value = value + self._product() if self._next() == "+" else value - self._product()
        self._depth -= 1
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        while self._peek() in ("*", "\\times", "\\cdot", "/", "\\div", "(", "\\frac"):
            operator = self._peek()
            if operator == "\\frac" and value.denominator == 1 and self._tokens[self._at - 1].isdigit():
                value += self._power() if value >= 0 else -self._power()  # a mixed number such as 2\frac{1}{3}
                continue
            if operator not in ("(", "\\frac"):
                self._at += 1
            factor = self._signed()
            value = value / factor if operator in ("/", "\\div") else value * factor
            _check_size(value)
        return value

    def _signed(self) -> Fraction:
        sign = 1
        while self._peek() in ("+", "-"):
            sign = -sign if self._next() == "-" else sign
        return sign * self._power()

    def _power(self) -> Fraction:
        base = self._atom()
        if self._peek() != "^":
            return base
        self._at += 1
        exponent = self._group() if self._peek() == "{" else self._signed_digit()
        if exponent.denominator != 1 or abs(exponent) > _MAX_EXPONENT or (base == 0 and exponent < 0):
            raise _NotArithmetic
        if base.numerator.bit_length() * abs(int(exponent)) > 4 * _MAX_DIGITS:
            raise _NotArithmetic
        return Fraction(base ** int(exponent))

    def _signed_digit(self) -> Fraction:
        sign = -1 if self._peek() == "-" else 1
        if sign < 0:
            self._at += 1
        return sign * self._atom()

    def _atom(self) -> Fraction:
        token = self._next()
        if token == "\\frac":
            numerator = self._group()
            return numerator / self._group()
        if token in ("(", "{"):
            value = self._sum()
            if self._next() != (")" if token == "(" else "}"):
                raise _NotArithmetic
            return value
        if not token or token[0] not in ".0123456789":
            raise _NotArithmetic
        return Fraction(token.rstrip("."))

    def _group(self) -> Fraction:
        if self._next() != "{":
            raise _NotArithmetic
        value = self._sum()
        if self._next() != "}":
            raise _NotArithmetic
        return value


def _check_size(value: Fraction) -> None:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 8 * _MAX_DIGITS:
        raise _NotArithmetic
