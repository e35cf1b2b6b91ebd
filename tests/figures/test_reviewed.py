from pathlib import Path

import numpy as np

from kurve.figures.files import save
from kurve.figures.reviewed import cot_figure
from kurve.types import Curve


def curve(name: str, height: float, n: int = 64) -> Curve:
    k = np.arange(1, n + 1)
    value, low, high = (np.asarray(height * share * (1 - 0.9**k), dtype=np.float64) for share in (0.8, 0.7, 0.9))
    return Curve(name, k, value, low, high, k > n / 2, 0.95)


def test_both_curves_and_the_bounds_are_named_and_model_names_are_not_read_as_mathematics(tmp_path: Path) -> None:
    bounds = curve("least", 0.4), curve("most", 0.7)
    title = "my_$model$_{x on <gsm8k>"
    figure = cot_figure(curve("plain", 0.9), curve("cot", 0.6), bounds, title=title, subtitle="a $b$")
    [axes] = figure.axes
    assert axes.get_title(loc="left") == title
    legend = axes.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 3
    assert [path.suffix for path in save(figure, tmp_path, "cot")] == [".png", ".svg"]


def test_a_single_k_is_drawn_without_bounds() -> None:
    [axes] = cot_figure(curve("plain", 0.9, 1), curve("cot", 0.6, 1), None, title="t", subtitle="s").axes
    assert len(axes.lines) == 2
