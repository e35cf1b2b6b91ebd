"""Word problems made on the spot: a benchmark that needs no download and no file."""

import math
from collections.abc import Callable, Iterator
from itertools import count, islice

import numpy as np

from kurve.benchmarks.cells import content_id
from kurve.benchmarks.rows import Benchmark
from kurve.errors import ConfigError
from kurve.types import Answer, Problem

MAX_PROBLEMS = 5_000  # the shortest kinds have few thousand distinct ones
LARGEST_ANSWER = 99  # from 1
VERSION = "1"  # raised when the problems of a number change: their ids and stores then change too
_NAMES = ("Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gina", "Hugo")
_THINGS = ("apples", "books", "marbles", "coins", "pencils", "stamps", "shells", "cards")


def load(*, name: str = "arithmetic", limit: int | None = 64, num_samples: int = 16) -> Benchmark:
    """The first `limit` problems of a fixed sequence of one- and two-step word problems, None for all 5,000.

    Answers are whole numbers from 1 to 99, which is also what a guess may choose from. It measures plumbing and very
    small models; a model of 1B parameters or more solves nearly all of it.

    Raises:
        ConfigError: `limit` is not a whole number from 1 to 5,000, or `num_samples` none from 1.
    """
    limit = MAX_PROBLEMS if limit is None else limit
    for key, value, most in (("limit", limit, MAX_PROBLEMS), ("num_samples", num_samples, math.inf)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ConfigError(f"benchmark.{key} is {value!r}; expected a whole number from 1 to {most:,}")
    problems = tuple(islice(_problems(), limit))
    return Benchmark(
        name=name,
        problems=problems,
        revision=VERSION,
        source="kurve.benchmarks.arithmetic",
        num_samples=num_samples,
        answer_space=LARGEST_ANSWER,
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
