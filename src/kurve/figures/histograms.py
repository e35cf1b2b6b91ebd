"""Problems by their share of correct samples."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from kurve.errors import MetricError
from kurve.figures.style import COLOURS, add_legend, describe, empty_figure
from kurve.types import Histogram, Report


def accuracy_figure(reports: Sequence[Report]) -> Figure:
    """Draw the accuracy histograms of the reports side by side, as Yue et al. 2025 (arXiv:2504.13837), fig. 5.

    Never and always solved problems have bars of their own. Counts of problems, or shares when the numbers differ.

    Raises:
        MetricError: no reports, one without a histogram named accuracy, or bins that differ.
    """
    histograms = [_accuracy(report) for report in reports]
    if not histograms or any(not np.array_equal(h.edges, histograms[0].edges) for h in histograms):
        raise MetricError("accuracy histograms need at least one report and the same bins in all")
    figure, axes = empty_figure()
    totals = [int(histogram.counts.sum()) for histogram in histograms]
    as_share = len(set(totals)) > 1
    places = np.arange(histograms[0].counts.size)
    width = 0.8 / len(histograms)
    handles = []
    for number, (histogram, total) in enumerate(zip(histograms, totals, strict=True)):
        heights = histogram.counts / total if as_share else histogram.counts
        shift = (number - (len(histograms) - 1) / 2) * width
        colour = COLOURS[number % len(COLOURS)]
        bars = axes.bar(places + shift, heights, width, color=colour, edgecolor="white", linewidth=0.5)
        handles.append(bars.patches[0])
        if len(histograms) == 1:
            axes.bar_label(bars, labels=[f"{count:,}" if count else "" for count in histogram.counts], fontsize=8)
    axes.set_xticks(places, bin_labels(histograms[0].edges), fontsize=7.5)
    axes.set_xlabel("share of a problem's samples that is correct (pass@1)")
    if as_share:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylabel("share of problems")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("problems")
    describe(axes, reports)
    add_legend(axes, reports, handles, where="upper center")
    return figure


def bin_labels(edges: Iterable[float]) -> list[str]:
    """What each bin of an accuracy histogram holds, in per cent."""
    texts = [f"{100 * edge:g}" for edge in edges]
    return [f"{left} %" if left == right else f"{left}–{right}" for left, right in pairwise(texts)]


def _accuracy(report: Report) -> Histogram:
    for histogram in report.histograms:
        if histogram.name == "accuracy":
            return histogram
    raise MetricError(f"the report on {report.benchmark} holds no histogram named accuracy")
