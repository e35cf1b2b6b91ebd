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
from kurve.figures.layout import Row, add_legend, columns_for, panel_title, plain_axes, strips
from kurve.figures.panels import Member, Panel, Style
from kurve.figures.style import COLOURS, DASHES, MARKERS, percent, points
from kurve.figures.words import readable
from kurve.metrics.bootstrap import Estimate, mean_interval
from kurve.metrics.paired import difference_interval
from kurve.metrics.passk import Floats, pass_at_k_per_problem
from kurve.types import Table

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
    many = len({series for series, _ in looks}) > 1
    names = [_name(series, panels, style, first=first, many=many) for series, first in looks]
    across = columns_for(len(panels))
    inches, deep = max(7.0, 3.3 * across), -(-len(panels) // across)
    caption = (
        f"{style.level} intervals of each point alone, problems like these; changes since "
        "the first point paired over problems"
    )
    title = readable(style.title or "Steps of training")
    drawn = strips([Row(4.2 * deep, "", tuple(names))], inches=inches, title=title, caption=caption)
    grid = drawn.rows[0].subplots(2 * deep, across, squeeze=False, height_ratios=[1.6, 1.0] * deep)
    for place in range(deep * across):
        row, column = divmod(place, across)
        above, below = grid[2 * row][column], grid[2 * row + 1][column]
        if place >= len(panels):
            above.set_axis_off()
            below.set_axis_off()
            continue
        _draw(above, below, lines[place], looks=looks)
        panel_title(above, panels[place].benchmark, facts(panels[place]), inches=inches / across - 0.85)
        below.set_xlabel("step of the training", fontsize=8.5)
        if column == 0:
            above.set_ylabel("pass@k", fontsize=8.5)
            below.set_ylabel("change since the\nfirst point (points)", fontsize=8.5)
    handles = [_handle(place, first=first) for place, (_, first) in enumerate(looks)]
    add_legend(drawn.legends[0], handles, names, inches=inches)
    rows = [row for panel, group in zip(panels, lines, strict=True) for line in group for row in _rows(panel, line)]
    return Drawn(drawn.figure, Table("steps", _COLUMNS, tuple(rows)))


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
    return pass_at_k_per_problem(one.tally.num_samples, one.tally.num_correct, [k])[:, 0]


def _draw(above: Axes, below: Axes, lines: Sequence[Line], *, looks: Sequence[tuple[str, bool]]) -> None:
    for line in lines:
        place = looks.index((line.series, line.k == 1))
        changes = [each or Estimate(0.0, 0.0, 0.0) for each in line.changes]
        for axes, estimates in ((above, line.levels), (below, changes)):
            value = np.array([each.value for each in estimates])
            around = np.array([[each.value - each.low, each.high - each.value] for each in estimates]).T
            look = _handle(place, first=line.k == 1)
            axes.errorbar(
                line.steps, value, yerr=around, color=look.get_color(), linestyle=look.get_linestyle(), marker=look.get_marker(),
                linewidth=1.6, markersize=4.5, elinewidth=1.0, capsize=2.5,
            )  # fmt: skip
    below.axhline(0.0, color="#000000", linewidth=0.8, zorder=1)
    above.yaxis.set_major_formatter(FuncFormatter(percent))
    below.yaxis.set_major_formatter(FuncFormatter(points))
    for axes in (above, below):
        plain_axes(axes)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.05, y=0.08)
    above.tick_params(labelbottom=False)


def _handle(place: int, *, first: bool) -> Line2D:
    """pass@1 is solid with full markers' look of its training, pass@k dashed."""
    return Line2D(
        [], [], color=COLOURS[place % len(COLOURS)], linestyle=DASHES[0 if first else 1],
        marker=MARKERS[place % len(MARKERS)], markersize=4.5, linewidth=1.6,
    )  # fmt: skip


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
