"""The verdict table as a person reads it."""

import io

import numpy as np
import pytest
from rich.console import Console

from kurve.commands.verdicts import show_verdicts
from kurve.comparison import Comparison, compare
from kurve.types import Tally


def tally(n: int, c: list[int]) -> Tally:
    size = len(c)
    return Tally(tuple(map(str, range(size))), np.full(size, n), np.array(c), np.zeros(size, dtype=np.int64))


def comparison(n: int, base: list[int], tuned: list[int], *names: str) -> Comparison:
    labels = (names[0], names[1]) if names else ("base", "tuned")
    return compare(tally(n, base), tally(n, tuned), rng=np.random.default_rng(0), names=labels)


def printed(*comparisons: Comparison, width: int = 80) -> str:
    stream = io.StringIO()
    show_verdicts(comparisons, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def test_values_changes_intervals_and_verdicts_are_all_there() -> None:
    crossing = comparison(64, [1] * 40 + [20] * 40, [0] * 40 + [50] * 40)
    text = printed(crossing)
    assert f"{100 * (20 / 64 + 1 / 64) / 2:.1f} %" in text
    assert "39.1 % (+22.7)" in text
    assert "50.0 % (−50.0)" in text
    interval = crossing.headline.change
    assert f"[−{-100 * interval.low:.1f}, −{-100 * interval.high:.1f}]" in text
    assert f"{crossing.crossover.point:.1f}" in text
    low, high = crossing.crossover.confidence_set
    assert f"[{low:.0f}, {high:.0f}]" in text
    assert f"{100 * crossing.delta_se.value:.1f}" in text
    words = " ".join(text.split())
    assert f"gain up to k = {crossing.ranges[0].last}, not established at k = " in words
    assert f"loss from k = {crossing.ranges[-1].first}" in words
    assert "80 problems, paired" in words


def test_a_model_above_its_base_at_every_k_has_no_crossover_up_to_there() -> None:
    text = printed(comparison(16, [0] * 60, [16] * 60))
    assert "none up to 16" in text
    assert "\u221e" not in text
    assert "gain at all k up to 16" in text


def test_a_model_below_its_base_from_the_start_crosses_nothing_and_loses_at_1() -> None:
    text = printed(comparison(16, [16] * 60, [0] * 60))
    assert "none (below)" in text
    assert "[1, 1]" in text
    assert "loss at all k up to 16" in text


def test_a_crossing_that_the_data_do_not_settle_has_its_share_of_draws_and_no_end() -> None:
    unsure = comparison(16, [4] * 18 + [1] * 2, [6] * 18 + [0] * 2)
    assert 0 < unsure.crossover.probability < 1
    text = printed(unsure)
    assert f"({round(100 * unsure.crossover.probability)} %)" in text
    assert f"[{unsure.crossover.confidence_set[0]:.0f}, \u221e]" in text


def test_models_with_other_sample_counts_say_which_k_each_has() -> None:
    text = " ".join(
        printed(
            comparison(64, [1] * 30, [2] * 30, "base", "grpo"), comparison(16, [1] * 30, [2] * 30, "base", "teacher")
        ).split()
    )
    assert "model pass@1 pass@k delta SE" in text
    assert "k is 64 for grpo, 16 for teacher." in text
    assert "delta SE: pass@64 of base" in text  # the tuned models' own n does not limit it


def test_several_models_share_their_base() -> None:
    one = comparison(8, [1] * 30, [2] * 30, "base", "grpo")
    two = comparison(8, [1] * 30, [1] * 30, "base", "same")
    text = printed(one, two)
    first_column = [line.split(" ")[0] for line in text.splitlines()]
    assert (first_column.count("base"), first_column.count("grpo"), first_column.count("same")) == (1, 2, 2)


@pytest.mark.parametrize("n", [1, 4, 1024])
def test_the_table_fits_80_columns_whatever_the_numbers_and_names(n: int) -> None:
    for base, tuned in (([0] * 5, [n] * 5), ([n] * 5, [0] * 5), ([0, n, 1, 0, n], [n, 0, 1, 0, 0])):
        text = printed(comparison(n, base, tuned, "base", "a-model-with-a-long-name-and-a-step@150"))
        assert max(map(len, text.splitlines())) <= 80
        assert "…" not in text
