"""Which model is compared with which, in which panel."""

from dataclasses import replace

import pytest

from kurve.arrangement import against_the_first_tuned, arrange, with_curves
from kurve.errors import DataError
from kurve.figures.panels import Panel
from tests.figures.panels import STYLE, family, model, tally


def pairs(panel: Panel) -> list[tuple[str, str | None]]:
    return [(one.name, None if one.against is None else panel.members[one.against].name) for one in panel.members]


def test_the_first_model_of_a_benchmark_is_its_base_if_nothing_says_which_is() -> None:
    models = [model(name, benchmark=bench) for bench in ("a", "b") for name in ("one", "two", "three")]
    found = arrange(models).panels
    assert [panel.benchmark for panel in found] == ["a", "b"]
    assert pairs(found[0]) == [("one", None), ("two", "one"), ("three", "one")]


def test_a_run_that_names_its_base_is_compared_with_it_whatever_the_order() -> None:
    models = [
        model("tuned-14", base_run_id="r2"), model("other", run_id="r1"), model("big", run_id="r2"),
        model("tuned-7", base_run_id="r1"),
    ]  # fmt: skip
    found = arrange(models).panels
    assert [pairs(panel) for panel in found] == [
        [("other", None), ("tuned-7", "other")],
        [("big", None), ("tuned-14", "big")],
    ]


def test_of_several_bases_the_one_whose_name_a_model_begins_with_is_taken_else_the_last_before_it() -> None:
    names = ("Qwen-7B", "Qwen-7B-Math", "Qwen-7B-Math-RL", "Qwen-7B-RL", "Oat-Zero")
    models = [model(name, role="base" if place < 2 else "") for place, name in enumerate(names)]
    found = arrange(models).panels
    assert pairs(found[0]) == [("Qwen-7B", None), ("Qwen-7B-RL", "Qwen-7B")]
    assert pairs(found[1])[1:] == [("Qwen-7B-Math-RL", "Qwen-7B-Math"), ("Oat-Zero", "Qwen-7B-Math")]


def test_evaluations_of_one_base_share_a_panel_and_a_model_meets_the_one_at_its_temperature() -> None:
    models = [
        model(name, temperature=t, role="base" if name == "base" else "tuned")
        for t in (0.6, 1.0) for name in ("base", "RL")
    ] + [model("RL", temperature=1.31, role="tuned")]  # fmt: skip
    [panel] = arrange(models).panels
    assert pairs(panel) == [
        ("base, T = 0.6", None), ("base, T = 1", None), ("RL, T = 0.6", "base, T = 0.6"), ("RL, T = 1", "base, T = 1"),
        ("RL, T = 1.31", "base, T = 0.6"),
    ]  # fmt: skip


def test_every_pair_can_have_a_panel_of_its_own_and_a_lone_model_too() -> None:
    found = arrange(family(("base", "one", "two")), by="pair").panels
    assert [pairs(panel) for panel in found] == [[("base", None), (name, "base")] for name in ("one", "two")]
    assert [pairs(panel) for panel in arrange([model("alone")], by="pair").panels] == [[("alone", None)]]


def test_names_of_a_panel_differ_even_where_nothing_tells_evaluations_apart() -> None:
    [panel] = arrange([model("same", role="base"), model("same"), model("same")]).panels
    assert len({one.name for one in panel.members}) == 3


def test_problems_are_brought_into_one_order_and_unpaired_ones_refused_or_dropped() -> None:
    base = replace(model("base"), tally=tally(4, [1, 2, 3]), role="base")
    turned = tally(4, [0, 4, 1])
    turned = replace(turned, problem_ids=("p2", "p1", "p0"))
    [panel] = arrange([base, replace(model("tuned"), tally=turned)]).panels
    assert panel.members[1].tally.num_correct.tolist() == [1, 4, 0]
    fewer = replace(model("tuned"), tally=tally(4, [1, 2]))
    with pytest.raises(DataError, match="only base has p2"):
        arrange([base, fewer])
    found = arrange([base, fewer], drop_unpaired=True)
    assert found.left_out == ("p2",)
    assert found.panels[0].num_problems == 2
    strange = replace(model("tuned"), tally=replace(turned, problem_ids=("a", "b", "c")))
    with pytest.raises(DataError, match="no problem is in all"):
        arrange([base, strange], drop_unpaired=True)


def test_settings_are_compared_with_the_first_of_them_and_not_with_the_base() -> None:
    [panel] = arrange(family(("base", "grpo", "grpo, KL", "grpo, 32"), problems=5, n=4)).panels
    found = with_curves(against_the_first_tuned(panel), STYLE)
    assert pairs(found) == [("base", None), ("grpo", None), ("grpo, KL", "grpo"), ("grpo, 32", "grpo")]
    assert [one.difference is None for one in found.members] == [True, True, False, False]
