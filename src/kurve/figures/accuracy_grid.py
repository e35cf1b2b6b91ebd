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
from kurve.figures.layout import Row, add_legend, columns_for, panel_title, plain_axes, strips
from kurve.figures.panels import Panel, Style
from kurve.figures.style import COLOURS, HATCHES, percent
from kurve.figures.words import readable
from kurve.metrics.bootstrap import mean_interval
from kurve.metrics.coverage import ACCURACY_BINS, accuracy_bins, accuracy_histogram
from kurve.types import Table

LOOKS = len(HATCHES)
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
    across = columns_for(len(panels))
    inches = max(7.0, 4.4 * across) if len(panels) > 1 else 7.0
    lines = -(-len(panels) // across)
    title = style.title or "Problems by their accuracy"
    caption = (
        f"share of problems whose share of correct samples lies in the bin, with {style.level} intervals for problems "
        "like these, each bin alone"
    )
    height = (3.6 if len(panels) == 1 else 2.5) * lines
    drawn = strips([Row(height, "", names)], inches=inches, title=readable(title), caption=caption)
    grid = drawn.rows[0].subplots(lines, across, squeeze=False)
    rows: list[tuple[object, ...]] = []
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        rows += _draw(axes, panels[place], names, style)
        labels = bin_labels(accuracy_histogram(panels[place].members[0].tally).edges)
        axes.set_xticks(range(ACCURACY_BINS), labels, fontsize=7, rotation=0 if len(panels) == 1 else 90)
        panel_title(axes, panels[place].benchmark, facts(panels[place]), inches=inches / across - 0.85)
        if place % across == 0:
            axes.set_ylabel("share of problems", fontsize=8.5)
        if place + across >= len(panels):
            axes.set_xlabel("share of a problem's samples that is correct (%)", fontsize=8.5)
    add_legend(drawn.legends[0], [_patch(place) for place in range(len(names))], names, inches=inches)
    return Drawn(drawn.figure, Table("accuracy", _COLUMNS, tuple(rows)))


def _draw(axes: Axes, panel: Panel, names: Sequence[str], style: Style) -> list[tuple[object, ...]]:
    places, bar = np.arange(ACCURACY_BINS), 0.84 / len(panel.members)
    rows: list[tuple[object, ...]] = []
    for number, one in enumerate(panel.members):
        found = accuracy_histogram(one.tally)
        bins = accuracy_bins(one.tally)
        intervals = [mean_interval(bins == place, confidence=style.confidence) for place in places]
        values = np.array([each.value for each in intervals])
        around = np.array([[each.value - each.low, each.high - each.value] for each in intervals]).T
        look = names.index(one.name)
        axes.bar(
            places + (number - (len(panel.members) - 1) / 2) * bar, values, bar, color=COLOURS[look % len(COLOURS)],
            hatch=HATCHES[look % LOOKS], edgecolor="white", linewidth=0.4, yerr=around,
            error_kw={"elinewidth": 0.8, "ecolor": "#333333"},
        )  # fmt: skip
        rows += [
            (panel.benchmark, one.name, one.role, float(low), float(high), int(count), each.value, each.low, each.high)
            for low, high, count, each in zip(found.edges[:-1], found.edges[1:], found.counts, intervals, strict=True)
        ]
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    plain_axes(axes)
    return rows


def _patch(place: int) -> Patch:
    return Patch(
        facecolor=COLOURS[place % len(COLOURS)], hatch=HATCHES[place % LOOKS], edgecolor="white", linewidth=0.4
    )
