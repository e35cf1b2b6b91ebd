"""Word problems made on the spot: a benchmark that needs no download and no file."""

from collections.abc import Callable, Iterator
from itertools import count, islice

import numpy as np

from kurve.benchmarks.cells import content_id
from kurve.benchmarks.rows import Benchmark
from kurve.errors import ConfigError
from kurve.types import Answer, Problem

VERSION = "1"  # raised when the problems of a number change: their ids and stores then change too
_NAMES = ("Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gina", "Hugo")
_THINGS = ("apples", "books", "marbles", "coins", "pencils", "stamps", "shells", "cards")


def load(*, name: str = "arithmetic", limit: int = 64, num_samples: int = 16) -> Benchmark:
    """The first `limit` problems of an endless, fixed sequence of one- and two-step word problems.

    Answers are whole numbers from 1 to 99. It measures plumbing and very small models; a model of 1B parameters or
    more solves nearly all of it.

    Raises:
        ConfigError: `limit` or `num_samples` is not a whole number, 1 or more.
    """
    for key, value in (("limit", limit), ("num_samples", num_samples)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"benchmark.{key} is {value!r}; expected a whole number, 1 or more")
    problems = tuple(islice(_problems(), limit))
    return Benchmark(
        name=name, problems=problems, revision=VERSION, source="kurve.benchmarks.arithmetic", num_samples=num_samples
    )


def _problems() -> Iterator[Problem]:
    """Distinct problems without end, the same in every process."""
    seen = set()
    for number in count():
        rng = np.random.default_rng([int(VERSION), number])
        question, answer = _KINDS[number % len(_KINDS)](rng)
        problem_id = content_id(question)
        if problem_id not in seen:
            seen.add(problem_id)
            yield Problem(problem_id, question, Answer((str(answer),), raw=str(answer)))


def _who_what(rng: np.random.Generator) -> tuple[str, str]:
    return str(rng.choice(_NAMES)), str(rng.choice(_THINGS))


def _gain(rng: np.random.Generator) -> tuple[str, int]:
    (who, what), (have, more) = _who_what(rng), rng.integers(2, 30, size=2)
    return f"{who} has {have} {what} and gets {more} more. How many {what} does {who} have now?", int(have + more)


def _loss(rng: np.random.Generator) -> tuple[str, int]:
    (who, what), (left, gone) = _who_what(rng), rng.integers(2, 30, size=2)
    question = f"{who} has {left + gone} {what} and gives {gone} of them away. How many {what} are left?"
    return question, int(left)


def _boxes(rng: np.random.Generator) -> tuple[str, int]:
    (who, what), (boxes, each) = _who_what(rng), rng.integers(2, 10, size=2)
    return f"{who} fills {boxes} boxes with {each} {what} each. How many {what} is that?", int(boxes * each)


def _share(rng: np.random.Generator) -> tuple[str, int]:
    (who, what), (friends, each) = _who_what(rng), rng.integers(2, 10, size=2)
    question = f"{who} shares {friends * each} {what} equally among {friends} friends. How many does each friend get?"
    return question, int(each)


def _boxes_and_loss(rng: np.random.Generator) -> tuple[str, int]:
    (who, what), (boxes, each) = _who_what(rng), rng.integers(2, 10, size=2)
    gone = int(rng.integers(1, boxes * each))
    question = f"{who} buys {boxes} bags of {each} {what} and loses {gone} of them. How many {what} does {who} keep?"
    return question, int(boxes * each - gone)


_KINDS: tuple[Callable[[np.random.Generator], tuple[str, int]], ...] = (_gain, _loss, _boxes, _share, _boxes_and_loss)
