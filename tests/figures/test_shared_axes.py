"""Images of histograms: the same axes whatever is in them, so that they can be compared by eye."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kurve.errors import MetricError
from kurve.figures.files import save
from kurve.figures.shared_axes import accuracy_image, perplexity_image
from kurve.metrics.coverage import accuracy_histogram
from kurve.metrics.likelihood import EDGES, histogram
from kurve.types import Histogram, Tally


def accuracies(correct: list[int]) -> Histogram:
    n = np.full(len(correct), 8)
    return accuracy_histogram(Tally(tuple(map(str, correct)), n, np.array(correct), 0 * n))


def perplexities(nats: list[float]) -> Histogram:
    return Histogram("perplexity", EDGES, histogram(nats))


def frame(figure: Figure) -> list[object]:
    [axes] = figure.axes
    ticks = [(axis.get_ticklocs().tolist(), [one.get_text() for one in axis.get_ticklabels()])
             for axis in (axes.xaxis, axes.yaxis)]  # fmt: skip
    return [axes.get_xlim(), axes.get_ylim(), axes.get_position().bounds, axes.get_yscale(), ticks]


def test_axes_do_not_follow_what_is_in_the_bins() -> None:
    few, many = accuracies([0, 8]), accuracies([0] * 300 + [1, 2, 5])
    assert frame(accuracy_image(few, title="a")) == frame(accuracy_image(many, title="another model" * 9))
    narrow, wide = perplexities([0.4]), perplexities([0.0, 0.001, 0.5, 9.0, 500.0])
    assert frame(perplexity_image(narrow, title="a")) == frame(perplexity_image(wide, title="b" * 90))


def test_a_bar_is_the_share_of_its_bin_and_the_last_holds_all_beyond() -> None:
    [axes] = perplexity_image(perplexities([0.5, 0.5, 11.0, 1e9]), title="toy", unit="byte").axes
    heights = [one.get_height() for one in axes.patches if isinstance(one, Rectangle)]
    assert (len(heights), sum(heights), heights[-1]) == (61, 1.0, 0.5)
    assert "a byte" in axes.get_xlabel()
    # A perplexity of 2 is log 2 nats: its tick lies in the bin of such a sample.
    two = dict(zip([one.get_text() for one in axes.get_xticklabels()], axes.get_xticks(), strict=True))["2"]
    assert abs(two - int(np.argmax(histogram([np.log(2)])))) <= 0.5
    [axes] = accuracy_image(accuracies([0, 0, 0, 8]), title="toy").axes
    heights = [one.get_height() for one in axes.patches if isinstance(one, Rectangle)]
    assert (len(heights), heights[0], heights[-1]) == (12, 0.75, 0.25)


def test_other_bins_and_empty_ones_are_refused() -> None:
    with pytest.raises(MetricError, match="takes 61 bins"):
        perplexity_image(accuracies([1]), title="toy")
    with pytest.raises(MetricError, match="with 0"):
        accuracy_image(Histogram("accuracy", accuracies([1]).edges, np.zeros(12, dtype=np.int64)), title="toy")


@pytest.mark.parametrize("title", ["", "_hidden", "$\\frac{", "x" * 300, "<b>"])
def test_any_title_can_be_drawn_and_the_same_histogram_gives_the_same_bytes(title: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = [
            save(accuracy_image(accuracies([1, 2]), title=title), tmp_path / name, "accuracy", kinds=("png",))[0]
            for name in ("one", "two")
        ]
    assert files[0].read_bytes() == files[1].read_bytes()
