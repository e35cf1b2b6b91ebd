"""Several models over log2 k: their pass@k above, their paired differences to the base below."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, PercentFormatter

from kurve.errors import MetricError
from kurve.figures.style import COLOURS, DASHES, GREY, drawable, log2_axis, points, shade_high_variance
from kurve.metrics.paired import PairedDifference
from kurve.types import Curve

_ROOM = 0.04  # of a panel's height, so that a curve at 0 or 100 % does not hide in the frame


@dataclass(frozen=True, slots=True)
class Compared:
    """One model of the figure."""

    name: str
    curve: Curve  # pass@k with the model's own band
    difference: PairedDifference | None  # to the base; None for the base


def comparison_figure(models: Sequence[Compared], *, title: str) -> Figure:
    """Draw the curves of all models, and below them every difference to the base with its simultaneous paired band.

    Where k > n/2, few samples decide the value; that part is shaded, n being the fewest samples of any model.

    Raises:
        MetricError: no model, or none with a difference.
    """
    pairs = [model.difference for model in models if model.difference is not None]
    if not pairs:
        raise MetricError("a figure of a comparison needs a base and at least one model compared with it")
    figure = Figure(figsize=(7.0, 6.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.15, 1.0])
    handles = []
    for model, colour, dash in zip(models, cycle(COLOURS), cycle(DASHES), strict=False):
        handles.append(_draw(above, model.curve, model.curve.value, colour=colour, dash=dash))
        if model.difference is not None:
            _draw(below, model.difference, model.difference.delta, colour=colour, dash=dash)
    _frame(above, below, models, pairs)
    _caption(above, title, pairs)
    names = [drawable(model.name) for model in models]
    legend = above.legend(handles, names, loc="best", fontsize=9, frameon=True, framealpha=0.9, edgecolor="none")
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _draw(axes: Axes, band: Curve | PairedDifference, values: object, *, colour: str, dash: str) -> Line2D:
    if band.k.size == 1:  # a band without a width cannot be seen
        axes.vlines(band.k, band.low, band.high, color=colour, alpha=0.4, linewidth=3)
    axes.fill_between(band.k, band.low, band.high, color=colour, alpha=0.16, linewidth=0)
    marker = "o" if band.k.size <= 16 else ""
    (line,) = axes.plot(band.k, values, color=colour, linestyle=dash, linewidth=1.8, marker=marker, markersize=4)  # type: ignore[arg-type]  # an array of floats
    return line


def _frame(above: Axes, below: Axes, models: Sequence[Compared], pairs: Sequence[PairedDifference]) -> None:
    largest = max(int(model.curve.k[-1]) for model in models)
    fewest = min(int(pair.k[-1]) for pair in pairs)
    log2_axis(below, largest)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, axis="y", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        shade_high_variance(axes, fewest, named=axes is above)
    top = min(1.0, max(float(model.curve.high.max()) for model in models))
    above.set_ylim(-_ROOM * top, top * (1 + _ROOM))
    above.yaxis.set_major_formatter(PercentFormatter(1.0))
    above.set_ylabel("pass@k")
    lowest = min(0.0, *(float(pair.low.min()) for pair in pairs))
    highest = max(0.0, *(float(pair.high.max()) for pair in pairs))
    room = _ROOM * (highest - lowest)
    below.set_ylim(lowest - room, highest + room)
    below.axhline(0.0, color="#000000", linewidth=0.8, zorder=1)
    below.yaxis.set_major_formatter(FuncFormatter(points))
    below.set_ylabel("difference to the base (points)")
    below.set_xlabel("k (samples per problem)")


def _caption(axes: Axes, title: str, pairs: Sequence[PairedDifference]) -> None:
    count, fewest = pairs[0].num_problems, min(int(pair.k[-1]) for pair in pairs)
    band = f"{100 * pairs[0].confidence:g} % bands for whole curves, problems like these; differences paired"
    line = f"{count:,} problem{'s' if count != 1 else ''}   n = {fewest:,}   {band}"
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=20, parse_math=False)
    axes.text(0, 1.02, line, transform=axes.transAxes, fontsize=8.5, color=GREY, va="bottom", parse_math=False)
