"""The figure of a comparison: what it says, not every pixel of it."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from kurve.comparison import compare, pass_at_k_curve
from kurve.errors import MetricError
from kurve.figures.comparison import Compared, comparison_figure
from kurve.figures.files import save
from kurve.types import Tally


def tally(n: int, c: list[int]) -> Tally:
    size = len(c)
    return Tally(tuple(map(str, range(size))), np.full(size, n), np.array(c), np.zeros(size, dtype=np.int64))


def models(n: int, *counts: list[int], names: tuple[str, ...] = ("base", "tuned", "teacher")) -> list[Compared]:
    base, *others = (tally(n, c) for c in counts)
    rng = np.random.default_rng(0)
    shown = [Compared(names[0], pass_at_k_curve(base, rng), None)]
    for name, other in zip(names[1:], others, strict=False):
        shown.append(Compared(name, pass_at_k_curve(other, rng), compare(base, other, rng=rng).difference))
    return shown


def test_curves_are_above_and_differences_to_the_base_below() -> None:
    shown = models(16, [1, 2, 0, 4], [3, 5, 0, 0], [16, 16, 1, 9])
    above, below = comparison_figure(shown, title="toy").axes
    assert [np.asarray(line.get_ydata()).tolist() for line in above.lines] == [m.curve.value.tolist() for m in shown]
    differences = [np.asarray(line.get_ydata()) for line in below.lines if len(np.asarray(line.get_ydata())) == 16]
    for line, model in zip(differences, shown[1:], strict=True):
        assert model.difference is not None
        assert line.tolist() == model.difference.delta.tolist()
    legend = above.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["base", "tuned", "teacher"]
    assert above.get_title(loc="left") == "toy"
    assert any("4 problems   n = 16   95 % bands" in text.get_text() for text in above.texts)


def test_bands_lie_within_the_panels_and_k_above_half_n_is_shaded() -> None:
    shown = models(64, [0] * 9 + [64], [64] * 9 + [0])
    figure = comparison_figure(shown, title="extremes")
    for axes in figure.axes:
        low, high = axes.get_ylim()
        for band in axes.collections:
            edges = band.get_datalim(axes.transData).intervaly
            assert low < edges[0] <= edges[1] < high
    assert any("k > n/2" in text.get_text() for text in figure.axes[0].texts)
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["1", "2", "4", "8", "16", "32", "64"]


@pytest.mark.parametrize("n", [1, 2, 3, 1_024])
def test_any_number_of_samples_and_hostile_names_can_be_drawn(n: int, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = models(n, [0, 1], [1, 0], names=("_a$\\frac{$", "b" * 500))
        assert len(save(comparison_figure(shown, title="$x_"), tmp_path, "comparison")) == 2


def test_a_figure_without_a_pair_is_refused() -> None:
    for shown in ([], models(4, [1, 2])):
        with pytest.raises(MetricError, match="base"):
            comparison_figure(shown, title="nothing")
