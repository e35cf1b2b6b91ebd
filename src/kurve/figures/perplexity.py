"""How likely a model finds responses of several: histograms of perplexity above, quartiles below."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, PercentFormatter
from numpy.typing import NDArray

from kurve.errors import MetricError
from kurve.figures.style import COLOURS, DASHES, GREY, drawable
from kurve.metrics.likelihood import perplexity
from kurve.types import Table

_BINS = 40
_EDGE = 0.995  # share of the samples of each distribution that the axis shows at least
_SHORT = (1, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 7, 8)
_LARGEST = 690.0  # nats that still have a perplexity, e^690 = 1e299
_LINE = 26  # characters of a name in a line
_ROW = 0.40  # inches of a box with its room


@dataclass(frozen=True, slots=True)
class Shown:
    """One distribution of the figure."""

    name: str
    log_perplexities: NDArray[np.float64]  # nats a unit, [S], at least one


def perplexity_figure(distributions: Sequence[Shown], *, title: str, unit: str = "token") -> Figure:
    """Draw the distributions over a shared axis of log-perplexity, ticks as perplexities.

    Above, shares of samples in bins that all share; below, a box from the lower to the upper quartile with the median,
    and whiskers from the 5th to the 95th percentile. These are the distributions of Yue et al. 2025
    (arXiv:2504.13837v2), fig. 6. What lies beyond the axis is counted in the last bin.

    Args:
        distributions: at least one, in the order of the legend.
        title: of the figure.
        unit: what perplexity is of, token or byte.

    Raises:
        MetricError: no distribution, or one without samples.
    """
    if not distributions or any(one.log_perplexities.size == 0 for one in distributions):
        raise MetricError("a figure of perplexities needs at least one distribution, and a sample in each")
    figure = Figure(figsize=(7.0, 3.6 + _ROW * len(distributions)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    heights = (2.7, 0.3 + _ROW * len(distributions))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    edges = _edges(distributions)
    for number, (one, colour, dash) in enumerate(zip(distributions, cycle(COLOURS), cycle(DASHES), strict=False)):
        _histogram(above, one, edges, colour=colour, dash=dash)
        _box(below, one, len(distributions) - 1 - number, edges, colour=colour)
    _frame(above, below, edges, unit)
    rows = [f"{fill(drawable(one.name), _LINE)}\n{_count(one)}" for one in reversed(distributions)]
    below.set_yticks(range(len(distributions)), rows, fontsize=8, parse_math=False)
    above.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=20, parse_math=False)
    above.text(
        0, 1.02, "boxes: quartiles and median   whiskers: 5th to 95th percentile   last bin: all beyond",
        transform=above.transAxes, fontsize=8.5, color=GREY, va="bottom",
    )  # fmt: skip
    return figure


def _count(one: Shown) -> str:
    return f"{one.log_perplexities.size:,} sample{'s' if one.log_perplexities.size != 1 else ''}"


def _edges(distributions: Sequence[Shown]) -> NDArray[np.float64]:
    """Bins that all share, from 0 (every token certain) to where the longest tail ends."""
    ends = [float(np.quantile(one.log_perplexities, _EDGE)) for one in distributions]
    edges: NDArray[np.float64] = np.linspace(0.0, max(max(ends) * 1.02, 1e-3), _BINS + 1)
    return edges


def perplexity_data(distributions: Sequence[Shown]) -> Table:
    """The values that the boxes of the figure show, as perplexities."""
    quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
    rows = []
    for one in distributions:
        values = np.quantile(one.log_perplexities, quantiles)
        rows.append((one.name, one.log_perplexities.size, *perplexity(values).tolist()))
    names = tuple(f"perplexity_quantile_{quantile:g}" for quantile in quantiles)
    return Table("perplexity", ("distribution", "num_samples", *names), tuple(rows))


def _histogram(axes: Axes, one: Shown, edges: NDArray[np.float64], *, colour: str, dash: str) -> None:
    inside = np.clip(one.log_perplexities, edges[0], np.nextafter(edges[-1], 0))
    shares = np.histogram(inside, bins=edges)[0] / inside.size
    axes.stairs(shares, edges, color=colour, linestyle=dash, linewidth=1.8)
    axes.stairs(shares, edges, color=colour, fill=True, alpha=0.06, linewidth=0)


def _box(axes: Axes, one: Shown, place: int, edges: NDArray[np.float64], *, colour: str) -> None:
    at = np.clip(np.quantile(one.log_perplexities, [0.05, 0.25, 0.5, 0.75, 0.95]), edges[0], edges[-1])
    low, lower, median, upper, high = at.tolist()
    axes.hlines(place, low, high, color=colour, linewidth=1.2)
    axes.barh(place, upper - lower, 0.55, left=lower, color=colour, alpha=0.35, edgecolor=colour, linewidth=1.2)
    axes.vlines(median, place - 0.275, place + 0.275, color=colour, linewidth=2.4)
    axes.plot([median], [place], marker="o", color=colour, markersize=3.5)  # seen also where the box has no width


def _frame(above: Axes, below: Axes, edges: NDArray[np.float64], unit: str) -> None:
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        axes.grid(visible=True, axis="x" if axes is below else "y", color="#DDDDDD", linewidth=0.6)
    above.yaxis.set_major_formatter(PercentFormatter(1.0))
    above.set_ylim(bottom=0.0)
    above.set_ylabel("share of samples")
    below.spines["left"].set_visible(False)
    below.tick_params(axis="y", length=0)
    below.set_ylim(-0.6, len(below.patches) - 0.4)
    below.set_xlim(-0.01 * edges[-1], edges[-1])
    below.xaxis.set_major_locator(FixedLocator(_ticks(float(edges[-1]))))
    below.xaxis.set_major_formatter(FuncFormatter(lambda nats, _: f"{np.exp(nats):.4g}"))
    below.set_xlabel(f"perplexity a {unit} (axis even in its logarithm)")


def _ticks(end: float) -> list[float]:
    """Log-perplexities up to `end` whose perplexities are short numbers, no closer than a twelfth of the axis."""
    decades = int(min(end, _LARGEST) / np.log(10)) + 1
    ticks: list[float] = []
    for nats in (decade * np.log(10) + np.log(number) for decade in range(decades) for number in _SHORT):
        if nats <= end and (not ticks or nats - ticks[-1] >= end / 12):
            ticks.append(float(nats))
    return ticks
