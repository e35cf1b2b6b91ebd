"""Reference answers: from what a dataset holds to an `Answer` that verifies against itself.

A normaliser takes a `Gold` and returns an `Answer`; `NORMALIZERS` names those that a benchmark's YAML may pick.
All run in time linear in the text. What they do not do: evaluate, simplify or re-order mathematics.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from kurve.errors import DataError
from kurve.types import Answer

GOLD_VERSION = 1  # raised when a reference answer comes out differently, so that old verdicts do not count


@dataclass(frozen=True, slots=True)
class Gold:
    """A reference answer as the dataset holds it."""

    text: str
    unit: str = ""
    tolerance: float | None = None  # absolute
    multiple: bool | None = None  # whether commas separate answers; None if the dataset does not say


Normalizer = Callable[[Gold], Answer]

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped brace does not count
_MOST_PARTS = 1_000  # a longer list is one answer
_LONGEST_BARE_ANSWER = 300  # characters; longer text without a box is a solution whose answer we cannot find
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d*)?")
_E_NOTATION = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))[eE]([-+]?\d{1,4})")
_NUMPY = re.compile(r"\bnp\.(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|exp|log|pi)\b")
_EDGE = re.compile(r"(?:\s|\\[,;:!]|\\q?quad(?![a-zA-Z]))+")
_SEVERAL_MATHS = re.compile(r"(?<!\\)\$\s*,\s*\$")
_DELIMITER = re.compile(r"(?<!\\)(?:\$|\\[()\[\]])")
_WORD = re.compile(r"(?<![\\{a-zA-Z])(?:[a-zA-Z]{4,}|(?:and|or)\b)")  # of prose: not a command, not an argument
_SYMBOL_IS = re.compile(r"([a-zA-Z](?:_(?:\{\w+\}|\w))?)\s*=")
_LABEL_IS = re.compile(r"(?:\\angle[ A-Z_{}\d]*|[a-zA-Z]_\{\s*\\(?:max|min)\s*\})\s*=\s*")  # math-verify reads neither
_LETTER_INTERVAL = re.compile(r"[a-z](\([^()\[\]]*\]|\[[^()\[\]]*\))")
_PLAIN_VALUE = re.compile(r"(?:\\[dt]?frac(?![a-zA-Z])|\\(?:sqrt|pi|cdot|left|right)(?![a-zA-Z])|[^\\a-zA-Z])+")
_PERCENT = re.compile(r"\\?%$")
_DEGREES = re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})$")
_UNIT_TEXT = re.compile(r"\\(?:text|mbox|textrm|mathrm)\s*\{([A-Za-z. /]+)\}\s*(\^\{?\d\}?)?$")
_CURRENCY = re.compile(r"\\\$\s*")


def latex(gold: Gold) -> Answer:
    """A LaTeX answer: one value, or several separated by commas outside brackets.

    Tuples, intervals, sets and prose stay whole. Percent signs, degrees, currency and trailing unit words move to
    `unit`, because a response may leave them out.

    Raises:
        DataError: nothing is left of the text.
    """
    text = _bare(gold.text)
    if not text:
        raise DataError(f"the reference answer {gold.text[:60]!r} is empty")
    several = bool(gold.multiple or _SEVERAL_MATHS.search(gold.text))
    parts = [text] if _is_thousands(text) and not several else _split(text)
    measured = [_measure(part) for part in parts]
    units = {unit for _, unit in measured}
    if len(units) > 1:
        measured, units = [(part, "") for part in parts], {""}
    return Answer(
        values=tuple(value for value, _ in measured),
        raw=gold.text,
        unit=_unit(gold.unit) or units.pop(),
        tolerance=gold.tolerance,
    )


def boxed(gold: Gold) -> Answer:
    r"""The last `\boxed{}` of a solution (Minerva), with numpy's notation (`4.5e33`, `-1./3`, `np.`) made LaTeX.

    Raises:
        DataError: a long text without a box, an empty or an unbalanced box.
    """
    inner = last_boxed(gold.text)
    if inner is None:
        if len(gold.text) > _LONGEST_BARE_ANSWER:
            raise DataError(rf"no \boxed{{}} in the reference solution, which ends in {gold.text[-60:]!r}")
        inner = gold.text
    return replace(latex(replace(gold, text=_from_numpy(inner))), raw=inner.strip())


def gsm8k(gold: Gold) -> Answer:
    """The number after the last `####`, without thousands separators.

    Raises:
        DataError: no marker, or no number after it.
    """
    _, marker, tail = gold.text.rpartition("####")
    number = _number(_CURRENCY.sub("", _bare(tail), count=1))
    if not marker or number is None:
        raise DataError(f"expected the reference to end in '#### <number>', got {gold.text[-60:]!r}")
    return Answer(values=(number,), raw=tail.strip(), unit=gold.unit, tolerance=gold.tolerance)


def integer(gold: Gold) -> Answer:
    """A whole number, zero-padded (AIME's `025`), written as a float (AMC's `27.0`) or boxed.

    Raises:
        DataError: the answer is not a whole number.
    """
    inner = last_boxed(gold.text)
    number = _number(_bare(gold.text if inner is None else inner))
    if number is None or "." in number:
        raise DataError(f"expected a whole number as reference answer, got {gold.text[:80]!r}")
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
    return Answer(values=(sign + (digits.lstrip("0") or "0"),), raw=gold.text, unit=gold.unit, tolerance=gold.tolerance)


NORMALIZERS: Mapping[str, Normalizer] = MappingProxyType(
    {"latex": latex, "boxed": boxed, "gsm8k": gsm8k, "integer": integer}
)


def last_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{...}` or `\fbox{...}`; None if there is none.

    Raises:
        DataError: its braces do not balance.
    """
    start = None
    for match in _BOX.finditer(text):
        start = match.end()
    if start is None:
        return None
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return text[start : brace.start()]
    raise DataError(f"the last box of the reference solution is not closed: {text[start : start + 60]!r}")


def _bare(text: str) -> str:
    """The text without math delimiters, outer spacing and a closing full stop or comma."""
    text = _DELIMITER.sub("", text).strip()
    if leading := _EDGE.match(text):
        text = text[leading.end() :]
    return text if text.endswith("\\right.") else text.rstrip(" \t\r\n.,;\\")


def _split(text: str) -> list[str]:
    """Parts between commas outside all brackets; the whole text if it is prose or its brackets do not balance."""
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth < 0:
                return [text]
        elif char == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    if depth or len(parts) >= _MOST_PARTS:
        return [text]
    parts = [_bare(part) for part in (*parts, text[start:])]
    if not all(parts) or (len(parts) > 1 and any(_WORD.search(part) for part in parts)):
        return [text]
    named = _SYMBOL_IS.match(parts[0])
    if named and len(parts) > 1 and not any("=" in part for part in parts[1:]):
        parts[0] = parts[0][named.end() :].strip()  # x = a, b, c
    return parts


def _measure(part: str) -> tuple[str, str]:
    """Value and unit of one answer."""
    if label := _LABEL_IS.match(part):
        part = part[label.end() :]
    if interval := _LETTER_INTERVAL.fullmatch(part):
        return interval.group(1), ""  # t(0,4] can only mean that t lies in (0,4]
    if currency := _CURRENCY.match(part):
        rest = part[currency.end() :]
        return _number(rest) or rest, "\\$"
    for pattern, name in ((_PERCENT, "%"), (_DEGREES, "^\\circ"), (_UNIT_TEXT, "")):
        match = pattern.search(part)
        if match and _PLAIN_VALUE.fullmatch(value := _bare(part[: match.start()])):
            unit = name or match.group(1).strip() + (match.group(2) or "")
            return _number(value) or value, unit
    return _number(part) or part, ""


def _unit(text: str) -> str:
    text = _bare(text)
    return "^\\circ" if _DEGREES.fullmatch(text) else text


def _is_thousands(text: str) -> bool:
    return _THOUSANDS.fullmatch(_tight(text).removeprefix("\\$")) is not None


def _number(text: str) -> str | None:
    """A decimal number without thousands separators, plus sign and empty fraction; None if it is something else."""
    text = _tight(text)
    if not _NUMBER.fullmatch(text) or not any(char.isdigit() for char in text):
        return None
    whole, _, fraction = text.replace(",", "").removeprefix("+").partition(".")
    whole = whole if whole not in ("", "-") else whole + "0"
    return f"{whole}.{fraction}" if fraction.strip("0") else whole


def _tight(text: str) -> str:
    r"""The text with `10,\!080` and `10{,}080` written `10,080`."""
    return re.sub(r"\\!\s*", "", text).replace("{,}", ",").strip()


def _from_numpy(text: str) -> str:
    text = text.strip()
    if number := _E_NOTATION.fullmatch(text):
        return f"{_number(number.group(1))} \\times 10^{{{int(number.group(2))}}}"
    text = _NUMPY.sub(lambda match: "\\ln" if match.group(1) == "log" else f"\\{match.group(1)}", text)
    return re.sub(r"(?<=\d)\.(?=\s*/)", "", text)
