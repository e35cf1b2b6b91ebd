"""pass@k over log2 k, with its band."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from kurve.errors import MetricError
from kurve.figures.style import COLOURS, GREY, add_legend, describe, empty_figure
from kurve.types import Curve, Report

_DASHES = ("solid", "dashed", "dashdot")
_MOST_TICKS = 11


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
        for curve, colour, dash in zip(curves, cycle(COLOURS), cycle(_DASHES), strict=False)
    ]
    _scale(axes, curves)
    if same_n:
        _shade(axes, curves[0])
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


def _scale(axes: Axes, curves: Sequence[Curve]) -> None:
    largest = max(int(curve.k[-1]) for curve in curves)
    octaves = max(1.0, np.log2(largest))
    axes.set_xscale("log", base=2)
    axes.set_xlim(2 ** (-0.02 * octaves), largest * 2 ** (0.02 * octaves))
    axes.xaxis.set_major_locator(FixedLocator(_ticks(largest)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{round(k):,}"))
    lowest, highest = min(float(c.low.min()) for c in curves), max(float(c.high.max()) for c in curves)
    bottom = np.floor(10 * lowest) / 10 if lowest > 0.5 else 0.0
    top = min(1.0, max(highest, 0.05))
    room = 0.02 * (top - bottom)  # a curve at 0 or 100 % must not hide in the frame
    axes.set_ylim(bottom - room, top + room)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None if top - bottom > 0.1 else 1))


def _ticks(largest: int) -> list[int]:
    """Powers of two, every second or third if there are many, and the largest k where it has room."""
    octaves = largest.bit_length() - 1
    step = octaves // _MOST_TICKS + 1
    ticks = [2**i for i in range(0, octaves + 1, step)]
    if np.log2(largest / ticks[-1]) > 0.6 * step:
        ticks.append(largest)
    return ticks


def _shade(axes: Axes, curve: Curve) -> None:
    if curve.k[-1] < 2:
        return
    axes.axvspan(curve.k[-1] / 2, axes.get_xlim()[1], color="#000000", alpha=0.05, linewidth=0, zorder=0)
    axes.text(
        curve.k[-1] / np.sqrt(2),
        0.03,
        "k > n/2:\nhigh\nvariance",
        transform=axes.get_xaxis_transform(),
        fontsize=7.5,
        color=GREY,
        ha="center",
        va="bottom",
    )
