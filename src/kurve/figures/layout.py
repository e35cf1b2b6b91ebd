"""Where the parts of a figure with several panels stand.

All text outside the panels has a strip of its own, as high as its measured lines need: title and caption on top, a
legend below each row of panels. Inside its strip a row is left to Matplotlib's constrained layout.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike

from kurve.figures.style import GREY
from kurve.figures.words import distinct, fitted, width, wrapped
from kurve.metrics.bootstrap import Estimate

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


@dataclass(frozen=True, slots=True)
class Cell:
    """A panel's place."""

    axes: tuple[Axes, ...]  # from top to bottom; all but the last without labels of their x axis
    inches: float  # across, labels included
    left: bool  # the first of its line
    bottom: bool  # nothing is below it

    @property
    def room(self) -> float:
        """Inches for a line of text above the panel."""
        return self.inches - 0.85


@dataclass(frozen=True, slots=True)
class Size:
    """Inches of a panel, labels included, and the heights of its parts to one another."""

    alone: tuple[float, float]  # across and high, of the only panel
    among: tuple[float, float]  # of one of several
    ratios: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True)
class Grid:
    """A figure of panels of one size with one legend."""

    figure: Figure
    cells: tuple[Cell, ...]  # of the panels, in order
    legend: SubFigure
    inches: float


def panel_grid(count: int, size: Size, *, names: Sequence[str], title: str, caption: str) -> Grid:
    """Places for `count` panels and a legend of the names."""
    across = columns_for(count)
    wide, high = size.alone if count == 1 else size.among
    inches = max(size.alone[0], wide * across)
    row = Row(high * -(-count // across), "", tuple(names))
    made = strips([row], inches=inches, title=title, caption=caption)
    found = cells(made.rows[0], range(count), across=across, inches=inches / across, ratios=size.ratios)
    return Grid(made.figure, tuple(found), made.legends[0], inches)


def cells(
    strip: SubFigure, places: Sequence[int], *, across: int, inches: float, ratios: Sequence[float]
) -> list[Cell]:
    """Axes for each place of a grid that is `across` wide, counted line by line; places left out stay empty."""
    lines, deep, used = max(places) // across + 1, len(ratios), set(places)
    axes = strip.subplots(deep * lines, across, squeeze=False, height_ratios=list(ratios) * lines)
    found = {}
    for place in range(lines * across):
        line, column = divmod(place, across)
        own = tuple(axes[deep * line + part][column] for part in range(deep))
        if place not in used:
            for one in own:
                one.set_axis_off()
            continue
        for one in own[:-1]:
            one.tick_params(labelbottom=False)
        left = column == 0 or place - 1 not in used
        found[place] = Cell(own, inches, left, place + across not in used)
    return [found[place] for place in places]


def whiskers(axes: Axes, at: ArrayLike, intervals: Sequence[Estimate], *, along: Literal["x", "y"]) -> None:
    """Intervals of bars, dark on a light rim, so that they are seen on any bar."""
    value = np.array([one.value for one in intervals])
    around = np.array([[one.value - one.low, one.high - one.value] for one in intervals]).T
    for colour, line, cap in (("white", 2.6, 1.8), ("#333333", 1.0, 1.0)):
        if along == "x":
            drawn = axes.errorbar(value, at, xerr=around, fmt="none", ecolor=colour, elinewidth=line, capsize=2)
        else:
            drawn = axes.errorbar(at, value, yerr=around, fmt="none", ecolor=colour, elinewidth=line, capsize=2)
        for one in drawn.lines[1]:
            one.set(markeredgewidth=cap, zorder=3)
        for bars in drawn.lines[2]:
            bars.set_zorder(3)


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
    """Name a panel, shortened to `inches`, and below say on how much it rests, in as many lines as that takes."""
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
