import math

import pytest

from kurve.errors import DataError
from kurve.importers.grades import choose, outcome_of
from kurve.types import Outcome


@pytest.mark.parametrize("value", [True, 1, 1.0, "1", "TRUE", " pass ", "correct"])
def test_right(value: object) -> None:
    assert outcome_of(value, "here", "score") is Outcome.CORRECT


@pytest.mark.parametrize("value", [None, "", math.nan])
def test_no_verdict(value: object) -> None:
    assert outcome_of(value, "here", "score") is None


@pytest.mark.parametrize("value", [0.5, 2, "maybe", [1], {"a": 1}])
def test_what_is_no_verdict_on_one_sample_is_refused(value: object) -> None:
    with pytest.raises(DataError, match=r"line 3: score is .*; expected the verdict on one sample"):
        outcome_of(value, "line 3", "score")


def test_the_judge_is_the_one_wanted_or_preferred_or_the_first() -> None:
    assert choose(("a", "b"), None, ("b",), "here") == "b"
    assert choose(("a", "b"), None, (), "here") == "a"
    assert choose(("a", "b"), "a", ("b",), "here") == "a"
    assert choose((), None, ("b",), "here") == ""
