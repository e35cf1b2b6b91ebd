import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.extrapolation import Extrapolation, Method, beyond_n, check_reach, extrapolate
from kurve.types import Tally

KS = np.array([64, 256, 1024, 6400])


def counts(
    a: float, b: float, *, problems: int, n: int, never: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n and c of problems with p ~ Beta(a, b), and their p."""
    rng = np.random.default_rng(seed)
    p = np.where(rng.random(problems) < never, 0.0, rng.beta(a, b, problems))
    return np.full(problems, n), rng.binomial(n, p), p


def carried(n: np.ndarray, c: np.ndarray, method: Method, ks: np.ndarray = KS) -> Extrapolation:
    return extrapolate(n, c, ks, np.random.default_rng(0), method=method, draws=40)


@pytest.mark.parametrize("method", [Method.BETA_BINOMIAL, Method.ZERO_INFLATED])
def test_a_curve_of_beta_problems_is_carried_on_to_100_n(method: Method) -> None:
    n, c, p = counts(0.4, 4.0, problems=2000, n=64)
    truth = np.array([np.mean(1 - (1 - p) ** k) for k in KS])
    found = carried(n, c, method)
    assert found.value == pytest.approx(truth, abs=0.02)
    assert np.all(found.low <= truth + 0.01)
    assert np.all(found.high >= truth - 0.01)


def test_problems_that_are_never_solved_bound_the_zero_inflated_curve() -> None:
    n, c, p = counts(1.0, 4.0, problems=2000, n=64, never=0.3)
    truth = np.array([np.mean(1 - (1 - p) ** k) for k in KS])
    found = carried(n, c, Method.ZERO_INFLATED)
    assert found.value == pytest.approx(truth, abs=0.02)
    assert found.value[-1] < carried(n, c, Method.BETA_BINOMIAL).value[-1]


def test_a_power_law_is_carried_on_as_one() -> None:
    n, c, p = counts(0.5, 20.0, problems=3000, n=128)
    ks = np.array([256, 512])
    truth = np.array([np.mean(1 - (1 - p) ** k) for k in ks])
    assert carried(n, c, Method.POWER_LAW, ks).value == pytest.approx(truth, abs=0.05)


@pytest.mark.parametrize("method", list(Method))
def test_fewer_problems_mean_a_wider_interval_and_curves_rise(method: Method) -> None:
    few = carried(*counts(0.4, 4.0, problems=30, n=64)[:2], method)
    many = carried(*counts(0.4, 4.0, problems=1000, n=64)[:2], method)
    assert np.all((few.high - few.low > many.high - many.low)[:2])  # beyond, both come close to 1
    for found in (few, many):
        assert np.all(np.diff(found.value) >= 0)
        assert np.all((found.low <= found.value) & (found.value <= found.high))
        assert found.low.min() >= 0
        assert found.high.max() <= 1


def test_the_same_generator_gives_the_same_interval() -> None:
    n, c, _ = counts(0.4, 4.0, problems=40, n=32)
    one, other = (carried(n, c, Method.BETA_BINOMIAL, KS[:2]) for _ in range(2))
    assert one.low.tolist() == other.low.tolist()


@pytest.mark.parametrize(
    ("n", "c", "ks", "words"),
    [
        ([8] * 19, [1] * 19, [16], "20 problems"),
        ([8] * 20, [0] * 20, [16], "ever solved"),
        ([8] * 20, [1] * 20, [801], "draw more"),
        ([8] * 20, [9] * 20, [16], "c from 0 to n"),
        ([8] * 20, [1] * 20, [16, 16], "ascend"),
        ([8] * 20, [1] * 20, [], "ascend"),
    ],
)
def test_what_the_samples_cannot_say_is_refused(n: list[int], c: list[int], ks: list[int], words: str) -> None:
    with pytest.raises(MetricError, match=words):
        extrapolate(n, c, ks, np.random.default_rng(0))


def test_problems_that_are_always_solved_do_not_break_a_fit() -> None:
    for method in Method:
        assert carried(np.full(30, 16), np.full(30, 16), method, np.array([32])).value[0] == pytest.approx(1, abs=1e-3)


def as_tally(n: list[int], c: list[int]) -> Tally:
    ids = tuple(f"p{place}" for place in range(len(n)))
    return Tally(ids, np.array(n), np.array(c), np.zeros(len(n), dtype=np.int64))


def test_every_method_gives_a_number_with_its_interval_and_a_row() -> None:
    tally = as_tally([16] * 20, [0, 1, 2, 3] * 5)
    found = beyond_n(tally, [32, 64], rng=np.random.default_rng(0), draws=20)
    assert set(found.scalars) == {f"extrapolated_pass_at_{k}_{method}" for k in (32, 64) for method in Method}
    expected = carried(tally.num_samples, tally.num_correct, Method.BETA_BINOMIAL, np.array([32, 64]))
    at_64 = found.scalars["extrapolated_pass_at_64_beta_binomial"]
    assert isinstance(at_64, Estimate)
    assert at_64.value == pytest.approx(expected.value[1])
    assert at_64.low < at_64.value < at_64.high
    [table] = found.tables
    assert len(table.rows) == 6
    assert "trust none" in found.notes[-1]


def test_what_the_counts_turn_out_not_to_allow_is_said_instead() -> None:
    lost = as_tally([16] * 20, [0] * 20)
    assert "no problem was ever solved" in beyond_n(lost, [32], rng=np.random.default_rng(0)).notes[0]
    short = as_tally([4] * 20, [1] * 20)  # failed judgements left fewer samples than were asked for
    found = beyond_n(short, [3, 500], rng=np.random.default_rng(0))
    assert not found.scalars
    assert [note.split()[0] for note in found.notes] == ["pass@3", "pass@500"]


@pytest.mark.parametrize(
    ("ks", "words"), [([16], "is measured"), ([1601], "draw more"), ([True], "whole"), (["32"], "whole")]
)
def test_k_that_so_many_samples_cannot_tell_are_refused_early(ks: list[int], words: str) -> None:
    check_reach([17, 1600], 16)
    with pytest.raises(MetricError, match=words):
        check_reach(ks, 16)
