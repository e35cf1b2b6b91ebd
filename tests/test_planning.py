"""Arithmetic on what is known, and nothing made up for what is not."""

import json
import math

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.planning import Amount, Rates, Work, as_json, costs, mean_length, total

UNKNOWN = Amount(source="give it")


def work(missing: int = 1000, unjudged: int = 1200) -> Work:
    """An evaluation of 10 problems."""
    return Work(
        label="a",
        model="m",
        benchmark="b",
        store="0123456789ab",
        problems=10,
        num_samples=128,
        stored=280,
        missing=missing,
        unjudged=unjudged,
        max_tokens=100,
        prompt_tokens=Amount(50.0),
        prompt_tokens_each=Amount(5000.0),
        half_width=Amount(0.1),
    )


def rates(
    *,
    tokens: Amount = UNKNOWN,
    speed: Amount = UNKNOWN,
    gpus: int = 1,
    processes: int = 1,
    price: float | None = None,
    seconds: Amount = UNKNOWN,
) -> Rates:
    """What a sample costs, as far as it is given."""
    return Rates(tokens, speed, gpus, processes, Amount(1.5), seconds, price, tracked_share=0.5)


def test_gpu_hours_are_tokens_by_speed_and_all_else_follows() -> None:
    given = rates(tokens=Amount(36.0), speed=Amount(5.0), gpus=2, processes=4, price=3.0, seconds=Amount(9.0))
    found = costs(work(), given)
    assert found.tokens.value == 36_000
    assert found.process_hours.value == pytest.approx(1.0)  # 36,000 tokens at 10 a second
    assert found.gpu_hours.value == pytest.approx(2.0)
    assert found.wall_hours.value == pytest.approx(0.25)
    assert found.price.value == pytest.approx(6.0)
    assert found.stored_bytes.value == pytest.approx(54_000)
    assert found.tracked_bytes.value == pytest.approx(27_000)
    assert found.verification_hours.value == pytest.approx(3.0)  # of stored samples without a verdict too


def test_an_interval_is_carried_through_and_a_bound_too() -> None:
    found = costs(work(), rates(tokens=Amount(36.0, 30.0, 42.0, 100.0), speed=Amount(10.0)))
    hours = found.gpu_hours
    assert (hours.value, hours.low, hours.high) == pytest.approx((1.0, 30 / 36, 42 / 36))
    assert hours.at_most == pytest.approx(100 / 36)


def test_what_follows_from_something_unknown_is_unknown_and_says_what_to_give() -> None:
    without_speed = costs(work(), rates(tokens=Amount(36.0)))
    assert without_speed.tokens.value == 36_000
    assert without_speed.gpu_hours == without_speed.wall_hours == UNKNOWN
    assert without_speed.verification_hours == UNKNOWN
    assert without_speed.price.value is None
    without_length = costs(work(), rates(tokens=Amount(at_most=100.0, source="give it"), speed=Amount(10.0)))
    assert without_length.gpu_hours.value is None
    assert without_length.gpu_hours.at_most == pytest.approx(100_000 / 36_000)
    assert without_length.gpu_hours.source == "give it"
    assert without_length.stored_bytes.at_most == pytest.approx(150_000)


def test_nothing_to_draw_costs_nothing_whatever_is_unknown() -> None:
    found = costs(work(missing=0, unjudged=0), rates())
    for amount in (found.tokens, found.gpu_hours, found.wall_hours, found.stored_bytes, found.verification_hours):
        assert amount.value == 0


def test_a_processor_takes_no_gpu_hours() -> None:
    found = costs(work(), rates(tokens=Amount(36.0), speed=Amount(10.0), gpus=0))
    assert found.process_hours.value == pytest.approx(1.0)
    assert found.gpu_hours.value == 0


def test_a_sum_is_known_only_if_its_parts_are() -> None:
    assert total([Amount(1.0, 0.5, 1.5), Amount(2.0)]) == Amount(3.0, 2.5, 3.5)
    assert total([Amount(1.0), UNKNOWN]).value is None
    assert total([Amount(1.0), UNKNOWN]).source == "give it"
    bounded = total([Amount(1.0), Amount(at_most=4.0, source="give it")])
    assert (bounded.value, bounded.at_most) == (None, 5.0)
    assert total([Amount(0.0), Amount(2.0)]) == Amount(2.0)


def test_the_mean_length_of_other_problems_varies_as_the_measured_problems_do() -> None:
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        means = rng.normal(100, 20, size=40)
        held = {str(i): np.round(rng.normal(m, 5, size=4)).astype(np.int64) for i, m in enumerate(means)}
        found = mean_length(held, ["new"], longest=1000)
        assert found.low is not None
        assert found.high is not None
        inside.append(found.low <= 100 <= found.high)
    assert 0.9 <= np.mean(inside) <= 0.99


def test_the_mean_length_of_measured_problems_varies_only_as_their_samples_do() -> None:
    held = {"a": np.array([10, 12]), "b": np.array([100, 104])}
    same, other = mean_length(held, ["a", "b"], longest=1000), mean_length(held, ["a", "c"], longest=1000)
    assert same.value == other.value == pytest.approx(56.5)
    assert same.high is not None
    assert same.high - 56.5 == pytest.approx(1.96 * math.sqrt(2 / 2 + 8 / 2) / 2)
    assert other.high is not None
    assert other.high > 100  # two problems say little of a third
    subset = mean_length(held, ["a"], longest=1000)
    assert subset.value == 11


def test_one_problem_gives_no_interval_and_none_is_an_error() -> None:
    found = mean_length({"a": np.array([10, 12])}, ["b"], longest=1000)
    assert (found.value, found.low, found.high, found.at_most) == (11, None, None, 1000)
    with pytest.raises(MetricError, match="no samples"):
        mean_length({}, ["b"], longest=1000)


def test_no_interval_reaches_beyond_the_longest_sample() -> None:
    found = mean_length({"a": np.array([1, 1]), "b": np.array([100, 100])}, ["c"], longest=100)
    assert found.low == 0
    assert found.high == 100


def test_the_numbers_for_programs_have_null_for_the_unknown_and_every_source() -> None:
    document = json.loads(
        json.dumps(as_json(costs(work(), rates(tokens=Amount(36.0, source="given")))), allow_nan=False)
    )
    assert document["missing"] == 1000
    assert document["tokens_per_sample"] == {
        "value": 36.0,
        "low": None,
        "high": None,
        "at_most": None,
        "source": "given",
    }
    assert document["gpu_hours"]["value"] is None
    assert document["gpu_hours"]["source"] == "give it"
