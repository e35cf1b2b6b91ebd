"""Who solves a problem within k samples: both models, one of them, or neither.

At k = n the sets of tables 4 and 5 of Yue et al. 2025 (arXiv:2504.13837).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kurve.errors import MetricError
from kurve.figures.curve_grid import facts
from kurve.figures.drawn import Drawn
from kurve.figures.layout import Size, add_legend, panel_grid, panel_title, plain_axes
from kurve.figures.panels import Panel, Style
from kurve.figures.style import COLOURS, log2_axis, percent, shade_high_variance
from kurve.metrics.coverage_curves import Band, CoverageCurves, coverage_over_k
from kurve.metrics.coverage_sets import CoverageSets, coverage_sets
from kurve.metrics.passk import log_spaced
from kurve.types import Table

_COLUMNS = ("benchmark", "base", "tuned", "set", "k", "share", "low", "high", "problems")
_SIZE = Size((7.0, 4.6), (3.5, 4.2), (1.4, 1.0))
_SET_COLUMNS = ("benchmark", "base", "tuned", "problem", "set")
_SETS = ("solved by both", "base only", "tuned only", "neither", "chance: base against itself")
_FILLS = (("#BBBBBB", ""), (COLOURS[1], "////"), (COLOURS[0], "...."), ("#F2F2F2", ""))


@dataclass(frozen=True, slots=True)
class Covered:
    """One pair: expected sets over k, and the very sets at n."""

    base: str
    tuned: str
    curves: CoverageCurves
    sets: CoverageSets


def coverage_grid(panels: Sequence[Panel], style: Style) -> Drawn:
    """Draw for each pair the shares of the four sets over k, and below the two that differ, each with its band.

    The dotted line is what two runs of the base itself differ by, known for k up to n/2.

    Raises:
        MetricError: a panel that is no pair.
    """
    pairs = [covered(panel, style) for panel in panels]
    caption = (
        f"expected share of problems solved within k samples of each model; {style.level} bands for whole curves, "
        "problems like these. Shaded: k > n/2, high variance"
    )
    title = style.title or "Problems solved by both, one or neither"
    grid = panel_grid(len(panels), _SIZE, names=_SETS, title=title, caption=caption)
    for panel, pair, cell in zip(panels, pairs, grid.cells, strict=True):
        above, below = cell.axes
        _draw(above, below, panel, pair.curves, ticks=max(2, int(cell.room / 0.5)))
        name = f"{pair.tuned} against {pair.base}"
        name = f"{panel.benchmark}: {name}" if panel.benchmark else name
        panel_title(above, name, f"{facts(panel)}; {_at_n(pair.sets)}", inches=cell.room)
        if cell.left:
            above.set_ylabel("share of problems", fontsize=8.5)
            below.set_ylabel("solved by one only", fontsize=8.5)
        if cell.bottom:
            below.set_xlabel("k (samples per problem)", fontsize=8.5)
    add_legend(grid.legend, _handles(), _SETS, inches=grid.inches)
    rows = [row for panel, pair in zip(panels, pairs, strict=True) for row in _rows(panel, pair)]
    sets = [row for panel, pair in zip(panels, pairs, strict=True) for row in _set_rows(panel, pair)]
    more = (Table("problems", _SET_COLUMNS, tuple(sets)),)
    return Drawn(grid.figure, Table("coverage", _COLUMNS, tuple(rows)), more)


def covered(panel: Panel, style: Style) -> Covered:
    """The sets of a pair.

    Raises:
        MetricError: the panel is no pair.
    """
    if len(panel.members) != 2 or panel.members[1].against != 0:
        raise MetricError("coverage sets need a base and one model compared with it in each panel")
    base, tuned = panel.members
    curves = coverage_over_k(
        base.tally,
        tuned.tally,
        log_spaced(panel.fewest),
        style.rng(),
        confidence=style.confidence,
        draws=style.draws,
    )
    return Covered(base.name, tuned.name, curves, coverage_sets(base.tally, tuned.tally))


def _draw(above: Axes, below: Axes, panel: Panel, found: CoverageCurves, *, ticks: int) -> None:
    shares = [found.both, found.base_only.value, found.tuned_only.value, found.neither]
    edges = np.vstack([np.zeros(found.k.size), np.cumsum(shares, axis=0)])
    k = found.k if found.k.size > 1 else np.array([0.9, 1.1])  # a single k has no width to fill
    for (colour, hatch), low, high in zip(_FILLS, edges[:-1], edges[1:], strict=True):
        low, high = (np.broadcast_to(edge, k.shape) for edge in (low, high))
        above.fill_between(k, low, high, facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0.0)
    for band, place in ((found.base_only, 1), (found.tuned_only, 2)):
        _line(below, found, band, place)
    below.plot(found.chance_k, found.chance, color="#000000", linestyle="dotted", linewidth=1.4)
    for axes in (above, below):
        plain_axes(axes)
        log2_axis(axes, int(found.k[-1]), ticks=ticks)
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
    above.set_ylim(0, 1)
    top = max(0.01, float(found.base_only.high.max()), float(found.tuned_only.high.max()))
    below.set_ylim(-0.03 * top, 1.03 * top)
    below.yaxis.set_major_locator(MaxNLocator(4))
    shade_high_variance(below, panel.fewest, named=False)


def _line(axes: Axes, found: CoverageCurves, band: Band, place: int) -> None:
    colour, dash = _FILLS[place][0], "dashed" if place == 1 else "solid"
    if found.k.size == 1:
        axes.vlines(found.k, band.low, band.high, color=colour, alpha=0.4, linewidth=3)
    axes.fill_between(found.k, band.low, band.high, color=colour, alpha=0.16, linewidth=0)
    marks = np.flatnonzero((found.k & (found.k - 1)) == 0).tolist()
    marker = "s" if place == 1 else "o"
    axes.plot(
        found.k, band.value, color=colour, linestyle=dash, linewidth=1.6, marker=marker, markersize=3.6, markevery=marks
    )


def _handles() -> list[Artist]:
    fills: list[Artist] = [Patch(facecolor=colour, hatch=hatch, edgecolor="white") for colour, hatch in _FILLS]
    return [*fills, Line2D([], [], color="#000000", linestyle="dotted", linewidth=1.4)]


def _at_n(sets: CoverageSets) -> str:
    only = f"{len(sets.base_only):,} base only, {len(sets.tuned_only):,} tuned only"
    return f"at n: {only}, McNemar p = {sets.p_value:.2g}"


def _rows(panel: Panel, pair: Covered) -> list[tuple[object, ...]]:
    found, count = pair.curves, panel.num_problems
    about = (panel.benchmark, pair.base, pair.tuned)
    rows: list[tuple[object, ...]] = []
    plain = (
        ("both", found.k, found.both),
        ("neither", found.k, found.neither),
        ("chance", found.chance_k, found.chance),
    )
    for name, ks, shares in plain:
        points = zip(ks.tolist(), shares.tolist(), strict=True)
        rows += [(*about, name, k, share, None, None, count) for k, share in points]
    for name, band in (("base_only", found.base_only), ("tuned_only", found.tuned_only)):
        values = zip(found.k.tolist(), band.value.tolist(), band.low.tolist(), band.high.tolist(), strict=True)
        rows += [(*about, name, *one, count) for one in values]
    return rows


def _set_rows(panel: Panel, pair: Covered) -> list[tuple[object, ...]]:
    """Each problem's set at n."""
    named = {"both": pair.sets.both, "base_only": pair.sets.base_only, "tuned_only": pair.sets.tuned_only}
    found = {problem: name for name, ids in named.items() for problem in ids}
    ids = panel.members[0].tally.problem_ids
    return [(panel.benchmark, pair.base, pair.tuned, problem, found.get(problem, "neither")) for problem in ids]
