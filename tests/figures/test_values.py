"""What figures draw and write is what the metrics say."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.figures.accuracy_grid import accuracy_grid
from kurve.figures.bars import algorithm_bars, bars_of
from kurve.figures.coverage import coverage_grid
from kurve.figures.curve_grid import LOOKS, Words, curve_grid
from kurve.figures.drawn import csv_bytes
from kurve.figures.panels import Style
from kurve.figures.scatter import scatter_grid, stretched
from kurve.figures.steps import steps_figure
from kurve.metrics.bootstrap import mean_interval
from kurve.metrics.coverage import accuracy_histogram
from kurve.metrics.coverage_sets import coverage_sets
from kurve.metrics.efficiency import delta_se
from kurve.metrics.paired import difference_interval
from kurve.metrics.passk import pass_at_k
from kurve.types import Table
from tests.figures.panels import STYLE, family, measured, model, panels
from tests.figures.reading import legend_names, texts


def read(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_bytes(table).decode())))


def test_curves_and_paired_differences_are_drawn_and_written_as_measured() -> None:
    [panel] = found = measured(family(("base", "grpo", "rloo"), problems=12, n=16))
    made = curve_grid(found, STYLE, words=Words("pass@k"))
    above, below = made.figure.get_axes()
    for line, one in zip(above.lines, panel.members, strict=True):
        exact = pass_at_k(one.tally.num_samples, one.tally.num_correct)
        assert np.asarray(line.get_ydata()) == pytest.approx(exact, abs=1e-12)
    differences = [one.difference for one in panel.members if one.difference is not None]
    drawn = [line for line in below.lines if len(np.asarray(line.get_ydata())) == 16]
    for line, difference in zip(drawn, differences, strict=True):
        assert np.asarray(line.get_ydata()).tolist() == difference.delta.tolist()
    assert len(below.collections) >= len(differences)  # a band each
    assert legend_names(made.figure) == ["base", "grpo", "rloo"]
    rows = [row for row in read(made.data) if row["model"] == "rloo" and row["quantity"] == "difference"]
    assert {row["compared_with"] for row in rows} == {"base"}
    assert [float(row["low"]) for row in rows] == differences[1].low.tolist()
    assert [int(row["k"]) for row in rows] == list(range(1, 17))


def test_k_above_half_n_is_shaded_and_k_is_on_a_log2_axis() -> None:
    made = curve_grid(measured(family(("base", "tuned"), problems=5, n=64)), STYLE, words=Words("pass@k"))
    for axes in made.figure.get_axes():
        assert axes.get_xscale() == "log"
        [shade] = [patch for patch in axes.patches if patch.get_alpha() == 0.05]
        assert shade.get_path().get_extents(shade.get_patch_transform()).x0 == pytest.approx(32)
    assert any("k > n/2" in text for text in texts(made.figure))


def test_the_parts_beyond_half_n_are_dotted_where_models_differ_in_n() -> None:
    models = [model("base", n=64, role="base"), replace(model("tuned", n=16), role="tuned")]
    made = curve_grid(measured(models), STYLE, words=Words("pass@k"))
    dotted = [line for line in made.figure.get_axes()[0].lines if line.get_linestyle() == ":"]
    assert [float(np.asarray(line.get_xdata())[0]) for line in dotted] == [32, 8]


def test_differences_can_be_left_out() -> None:
    made = curve_grid(measured(family(("base", "tuned"), n=4)), Style(differences=False), words=Words("pass@k"))
    assert len(made.figure.get_axes()) == 1
    assert not any("paired" in text for text in texts(made.figure))


def test_more_curves_than_looks_are_refused() -> None:
    models = family([f"m{place}" for place in range(LOOKS + 1)], problems=2, n=2)
    with pytest.raises(MetricError, match="cannot be told apart"):
        curve_grid(measured(models), STYLE, words=Words("pass@k"))


def test_bars_are_pass_at_1_pass_at_k_and_a_paired_delta_se() -> None:
    [panel] = found = measured(family(("base", "grpo"), problems=12, n=16))
    bars = bars_of(panel, STYLE)
    assert list(bars) == ["pass@1", "pass@16", "delta SE"]
    base, tuned = panel.members
    assert bars["delta SE"][0].estimate == delta_se(base.tally, tuned.tally, 16)
    assert bars["pass@1"][1].estimate == mean_interval(tuned.tally.num_correct / tuned.tally.num_samples)
    made = algorithm_bars(found, STYLE)
    drawn = [[bar.get_width() for bar in axes.patches] for axes in made.figure.get_axes()[1:]]  # type: ignore[attr-defined]  # bars are rectangles
    assert drawn == [[bar.estimate.value for bar in group] for group in bars.values()]
    assert [row["quantity"] for row in read(made.data)] == ["pass@1", "pass@1", "pass@16", "pass@16", "delta SE"]
    with pytest.raises(MetricError, match="need a base"):
        algorithm_bars(measured(family(("alone",), n=4)), STYLE)


def test_accuracy_bars_are_the_shares_of_the_paper_s_bins() -> None:
    [panel] = found = panels(family(("base", "tuned"), problems=12, n=10))
    made = accuracy_grid(found, STYLE)
    [axes] = made.figure.get_axes()
    heights = np.array([bar.get_height() for bar in axes.patches]).reshape(2, 12)  # type: ignore[attr-defined]  # bars are rectangles
    for one, drawn in zip(panel.members, heights, strict=True):
        assert drawn * 12 == pytest.approx(accuracy_histogram(one.tally).counts)
    hatches = {bar.get_hatch() for bar in axes.patches}
    assert len(hatches) == 2  # told apart in grey print


def test_steps_start_at_the_base_and_change_against_it() -> None:
    base, *others = family(("base", "grpo@50", "grpo@100"), problems=12, n=16)
    models = [base, *(replace(one, step=50 * place, series="grpo") for place, one in enumerate(others, start=1))]
    made = steps_figure(panels(models), STYLE)
    rows = read(made.data)
    assert [(row["step"], row["k"]) for row in rows if row["quantity"] == "pass_at_k"] == [
        ("0", "1"), ("50", "1"), ("100", "1"), ("0", "16"), ("50", "16"), ("100", "16"),
    ]  # fmt: skip
    change = next(row for row in rows if row["quantity"] == "change" and row["step"] == "100")
    accuracy = [one.tally.num_correct / one.tally.num_samples for one in (base, models[2])]
    expected = difference_interval(accuracy[1] - accuracy[0])
    assert [float(change[key]) for key in ("value", "low", "high")] == [expected.value, expected.low, expected.high]
    assert legend_names(made.figure) == ["pass@1", "pass@16"]
    with pytest.raises(MetricError, match="steps=\\[0,150,300\\]"):
        steps_figure(panels([base, *others]), STYLE)


def test_a_scatter_shows_every_problem_once_and_says_what_changed() -> None:
    [panel] = found = panels(family(("base", "tuned"), problems=40, n=64), by="pair")
    made = scatter_grid(found, STYLE)
    [axes] = made.figure.get_axes()
    marks = np.concatenate([np.asarray(group.get_offsets()) for group in axes.collections[1:]])
    base, tuned = (one.tally.num_correct / one.tally.num_samples for one in panel.members)
    places = {(round(float(x), 9), round(float(y), 9)) for x, y in marks}
    assert places == {
        (round(float(x), 9), round(float(y), 9)) for x, y in zip(stretched(base), stretched(tuned), strict=True)
    }
    rows = read(made.data)
    assert [row["problem"] for row in rows] == list(panel.members[0].tally.problem_ids)
    easier = sum(row["change"] == "easier" for row in rows)
    assert any(f"{easier} easier" in text for text in texts(made.figure))


def test_coverage_ends_at_the_sets_and_lists_each_problem_s() -> None:
    [panel] = found = panels(family(("base", "tuned"), problems=20, n=8), by="pair")
    made = coverage_grid(found, STYLE)
    sets = coverage_sets(panel.members[0].tally, panel.members[1].tally)
    last = {row["set"]: float(row["share"]) for row in read(made.data) if row["k"] == "8"}
    assert last["base_only"] * 20 == pytest.approx(len(sets.base_only))
    assert last["both"] * 20 == pytest.approx(len(sets.both))
    [problems] = made.more
    assert [row["problem"] for row in read(problems) if row["set"] == "tuned_only"] == list(sets.tuned_only)
    with pytest.raises(MetricError, match="a base and one model"):
        coverage_grid(panels(family(("alone",), n=4)), STYLE)
