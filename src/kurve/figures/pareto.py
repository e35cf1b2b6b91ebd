"""Trials of a search by two objectives, with the front that no other trial dominates."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from kurve.figures.style import COLOURS, GREY, drawable, empty_figure
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.pareto import Standing

# Shape, colour and filling tell the standings apart, so that grey prints and colour-blind readers can.
_LOOKS = {
    Standing.FRONT: ("o", COLOURS[0], "full"),
    Standing.NOT_ESTABLISHED: ("o", COLOURS[4], "none"),
    Standing.DOMINATED: ("x", GREY, "full"),
}
_NAMES = {"delta_se": "delta SE"}


@dataclass(frozen=True, slots=True)
class Point:
    """One trial."""

    name: str
    x: Estimate  # of the first objective, a fraction
    y: Estimate
    standing: Standing


def pareto_figure(
    points: Sequence[Point], objectives: tuple[tuple[str, bool], tuple[str, bool]], *, title: str, confidence: float
) -> Figure:
    """Draw each trial with its interval in either direction; the front is joined by steps.

    Args:
        points: at least one trial.
        objectives: name of the first (along x) and the second, and whether more of it is better.
        title: of the figure.
        confidence: of the intervals, a fraction.
    """
    figure, axes = empty_figure()
    axes.grid(visible=True, axis="x", color="#DDDDDD", linewidth=0.6)
    for one in points:
        marker, colour, fill = _LOOKS[one.standing]
        axes.hlines(one.y.value, one.x.low, one.x.high, color=colour, linewidth=0.8, alpha=0.45)
        axes.vlines(one.x.value, one.y.low, one.y.high, color=colour, linewidth=0.8, alpha=0.45)
        axes.plot(
            [one.x.value], [one.y.value], marker=marker, color=colour, markersize=7, linestyle="none",
            fillstyle=fill,
        )  # fmt: skip
        axes.annotate(
            drawable(one.name), (one.x.value, one.y.value), xytext=(5, 4), textcoords="offset points", fontsize=8
        )
    front = sorted((one.x.value, one.y.value) for one in points if one.standing is Standing.FRONT)
    (first, first_more), (second, second_more) = objectives
    where = "pre" if first_more else "post"  # a corner of the steps is what two trials of the front are sure to offer
    axes.plot(*zip(*front, strict=True), color=COLOURS[0], linewidth=1.2, drawstyle=f"steps-{where}", zorder=1)
    for axis, name, more in ((axes.xaxis, first, first_more), (axes.yaxis, second, second_more)):
        axis.set_major_formatter(PercentFormatter(1.0))
        axis.set_label_text(f"{_readable(name)} ({'more' if more else 'less'} is better)")
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=20, parse_math=False)
    said = f"{len(points)} trials, {100 * confidence:g} % intervals over problems; one seed each"
    axes.text(0, 1.02, said, transform=axes.transAxes, fontsize=8.5, color=GREY, va="bottom", parse_math=False)
    used = [one for one in _LOOKS if any(point.standing is one for point in points)]
    axes.legend([_handle(one) for one in used], [_said(one) for one in used], fontsize=8.5, framealpha=0.9)
    return figure


def _readable(name: str) -> str:
    return _NAMES.get(name, name.replace("_at_", "@").replace("delta_se", "delta SE"))


def _handle(one: Standing) -> Line2D:
    marker, colour, fill = _LOOKS[one]
    return Line2D([], [], marker=marker, color=colour, linestyle="none", markersize=7, fillstyle=fill)  # type: ignore[arg-type]  # as above


def _said(one: Standing) -> str:
    words = {Standing.FRONT: "front", Standing.NOT_ESTABLISHED: "dominated within noise: not established"}
    return words.get(one, str(one))
