"""Algorithms under equal conditions: their curves, and pass@1, pass@k and delta SE as bars with intervals.

Figure 8 of Yue et al. 2025 (arXiv:2504.13837), one row a benchmark.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kurve.errors import MetricError
from kurve.figures.curve_grid import LOOKS, draw_curves, facts, handle, names_of
from kurve.figures.drawn import Drawn
from kurve.figures.layout import GRID, Row, add_legend, panel_title, plain_axes, strips, whiskers
from kurve.figures.panels import Member, Panel, Style
from kurve.figures.style import COLOURS, HATCHES, percent
from kurve.figures.words import distinct, readable, width
from kurve.metrics.bootstrap import Estimate, mean_interval
from kurve.metrics.efficiency import delta_se
from kurve.metrics.passk import pass_at_k_of
from kurve.types import Table

_NAMES = 1.6  # inches of the names beside the bars, at most
_BAR = 0.2  # inches of a bar with its gap
_CURVES, _BARS = 4.2, 2.1  # inches across
_COLUMNS = ("benchmark", "model", "role", "compared_with", "quantity", "k", "value", "low", "high", "problems")


@dataclass(frozen=True, slots=True)
class Bar:
    """One number of one model."""

    model: str
    estimate: Estimate


def algorithm_bars(panels: Sequence[Panel], style: Style) -> Drawn:
    """Draw each panel's curves, and beside them pass@1, pass@k and delta SE of every model with its interval.

    k is that of `style`, or the largest that all models of the panel have samples for. Delta SE is base pass@k - tuned
    pass@1, its interval paired over problems.

    Args:
        panels: with curves measured; each with a base and a model compared with it.
        style: as asked for.

    Raises:
        MetricError: a panel has no model that is compared with a base, or more models than can be told apart.
    """
    for panel in panels:
        if not 2 <= len(panel.members) <= LOOKS or all(one.against is None for one in panel.members):
            raise MetricError(
                f"bars of algorithms need a base and 1 to {LOOKS - 1} models trained from it on "
                f"{panel.benchmark or 'each benchmark'}, got {len(panel.members)}"
            )
    names, shown = names_of(panels), max(len(panel.members) for panel in panels)
    label = min(_NAMES, max(width(readable(name), 8) for name in names) + 0.1)
    inches = _CURVES + 3 * _BARS + label
    height = max(2.6, 0.9 + shown * _BAR)
    caption = (
        f"curves with {style.level} bands for whole curves; bars with {style.level} intervals, delta SE (base pass@k - "
        "pass@1, lower is better) paired over problems; all for problems like these. Shaded or dotted: k > n/2"
    )
    title = style.title or "Algorithms under equal conditions"
    plan = [Row(height, "", names if panel is panels[-1] else ()) for panel in panels]
    drawn = strips(plan, inches=inches, title=title, caption=caption)
    rows: list[tuple[object, ...]] = []
    for strip, panel in zip(drawn.rows, panels, strict=True):
        rows += _draw_row(strip, panel, names, style=style, label=label)
    add_legend(drawn.legends[-1], [handle(place) for place in range(len(names))], names, inches=inches)
    return Drawn(drawn.figure, Table("algorithms", _COLUMNS, tuple(rows)))


def bars_of(panel: Panel, style: Style) -> dict[str, tuple[Bar, ...]]:
    """pass@1 and pass@k of all models, and delta SE of those that are compared with another."""
    k = min(style.k, panel.fewest)

    def at(one: Member, k: int) -> Bar:
        table = pass_at_k_of(one.tally, [k])
        return Bar(one.name, mean_interval(table[:, 0], confidence=style.confidence))

    gaps = [
        Bar(one.name, delta_se(panel.members[one.against].tally, one.tally, k, confidence=style.confidence))
        for one in panel.members
        if one.against is not None
    ]
    found = {"pass@1": tuple(at(one, 1) for one in panel.members)}
    if k > 1:
        found[f"pass@{k}"] = tuple(at(one, k) for one in panel.members)
    return found | {"delta SE": tuple(gaps)}


def _draw_row(
    strip: SubFigure, panel: Panel, names: Sequence[str], *, style: Style, label: float
) -> list[tuple[object, ...]]:
    groups = bars_of(panel, style)
    widths = [_CURVES, _BARS + label, *[_BARS] * (len(groups) - 1)]
    curves, *columns = strip.subplots(1, len(widths), width_ratios=widths)
    draw_curves(curves, panel, names, ticks=7)
    panel_title(curves, panel.benchmark, facts(panel), inches=_CURVES - 0.9)
    curves.set_xlabel("k (samples per problem)", fontsize=8.5)
    curves.set_ylabel("pass@k", fontsize=8.5)
    order = [one.name for one in panel.members]
    shown = distinct(order, 8, label - 0.1)
    for axes, (quantity, bars) in zip(columns, groups.items(), strict=True):
        _draw_bars(axes, bars, order=order, names=names)
        axes.set_title(quantity if quantity != "delta SE" else "delta SE (points)", fontsize=9, loc="left")
        axes.xaxis.set_major_formatter(FuncFormatter(_gap) if quantity == "delta SE" else FuncFormatter(percent))
        axes.set_yticks(range(len(order)), shown if axes is columns[0] else [""] * len(order))
        axes.tick_params(axis="y", length=0)
        for text in axes.get_yticklabels():
            text.set_parse_math(False)
    k = min(style.k, panel.fewest)
    base = {one.name: panel.members[one.against].name for one in panel.members if one.against is not None}
    role = {one.name: one.role for one in panel.members}
    return [
        (
            panel.benchmark, bar.model, role[bar.model], base.get(bar.model, ""), quantity,
            1 if quantity == "pass@1" else k, bar.estimate.value, bar.estimate.low, bar.estimate.high,
            panel.num_problems,
        )
        for quantity, bars in groups.items()
        for bar in bars
    ]  # fmt: skip


def _draw_bars(axes: Axes, bars: Sequence[Bar], *, order: Sequence[str], names: Sequence[str]) -> None:
    plain_axes(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=GRID, linewidth=0.6)
    for bar in bars:
        look = names.index(bar.model)
        axes.barh(
            order.index(bar.model), bar.estimate.value, 0.74, color=COLOURS[look % len(COLOURS)],
            hatch=HATCHES[look % len(HATCHES)], edgecolor="white", linewidth=0.4,
        )  # fmt: skip
    whiskers(axes, [order.index(bar.model) for bar in bars], [bar.estimate for bar in bars], along="x")
    low, high = min(0.0, *(bar.estimate.low for bar in bars)), max(0.01, *(bar.estimate.high for bar in bars))
    axes.set_xlim(low * 1.05, high * 1.05)
    axes.set_ylim(len(order) - 0.4, -0.6)  # the first on top
    axes.xaxis.set_major_locator(MaxNLocator(4))


def _gap(value: float, _position: int | None) -> str:
    return f"{100 * value:.3g}".replace("-", "\u2212")
