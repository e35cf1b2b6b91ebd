"""Each problem's accuracy under two models: which problems became easier, and which harder than sampling explains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kurve.errors import MetricError
from kurve.figures.curve_grid import facts
from kurve.figures.drawn import Drawn
from kurve.figures.layout import Row, add_legend, columns_for, panel_title, plain_axes, strips
from kurve.figures.panels import Member, Panel, Style
from kurve.figures.style import COLOURS, GREY, percent, points
from kurve.figures.words import fitted, readable
from kurve.metrics.accuracy_noise import same_accuracy_limits
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.paired import difference_interval
from kurve.metrics.passk import Floats, Ints
from kurve.types import Table

_COLUMNS = (
    "benchmark", "base", "tuned", "problem", "base_correct", "base_samples", "tuned_correct", "tuned_samples",
    "base_accuracy", "tuned_accuracy", "change",
)  # fmt: skip
_WORDS = ("easier", "harder", "within sampling")
_MARKS = (("^", COLOURS[0]), ("v", COLOURS[1]), ("o", "#888888"))
_AREA, _SMALLEST, _LARGEST = 14.0, 4.0, 500.0  # square points: of one problem, its least, and of the largest mark
_ROOM = 0.05
_TICKS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class Scatter:
    """Problems of two models that are compared."""

    base: Member
    tuned: Member
    x: Floats  # the base's accuracy, [P]
    y: Floats  # the tuned model's, [P]
    kind: Ints  # 0 easier, 1 harder, 2 within sampling, [P]
    change: Estimate  # of the mean, paired


def scatter_grid(panels: Sequence[Panel], style: Style) -> Drawn:
    """Draw a panel for each pair; a mark's area is the number of problems at its place.

    A problem is easier or harder if its change is outside what sampling gives in `style.confidence` of cases for a problem
    that did not change: each problem alone, so some of many lie outside by chance.

    Raises:
        MetricError: a panel that is no pair.
    """
    pairs = [scatter_of(panel, style) for panel in panels]
    across = columns_for(len(panels))
    side = 4.6 if len(panels) == 1 else 3.5
    inches, deep = max(5.0, side * across), -(-len(panels) // across)
    names = [*_WORDS[:2], f"{_WORDS[2]} ({style.level} of problems that did not change)"]
    caption = (
        "each mark is problems, its area their number; the line is no change, the grey area what sampling alone does"
    )
    title = readable(style.title or "Accuracy of each problem")
    drawn = strips([Row((side + 0.15) * deep, "", _WORDS)], inches=inches, title=title, caption=caption)
    grid = drawn.rows[0].subplots(deep, across, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        _draw(axes, pairs[place], style)
        name = panels[place].benchmark
        found = [int((pairs[place].kind == kind).sum()) for kind in (0, 1)]
        change = pairs[place].change
        said = (
            f"{facts(panels[place])}; {found[0]:,} easier, {found[1]:,} harder; "
            f"{points(change.value)} [{points(change.low)}, {points(change.high)}] points"
        )
        panel_title(axes, name, said, inches=inches / across - 0.8)
        axes.set_xlabel(
            fitted(f"accuracy of {pairs[place].base.name}", 8.5, side - 1.0), fontsize=8.5, parse_math=False
        )
        axes.set_ylabel(
            fitted(f"accuracy of {pairs[place].tuned.name}", 8.5, side - 1.2), fontsize=8.5, parse_math=False
        )
    add_legend(drawn.legends[0], [_handle(kind) for kind in range(3)], _WORDS, inches=inches)
    rows = [row for panel, pair in zip(panels, pairs, strict=True) for row in _rows(panel, pair)]
    return Drawn(drawn.figure, Table("scatter", _COLUMNS, tuple(rows)))


def scatter_of(panel: Panel, style: Style) -> Scatter:
    """The accuracies of a pair, and which of them changed beyond sampling.

    Raises:
        MetricError: the panel is no pair.
    """
    if len(panel.members) != 2 or panel.members[1].against != 0:
        raise MetricError("a scatter needs a base and one model compared with it in each panel")
    base, tuned = panel.members
    x, y = (one.tally.num_correct / one.tally.num_samples for one in (base, tuned))
    low, high = same_accuracy_limits(x, base.tally.num_samples, tuned.tally.num_samples, confidence=style.confidence)
    kind = np.where(y > high, 0, np.where(y < low, 1, 2)).astype(np.int64)
    return Scatter(base, tuned, x, y, kind, difference_interval(y - x, confidence=style.confidence))


def stretched(accuracy: Floats) -> Floats:
    """Where an accuracy is drawn, 0..1: by the arc sine of its root, a step of which is equally sure everywhere."""
    place: Floats = np.arcsin(np.sqrt(accuracy)) * 2 / np.pi
    return place


def _draw(axes: Axes, pair: Scatter, style: Style) -> None:
    line = np.sin(np.linspace(0, np.pi / 2, 201)) ** 2
    n, m = (int(one.tally.num_samples.min()) for one in (pair.base, pair.tuned))
    low, high = same_accuracy_limits(line, n, m, confidence=style.confidence)
    axes.fill_between(
        stretched(line), stretched(low), stretched(high), color="#000000", alpha=0.07, linewidth=0, zorder=0
    )
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, zorder=1)
    groups = [_places(pair, kind) for kind in range(len(_MARKS))]
    most = max(int(counts.max(initial=1)) for _, counts in groups)
    area = min(_AREA, max(_LARGEST / most, _SMALLEST))
    for kind, ((marker, colour), (places, counts)) in enumerate(zip(_MARKS, groups, strict=True)):
        axes.scatter(
            stretched(places[:, 0]), stretched(places[:, 1]), s=area * counts, marker=marker, color=colour, alpha=0.6,
            linewidths=0.3, edgecolors="white", zorder=2 + (kind != 2),
        )  # fmt: skip
    plain_axes(axes)
    axes.set(xlim=(-_ROOM, 1 + _ROOM), ylim=(-_ROOM, 1 + _ROOM), aspect="equal")
    ticks, names = stretched(np.array(_TICKS)), [percent(tick) for tick in _TICKS]
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)


def _places(pair: Scatter, kind: int) -> tuple[Floats, Ints]:
    """Where problems of a kind lie, and how many at each place."""
    rows = pair.kind == kind
    places, counts = np.unique(np.stack([pair.x[rows], pair.y[rows]], axis=1), axis=0, return_counts=True)
    return places, counts.astype(np.int64)


def _handle(kind: int) -> Line2D:
    marker, colour = _MARKS[kind]
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5)


def _rows(panel: Panel, pair: Scatter) -> list[tuple[object, ...]]:
    base, tuned = pair.base, pair.tuned
    columns = (
        base.tally.num_correct, base.tally.num_samples, tuned.tally.num_correct, tuned.tally.num_samples, pair.x, pair.y,
    )  # fmt: skip
    return [
        (panel.benchmark, base.name, tuned.name, problem, *(column[row].item() for column in columns), _WORDS[kind])
        for row, (problem, kind) in enumerate(zip(base.tally.problem_ids, pair.kind.tolist(), strict=True))
    ]
