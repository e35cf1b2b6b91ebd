"""What all figures share: colours, captions and the bare figure they are drawn on."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from kurve.figures.words import readable
from kurve.types import Report

# Okabe and Ito's colours, told apart by colour-blind readers; the dashes serve a grey print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dashed", "dashdot")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # 7 and 3 have no common divisor: 21 looks that differ without colour
HATCHES = ("", "////", "....", "xxxx", "----", "++++", "oooo")
GREY = "#666666"
_MOST_TICKS = 11

Where: TypeAlias = Literal["lower right", "upper center"]


def empty_figure() -> tuple[Figure, Axes]:
    """A figure that belongs to no window and no global state, with one pair of axes, 7 by 4.3 inches."""
    figure = Figure(figsize=(7.0, 4.3), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def log2_axis(axes: Axes, largest: int, *, ticks: int = _MOST_TICKS) -> None:
    """k from 1 to `largest` along x, in powers of two, of which about `ticks` are written."""
    octaves = max(1.0, np.log2(largest))
    axes.set_xscale("log", base=2)
    axes.set_xlim(2 ** (-0.02 * octaves), largest * 2 ** (0.02 * octaves))
    axes.xaxis.set_major_locator(FixedLocator(_ticks(largest, ticks)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{round(k):,}"))


def shade_high_variance(axes: Axes, n: int, *, named: bool = True) -> None:
    """Shade k > n/2, where few samples decide; nothing for a single sample."""
    if n < 2:
        return
    axes.axvspan(n / 2, axes.get_xlim()[1], color="#000000", alpha=0.05, linewidth=0, zorder=0)
    if named:
        axes.text(
            n / np.sqrt(2),
            0.03,
            "k > n/2:\nhigh\nvariance",
            transform=axes.get_xaxis_transform(),
            fontsize=7.5,
            color=GREY,
            ha="center",
            va="bottom",
        )


def percent(value: float, _position: int | None = None) -> str:
    """A fraction in per cent, with as few digits as tell it."""
    return f"{100 * value:.3g}%".replace("-", "\u2212")


def points(value: float, _position: int | None = None) -> str:
    """A difference of fractions as signed percentage points."""
    return "0" if abs(value) < 1e-9 else f"{100 * value:+.3g}".replace("-", "\u2212")


def describe(axes: Axes, reports: Sequence[Report], *, extra: str = "") -> None:
    """Title and the line below it: what was measured, on how much."""
    axes.set_title(_title(reports), loc="left", fontsize=11, fontweight="bold", pad=20, parse_math=False)
    axes.text(
        0,
        1.02,
        _subtitle(reports, extra),
        transform=axes.transAxes,
        fontsize=8.5,
        color=GREY,
        va="bottom",
        parse_math=False,
    )


def labels(reports: Sequence[Report]) -> list[str]:
    """A name for each report, as short as tells them apart."""
    names = [readable(report.label) for report in reports]  # names that look alike are told apart below
    if len({report.benchmark for report in reports}) > 1:
        names = [f"{name}, {report.benchmark}" for name, report in zip(names, reports, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name}, {_temperature(report)}" for name, report in zip(names, reports, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, start=1)]
    return [drawable(name) for name in names]


def add_legend(axes: Axes, reports: Sequence[Report], handles: Sequence[Artist], *, where: Where) -> None:
    """Name the reports, if there are several."""
    if len(reports) < 2:
        return
    names = labels(reports)
    legend = axes.legend(handles, names, loc=where, fontsize=9, frameon=True, framealpha=0.9, edgecolor="none")
    for text in legend.get_texts():
        text.set_parse_math(False)


def drawable(name: str) -> str:
    """The name as it may be drawn, 48 characters at most."""
    return _fitted(name, 48)


def _title(reports: Sequence[Report]) -> str:
    benchmarks = list(dict.fromkeys(report.benchmark for report in reports))
    models = list(dict.fromkeys(report.label for report in reports))
    if len(models) == 1:
        return f"{_fitted(models[0], 50)} on {_fitted(', '.join(benchmarks), 30)}"
    return f"{len(models)} models on {_fitted(', '.join(benchmarks), 60)}"


def _subtitle(reports: Sequence[Report], extra: str) -> str:
    parts = (
        _same([_problems(len(report.tally.problem_ids)) for report in reports]),
        _same([f"n = {int(report.tally.reach.min()):,}" for report in reports]),
        _same([_temperature(report) for report in reports]),
        extra,
    )
    return "   ".join(part for part in parts if part)


def _temperature(report: Report) -> str:
    temperature = report.spec.temperature
    return "T unknown" if temperature is None else f"T = {temperature:g}"


def _problems(count: int) -> str:
    return f"{count:,} problem{'s' if count != 1 else ''}"


def _same(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else ""


def _fitted(name: str, limit: int) -> str:
    text = readable(name)
    return text if len(text) <= limit else f"{text[: limit // 2 - 1]}…{text[-(limit // 2) :]}"


def _ticks(largest: int, most: int) -> list[int]:
    """Powers of two, every second or third if there are many, and the largest k where it has room."""
    octaves = largest.bit_length() - 1
    step = octaves // most + 1
    ticks = [2**i for i in range(0, octaves + 1, step)]
    if np.log2(largest / ticks[-1]) > 0.6 * step:
        ticks.append(largest)
    return ticks
