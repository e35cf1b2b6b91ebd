"""Checkpoints of a training: pass@1 and pass@k over its steps, and their paired change since the base.

Figure 1 (right) of Yue et al. 2025 (arXiv:2504.13837): pass@1 rises while pass@256 falls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kurve.errors import MetricError
from kurve.figures.curve_grid import facts
from kurve.figures.drawn import Drawn
from kurve.figures.layout import Size, add_legend, panel_grid, panel_title, plain_axes
from kurve.figures.panels import Member, Panel, Style
from kurve.figures.style import COLOURS, MARKERS, percent, points
from kurve.metrics.bootstrap import Estimate, mean_interval
from kurve.metrics.paired import difference_interval
from kurve.metrics.passk import Floats, pass_at_k_of
from kurve.types import Table

_SIZE = Size((7.0, 4.2), (3.3, 3.6), (1.6, 1.0))
_COLUMNS = (
    "benchmark", "model", "series", "step", "quantity", "k", "value", "low", "high", "problems",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One k of one training over its steps, the base at step 0 if there is one."""

    series: str
    k: int
    models: tuple[str, ...]  # [S]
    steps: tuple[int, ...]  # ascending, [S]
    levels: tuple[Estimate, ...]  # pass@k of each step, [S]
    changes: tuple[Estimate | None, ...]  # since the first step, paired; None for itself, [S]


def steps_figure(panels: Sequence[Panel], style: Style) -> Drawn:
    """Draw pass@1 and pass@k over the steps of each training, and below the paired changes since the base.

    Raises:
        MetricError: no panel, or a model without a step that is no base.
    """
    lines = [lines_of(panel, style) for panel in panels]
    if not panels:
        raise MetricError("a figure of steps needs at least one checkpoint, got none")
    looks = list(dict.fromkeys((line.series, line.k == 1) for group in lines for line in group))
    series = list(dict.fromkeys(name for name, _ in looks))
    names = [_name(name, panels, style, first=first, many=len(series) > 1) for name, first in looks]
    caption = (
        f"{style.level} intervals of each point alone, problems like these; changes since "
        "the first point paired over problems"
    )
    grid = panel_grid(len(panels), _SIZE, names=names, title=style.title or "Steps of training", caption=caption)
    for panel, group, cell in zip(panels, lines, grid.cells, strict=True):
        above, below = cell.axes
        _draw(above, below, group, series=series)
        panel_title(above, panel.benchmark, facts(panel), inches=cell.room)
        if cell.bottom:
            below.set_xlabel("step of the training", fontsize=8.5)
        if cell.left:
            above.set_ylabel("pass@k", fontsize=8.5)
            below.set_ylabel("change since the\nfirst point (points)", fontsize=8.5)
    handles = [Line2D([], []) for _ in looks]
    for handle, (name, first) in zip(handles, looks, strict=True):
        handle.set(**_look(_place(series, name, first=first), first=first))
    add_legend(grid.legend, handles, names, inches=grid.inches)
    rows = [row for panel, group in zip(panels, lines, strict=True) for line in group for row in _rows(panel, line)]
    return Drawn(grid.figure, Table("steps", _COLUMNS, tuple(rows)))


def lines_of(panel: Panel, style: Style) -> list[Line]:
    """A line for k = 1 and one for the headline k, for each training of the panel.

    Raises:
        MetricError: a model without a step that is no base.
    """
    others = {one.series for one in panel.members if one.against is not None}
    start = [one for one in panel.members if one.against is None and (not one.step or one.series not in others)][:1]
    trained = [one for one in panel.members if one not in start]
    nameless = [one.name for one in trained if one.step is None]
    if nameless or not trained:
        raise MetricError(
            f"a figure of steps needs checkpoints with their steps, {', '.join(nameless) or 'each of the models'} has "
            "none: evaluate checkpoints (model.from_run=... model.step=...), or give steps=[0,150,300], one a run"
        )
    found = []
    for series in dict.fromkeys(one.series for one in trained):
        shown = sorted((one for one in trained if one.series == series), key=lambda one: one.step or 0)
        found += [_line(series, [*start, *shown], k, style) for k in sorted({1, min(style.k, panel.fewest)})]
    return found


def _line(series: str, models: Sequence[Member], k: int, style: Style) -> Line:
    tables = [_at(one, k) for one in models]
    changes: list[Estimate | None] = [None]
    changes += [difference_interval(table - tables[0], confidence=style.confidence) for table in tables[1:]]
    return Line(
        series=series,
        k=k,
        models=tuple(one.name for one in models),
        steps=tuple((one.step or 0) if one.series == series else 0 for one in models),
        levels=tuple(mean_interval(table, confidence=style.confidence) for table in tables),
        changes=tuple(changes),
    )


def _at(one: Member, k: int) -> Floats:
    return pass_at_k_of(one.tally, [k])[:, 0]


def _place(series: Sequence[str], name: str, *, first: bool) -> int:
    """Which look a line has: that of its training, or of its k where there is one training."""
    return series.index(name) if len(series) > 1 else int(not first)


def _draw(above: Axes, below: Axes, lines: Sequence[Line], *, series: Sequence[str]) -> None:
    for line in lines:
        changes = [each or Estimate(0.0, 0.0, 0.0) for each in line.changes]
        first = line.k == 1
        look = _look(_place(series, line.series, first=first), first=first)
        for axes, estimates in ((above, line.levels), (below, changes)):
            value = np.array([each.value for each in estimates])
            around = np.array([[each.value - each.low, each.high - each.value] for each in estimates]).T
            drawn = axes.errorbar(line.steps, value, yerr=around, color=look["color"], elinewidth=1.0, capsize=2.5)
            drawn.lines[0].set(**look)
    below.axhline(0.0, color="#000000", linewidth=0.8, zorder=1)
    above.yaxis.set_major_formatter(FuncFormatter(percent))
    below.yaxis.set_major_formatter(FuncFormatter(points))
    for axes in (above, below):
        plain_axes(axes)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.05, y=0.08)


def _look(place: int, *, first: bool) -> dict[str, object]:
    """pass@1 is solid with full marks, pass@k dashed with empty ones."""
    colour = COLOURS[place % len(COLOURS)]
    return {
        "color": colour,
        "linestyle": "solid" if first else "dashed",
        "linewidth": 1.6,
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 4.5,
        "markerfacecolor": colour if first else "white",
    }


def _name(series: str, panels: Sequence[Panel], style: Style, *, first: bool, many: bool) -> str:
    ks = sorted({min(style.k, panel.fewest) for panel in panels})
    what = "pass@1" if first else f"pass@{ks[0]}" if len(ks) == 1 else f"pass@{ks[0]} to {ks[-1]}"
    return f"{series}, {what}" if many and series else what


def _rows(panel: Panel, line: Line) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for model, step, level, change in zip(line.models, line.steps, line.levels, line.changes, strict=True):
        about = (panel.benchmark, model, line.series, step)
        for quantity, one in (("pass_at_k", level), ("change", change)):
            if one is not None:
                rows.append((*about, quantity, line.k, one.value, one.low, one.high, panel.num_problems))
    return rows
