"""Text as it may be drawn: nobody's names can leave their place, become mathematics or vanish.

Widths are measured with the font that draws them, so that what is said to fit does.
"""

from functools import cache

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties, findfont, get_font

_POINTS = 72.0  # in an inch
_LONGEST = 400  # characters of a name that are looked at
_NO_GLYPH = "\u25a1"


def readable(text: str) -> str:
    """The text on one line; a character that the font lacks or that cannot be printed is an empty box.

    A leading underscore, which makes Matplotlib drop a label, has a thin space before it.
    """
    glyphs = _glyphs()
    half = _LONGEST // 2
    cut = text if len(text) <= _LONGEST else f"{text[:half]}…{text[-half:]}"
    line = " ".join(cut.split())
    shown = "".join(one if one.isprintable() and ord(one) in glyphs else _NO_GLYPH for one in line)
    return f"\u2009{shown}" if shown.startswith("_") else shown or _NO_GLYPH


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Inches that the text takes at `size` points."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    across, _, _ = _renderer().get_text_width_height_descent(text, font, ismath=False)  # type: ignore[no-untyped-call]  # Matplotlib's own gap
    return float(across) / _POINTS


def fitted(text: str, size: float, inches: float, *, bold: bool = False) -> str:
    """The readable text, its middle left out if it is wider than `inches`."""
    whole = readable(text)
    if width(whole, size, bold=bold) <= inches:
        return whole
    most, least = len(whole) - 1, 1
    while least < most:
        kept = (least + most + 1) // 2
        if width(_shortened(whole, kept), size, bold=bold) <= inches:
            least = kept
        else:
            most = kept - 1
    return _shortened(whole, least)


def distinct(names: list[str], size: float, inches: float) -> list[str]:
    """The names as they fit, told apart by a number where shortening made two of them the same."""
    shown = [fitted(name, size, inches) for name in names]
    if len(set(shown)) == len(shown):
        return shown
    room = inches - width(f" ({len(names)})", size)
    return [f"{fitted(name, size, room)} ({number})" for number, name in enumerate(names, start=1)]


def wrapped(text: str, size: float, inches: float) -> list[str]:
    """The text in lines of at most `inches`, broken between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width(longer, size) <= inches:
            lines[-1] = longer
        else:
            lines.append(fitted(word, size, inches))
    return lines


def _shortened(text: str, kept: int) -> str:
    """`kept` characters of the text, the middle one an ellipsis."""
    head = kept // 2
    tail = kept - head - 1
    return f"{text[:head]}…{text[len(text) - tail :] if tail else ''}"


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, _POINTS)  # type: ignore[no-untyped-call]  # Matplotlib's own gap


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())
