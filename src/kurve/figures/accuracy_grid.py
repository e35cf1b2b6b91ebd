"""Problems by their share of correct samples, several models side by side in a grid of panels.

Figures 5 and 13 of Yue et al. 2025 (arXiv:2504.13837).
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kurve.errors import MetricError
from kurve.figures.curve_grid import facts, names_of
from kurve.figures.drawn import Drawn
from kurve.figures.histograms import bin_labels
from kurve.figures.layout import Size, add_legend, panel_grid, panel_title, plain_axes, whiskers
from kurve.figures.panels import Panel, Style
from kurve.figures.style import COLOURS, HATCHES, percent
from kurve.metrics.bootstrap import mean_interval
from kurve.metrics.coverage import ACCURACY_BINS, accuracy_bins, accuracy_histogram
from kurve.types import Table

LOOKS = len(HATCHES)
_SIZE = Size((7.0, 3.6), (4.4, 2.5))
_COLUMNS = (
    "benchmark", "model", "role", "accuracy_above", "accuracy_up_to", "problems_in_bin", "share", "low", "high",
)  # fmt: skip


def accuracy_grid(panels: Sequence[Panel], style: Style) -> Drawn:
    """Draw the share of problems in each bin {0}, (0, 0.1], ..., (0.9, 1), {1}, with its interval.

    Raises:
        MetricError: no panel, or one with more models than can be told apart.
    """
    names = names_of(panels)
    if not panels or max(len(panel.members) for panel in panels) > LOOKS:
        raise MetricError(f"a panel of accuracies takes 1 to {LOOKS} models; draw each with its base: group_by=pair")
    caption = (
        f"share of problems whose share of correct samples lies in the bin, with {style.level} intervals for problems "
        "like these, each bin alone"
    )
    grid = panel_grid(
        len(panels), _SIZE, names=names, title=style.title or "Problems by their accuracy", caption=caption
    )
    rows: list[tuple[object, ...]] = []
    for panel, cell in zip(panels, grid.cells, strict=True):
        [axes] = cell.axes
        rows += _draw(axes, panel, names, style)
        labels = bin_labels(accuracy_histogram(panel.members[0].tally).edges)
        axes.set_xticks(range(ACCURACY_BINS), labels, fontsize=7, rotation=0 if len(panels) == 1 else 90)
        panel_title(axes, panel.benchmark, facts(panel), inches=cell.room)
        if cell.left:
            axes.set_ylabel("share of problems", fontsize=8.5)
        if cell.bottom:
            axes.set_xlabel("share of a problem's samples that is correct (%)", fontsize=8.5)
    add_legend(grid.legend, [_patch(place) for place in range(len(names))], names, inches=grid.inches)
    return Drawn(grid.figure, Table("accuracy", _COLUMNS, tuple(rows)))


def _draw(axes: Axes, panel: Panel, names: Sequence[str], style: Style) -> list[tuple[object, ...]]:
    places, bar = np.arange(ACCURACY_BINS), 0.84 / len(panel.members)
    rows: list[tuple[object, ...]] = []
    for number, one in enumerate(panel.members):
        found, bins = accuracy_histogram(one.tally), accuracy_bins(one.tally)
        intervals = [mean_interval(bins == place, confidence=style.confidence) for place in places]
        look, middle = names.index(one.name), places + (number - (len(panel.members) - 1) / 2) * bar
        axes.bar(
            middle, [each.value for each in intervals], bar, color=COLOURS[look % len(COLOURS)],
            hatch=HATCHES[look % LOOKS], edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        whiskers(axes, middle, intervals, along="y")
        rows += [
            (panel.benchmark, one.name, one.role, float(low), float(high), int(count), each.value, each.low, each.high)
            for low, high, count, each in zip(found.edges[:-1], found.edges[1:], found.counts, intervals, strict=True)
        ]
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    plain_axes(axes)
    return rows


def _patch(place: int) -> Patch:
    return Patch(
        facecolor=COLOURS[place % len(COLOURS)], hatch=HATCHES[place % LOOKS], edgecolor="white", linewidth=0.4
    )
