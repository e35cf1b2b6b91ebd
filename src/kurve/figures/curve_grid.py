"""pass@k over log2 k in a grid of benchmarks and models, with the paired differences below each panel.

Figures 2, 3, 4, 7, 10, 15, 16 and 17 of Yue et al. 2025 (arXiv:2504.13837) are such grids.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kurve.errors import MetricError
from kurve.figures.drawn import Drawn
from kurve.figures.layout import Cell, Row, add_legend, cells, columns_for, panel_title, plain_axes, strips
from kurve.figures.panels import Member, Panel, Style
from kurve.figures.style import COLOURS, DASHES, MARKERS, log2_axis, percent, points, shade_high_variance
from kurve.figures.words import readable
from kurve.metrics.paired import PairedDifference
from kurve.types import Curve, Table

LOOKS = len(MARKERS) * len(DASHES)  # curves of one panel that a reader can tell apart
_ONE, _MANY = 7.0, 3.3  # inches of a panel that stands alone, or among others
_COLUMNS = (
    "benchmark", "model", "role", "compared_with", "quantity", "k", "value", "low", "high", "problems", "samples",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Words:
    """What a grid says of itself."""

    title: str
    to: str = "the base"  # what differences are to


def curve_grid(panels: Sequence[Panel], style: Style, *, words: Words) -> Drawn:
    """Draw every panel's curves, each with its simultaneous band, and below them the differences to `against`.

    k > n/2 is shaded, n being the fewest samples of any model of the panel; where n differs, a curve is dotted there.

    Args:
        panels: with curves and differences measured.
        style: as asked for.
        words: title and what differences are to.

    Raises:
        MetricError: no panel, one with more models than can be told apart, or one that was not measured.
    """
    families = list(dict.fromkeys(panel.family for panel in panels))
    rows = [[panel for panel in panels if panel.family == family] for family in families]
    _check(rows)
    places, across = _places(rows)
    alone = len(panels) == 1
    inches = max(_ONE, _MANY * across)
    differences = style.differences and any(one.difference is not None for panel in panels for one in panel.members)
    height = (4.0 if alone else 2.2) + (2.2 if alone else 1.25) * differences
    plan = [
        Row(height * (max(at) // across + 1), family if len(families) > 1 else "", names_of(row))
        for row, at, family in zip(rows, places, families, strict=True)
    ]
    made = strips(
        plan, inches=inches, title=style.title or words.title, caption=_caption(style, words, differences=differences)
    )
    for strip, legend, row, at in zip(made.rows, made.legends, rows, places, strict=True):
        names, ratios = names_of(row), (2.0, 1.1) if differences else (1.0,)
        for panel, cell in zip(
            row, cells(strip, at, across=across, inches=inches / across, ratios=ratios), strict=True
        ):
            _draw_panel(cell, panel, names)
        add_legend(legend, [handle(place) for place in range(len(names))], names, inches=inches)
    return Drawn(made.figure, _table(panels))


def names_of(panels: Sequence[Panel]) -> tuple[str, ...]:
    """The names of all models of the panels, each once, in order."""
    return tuple(dict.fromkeys(one.name for panel in panels for one in panel.members))


def handle(place: int, *, marker: bool = True) -> Line2D:
    """A legend's line of the model with this place."""
    return Line2D([], [], **_look(place), marker=MARKERS[place % len(MARKERS)] if marker else "", markersize=4.5)  # type: ignore[arg-type]  # a line's own properties


def draw_curves(axes: Axes, panel: Panel, names: Sequence[str], *, ticks: int) -> None:
    """The curves of a panel with their bands, k > n/2 marked; `names` gives each model its look."""
    curves = [(one, _measured(one)) for one in panel.members]
    same_n = len({int(curve.k[-1]) for _, curve in curves}) == 1
    for one, curve in curves:
        _draw(axes, curve, curve.value, place=names.index(one.name), dotted=None if same_n else curve.high_variance)
    log2_axis(axes, max(int(curve.k[-1]) for _, curve in curves), ticks=ticks)
    low, high = min(float(c.low.min()) for _, c in curves), max(float(c.high.max()) for _, c in curves)
    bottom = np.floor(10 * low) / 10 if low > 0.5 else 0.0
    room = 0.03 * (max(high, 0.05) - bottom)  # a curve at 0 or 100 % must not hide in the frame
    axes.set_ylim(bottom - room, max(high, 0.05) + room)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    if same_n:
        shade_high_variance(axes, panel.fewest, named=False)
    plain_axes(axes)


def facts(panel: Panel) -> str:
    """How much a panel rests on."""
    sizes = sorted({int(n) for one in panel.members for n in (one.tally.reach.min(), one.tally.reach.max())})
    n = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    return f"{panel.num_problems:,} problem{'s' if panel.num_problems != 1 else ''}, n = {n}"


def _check(rows: Sequence[Sequence[Panel]]) -> None:
    if not rows:
        raise MetricError("a figure of curves needs at least one model, got none")
    for row in rows:
        if (count := len(names_of(row))) > LOOKS:
            raise MetricError(f"{count} curves of one legend cannot be told apart, {LOOKS} can; name fewer models")


def _places(rows: Sequence[Sequence[Panel]]) -> tuple[list[list[int]], int]:
    """Where the panels of each row stand, and how many side by side: a column a benchmark if there are several rows."""
    benchmarks = list(dict.fromkeys(panel.benchmark for row in rows for panel in row))
    if len(rows) > 1 and all(len({panel.benchmark for panel in row}) == len(row) for row in rows):
        return [[benchmarks.index(panel.benchmark) for panel in row] for row in rows], len(benchmarks)
    return [list(range(len(row))) for row in rows], columns_for(max(map(len, rows)))


def _draw_panel(cell: Cell, panel: Panel, names: Sequence[str]) -> None:
    above, below = cell.axes[0], cell.axes[-1]
    ticks = max(2, int(cell.room / 0.5))
    draw_curves(above, panel, names, ticks=ticks)
    panel_title(above, panel.benchmark, facts(panel), inches=cell.room)
    if cell.left:
        above.set_ylabel("pass@k", fontsize=8.5)
    if below is not above:
        _draw_differences(below, panel, names, ticks=ticks)
        if cell.left:
            below.set_ylabel("difference\n(points)", fontsize=8.5)
    if cell.bottom:
        below.set_xlabel("k (samples per problem)", fontsize=8.5)


def _draw_differences(axes: Axes, panel: Panel, names: Sequence[str], *, ticks: int) -> None:
    shown = [(one, one.difference) for one in panel.members if one.difference is not None]
    plain_axes(axes)
    log2_axis(axes, max(int(_measured(one).k[-1]) for one in panel.members), ticks=ticks)
    axes.axhline(0.0, color="#000000", linewidth=0.8, zorder=1)
    if not shown:
        axes.set_ylim(-1, 1)
        return
    for one, difference in shown:
        _draw(axes, difference, difference.delta, place=names.index(one.name), dotted=None)
    low = min(0.0, *(float(difference.low.min()) for _, difference in shown))
    high = max(0.0, *(float(difference.high.max()) for _, difference in shown))
    room = 0.04 * (high - low) or 0.01
    axes.set_ylim(low - room, high + room)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    axes.yaxis.set_major_formatter(FuncFormatter(points))
    shade_high_variance(axes, min(int(difference.k[-1]) for _, difference in shown), named=False)


def _draw(axes: Axes, band: Curve | PairedDifference, values: object, *, place: int, dotted: object) -> None:
    """A line with its band and a marker at each power of two; dotted where the mask `dotted` is true."""
    look, height = _look(place), np.asarray(values, dtype=np.float64)
    if band.k.size == 1:  # a band without a width cannot be seen
        axes.vlines(band.k, band.low, band.high, color=look["color"], alpha=0.4, linewidth=3)
    axes.fill_between(band.k, band.low, band.high, color=look["color"], alpha=0.15, linewidth=0)
    marked = np.flatnonzero((band.k & (band.k - 1)) == 0)
    marks = {"marker": MARKERS[place % len(MARKERS)], "markersize": 3.6, "markevery": marked.tolist()}
    unsure = np.zeros(band.k.size, dtype=bool) if dotted is None else np.asarray(dotted)
    sure = int(np.count_nonzero(~unsure))  # they come first: k only grows
    axes.plot(band.k[:sure], height[:sure], **look, **(marks | {"markevery": marked[marked < sure].tolist()}))  # type: ignore[arg-type]  # a line's own properties
    if unsure.any():
        first = max(0, sure - 1)
        axes.plot(band.k[first:], height[first:], **(look | {"linestyle": "dotted"}))  # type: ignore[arg-type]  # a line's own properties


def _look(place: int) -> dict[str, object]:
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place % len(DASHES)], "linewidth": 1.6}


def _measured(one: Member) -> Curve:
    if one.curve is None:
        raise MetricError(f"the curve of {one.name} was not measured")
    return one.curve


def _caption(style: Style, words: Words, *, differences: bool) -> str:
    said = f"{style.level} bands for whole curves, problems like these"
    paired = f"; differences to {readable(words.to)}, paired over problems" if differences else ""
    return f"{said}{paired}. Shaded or dotted: k > n/2, high variance"


def _table(panels: Sequence[Panel]) -> Table:
    rows: list[tuple[object, ...]] = []
    for panel in panels:
        for one in panel.members:
            curve, n = _measured(one), int(one.tally.reach.min())
            other = "" if one.against is None else panel.members[one.against].name
            about = (panel.benchmark, one.name, one.role, other)
            values = zip(curve.k.tolist(), curve.value.tolist(), curve.low.tolist(), curve.high.tolist(), strict=True)
            rows += [(*about, "pass_at_k", *value, panel.num_problems, n) for value in values]
            if (gap := one.difference) is not None:
                values = zip(gap.k.tolist(), gap.delta.tolist(), gap.low.tolist(), gap.high.tolist(), strict=True)
                rows += [(*about, "difference", *value, panel.num_problems, n) for value in values]
    return Table("curves", _COLUMNS, tuple(rows))
