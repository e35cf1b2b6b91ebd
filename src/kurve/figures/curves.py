"""pass@k over log2 k, with its band."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from kurve.errors import MetricError
from kurve.figures.style import (
    COLOURS,
    DASHES,
    GREY,
    add_legend,
    describe,
    empty_figure,
    log2_axis,
    shade_high_variance,
)
from kurve.types import Curve, Report


def pass_at_k_figure(reports: Sequence[Report]) -> Figure:
    """Draw the pass@k curves of the reports over one another, each with its simultaneous band.

    Where k > n/2, few samples decide the value: that part is shaded, or dotted when the reports differ in n.

    Raises:
        MetricError: no reports, or one without a curve named pass_at_k.
    """
    curves = [curve_of(report) for report in reports]
    if not curves:
        raise MetricError("a figure needs at least one report, got none")
    figure, axes = empty_figure()
    same_n = len({int(curve.k[-1]) for curve in curves}) == 1
    handles = [
        _draw(axes, curve, colour=colour, dash=dash, dotted=not same_n)
        for curve, colour, dash in zip(curves, cycle(COLOURS), cycle(DASHES), strict=False)
    ]
    _scale(axes, curves)
    _draw_chance(axes, reports)
    if same_n:
        shade_high_variance(axes, int(curves[0].k[-1]))
    axes.set_xlabel("k (samples per problem)" + ("" if same_n else ";  dotted: k > n/2, high variance"))
    axes.set_ylabel("pass@k")
    describe(axes, reports, extra=f"band: {100 * curves[0].confidence:g} % for the whole curve, problems like these")
    add_legend(axes, reports, handles, where="lower right")
    return figure


def curve_of(report: Report) -> Curve:
    """The report's pass@k curve.

    Raises:
        MetricError: it holds none.
    """
    for curve in report.curves:
        if curve.name == "pass_at_k":
            return curve
    raise MetricError(f"the report on {report.benchmark} holds no curve named pass_at_k")


def _draw(axes: Axes, curve: Curve, *, colour: str, dash: str, dotted: bool) -> Line2D:
    if curve.k.size == 1:  # a band without a width cannot be seen
        axes.vlines(curve.k, curve.low, curve.high, color=colour, alpha=0.4, linewidth=3)
    axes.fill_between(curve.k, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
    marker = "o" if curve.k.size <= 16 else ""
    unsure = curve.high_variance if dotted else np.zeros_like(curve.high_variance)
    sure = int(np.count_nonzero(~unsure))  # they come first: k only grows
    (line,) = axes.plot(
        curve.k[:sure], curve.value[:sure], color=colour, linestyle=dash, linewidth=1.8, marker=marker, markersize=4
    )
    if unsure.any():
        rest = slice(max(0, sure - 1), None)
        axes.plot(curve.k[rest], curve.value[rest], color=colour, linestyle="dotted", linewidth=1.8, marker=marker)
    return line


def _draw_chance(axes: Axes, reports: Sequence[Report]) -> None:
    """What uniform guesses would score, dotted, once for each benchmark that says how many answers there are."""
    chances = {
        report.benchmark: curve for report in reports for curve in report.curves if curve.name == "chance_pass_at_k"
    }
    for curve in chances.values():
        axes.plot(curve.k, curve.value, color=GREY, linestyle="dotted", linewidth=1.4, scalex=False, scaley=False)
        middle = int(np.argmin(np.abs(curve.value - axes.get_ylim()[1] / 3)))
        axes.annotate(
            "guessing",
            (float(curve.k[middle]), float(curve.value[middle])),
            xytext=(4, -3),
            textcoords="offset points",
            fontsize=7.5,
            color=GREY,
            va="top",
        )


def _scale(axes: Axes, curves: Sequence[Curve]) -> None:
    largest = max(int(curve.k[-1]) for curve in curves)
    log2_axis(axes, largest)
    lowest, highest = min(float(c.low.min()) for c in curves), max(float(c.high.max()) for c in curves)
    bottom = np.floor(10 * lowest) / 10 if lowest > 0.5 else 0.0
    top = min(1.0, max(highest, 0.05))
    room = 0.02 * (top - bottom)  # a curve at 0 or 100 % must not hide in the frame
    axes.set_ylim(bottom - room, top + room)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None if top - bottom > 0.1 else 1))
