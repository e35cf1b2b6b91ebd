"""pass@k over log2 k of configurations that were run with several seeds: each seed, their mean, and its uncertainty."""

from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from kurve.figures.style import COLOURS, DASHES, GREY, drawable, empty_figure, log2_axis, shade_high_variance
from kurve.metrics.passk import Floats, pass_at_k_of
from kurve.metrics.seeds import LEAST_SEEDS
from kurve.seed_report import Measured, SeedReport

_ROOM = 0.02  # of the height, so that a curve at 0 or 100 % does not hide in the frame


def seeds_figure(report: SeedReport) -> Figure:
    """Draw each configuration: thin lines are its seeds, the thick one their mean, the band what another seed may give.

    The band holds at each k alone, for another seed and problems like these; with fewer than 3 seeds it is dotted at
    its edges and holds for these seeds only.
    """
    figure, axes = empty_figure()
    handles, names, highest = [], [], 0.05
    for one, colour, dash in zip(report.configurations, cycle(COLOURS), cycle(DASHES), strict=False):
        low, high = _band(one)
        if one.curve[0].both is not None:
            axes.fill_between(one.ks, low, high, color=colour, alpha=0.13, linewidth=0)
        else:
            axes.fill_between(one.ks, low, high, color=colour, alpha=0.06, linewidth=0.8, linestyle="dotted")
        for seed in one.seeds if len(one.seeds) > 1 else ():
            curve = pass_at_k_of(seed.tally, one.ks).mean(axis=0)
            axes.plot(one.ks, curve, color=colour, linewidth=0.6, alpha=0.6)
        mean = [over.value for over in one.curve]
        marker = "o" if one.ks.size <= 16 else ""
        handles += axes.plot(
            one.ks, mean, color=colour, linestyle=dash, linewidth=1.9, marker=marker, markersize=4, label="_"
        )
        names.append(drawable(f"{one.name} ({_count(one)})"))
        highest = max(highest, float(np.max(high)))
    top = min(1.0, highest)
    log2_axis(axes, int(report.configurations[0].ks[-1]))
    axes.set_ylim(-_ROOM * top, top * (1 + _ROOM))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None if top > 0.1 else 1))
    shade_high_variance(axes, _fewest(report))
    axes.set_xlabel("k (samples per problem)")
    axes.set_ylabel("pass@k")
    _caption(figure, report, handles, names)
    return figure


def _caption(figure: Figure, report: SeedReport, handles: list[Line2D], names: list[str]) -> None:
    [axes] = figure.axes
    level = f"{100 * report.confidence:g} %"
    few = any(one.curve[0].both is None for one in report.configurations)
    said = f"band: {level} at each k, another seed and problems like these"
    said += f";\ndotted: fewer than {LEAST_SEEDS} seeds, for these seeds only" if few else ""
    problems = f"{report.num_problems:,} problem{'s' if report.num_problems != 1 else ''}"
    title = f"pass@k over seeds on {report.benchmark}"
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=32 if few else 20, parse_math=False)
    axes.text(
        0, 1.02, f"{problems}   {said}", transform=axes.transAxes, fontsize=8.5, color=GREY, va="bottom",
        parse_math=False,
    )  # fmt: skip
    legend = axes.legend(handles, names, loc="best", fontsize=8.5, frameon=True, framealpha=0.9, edgecolor="none")
    for text in legend.get_texts():
        text.set_parse_math(False)


def _band(one: Measured) -> tuple[Floats, Floats]:
    """Of another seed and problems like these, where that is established; else of problems alone."""
    ends = [over.both or over.problems for over in one.curve]
    return np.array([one.low for one in ends]), np.array([one.high for one in ends])


def _count(one: Measured) -> str:
    count = len(one.seeds)
    return f"{count} seed{'s' if count != 1 else ''}"


def _fewest(report: SeedReport) -> int:
    return min(int(seed.tally.reach.min()) for one in report.configurations for seed in one.seeds)
