"""Histograms as small images with the same bins and the same axes in every run, to be looked at side by side."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from kurve.errors import MetricError
from kurve.figures.style import COLOURS, drawable, percent
from kurve.metrics.coverage import ACCURACY_BINS
from kurve.metrics.likelihood import EDGES
from kurve.types import Histogram

_SIZE, _DPI = (3.0, 3.0), 200  # inches; MLflow shows images as squares, 256 pixels wide or less
_PLACE = (0.21, 0.15, 0.76, 0.76)  # of the axes; a layout engine would move them by the words around them
_PERPLEXITIES = (1.01, 1.03, 1.1, 1.3, 2, 5, 20, 1000)
_SHARES = (0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.7, 1)


def accuracy_image(histogram: Histogram, *, title: str) -> Figure:
    """Share of problems, from 0 to 1, in the twelve bins of `metrics.coverage.accuracy_histogram`.

    Args:
        histogram: of problems by their share of correct samples.
        title: whose, cut to fit.

    Raises:
        MetricError: other bins, or nothing in them.
    """
    shares = _shares(histogram, ACCURACY_BINS)
    figure, axes = _frame(title, shares, left="share of problems")
    labels = {0: "0", 1: "≤.1", 3: "≤.3", 5: "≤.5", 7: "≤.7", 9: "≤.9", ACCURACY_BINS - 1: "1"}
    axes.set_xticks(list(labels), list(labels.values()))
    axes.set_xlabel("share of correct samples", fontsize=8)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_locator(FixedLocator(np.linspace(0, 1, 6).tolist()))
    return figure


def perplexity_image(histogram: Histogram, *, title: str, unit: str = "token") -> Figure:
    """Share of samples in the bins of `metrics.likelihood.EDGES`, which are even in the logarithm of nats a unit.

    The axis of shares goes from 0 to 1 by their square root, so that both a narrow and a wide distribution can be
    read; what lies beyond the last edge is in the last bin.

    Args:
        histogram: of samples by log-perplexity.
        title: whose, cut to fit.
        unit: what perplexity is of, token or byte.

    Raises:
        MetricError: other bins, or nothing in them.
    """
    shares = _shares(histogram, len(EDGES) - 1)
    figure, axes = _frame(title, shares, left="share of samples")
    # The first bin goes from 0, which has no logarithm; it is as wide as the others.
    places = np.interp(np.log(np.log(_PERPLEXITIES)), np.log(EDGES[1:]), np.arange(1, len(EDGES))) - 0.5
    axes.set_xticks(places.tolist(), [f"{one:g}" for one in _PERPLEXITIES])
    axes.set_xlabel(f"perplexity a {unit} (last bin: all beyond)", fontsize=8)
    axes.set_yscale("function", functions=(lambda share: np.sqrt(np.clip(share, 0, None)), np.square))
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_locator(FixedLocator(_SHARES))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    return figure


def _shares(histogram: Histogram, bins: int) -> NDArray[np.float64]:
    total = int(histogram.counts.sum())
    if histogram.counts.size != bins or total == 0:
        raise MetricError(
            f"the image of {histogram.name} takes {bins} bins with something in them, got {histogram.counts.size} "
            f"with {total}"
        )
    shares: NDArray[np.float64] = histogram.counts / total
    return shares


def _frame(title: str, shares: NDArray[np.float64], *, left: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes(_PLACE)
    axes.bar(np.arange(shares.size), shares, 0.92, color=COLOURS[0], linewidth=0)
    axes.set_xlim(-0.7, shares.size - 0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y", color="#DDDDDD", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7.5)
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.set_ylabel(left, fontsize=8)
    figure.text(0.03, 0.94, drawable(title), fontsize=7, fontweight="bold", parse_math=False)
    return figure, axes
