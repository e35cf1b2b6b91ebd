"""The pass@k figure: what it says, not every pixel of it."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kurve.errors import MetricError
from kurve.figures.curves import pass_at_k_figure
from kurve.figures.files import save
from kurve.figures.style import GREY, labels
from kurve.metrics.chance import chance_at_k
from kurve.metrics.passk import log_spaced
from kurve.types import Curve, Report, SamplingSpec, Tally

SPEC = SamplingSpec("tiny", "r", "", "toy", "b", "raw", "0", 0.6, 0.95, 0, 0.0, 64, (), "replay", "0")


def report(n: int, *, model: str = "tiny", benchmark: str = "toy", level: float = 0.3) -> Report:
    k = log_spaced(n)
    value: NDArray[np.float64] = 1 - (1 - level) ** (1 + np.log2(k))
    counts = np.full(5, n, dtype=np.int64)
    tally = Tally(tuple("abcde"), counts, counts // 2, np.zeros(5, dtype=np.int64))
    curve = Curve("pass_at_k", k, value, value * 0.8, np.minimum(1, value * 1.2), 2 * k > n, 0.95)
    return Report(benchmark, replace(SPEC, model=model), "v", tally, {}, (curve,))


@pytest.mark.parametrize("n", [1, 2, 3, 8, 1_000, 1_024, 100_000])
def test_ticks_are_few_powers_of_two_and_k_above_half_n_is_marked(n: int) -> None:
    (axes,) = pass_at_k_figure([report(n)]).axes
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert ticks[0] == "1"
    assert len(ticks) <= 13
    assert all(int(tick.replace(",", "")) & (int(tick.replace(",", "")) - 1) == 0 for tick in ticks[:-1])
    shaded = any("k > n/2" in text.get_text() for text in axes.texts)
    assert shaded == (n > 1)


def test_one_report_has_a_title_and_no_legend() -> None:
    (axes,) = pass_at_k_figure([report(8)]).axes
    assert axes.get_title(loc="left") == "tiny on toy"
    assert axes.get_legend() is None
    assert any("5 problems" in text.get_text() and "n = 8" in text.get_text() for text in axes.texts)


@pytest.mark.parametrize(
    ("pair", "names"),
    [
        ((report(8, model="a"), report(8, model="b")), ["a", "b"]),
        ((report(8, benchmark="x"), report(8, benchmark="y")), ["tiny, x", "tiny, y"]),
        ((report(8), report(8)), ["tiny, T = 0.6 (1)", "tiny, T = 0.6 (2)"]),
    ],
)
def test_a_legend_tells_reports_apart(pair: tuple[Report, Report], names: list[str]) -> None:
    legend = pass_at_k_figure(pair).axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == names


def test_curves_of_different_n_are_dotted_where_they_vary_highly() -> None:
    (axes,) = pass_at_k_figure([report(8), report(64, model="b")]).axes
    assert "dotted" in axes.get_xlabel()
    assert sum(line.get_linestyle() == ":" for line in axes.lines) == 2
    assert pass_at_k_figure([report(1), report(64, model="b")]).axes


def test_hostile_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reports = [report(8, model="_a$\\frac{$"), report(8, model="b" * 5_000, benchmark="$x_")]
        assert len(save(pass_at_k_figure(reports), tmp_path, "curve")) == 2


def test_names_that_look_alike_once_they_are_drawn_are_numbered() -> None:
    names = labels([report(8, model=name) for name in ("\u6a21", "\u578b")])
    assert names == ["\u25a1, T = 0.6 (1)", "\u25a1, T = 0.6 (2)"]


@pytest.mark.parametrize("name", ["a\udc80b", "\x00\x1b[31m", "\n", "模型", "_"])
def test_any_name_of_a_folder_is_drawn_in_titles_and_legends(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = report(8, model=name)
        for reports in ([one], [one, report(8, model=f"{name}!")]):
            assert len(save(pass_at_k_figure(reports), tmp_path, "curve")) == 2


def test_files_are_the_same_byte_for_byte_and_leave_nothing_else_behind(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in save(pass_at_k_figure([report(64)]), tmp_path, "a")]
    again = [path.read_bytes() for path in save(pass_at_k_figure([report(64)]), tmp_path, "b")]
    assert first == again
    assert first[0].startswith(b"\x89PNG")
    assert b"<svg" in first[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]


def test_no_report_and_a_report_without_a_curve_are_refused() -> None:
    with pytest.raises(MetricError, match="at least one"):
        pass_at_k_figure([])
    with pytest.raises(MetricError, match="pass_at_k"):
        pass_at_k_figure([replace(report(8), curves=())])


def test_chance_is_dotted_grey_once_a_benchmark_and_leaves_the_axis_as_it_was() -> None:
    plain = report(1024)
    k = plain.curves[0].k
    guess = chance_at_k(1000, k)
    curve = Curve("chance_pass_at_k", k, guess, guess, guess, np.zeros(k.size, dtype=bool), 0.95)
    guessed = replace(plain, curves=(*plain.curves, curve))
    (axes,) = pass_at_k_figure([guessed, replace(guessed, model="other")]).axes
    dotted = [line for line in axes.lines if line.get_linestyle() == ":" and line.get_color() == GREY]
    assert len(dotted) == 1
    assert np.asarray(dotted[0].get_ydata())[-1] == pytest.approx(0.641, abs=5e-4)
    assert [text.get_text() for text in axes.texts].count("guessing") == 1
    (without,) = pass_at_k_figure([plain, replace(plain, model="other")]).axes
    assert axes.get_ylim() == without.get_ylim()
    assert "guessing" not in [text.get_text() for text in without.texts]
