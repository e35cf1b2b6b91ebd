"""Every figure, for names and numbers that nobody wishes for: nothing is cut, covered or read as mathematics."""

import hashlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from kurve.arrangement import Evaluated
from kurve.figures.accuracy_grid import accuracy_grid
from kurve.figures.bars import algorithm_bars
from kurve.figures.coverage import coverage_grid
from kurve.figures.curve_grid import Words, curve_grid
from kurve.figures.drawn import Drawn, csv_bytes
from kurve.figures.files import drawn
from kurve.figures.panels import Style
from kurve.figures.scatter import scatter_grid
from kurve.figures.steps import steps_figure
from tests.figures.panels import HOSTILE, STYLE, family, measured, model, panels
from tests.figures.reading import check_layout

DRAW: dict[str, Callable[[Sequence[Evaluated], Style], Drawn]] = {
    "curves": lambda models, style: curve_grid(measured(models), style, words=Words("pass@k")),
    "curves of pairs": lambda models, style: curve_grid(measured(models, by="pair"), style, words=Words("pass@k")),
    "accuracy": lambda models, style: accuracy_grid(panels(models, by="pair"), style),
    "algorithms": lambda models, style: algorithm_bars(measured(models), style),
    "scatter": lambda models, style: scatter_grid(panels(models, by="pair"), style),
    "coverage": lambda models, style: coverage_grid(panels(models, by="pair"), style),
    "steps": lambda models, style: steps_figure(panels(_with_steps(models)), style),
}
SIX = ("gsm8k", "math500", "minerva", "olympiad", "aime24", "amc23")


def _with_steps(models: Sequence[Evaluated]) -> list[Evaluated]:
    from dataclasses import replace

    return [
        replace(one, step=0 if one.role == "base" else 50 * place, series="base" if one.role == "base" else "grpo")
        for place, one in enumerate(models)
    ]


CASES = {
    "hostile names": family(HOSTILE[:4], ["bench _$\\mark$ " + "y" * 300]) + family(HOSTILE[4:], ["\n<i>"]),
    "one problem of one sample": family(("base", "tuned"), problems=1, n=1),
    "twelve models": family([f"Qwen2.5-Math-7B-Oat-Zero-{place}" for place in range(12)], problems=12, n=16),
    "six benchmarks": family(("Qwen2.5-7B", "Qwen2.5-7B-SimpleRL-Zoo"), SIX, problems=12, n=16),
    "many samples": family(("base", "tuned"), ("aime24", "amc23"), problems=3, n=100_000),
}


LIGHT = (
    *((kind, "hostile names") for kind in ("curves", "accuracy", "algorithms", "coverage")),
    *((kind, "one problem of one sample") for kind in ("scatter", "steps")),
    ("curves", "twelve models"), ("curves", "many samples"),
)  # fmt: skip  # the others are slow


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        pytest.param(kind, case, marks=() if (kind, case) in LIGHT else pytest.mark.slow)
        for kind in DRAW
        for case in CASES
    ],
)
def test_nothing_is_cut_or_covered_whatever_is_drawn(kind: str, case: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = DRAW[kind](CASES[case], Style(draws=100, title=HOSTILE[0] * 30 if "hostile" in case else ""))
        check_layout(made.figure)
    assert made.data.rows
    assert csv_bytes(made.data).count(b"\n") >= len(made.data.rows) + 1


def test_families_stand_below_one_another_with_a_column_for_each_benchmark() -> None:
    models = family(("7B", "7B-RL"), SIX[:3], problems=6, n=8) + family(("14B", "14B-RL"), SIX[1:3], problems=6, n=8)
    made = DRAW["curves"](models, STYLE)
    check_layout(made.figure)
    shown = [axes for axes in made.figure.get_axes() if axes.axison and axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in shown] == [*SIX[:3], *SIX[1:3]]
    left = {axes.get_title(loc="left"): axes.get_window_extent().x0 for axes in shown[:3]}
    for axes in shown[3:]:
        assert axes.get_window_extent().x0 == pytest.approx(left[axes.get_title(loc="left")], abs=70)  # pixels


PRINT = """
import hashlib
from tests.figures.test_layouts import KINDS, hostile_curves
from kurve.figures.files import drawn
print(*(hashlib.sha256(drawn(hostile_curves(), kind)).hexdigest() for kind in KINDS))
"""
KINDS = ("png", "svg", "pdf")


def hostile_curves() -> Figure:
    return DRAW["curves"](family(HOSTILE[:3], ("a", "b"), problems=3, n=4), Style(draws=100)).figure


@pytest.mark.slow
def test_drawn_again_in_another_process_every_format_has_the_same_bytes() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PRINT], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [hashlib.sha256(drawn(hostile_curves(), kind)).hexdigest() for kind in KINDS]


@pytest.mark.slow
@pytest.mark.parametrize("kind", DRAW)
def test_the_same_models_give_the_same_pdf_and_numbers(kind: str) -> None:
    models = family(("base", "tuned"), problems=6, n=8)
    one, other = (DRAW[kind](models, STYLE) for _ in range(2))
    assert drawn(one.figure, "pdf") == drawn(other.figure, "pdf")
    assert csv_bytes(one.data) == csv_bytes(other.data)


def test_ragged_samples_are_drawn_up_to_the_fewest_of_each_model() -> None:
    models = [model("base", n=64, role="base"), model("tuned", n=16, problems=30)]
    made = DRAW["curves"](models, STYLE)
    check_layout(made.figure)
    curves = [row for row in made.data.rows if row[4] == "pass_at_k"]
    assert {row[1]: row[5] for row in curves} == {"base": 64, "tuned": 16}  # the last k of each
