"""Two tallies -> what changed, in numbers and in words."""

import dataclasses
import json
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from kurve.commands.compared import headline_numbers
from kurve.comparison import as_json, compare, crossing_is_established, in_words, paired, pass_at_k_curve
from kurve.errors import DataError, MetricError
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.paired import Change
from kurve.types import Tally


def tally(n: list[int], c: list[int], ids: list[str] | None = None) -> Tally:
    names = ids if ids is not None else [f"p{i}" for i in range(len(n))]
    return Tally(tuple(names), np.array(n, dtype=int), np.array(c, dtype=int), np.zeros(len(n), dtype=np.int64))


def sharpened_pair(num_problems: int, n: int, seed: int = 0) -> tuple[Tally, Tally]:
    """A base, and a tuned model that is surer of what is likely and has lost what was rare."""
    rng = np.random.default_rng(seed)
    p = np.where(rng.random(num_problems) < 0.3, 0.0, rng.beta(0.3, 1.5, num_problems))
    counts = [rng.binomial(n, one).tolist() for one in (p, np.where(p < 0.05, 0.0, np.minimum(1.6 * p, 1.0)))]
    base, tuned = (tally([n] * num_problems, c) for c in counts)
    return base, tuned


def test_gain_and_loss_are_told_apart_by_k() -> None:
    base, tuned = sharpened_pair(256, 256)
    found = compare(base, tuned, rng=np.random.default_rng(0), names=("base", "grpo"))
    assert found.verdict is Change.MIXED
    assert [one.change for one in found.ranges] == [Change.GAIN, Change.NOT_ESTABLISHED, Change.LOSS]
    assert (found.ranges[0].first, found.ranges[-1].last) == (1, 256)
    assert found.at_1.change.low > 0
    assert found.headline.change.high < 0
    assert (found.at_1.k, found.headline.k) == (1, 256)
    low, high = found.crossover.confidence_set
    assert found.ranges[0].last + 1 == low < found.crossover.point < high == found.ranges[-1].first
    assert found.crossover.probability == 1.0


def test_a_crossover_is_established_only_where_a_gain_and_a_later_loss_are() -> None:
    whole = compare(*sharpened_pair(256, 256), rng=np.random.default_rng(0))
    few = compare(*sharpened_pair(12, 16), rng=np.random.default_rng(0))
    assert crossing_is_established(whole)
    assert headline_numbers(whole)["crossover_k"] == whole.crossover.point
    assert not crossing_is_established(few)
    assert "crossover_k" not in headline_numbers(few)
    only_gains = dataclasses.replace(whole, ranges=whole.ranges[:1])
    only_losses = dataclasses.replace(whole, ranges=whole.ranges[-1:])
    assert not crossing_is_established(only_gains)
    assert not crossing_is_established(only_losses)


def test_a_comparison_equals_exact_rational_arithmetic_for_ragged_counts() -> None:
    """k goes up to the fewest samples of both; problems are brought into one order by id."""
    base = tally([6, 9, 7], [0, 4, 7], ["a", "b", "c"])
    tuned = tally([8, 5, 12], [3, 5, 1], ["c", "a", "b"])
    found = compare(base, tuned, rng=np.random.default_rng(0))

    def passed(n: int, c: int, k: int) -> Fraction:
        return 1 - Fraction(comb(n - c, k), comb(n, k))

    assert found.difference.k.tolist() == [1, 2, 3, 4, 5]
    for k in range(1, 6):
        before = (passed(6, 0, k) + passed(9, 4, k) + passed(7, 7, k)) / 3
        after = (passed(5, 5, k) + passed(12, 1, k) + passed(8, 3, k)) / 3
        assert found.difference.base[k - 1] == pytest.approx(float(before), abs=1e-15)
        assert found.difference.delta[k - 1] == pytest.approx(float(after - before), abs=1e-15)
    gap = (passed(9, 4, 6) + 1) / 3 - (1 + Fraction(1, 12) + Fraction(3, 8)) / 3
    assert (found.headline.k, found.delta_se_k) == (5, 6)  # of the tuned model delta SE takes pass@1 alone
    assert found.delta_se.value == pytest.approx(float(gap), abs=1e-15)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (tally([4] * 2, [1] * 2, ["a", "x"]), ["only base has b, c", "only tuned has x"]),
        (tally([4] * 9, [1] * 9, list("abcdefghi")), ["only base has none", "d, e, f, g, h and 1 more"]),
        (tally([4] * 3, [1] * 3, ["a", "a", "b"]), ["tuned has a more than once"]),
        (tally([4, 0, 4], [1, 0, 1], ["a", "b", "c"]), ["tuned has no judged sample of b"]),
        (tally([], []), ["tuned has no problems"]),
    ],
)
def test_problems_that_do_not_pair_are_refused_by_name(other: Tally, words: list[str]) -> None:
    with pytest.raises(DataError) as error:
        paired(tally([4] * 3, [1] * 3, ["a", "b", "c"]), other)
    for word in words:
        assert word in str(error.value)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(MetricError):
        compare(tally([4], [5]), tally([4], [1]), rng=np.random.default_rng(0))


@pytest.mark.parametrize("num_problems", [1, 2, 3])
def test_a_few_problems_establish_nothing(num_problems: int) -> None:
    base, tuned = tally([64] * num_problems, [0] * num_problems), tally([64] * num_problems, [20] * num_problems)
    found = compare(base, tuned, rng=np.random.default_rng(0))
    assert found.verdict is Change.NOT_ESTABLISHED
    assert found.delta_se.low < 0 < found.delta_se.high
    assert found.crossover.confidence_set == (1.0, np.inf)
    assert json.dumps(as_json(found), allow_nan=False)


@pytest.mark.parametrize("correct", [0, 32])
def test_models_that_solve_nothing_or_everything_alike_have_no_verdict(correct: int) -> None:
    same = tally([32] * 40, [correct] * 40)
    found = compare(same, same, rng=np.random.default_rng(0))
    assert found.verdict is Change.NOT_ESTABLISHED
    assert in_words(found) == "not established at k = 1 to 32"
    assert (found.crossover.point, found.crossover.probability) == (np.inf, 0.0)
    assert found.at_1.change.low < 0 < found.at_1.change.high
    assert np.all(found.difference.high < 0.1)


def test_a_model_that_solves_everything_gains_at_every_k() -> None:
    found = compare(tally([16] * 50, [0] * 50), tally([16] * 50, [16] * 50), rng=np.random.default_rng(0))
    assert found.verdict is Change.GAIN
    assert in_words(found) == "gain at k = 1 to 16"
    assert found.crossover.confidence_set == (17.0, np.inf)
    assert found.delta_se == Estimate(-1.0, -1.0, found.delta_se.high)


def test_one_sample_a_problem_compares_pass_at_1_only() -> None:
    found = compare(tally([1] * 60, [0] * 60), tally([1] * 60, [1, 0] * 30), rng=np.random.default_rng(0))
    assert found.difference.k.tolist() == [1]
    assert in_words(found) == "gain at k = 1"
    assert found.headline == found.at_1


def test_the_seed_decides_and_nothing_else() -> None:
    base, tuned = sharpened_pair(60, 64)
    first, again, other = (compare(base, tuned, rng=np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert as_json(first) == as_json(again)
    assert as_json(first)["delta_lower"] != as_json(other)["delta_lower"]


def test_json_holds_what_other_tools_read_and_null_for_infinity() -> None:
    base, tuned = sharpened_pair(100, 64)
    document = json.loads(
        json.dumps(as_json(compare(base, base, rng=np.random.default_rng(0)), seed=7), allow_nan=False)
    )
    assert document["crossover"] == {
        "point": None,
        "confidence_set": [1.0, None],
        "bootstrap_interval": [None, None],
        "probability_of_crossing": 0.0,
    }
    assert (document["seed"], document["num_problems"], document["alpha"]) == (7, 100, pytest.approx(0.05))
    document = json.loads(json.dumps(as_json(compare(base, tuned, rng=np.random.default_rng(0)))))
    low, high = np.array(document["delta_lower"]), np.array(document["delta_upper"])
    ks = np.array(document["ks"])
    assert document["gain_ks"] == ks[low > 0].tolist()
    assert document["loss_ks"] == ks[high < 0].tolist()
    lengths = {len(document[key]) for key in ("ks", "base_pass_at_k", "tuned_pass_at_k", "delta", "delta_se_of_mean")}
    assert lengths == {64}


def test_a_curve_of_one_model_has_its_band_and_marks_high_variance() -> None:
    base, _ = sharpened_pair(50, 32)
    curve = pass_at_k_curve(base, np.random.default_rng(0))
    assert curve.k.tolist() == list(range(1, 33))
    assert np.all((curve.low <= curve.value) & (curve.value <= curve.high))
    assert curve.high_variance.tolist() == [k > 16 for k in range(1, 33)]
    with pytest.raises(DataError, match="no problems"):
        pass_at_k_curve(tally([], []), np.random.default_rng(0))
