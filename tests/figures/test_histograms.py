"""The accuracy histogram as a figure."""

from dataclasses import replace

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.figures.histograms import accuracy_figure
from kurve.metrics.coverage import accuracy_histogram
from kurve.types import Histogram, Report, Tally
from tests.figures.test_curves import report


def with_counts(correct: list[int], model: str = "tiny") -> Report:
    counts = np.array(correct)
    ids = tuple(str(i) for i in range(counts.size))
    tally = Tally(ids, np.full(counts.size, 10), counts, np.zeros_like(counts))
    return replace(report(10, model=model), tally=tally, histograms=(accuracy_histogram(tally),))


def test_never_and_always_solved_problems_have_bars_of_their_own() -> None:
    (axes,) = accuracy_figure([with_counts([0, 0, 10, 1, 5])]).axes
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert (names[0], names[1], names[-1]) == ("0 %", "0–10", "100 %")
    heights = [bar.get_height() for bar in axes.patches]  # type: ignore[attr-defined]  # bars are rectangles
    assert heights == [2, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]


def test_reports_with_different_numbers_of_problems_are_compared_in_shares() -> None:
    (axes,) = accuracy_figure([with_counts([0, 10]), with_counts([0, 0, 0, 10], "b")]).axes
    assert axes.get_ylabel() == "share of problems"
    assert max(bar.get_height() for bar in axes.patches) == 0.75  # type: ignore[attr-defined]  # bars are rectangles


def test_missing_or_different_bins_are_refused() -> None:
    other = replace(with_counts([0]), histograms=(Histogram("accuracy", np.array([0.0, 1.0]), np.array([1])),))
    for reports in ([], [report(8)], [with_counts([0]), other]):
        with pytest.raises(MetricError):
            accuracy_figure(reports)
