"""Each problem's accuracy under two models: which problems became easier, and which harder than sampling explains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kurve.errors import MetricError
from kurve.figures.curve_grid import facts
from kurve.figures.drawn import Drawn
from kurve.figures.layout import Size, add_legend, panel_grid, panel_title, plain_axes
from kurve.figures.panels import Member, Panel, Style
from kurve.figures.style import COLOURS, GREY, percent
from kurve.figures.words import fitted
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
_SIZE, _LABEL = Size((5.0, 4.7), (3.5, 3.7)), 2.3  # inches, also of an axis's label
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

    A problem is easier or harder if its change is outside what sampling gives in `style.confidence` of cases for one
    that did not change: each problem alone, so some of many lie outside by chance.

    Raises:
        MetricError: a panel that is no pair.
    """
    pairs = [scatter_of(panel, style) for panel in panels]
    caption = (
        f"a mark's area is the number of problems there; line: no change; grey: where {style.level} of problems lie "
        "that did not change. Axes stretched towards 0 and 100 % (arc sine of the root), where sampling scatters less"
    )
    title = style.title or "Accuracy of each problem"
    grid = panel_grid(len(panels), _SIZE, names=_WORDS, title=title, caption=caption)
    for panel, pair, cell in zip(panels, pairs, grid.cells, strict=True):
        [axes] = cell.axes
        _draw(axes, pair, style)
        panel_title(axes, panel.benchmark, _said(panel, pair), inches=cell.room)
        axes.set_xlabel(fitted(f"accuracy of {pair.base.name}", 8.5, _LABEL), fontsize=8.5, parse_math=False)
        axes.set_ylabel(fitted(f"accuracy of {pair.tuned.name}", 8.5, _LABEL), fontsize=8.5, parse_math=False)
    add_legend(grid.legend, [_handle(kind) for kind in range(3)], _WORDS, inches=grid.inches)
    rows = [row for panel, pair in zip(panels, pairs, strict=True) for row in _rows(panel, pair)]
    return Drawn(grid.figure, Table("scatter", _COLUMNS, tuple(rows)))


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


def _said(panel: Panel, pair: Scatter) -> str:
    found = [int((pair.kind == kind).sum()) for kind in (0, 1)]
    value, low, high = (f"{100 * one:+.1f}" for one in (pair.change.value, pair.change.low, pair.change.high))
    return f"{facts(panel)}; {found[0]:,} easier, {found[1]:,} harder; pass@1 {value} [{low}, {high}] points"


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
    counts = (base.tally.num_correct, base.tally.num_samples, tuned.tally.num_correct, tuned.tally.num_samples)
    return [
        (
            panel.benchmark,
            base.name,
            tuned.name,
            problem,
            *(column[row].item() for column in (*counts, pair.x, pair.y)),
            _WORDS[kind],
        )
        for row, (problem, kind) in enumerate(zip(base.tally.problem_ids, pair.kind.tolist(), strict=True))
    ]
