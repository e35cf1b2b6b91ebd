"""Where the parts of a figure with several panels stand.

All text outside the panels has a strip of its own, as high as its measured lines need: title and caption on top, a legend
below each row of panels. Inside its strip a row is left to Matplotlib's constrained layout.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from kurve.figures.style import GREY
from kurve.figures.words import distinct, fitted, width, wrapped

_EDGE = 0.12  # inches that stay free at the sides
_TITLE, _CAPTION, _LEGEND = 11.0, 8.5, 8.5  # points
_LINE = 1.35 / 72  # inches of a line for each point of its size
_HANDLE = 0.72  # inches of a legend's entry beside its text
_LONGEST = 3.4  # inches of a legend's name
PANEL_TITLE = 9.0  # points
GRID = "#DDDDDD"


@dataclass(frozen=True, slots=True)
class Row:
    """A strip of panels with one legend."""

    height: float  # inches, of the panels alone
    heading: str  # what its panels have in common; may be empty
    names: tuple[str, ...]  # of the legend; none: no legend


@dataclass(frozen=True, slots=True)
class Strips:
    """An empty figure with a strip for each row."""

    figure: Figure
    rows: tuple[SubFigure, ...]  # panels go here
    legends: tuple[SubFigure, ...]  # below each row


def strips(rows: Sequence[Row], *, inches: float, title: str, caption: str) -> Strips:
    """A figure `inches` wide, with its title and caption, as high as its rows and their legends need."""
    room = inches - 2 * _EDGE
    lines = wrapped(caption, _CAPTION, room)
    top = 2 * _EDGE + _TITLE * _LINE + len(lines) * _CAPTION * _LINE
    heights = [top]
    for row in rows:
        heights += [row.height + (_heading(row)), _legend_height(row.names, inches)]
    figure = Figure(figsize=(inches, sum(heights)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, hspace=0.0, wspace=0.0, squeeze=False)[:, 0]
    _head(parts[0], fitted(title, _TITLE, room, bold=True), lines, height=top, inches=inches)
    for part, row in zip(parts[1::2], rows, strict=True):
        if row.heading:
            text = fitted(row.heading, PANEL_TITLE + 1, room, bold=True)
            part.suptitle(
                text, x=_EDGE / inches, ha="left", fontsize=PANEL_TITLE + 1, fontweight="bold", parse_math=False
            )
    return Strips(figure, tuple(parts[1::2]), tuple(parts[2::2]))


def add_legend(strip: SubFigure, handles: Sequence[Artist], names: Sequence[str], *, inches: float) -> None:
    """Name the handles in a strip that `strips` made for as many names."""
    if not names:
        return
    columns, shown = _legend_columns(names, inches)
    legend = strip.legend(
        handles, shown, loc="center", ncols=columns, fontsize=_LEGEND, frameon=False, handlelength=2.6,
        columnspacing=1.2, handletextpad=0.6, borderpad=0.0, labelspacing=0.4,
    )  # fmt: skip
    legend.set_in_layout(False)
    for text in legend.get_texts():
        text.set_parse_math(False)


def panel_title(axes: Axes, name: str, facts: str, *, inches: float) -> None:
    """Name a panel, and below say on how much it rests; the name is shortened to `inches`, the facts are broken into lines."""
    small = PANEL_TITLE - 1.5
    lines = wrapped(facts, small, inches)
    if lines:
        axes.annotate(
            "\n".join(lines), (0, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points", color=GREY,
            fontsize=small, va="bottom", ha="left", parse_math=False, annotation_clip=False, linespacing=1.25,
        )  # fmt: skip
    if name:
        axes.set_title(
            fitted(name, PANEL_TITLE, inches, bold=True), loc="left", fontsize=PANEL_TITLE, fontweight="bold",
            pad=5 + 1.5 * small * len(lines), parse_math=False,
        )  # fmt: skip


def plain_axes(axes: Axes) -> None:
    """Frame and grid that all panels share."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def columns_for(count: int) -> int:
    """How many panels of one size stand side by side."""
    if count <= 3:
        return count
    if count == 4:
        return 2
    return 3 if count <= 9 else 4


def _heading(row: Row) -> float:
    return (PANEL_TITLE + 1) * _LINE + 0.1 if row.heading else 0.0


def _legend_columns(names: Sequence[str], inches: float) -> tuple[int, list[str]]:
    """Columns of the legend, and the names as they fit."""
    room = inches - 2 * _EDGE
    shown = distinct(list(names), _LEGEND, min(room - _HANDLE, _LONGEST))
    widths = [width(name, _LEGEND) + _HANDLE for name in shown]
    return len(shown) if sum(widths) <= room else max(1, int(room / max(widths))), shown


def _legend_height(names: Sequence[str], inches: float) -> float:
    if not names:
        return 0.02
    columns, shown = _legend_columns(names, inches)
    return math.ceil(len(shown) / columns) * _LEGEND * (_LINE + 0.4 / 72) + 0.12


def _head(strip: SubFigure, title: str, lines: Sequence[str], *, height: float, inches: float) -> None:
    y = 1 - _EDGE / height
    for number, line in enumerate([title, *lines]):
        size = _TITLE if number == 0 else _CAPTION
        strip.text(
            _EDGE / inches, y, line, fontsize=size, va="top", ha="left", parse_math=False, in_layout=False,
            color="#000000" if number == 0 else GREY, fontweight="bold" if number == 0 else "normal",
        )  # fmt: skip
        y -= size * _LINE / height
