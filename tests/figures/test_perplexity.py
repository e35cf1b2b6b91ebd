"""The figure of perplexities: what it says, not every pixel of it."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle, StepPatch

from kurve.errors import MetricError
from kurve.figures.files import save
from kurve.figures.perplexity import Shown, perplexity_figure


def test_all_share_their_bins_and_have_a_box_in_the_order_of_the_names() -> None:
    rng = np.random.default_rng(0)
    shown = [
        Shown(name, rng.gamma(4, size=500) * scale) for name, scale in (("base", 0.1), ("grpo", 0.05), ("gt", 0.2))
    ]
    above, below = perplexity_figure(shown, title="toy", unit="byte").axes
    shares = [one.get_data() for one in above.patches if isinstance(one, StepPatch) and not one.get_fill()]
    assert len(shares) == 3
    assert all(np.array_equal(edges, shares[0][1]) for _, edges, _ in shares)
    assert [values.sum() for values, _, _ in shares] == pytest.approx([1.0] * 3)
    rows = [label.get_text().split("\n") for label in below.get_yticklabels()]
    assert rows == [["gt", "500 samples"], ["grpo", "500 samples"], ["base", "500 samples"]]
    boxes = [one for one in below.patches if isinstance(one, Rectangle)]
    for one, box in zip(shown, boxes, strict=True):
        quartiles = np.quantile(one.log_perplexities, [0.25, 0.75])
        assert [box.get_x(), box.get_x() + box.get_width()] == pytest.approx(quartiles)
    assert "a byte" in below.get_xlabel()


@pytest.mark.parametrize("scale", [0.0, 1e-6, 0.3, 5.0, 1e4])
def test_any_perplexities_and_hostile_names_can_be_drawn(scale: float, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(50) * scale
    shown = [Shown(name, values) for name in ("_hidden", "$\\frac{", "x" * 300, "<b>")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = perplexity_figure(shown, title="$a_{")
        save(figure, tmp_path, "perplexity")
    ticks = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    assert 1 <= len(ticks) <= 13
    assert ticks[0] == "1"


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(MetricError, match="at least one"):
        perplexity_figure([], title="x")
    with pytest.raises(MetricError, match="a sample in each"):
        perplexity_figure([Shown("base", np.array([]))], title="x")
