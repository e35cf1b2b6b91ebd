import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.token_entropy import TokenEntropies, entropy_difference, mean_token_entropy


def entropies(nats: list[float], tokens: list[float]) -> TokenEntropies:
    return TokenEntropies(np.array(nats), np.array(tokens))


def test_the_mean_is_over_tokens_and_not_over_problems() -> None:
    assert mean_token_entropy(entropies([10.0, 1.0], [10.0, 2.0])).value == pytest.approx(11 / 12)


def test_problems_with_the_same_entropy_a_token_have_no_spread_whatever_their_lengths() -> None:
    found = mean_token_entropy(entropies([1.0, 2.0, 4.0], [2.0, 4.0, 8.0]))
    assert found.low == found.value == found.high == 0.5


def test_with_equal_lengths_the_error_is_that_of_a_mean() -> None:
    values = np.array([0.2, 0.5, 0.9, 0.4])
    found = entropy_difference(entropies(list(10 * values), [10.0] * 4), entropies([0.0] * 4, [10.0] * 4))
    assert found.error == pytest.approx(values.std(ddof=1) / 2)


def test_a_model_paired_with_itself_differs_by_nothing_for_certain() -> None:
    own = entropies([1.0, 5.0, 2.0], [3.0, 7.0, 5.0])
    found = entropy_difference(own, own)
    assert (found.value, found.error, found.low, found.high) == (0, 0, 0, 0)


def test_the_interval_holds_the_true_ratio_in_95_of_100_draws() -> None:
    rng, inside = np.random.default_rng(0), 0
    for _ in range(1000):
        tokens = rng.integers(5, 60, 40).astype(float)
        nats = tokens * rng.gamma(2.0, 0.2 + 0.002 * tokens)  # longer responses have more entropy a token
        found = mean_token_entropy(TokenEntropies(nats, tokens))
        sizes = np.arange(5, 60)
        true = (sizes * 2.0 * (0.2 + 0.002 * sizes)).sum() / sizes.sum()
        inside += found.low <= true <= found.high
    assert 920 <= inside <= 975


@pytest.mark.parametrize(
    ("nats", "tokens", "said"),
    [
        ([1.0], [2.0], "at least 2 problems"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], "2 entropies and 3"),
        ([1.0, 2.0], [0.0, 0.0], "no tokens"),
        ([1.0, float("nan")], [1.0, 1.0], "finite"),
    ],
)
def test_what_has_no_entropy_is_refused(nats: list[float], tokens: list[float], said: str) -> None:
    with pytest.raises(MetricError, match=said):
        mean_token_entropy(entropies(nats, tokens))


def test_other_problems_cannot_be_paired() -> None:
    with pytest.raises(MetricError, match="cannot be paired"):
        entropy_difference(entropies([1.0, 2.0], [1.0, 1.0]), entropies([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]))
