from fractions import Fraction
from itertools import combinations, product
from math import comb, prod

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.judged import (
    NONE,
    RULES,
    SOUND,
    UNDECIDED,
    UNSOUND,
    JudgedCounts,
    cot_pass_at_k_band,
    cot_pass_at_k_per_problem,
    rulings,
    sound_shares,
)
from kurve.metrics.passk import pass_at_k


def counts(
    n: list[int], c: list[int], sound: list[int], unsound: list[int], *, reviewed: object = True
) -> JudgedCounts:
    under = np.broadcast_to(np.array(reviewed), len(n)).copy()
    return JudgedCounts(np.array(n, int), np.array(c, int), np.array(sound, int), np.array(unsound, int), under)


@pytest.mark.parametrize("rule", RULES)
def test_a_ruling_is_what_all_ways_to_decide_the_undecided_verdicts_agree_on(rule: str) -> None:
    for verdicts in product((SOUND, UNSOUND, UNDECIDED, NONE), repeat=4):
        given = [one for one in verdicts if one != NONE]
        need = {"any": 1, "majority": len(given) // 2 + 1, "all": len(given)}[rule]
        choices = [(SOUND, UNSOUND) if one == UNDECIDED else (one,) for one in given]
        outcomes = {sum(ways) >= need for ways in product(*choices)} if given else {True, False}
        expected = UNDECIDED if len(outcomes) == 2 else SOUND if outcomes == {True} else UNSOUND
        assert rulings([verdicts], rule)[0] == expected, verdicts


def test_another_rule_and_other_codes_are_refused() -> None:
    with pytest.raises(MetricError, match="any, majority, all"):
        rulings([[SOUND]], "most")
    with pytest.raises(MetricError, match="codes from -2 to 1"):
        rulings([[7]], "any")


def test_with_every_sample_judged_it_is_pass_at_k_of_the_sound_ones_exactly() -> None:
    rng = np.random.default_rng(0)
    n = np.full(40, 24)
    c = rng.integers(0, 25, 40)
    sound = rng.binomial(c, 0.6)
    judged = JudgedCounts(n, c, sound, c - sound, np.ones(40, dtype=bool))
    values, variances = cot_pass_at_k_per_problem(judged, np.arange(1, 25))
    assert values.mean(axis=0) == pytest.approx(pass_at_k(n, sound), abs=1e-12)
    assert not variances.any()
    assert sound_shares(judged) == pytest.approx(sound[c > 0] / c[c > 0])


def test_open_samples_have_the_beta_binomial_mean_and_variance_by_exact_arithmetic() -> None:
    """One problem, 3 of 8 correct samples sound, 1 unsound, 4 open; the prior is worth one verdict at 4/5 of 1."""
    n, c, sound, unsound = 20, 8, 3, 1
    centre = (Fraction(sound, sound + unsound) + Fraction(1, 2)) / 2
    a, b, rest = sound + centre, unsound + 1 - centre, c - sound - unsound

    def rising(x: Fraction, m: int) -> Fraction:
        return prod((x + i for i in range(m)), start=Fraction(1))

    weights = [comb(rest, t) * rising(a, t) * rising(b, rest - t) / rising(a + b, rest) for t in range(rest + 1)]
    assert sum(weights) == 1
    for k in (1, 2, 5, 20):
        passes = [1 - Fraction(comb(n - sound - t, k), comb(n, k)) for t in range(rest + 1)]
        mean = sum(w * p for w, p in zip(weights, passes, strict=True))
        variance = sum(w * (p - mean) ** 2 for w, p in zip(weights, passes, strict=True))
        values, variances = cot_pass_at_k_per_problem(counts([n], [c], [sound], [unsound]), [k])
        assert values[0, 0] == pytest.approx(float(mean), abs=1e-12)
        assert variances[0, 0] == pytest.approx(float(variance), abs=1e-12)


def test_the_expected_share_over_all_subsets_that_could_have_been_judged_is_the_true_one() -> None:
    """Unbiased over problems: 12 problems of equal share and every subset of 2 of their 4 correct samples."""
    truth = [1, 1, 0, 1]
    found = [(sum(subset), 2 - sum(subset)) for subset in combinations(truth, 2)]
    sound, unsound = (list(column) for column in zip(*(found * 200), strict=True))
    size = len(sound)
    judged = counts([40] * size, [4] * size, sound, unsound)
    assert sound_shares(judged).mean() == pytest.approx(np.mean(truth), abs=2e-3)
    values, _ = cot_pass_at_k_per_problem(judged, [1])
    assert values.mean() == pytest.approx(sum(truth) / 40, abs=1e-4)


def test_a_problem_that_was_not_reviewed_counts_its_open_samples_as_sound() -> None:
    judged = counts([10, 10], [4, 4], [0, 1], [0, 1], reviewed=[False, False])
    values, variances = cot_pass_at_k_per_problem(judged, [1])
    assert values[:, 0].tolist() == pytest.approx([0.4, 0.3])
    assert not variances.any()
    assert sound_shares(judged).tolist() == [0.5]


def test_the_estimate_lies_between_the_bounds_and_the_band_holds_it() -> None:
    rng = np.random.default_rng(1)
    n = np.full(30, 64)
    c = rng.integers(0, 5, 30)
    sound = rng.binomial(np.minimum(c, 2), 0.5)
    judged = JudgedCounts(n, c, sound, np.minimum(c, 2) - sound, np.ones(30, dtype=bool))
    ks = np.array([1, 4, 16, 64])
    mean, low, high = cot_pass_at_k_band(judged, ks, rng)
    least, most = pass_at_k(n, sound)[ks - 1], pass_at_k(n, c - judged.num_unsound)[ks - 1]
    assert np.all((least <= mean) & (mean <= most))
    assert np.all((low < mean) & (mean < high))


def test_open_samples_widen_the_band() -> None:
    rows = 60
    whole = counts([64] * rows, [4] * rows, [1, 3] * (rows // 2), [3, 1] * (rows // 2))
    part = counts([64] * rows, [4] * rows, [0, 1] * (rows // 2), [1, 0] * (rows // 2))
    widths = []
    for judged in (whole, part):
        _, low, high = cot_pass_at_k_band(judged, [1, 8], np.random.default_rng(0))
        widths.append(high - low)
    assert widths[1][0] > widths[0][0]
    assert widths[1][1] > 1.2 * widths[0][1]


@pytest.mark.parametrize("judged_share", [1.0, 0.3])
def test_the_band_covers_the_truth_when_few_samples_of_all_or_of_some_problems_are_judged(judged_share: float) -> None:
    rng = np.random.default_rng(3)
    ks = np.array([1, 8, 64])
    solved, share = rng.beta(1.2, 60, 100_000), rng.beta(0.8, 0.5, 100_000)
    truth = np.array([np.mean(1 - (1 - solved * share) ** k) for k in ks])
    held = 0
    for _ in range(60):
        problems = 40
        c = rng.binomial(128, rng.beta(1.2, 60, problems))
        sound = rng.binomial(c, rng.beta(0.8, 0.5, problems))
        seen = np.minimum(c, 2) * (rng.random(problems) < judged_share)
        ruled = np.where(seen > 0, rng.hypergeometric(sound, c - sound, np.maximum(seen, 0)), 0)
        judged = JudgedCounts(np.full(problems, 128), c, ruled, seen - ruled, np.ones(problems, dtype=bool))
        _, low, high = cot_pass_at_k_band(judged, ks, rng, draws=200)
        held += bool(np.all((low <= truth) & (truth <= high)))
    assert held / 60 >= 0.92


def test_counts_that_contradict_one_another_are_refused() -> None:
    with pytest.raises(MetricError, match="got 3 \\+ 2 of 4 at position 1"):
        counts([9, 9], [4, 4], [1, 3], [1, 2])
    with pytest.raises(MetricError, match="one length"):
        counts([], [], [], [])
    with pytest.raises(MetricError, match="k <= 9 is possible"):
        cot_pass_at_k_per_problem(counts([9], [4], [1], [1]), [10])


def test_a_single_problem_says_nothing_of_others() -> None:
    _, low, high = cot_pass_at_k_band(counts([9], [4], [1], [1]), [1, 9], np.random.default_rng(0))
    assert low.tolist() == [0, 0]
    assert high.tolist() == [1, 1]
