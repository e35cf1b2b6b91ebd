"""The embedded benchmark: the same problems everywhere, each with the answer that its question asks for."""

import re

import pytest

from kurve.benchmarks.arithmetic import load
from kurve.errors import ConfigError


def test_more_problems_keep_the_first_ones() -> None:
    assert load(limit=40).problems[:8] == load(limit=8).problems


def test_every_answer_follows_from_the_numbers_of_its_question() -> None:
    for problem in load(limit=200).problems:
        numbers = [int(text) for text in re.findall(r"\d+", problem.question)]
        first, second = numbers[0], numbers[1]
        expected = {
            "more": first + second,
            "away": first - second,
            "boxes": first * second,
            "equally": first // second,
            "loses": first * second - numbers[-1],
        }
        [word] = [word for word in expected if re.search(rf"\b{word}\b", problem.question)]
        assert problem.reference.values == (str(expected[word]),)
        assert 1 <= expected[word] <= 99


@pytest.mark.parametrize("limit", [0, -1, 2.5, True, 5_001])
def test_a_limit_that_is_no_count_is_refused(limit: int) -> None:
    with pytest.raises(ConfigError, match=r"benchmark\.limit"):
        load(limit=limit)
