"""How answers are written: rewritings in linear time, shared by the extraction and both graders."""

import re

_E_NOTATION = re.compile(
    r"(?<![\w\\.])([+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400}))[eE]([+-]?\d{1,6})(?![\w^{]|\.\d)"
)
_BARE_PERCENT = re.compile(r"(?<!\\)%")
_PERCENT = re.compile(r"([+-]?(?:\d[\d,]*(?:\.\d*)?|\.\d+))\s*(?:\\?%|\\text\s*\{\s*(?:percent|\\?%)\s*\}|percent)\.?")
_SPACES = re.compile(r"\\[,;:!]|~|\\ |\s")
_OPENING, _CLOSING = "([{", ")]}"


def rewrite_e_notation(text: str, *, wrap: bool = False) -> str:
    r"""`4.5e33` becomes `4.5\times10^{33}`, in dollar signs if `wrap`: math-verify reads a bare e as Euler's number."""
    return _E_NOTATION.sub(r" $\1\\times10^{\2}$ " if wrap else r"\1\\times10^{\2}", text)


def escape_percent(text: str) -> str:
    r"""`50%` becomes `50\%`, so that both spellings are one answer."""
    return _BARE_PERCENT.sub(r"\\%", text)


def percent_number(text: str) -> str:
    r"""The number of an answer that is nothing but a percentage (`62.5` of `62.5\%`), else empty."""
    match = _PERCENT.fullmatch(text.strip()) if len(text) < 100 else None
    return match[1].rstrip(".") if match else ""


def split_values(text: str) -> list[str]:
    r"""The values of a list: split at commas, semicolons, and/or outside all brackets; `\{...\}` is opened first.

    A comma between digit groups of one number (`1,234`) splits too: the caller tries the whole answer first.
    """
    text = _unwrap_set(text.strip().strip("$").strip())
    parts, depth, start = [], 0, 0
    for match in re.finditer(r"[()\[\]{}]|[,;]|\\text\s?\{\s?,?\s?(?:and|or)\s?\}|\b(?:and|or)\b", text):
        token = match[0]
        if token in _OPENING:
            depth += 1
        elif token in _CLOSING:
            depth -= 1
        elif depth == 0:
            parts.append(text[start : match.start()])
            start = match.end()
    parts.append(text[start:])
    return [stripped for part in parts if (stripped := part.strip().strip("$").strip())]


def strip_unit(text: str, unit: str) -> str:
    r"""The answer without its unit at the end, bare or in `\text{}` or `\mathrm{}`; unchanged when it has none."""
    wanted = _bare_unit(unit)
    if not wanted or len(text) > 10_000:
        return text
    for start in range(max(len(text) - 8 * len(wanted) - 40, 1), len(text)):
        if text[start - 1].isalpha() and text[start].isalpha():
            continue
        if _bare_unit(text[start:]) == wanted:
            return text[:start].rstrip(" ~\\,$")
    return text


def _bare_unit(text: str) -> str:
    bare = re.sub(r"\\(?:text|mathrm|rm|mbox|operatorname)\b", "", _SPACES.sub("", text))
    return re.sub(r"[{}$.]", "", bare).replace("\\circ", "°").replace("^°", "°")


def _unwrap_set(text: str) -> str:
    for opening, closing in ((r"\left\{", r"\right\}"), (r"\{", r"\}")):
        if text.startswith(opening) and text.endswith(closing):
            return text[len(opening) : -len(closing)]
    return text
