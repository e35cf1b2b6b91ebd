"""Is the band of a paired difference right where an exact answer exists, and does it hold the truth elsewhere?"""

from fractions import Fraction
from math import comb
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from kurve.errors import MetricError
from kurve.metrics.crossover import crossover
from kurve.metrics.paired import Change, KRange, difference_interval, k_ranges, overall, paired_difference
from kurve.metrics.passk import pass_at_k_per_problem

Floats: TypeAlias = NDArray[np.float64]

N = 128
KS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128])
TABLE = pass_at_k_per_problem(np.full(N + 1, N), np.arange(N + 1), KS)  # pass@k by number correct


def bimodal(rng: np.random.Generator, size: int) -> Floats:
    """Success probabilities of a base as on MATH: a fifth never solved, some almost always, the rest U-shaped."""
    kind = rng.random(size)
    usual = np.where(kind < 0.35, 1 - rng.beta(1, 60, size), rng.beta(0.4, 0.6, size))
    return np.where(kind < 0.2, 0.0, usual)


def hard(rng: np.random.Generator, size: int) -> Floats:
    """Success probabilities of a base as on AIME: half never solved, most others rarely."""
    return np.where(rng.random(size) < 0.5, 0.0, rng.beta(0.25, 2.0, size))


def moved(p: Floats, slope: float, shift: float) -> Floats:
    """Probabilities with their log-odds changed; what is never solved stays so."""
    odds = np.log(np.clip(p, 1e-9, 1 - 1e-9) / np.clip(1 - p, 1e-9, 1))
    return np.where(p == 0, 0.0, 1 / (1 + np.exp(-(slope * odds + shift))))


def sharpened(rng: np.random.Generator, p: Floats) -> Floats:
    """What RLVR does: the likely becomes likelier, and 40 % of the rarely solved are lost."""
    return np.where((p < 0.05) & (rng.random(p.size) < 0.4), 0.0, moved(p, 1.3, 1.0))


def distilled(rng: np.random.Generator, p: Floats) -> Floats:
    """Everything becomes likelier, and a fifth of the never solved is learnt."""
    learnt = np.where(rng.random(p.size) < 0.2, rng.beta(0.4, 3.0, p.size), 0.0)
    return np.where(p == 0, learnt, moved(p, 1.0, 1.0))


def unchanged(_rng: np.random.Generator, p: Floats) -> Floats:
    """The same model, sampled again."""
    return p


BASES = {"bimodal": bimodal, "hard": hard}
TUNED = {"sharpened": sharpened, "distilled": distilled, "unchanged": unchanged}


def mean_curve(p: Floats) -> Floats:
    return np.array([float(np.mean(-np.expm1(k * np.log1p(-np.minimum(p, 1 - 1e-15))))) for k in KS])


def coverage(base: str, tuned: str, num_problems: int, *, repeats: int, seed: int) -> dict[str, float]:
    """Share of repeats in which each interval holds the truth, and of those with a verdict other than none."""
    rng = np.random.default_rng(seed)
    everyone = BASES[base](rng, 400_000)
    after = TUNED[tuned](rng, everyone)
    truth = mean_curve(after) - mean_curve(everyone)
    gap = mean_curve(everyone)[-1] - mean_curve(after)[0]
    first_loss = float(KS[np.argmax(truth < -1e-12)]) if np.any(truth < -1e-12) else np.inf
    held = dict.fromkeys(("pass_at_1", "delta_se", "band", "crossover", "verdict"), 0)
    for _ in range(repeats):
        p = BASES[base](rng, num_problems)
        before = TABLE[rng.binomial(N, p)]
        now = TABLE[rng.binomial(N, TUNED[tuned](rng, p))]
        band = paired_difference(before, now, KS, rng, draws=500)
        point = difference_interval(now[:, 0] - before[:, 0])
        efficiency = difference_interval(before[:, -1] - now[:, 0])
        low, high = crossover(now - before, band, rng, draws=100).confidence_set
        held["pass_at_1"] += point.low <= truth[0] <= point.high
        held["delta_se"] += efficiency.low <= gap <= efficiency.high
        held["band"] += bool(np.all((band.low <= truth + 1e-12) & (truth - 1e-12 <= band.high)))
        held["crossover"] += low <= first_loss <= high
        held["verdict"] += overall(k_ranges(band)) is not Change.NOT_ESTABLISHED
    return {name: count / repeats for name, count in held.items()}


@pytest.mark.parametrize("tuned", ["sharpened", "distilled"])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("num_problems", [30, 100, 500])
def test_intervals_hold_the_truth_about_as_often_as_they_say(base: str, tuned: str, num_problems: int) -> None:
    repeats = 200
    tolerance = 3.5 * np.sqrt(0.95 * 0.05 / repeats)
    shares = coverage(base, tuned, num_problems, repeats=repeats, seed=num_problems)
    for name in ("pass_at_1", "delta_se", "band", "crossover"):
        assert shares[name] >= 0.95 - tolerance, (name, shares)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("num_problems", [5, 30, 100])
def test_the_same_model_sampled_twice_seldom_gets_a_verdict(base: str, num_problems: int) -> None:
    repeats = 200
    share = coverage(base, "unchanged", num_problems, repeats=repeats, seed=num_problems)["verdict"]
    assert share <= 0.05 + 3.5 * np.sqrt(0.95 * 0.05 / repeats)


@pytest.mark.slow
@pytest.mark.parametrize("tuned", ["sharpened", "distilled"])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("num_problems", [30, 100, 500])
def test_nominal_95_percent_is_93_to_97_percent(base: str, tuned: str, num_problems: int) -> None:
    repeats = 2000
    noise = 2.5 * np.sqrt(0.95 * 0.05 / repeats)
    shares = coverage(base, tuned, num_problems, repeats=repeats, seed=1)
    for name in ("pass_at_1", "delta_se", "band"):
        assert 0.93 - noise <= shares[name] <= 0.97 + noise, (name, shares)


def test_the_difference_equals_exact_rational_arithmetic() -> None:
    counts = [(7, 0, 3), (7, 2, 2), (9, 4, 1), (8, 8, 8)]  # n, base c, tuned c
    ks = np.arange(1, 8)
    n = [a for a, _, _ in counts]
    before, after = (pass_at_k_per_problem(n, [row[i] for row in counts], ks) for i in (1, 2))
    band = paired_difference(before, after, ks, np.random.default_rng(0))

    def passed(n: int, c: int, k: int) -> Fraction:
        return 1 - Fraction(comb(n - c, k), comb(n, k))

    for k in ks:
        d = [passed(n, tuned, int(k)) - passed(n, base, int(k)) for n, base, tuned in counts]
        mean = sum(d, Fraction(0)) / len(d)
        variance = sum(((x - mean) ** 2 for x in d), Fraction(0)) / (len(d) * (len(d) - 1))
        assert band.delta[k - 1] == pytest.approx(float(mean), abs=1e-15)
        assert band.standard_error[k - 1] == pytest.approx(float(variance) ** 0.5, abs=1e-15)


def test_one_column_has_the_t_quantile_and_two_unrelated_ones_that_of_their_larger_deviation() -> None:
    rng = np.random.default_rng(0)
    signs = np.array([[a, b] for a in (-1, 1) for b in (-1, 1)] * 250)  # two columns that are exactly uncorrelated
    one = paired_difference(np.full((1000, 1), 0.5), 0.5 + 0.1 * signs[:, :1], [1], rng, draws=100_000)
    two = paired_difference(np.full((1000, 2), 0.5), 0.5 + 0.1 * signs, [1, 2], rng, draws=100_000)
    assert one.critical_value == pytest.approx(1.9623, abs=0.02)  # Student's t with 999 degrees of freedom
    assert two.critical_value == pytest.approx(2.2394, abs=0.02)  # P(|Z| <= q)^2 = 0.95 has q = 2.2365


def test_many_problems_give_the_usual_t_interval() -> None:
    d = np.random.default_rng(0).beta(0.5, 0.5, 5000) - 0.3
    estimate = difference_interval(d)
    half = 1.9604 * d.std(ddof=1) / np.sqrt(5000)
    assert estimate.low == pytest.approx(d.mean() - half, abs=5e-5)
    assert estimate.high == pytest.approx(d.mean() + half, abs=5e-5)


@pytest.mark.parametrize("num_problems", [2, 3, 30, 500])
def test_problems_that_all_agree_leave_room_as_the_rule_of_three_does(num_problems: int) -> None:
    same = np.full((num_problems, 3), 0.25)
    band = paired_difference(same, same, [1, 2, 4], np.random.default_rng(0))
    assert np.all(band.delta == 0)
    assert np.all(band.standard_error == 0)
    assert np.all(band.high > 1.9 / num_problems)
    assert np.all((band.low == -band.high) & (band.high <= 1))


def test_one_problem_says_nothing_about_others() -> None:
    band = paired_difference([[0.0, 0.5]], [[1.0, 1.0]], [1, 2], np.random.default_rng(0))
    assert (band.low.tolist(), band.high.tolist()) == ([-1, -1], [1, 1])
    assert band.critical_value == np.inf
    estimate = difference_interval([0.5])
    assert (estimate.value, estimate.low, estimate.high) == (0.5, -1.0, 1.0)


def test_two_problems_that_disagree_establish_nothing() -> None:
    band = paired_difference([[0.0], [1.0]], [[1.0], [0.5]], [1], np.random.default_rng(0))
    assert band.low[0] == -1
    assert band.high[0] == 1


def test_pairing_makes_the_interval_narrower_where_problems_differ_more_than_models() -> None:
    rng = np.random.default_rng(4)
    p = bimodal(rng, 200)
    before, after = (TABLE[rng.binomial(N, one)] for one in (p, moved(p, 1.0, 0.3)))
    shuffled = rng.permutation(after)
    pairs, strangers = (paired_difference(before, one, KS, rng) for one in (after, shuffled))
    assert np.all((pairs.high - pairs.low)[:6] < 0.4 * (strangers.high - strangers.low)[:6])


def test_a_rare_loss_that_was_not_seen_stays_possible() -> None:
    """Thirty problems that agree at k = 128 and nearly agree before: the band must not close."""
    before = TABLE[np.full(30, 40)]
    after = TABLE[np.array([40, 41] * 15)]
    band = paired_difference(before, after, KS, np.random.default_rng(0))
    assert np.all(band.low[KS >= 32] < -2 / 30)


def test_neighbouring_k_that_say_the_same_are_one_range() -> None:
    d = np.array([0.5, 0.5, 0.0, -0.5, 0.0, -0.5]) + 0.01 * np.array([[1], [-1]] * 50)
    band = paired_difference(np.full(d.shape, 0.5), 0.5 + d * 0.9, [1, 2, 3, 5, 8, 13], np.random.default_rng(0))
    assert k_ranges(band) == (
        KRange(1, 2, Change.GAIN),
        KRange(3, 3, Change.NOT_ESTABLISHED),
        KRange(5, 5, Change.LOSS),
        KRange(8, 8, Change.NOT_ESTABLISHED),
        KRange(13, 13, Change.LOSS),
    )
    assert overall(k_ranges(band)) is Change.MIXED


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ([Change.GAIN, Change.NOT_ESTABLISHED], Change.GAIN),
        ([Change.NOT_ESTABLISHED], Change.NOT_ESTABLISHED),
        ([Change.NOT_ESTABLISHED, Change.LOSS], Change.LOSS),
        ([Change.GAIN, Change.LOSS], Change.MIXED),
    ],
)
def test_one_word_for_the_whole_curve(changes: list[Change], word: Change) -> None:
    assert overall(tuple(KRange(i, i, one) for i, one in enumerate(changes, start=1))) is word


def test_the_same_generator_state_gives_the_same_band_and_another_seed_another() -> None:
    rng = np.random.default_rng(2)
    before, after = TABLE[rng.integers(0, N + 1, 30)], TABLE[rng.integers(0, N + 1, 30)]
    first, again, other = (paired_difference(before, after, KS, np.random.default_rng(seed)).low for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("base", "tuned", "ks"),
    [
        ([[0.5]], [[0.5], [0.5]], [1]),
        ([[0.5]], [[0.5]], [1, 2]),
        ([[0.5, 0.5]], [[0.5, 0.5]], [2, 1]),
        ([[0.5]], [[0.5]], [0]),
        ([[1.5]], [[0.5]], [1]),
        ([[0.5]], [[float("nan")]], [1]),
        ([], [], []),
    ],
)
def test_what_is_no_pair_of_tables_is_refused(base: list[list[float]], tuned: list[list[float]], ks: list[int]) -> None:
    with pytest.raises(MetricError):
        paired_difference(base, tuned, ks, np.random.default_rng(0))


@pytest.mark.parametrize("values", [[], [[0.5]], [1.5], [float("nan")]])
def test_what_is_no_list_of_differences_is_refused(values: list[float]) -> None:
    with pytest.raises(MetricError):
        difference_interval(values)


def test_too_few_draws_and_an_impossible_confidence_are_refused() -> None:
    with pytest.raises(MetricError, match="100 draws"):
        paired_difference([[0.5]], [[0.5]], [1], np.random.default_rng(0), draws=10)
    with pytest.raises(MetricError, match="confidence"):
        paired_difference([[0.5]], [[0.5]], [1], np.random.default_rng(0), confidence=95.0)
