from fractions import Fraction
from itertools import product
from math import comb

import numpy as np
import pytest

from benchmarks.bench_adaptive import GOAL, NAMED, bias, saving
from kurve.errors import MetricError
from kurve.metrics.adaptive import (
    FAILED,
    Prefix,
    checked_rule,
    counted_prefix,
    default_successes,
    expected,
    unbiased_tally,
)
from kurve.metrics.passk import pass_at_k, pass_at_k_per_problem, sampling_variance
from kurve.metrics.reliability import pass_hat_k_per_problem
from kurve.types import StoppingRule, Tally

RULES = [StoppingRule(2, 2, 9), StoppingRule(4, 2, 10), StoppingRule(3, 4, 10), StoppingRule(6, 3, 6)]
PS = [Fraction(0), Fraction(1, 50), Fraction(1, 3), Fraction(7, 10), Fraction(1)]

Ends = dict[tuple[int, int], dict[tuple[int, ...], int]]


def counted(n: list[int], c: list[int], errors: list[int] | None = None) -> Tally:
    ids = tuple(map(str, range(len(n))))
    return Tally(ids, np.array(n), np.array(c), np.array(errors or [0] * len(n)))


def every_end(rule: StoppingRule) -> Ends:
    """All sequences of results, each cut where the rule stops it: by its end (n, c) the prefixes, each once."""
    ends: Ends = {}
    for results in product((0, 1), repeat=rule.most):
        prefix = results[: counted_prefix(results, rule).length]
        ends.setdefault((len(prefix), sum(prefix)), {})[prefix] = 1
    return ends


def estimates(ends: Ends, rule: StoppingRule) -> dict[tuple[int, int], np.ndarray]:
    """pass@1 .. pass@most at each end, from the module and the usual estimator."""
    tally = unbiased_tally(counted([n for n, _ in ends], [c for _, c in ends]), rule)
    values = {}
    for row, end in enumerate(ends):
        ks = np.arange(1, tally.reach[row] + 1)
        one = (tally.num_samples[[row]], tally.num_correct[[row]])
        values[end] = pass_at_k_per_problem(*one, ks, largest_k=tally.reach[[row]])[0]
    return values


@pytest.mark.parametrize("rule", RULES)
def test_every_pass_at_k_up_to_most_is_unbiased_for_every_p(rule: StoppingRule) -> None:
    ends = every_end(rule)
    values = estimates(ends, rule)
    assert all(one.size == rule.most for one in values.values())
    for p in PS:
        chance = {(n, c): len(paths) * p**c * (1 - p) ** (n - c) for (n, c), paths in ends.items()}
        assert sum(chance.values()) == 1
        for k in range(1, rule.most + 1):
            mean = sum(float(chance[end]) * values[end][k - 1] for end in ends)
            assert mean == pytest.approx(float(1 - (1 - p) ** k), abs=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_an_estimate_is_the_share_of_paths_to_its_end_that_begin_with_k_failures(rule: StoppingRule) -> None:
    ends = every_end(rule)
    values = estimates(ends, rule)
    for end, paths in ends.items():
        for k in range(1, rule.most + 1):
            failing = sum(len(path) >= k and not any(path[:k]) for path in paths)
            assert values[end][k - 1] == pytest.approx(float(1 - Fraction(failing, len(paths))), abs=1e-12)


def test_a_problem_that_is_stopped_late_gets_the_inverse_binomial_estimate() -> None:
    rule = StoppingRule(2, 3, 40)
    for n in range(3, 41):
        tally = unbiased_tally(counted([n], [3]), rule)
        ks = np.arange(1, 41)
        values = pass_at_k_per_problem(tally.num_samples, tally.num_correct, ks, largest_k=tally.largest_k)[0]
        exact = [1 - Fraction(comb(n - k - 1, 2), comb(n - 1, 2)) if k <= n - 3 else Fraction(1) for k in ks.tolist()]
        assert values == pytest.approx([float(one) for one in exact], abs=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_estimates_of_several_successes_are_unbiased_up_to_least(rule: StoppingRule) -> None:
    ends = every_end(rule)
    tally = unbiased_tally(counted([n for n, _ in ends], [c for _, c in ends]), rule)
    assert tally.num_samples.min() >= rule.least
    values = pass_hat_k_per_problem(tally.num_samples, tally.num_correct, np.arange(1, rule.least + 1))
    for p in PS:
        chances = [len(paths) * p**c * (1 - p) ** (n - c) for (n, c), paths in ends.items()]
        mean = np.array([float(one) for one in chances]) @ values
        assert mean == pytest.approx([float(p**k) for k in range(1, rule.least + 1)], abs=1e-12)


def test_the_variance_estimate_stays_unbiased() -> None:
    rule = StoppingRule(4, 2, 12)
    ks = np.arange(1, 7)
    for p in (0.0, 0.05, 0.3, 0.8):
        ends = every_end(rule)
        tally = unbiased_tally(counted([n for n, _ in ends], [c for _, c in ends]), rule)
        chance = np.array([len(paths) * p**c * (1 - p) ** (n - c) for (n, c), paths in ends.items()])
        values = [
            sampling_variance(
                tally.num_samples[[i]], tally.num_correct[[i]], ks[: tally.reach[i] // 2], largest_k=tally.reach[[i]]
            )[0]
            for i in range(chance.size)
        ]
        assert chance @ np.array(values) == pytest.approx(expected([p], rule, ks).variance[0], abs=1e-12)


def test_topping_up_until_a_hit_and_counting_all_samples_gives_564_for_476() -> None:
    p, k, least = 0.02, 32, 64  # statistics: sample 64, and go on until the first success
    truth = 1 - (1 - p) ** k
    solved = np.arange(1, least + 1)
    at_once = np.array([comb(least, int(c)) * p**c * (1 - p) ** (least - c) for c in solved])
    later = np.arange(least + 1, 4000)
    chance = np.concatenate([at_once, p * (1 - p) ** (later - 1)])
    n, c = np.concatenate([np.full(least, least), later]), np.concatenate([solved, np.ones_like(later)])
    naive = chance @ pass_at_k_per_problem(n, c, [k])[:, 0]
    assert truth == pytest.approx(0.476, abs=5e-4)
    assert naive == pytest.approx(0.564, abs=5e-4)
    ours = expected([p], StoppingRule(least, 2, 4000), [k])
    assert ours.pass_at_k[0, 0] == pytest.approx(truth, abs=1e-12)


def test_the_estimate_at_k_equal_to_most_is_that_of_a_fixed_number_of_samples() -> None:
    rng = np.random.default_rng(3)
    rule, most = StoppingRule(16, 2, 64), 64
    for p in rng.beta(0.3, 4, 200):
        results = (rng.random(most) < p).astype(int)
        seen = results[: counted_prefix(results, rule).length]
        tally = unbiased_tally(counted([seen.size], [int(seen.sum())]), rule)
        value = pass_at_k_per_problem(tally.num_samples, tally.num_correct, [most], largest_k=tally.largest_k)
        assert value == pass_at_k_per_problem([most], [int(results.sum())], [most])


def test_the_expected_number_of_samples_is_that_of_all_sequences() -> None:
    rule = StoppingRule(4, 3, 11)
    ends = every_end(rule)
    for p in (0.0, 0.1, 0.6, 1.0):
        exact = sum(len(paths) * p**c * (1 - p) ** (n - c) * n for (n, c), paths in ends.items())
        assert expected([p], rule, [1]).num_samples[0] == pytest.approx(exact)


def test_the_prefix_depends_on_nothing_behind_it() -> None:
    rng = np.random.default_rng(0)
    rule = StoppingRule(5, 2, 30)
    for _ in range(200):
        results = rng.choice([FAILED, 0, 0, 0, 1], 30)
        prefix = counted_prefix(results, rule)
        assert prefix.complete
        for known in range(31):
            partial = counted_prefix(results[:known], rule)
            assert partial.complete == (known >= prefix.length)
            assert partial.length == min(known, prefix.length)


def test_failed_judgements_are_neither_success_nor_failure() -> None:
    rule = StoppingRule(3, 2, 8)
    assert counted_prefix([1, FAILED, 1, 0], rule).length == 4  # three judged samples need four drawn ones
    assert counted_prefix([1, FAILED, 1], rule) == Prefix(3, complete=False)
    assert counted_prefix([FAILED] * 8, rule).complete
    tally = unbiased_tally(counted([6, 5, 3], [1, 2, 3], [2, 1, 0]), rule)
    assert tally.reach.tolist() == [6, 7, 8]
    assert tally.num_samples.tolist() == [6, 4, 3]
    assert tally.num_correct.tolist() == [1, 1, 3]


def test_the_whole_curve_reaches_most_where_all_other_problems_were_stopped() -> None:
    rule = StoppingRule(4, 2, 50)
    tally = unbiased_tally(counted([50, 9, 4], [1, 2, 4]), rule)
    curve = pass_at_k(tally.num_samples, tally.num_correct, largest_k=tally.largest_k)
    table = pass_at_k_per_problem(tally.num_samples, tally.num_correct, np.arange(1, 51), largest_k=tally.largest_k)
    assert curve.size == 50
    assert curve == pytest.approx(table.mean(axis=0))
    assert np.isfinite(table).all()
    assert np.all(np.diff(table, axis=1) >= 0)


@pytest.mark.parametrize(("n", "c"), [([9], [3]), ([12], [1]), ([8], [8])])
def test_counts_that_no_path_leads_to_are_refused(n: list[int], c: list[int]) -> None:
    with pytest.raises(MetricError, match="count its samples up to there"):
        unbiased_tally(counted(n, c), StoppingRule(4, 2, 10))


@pytest.mark.parametrize("rule", [(4, 1, 10), (1, 2, 10), (11, 2, 10)])
def test_rules_that_cannot_be_followed_are_refused(rule: tuple[int, int, int]) -> None:
    with pytest.raises(MetricError, match="need"):
        checked_rule(StoppingRule(*rule))


@pytest.mark.parametrize("largest", [[3, 9], [4], [9, 9]])
def test_a_largest_k_that_the_counts_do_not_allow_is_refused(largest: list[int]) -> None:
    with pytest.raises(MetricError, match="largest_k"):
        pass_at_k([4, 5], [1, 0], largest_k=largest)


def test_default_successes_sample_a_problem_of_one_in_k_about_as_long_as_a_fixed_n() -> None:
    assert [default_successes(256, most) for most in (256, 512, 1024)] == [2, 3, 5]
    for most in (256, 512, 1024):
        rule = StoppingRule(32, default_successes(256, most), most)
        assert expected([1 / 256], rule, [1]).num_samples[0] > 0.8 * most


def test_delta_se_takes_at_most_40_percent_of_the_samples_at_the_same_width() -> None:
    for name in NAMED:
        one = saving(name, 256, 256, num_problems=300)
        assert one.both <= GOAL
        assert one.width < 1.03
        assert one.base < 0.7


def test_a_simulation_is_unbiased_where_counting_all_samples_is_not() -> None:
    naive, ours, error = bias("AIME-like", [4, 32], repeats=60, num_problems=300)
    assert np.all(naive > 0.01)
    assert np.all(np.abs(ours) < 4 * error)
