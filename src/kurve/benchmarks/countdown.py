"""Countdown: four numbers from 1 to 12 and a target to be reached with + - * /, each number used once.

The benchmark of the embedded study: no download, an exact verifier, and problems hard enough for a model of 0.34M
parameters. Which split a problem belongs to is a hash of its numbers and target: train, tuning and test share none.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np

from kurve.benchmarks.cells import content_id
from kurve.benchmarks.countdown_solver import State, Weights, count_solutions, random_reduction, solutions
from kurve.benchmarks.rows import Benchmark
from kurve.errors import ConfigError
from kurve.types import Answer, Demonstration, Problem, Prompt

SPLITS = {"train": (0.0, 0.6), "tuning": (0.6, 0.8), "test": (0.8, 1.0)}  # ranges of a problem's hash
VERSION = "1"  # raised when a split or the choice of a seed changes
_MOST = 12  # of the numbers given
_GIVEN = 4  # numbers
_DRAWN_AT_ONCE = 4_096


class Task(NamedTuple):
    """What a problem asks."""

    numbers: State
    target: int

    @property
    def question(self) -> str:
        """As the model is asked: `4 7 7 8 -> 32 :`."""
        return f"{' '.join(map(str, self.numbers))} -> {self.target} :"


def load(
    *,
    name: str = "countdown",
    split: str = "test",
    num_problems: int = 256,
    min_solutions: int = 1,
    max_solutions: int | None = None,
    seed: int = 0,
    num_samples: int = 256,
) -> Benchmark:
    """Problems of a split, drawn without replacement.

    Args:
        name: what the benchmark is called in reports.
        split: train, tuning or test.
        num_problems: how many; the first ones stay when there are more.
        min_solutions: only problems with at least so many chains of equations.
        max_solutions: only problems with at most so many; None takes all.
        seed: which problems are drawn.
        num_samples: the benchmark's budget, samples a problem.

    Raises:
        ConfigError: a setting is no such number, the split does not exist or has fewer problems.
    """
    _check_whole("benchmark.num_samples", num_samples, least=1)
    tasks = _draw("benchmark", split, num_problems, (min_solutions, max_solutions), seed=seed)
    solutions_allowed = (
        f"{min_solutions}to{max_solutions or 'all'}" if min_solutions > 1 else str(max_solutions or "all")
    )
    return Benchmark(
        name=name,
        problems=tuple(map(_problem, tasks)),
        revision=f"{VERSION}-{split}-{solutions_allowed}-{seed}",
        source="kurve.benchmarks.countdown",
        num_samples=num_samples,
    )


def reductions(
    *, count: int, seed: int = 0, weights: Sequence[float] = (6.0, 3.0, 3.0, 0.6)
) -> Sequence[Demonstration]:
    """Random chains from random numbers, each shown as the solution of where it ended: only problems of `train`.

    They teach how a chain is written and that its arithmetic holds, with little about how to choose: easy targets
    are frequent, and each problem's solutions appear as often as chance finds them.

    Args:
        count: how many; the same problem or chain may occur again.
        seed: of the numbers and choices.
        weights: of the operators + - * /, among those possible with two numbers.

    Raises:
        ConfigError: a setting is out of range.
    """
    _check_whole("data.count", count, least=1)
    if len(weights) != 4 or not all(0 < weight < float("inf") for weight in weights):
        raise ConfigError(f"data.weights is {list(weights)}; expected four numbers above 0, for + - * /")
    chances: Weights = (weights[0], weights[1], weights[2], weights[3])
    rng = _rng("data.seed", seed)
    found: list[Demonstration] = []
    while len(found) < count:
        for row in np.sort(rng.integers(1, _MOST + 1, size=(_DRAWN_AT_ONCE, _GIVEN))).tolist():
            chain, target = random_reduction(tuple(row), rng, weights=chances)
            task = Task(tuple(row), target)
            if split_of(task) == "train":
                found.append(_demonstration(task, chain))
    return tuple(found[:count])


def solved(
    *,
    num_problems: int,
    per_problem: int = 1,
    max_solutions: int | None = None,
    seed: int = 0,
    rounds: int = 1,
) -> Sequence[Demonstration]:
    """Solutions of problems of `train`, found by search.

    Args:
        num_problems: how many problems.
        per_problem: different solutions of each at most, chosen at random.
        max_solutions: only problems with at most so many; None takes all.
        seed: which problems and solutions.
        rounds: times that the solutions of a problem are chosen anew.

    Raises:
        ConfigError: a setting is out of range.
    """
    for key, value in (("per_problem", per_problem), ("rounds", rounds)):
        _check_whole(f"data.{key}", value, least=1)
    rng = _rng("data.seed", seed)
    found = []
    tasks = _draw("data", "train", num_problems, (1, max_solutions), seed=seed)
    for _ in range(rounds):
        for task in tasks:
            chains = solutions(task.numbers, task.target)
            chosen = rng.permutation(len(chains))[:per_problem]
            found += [_demonstration(task, chains[place]) for place in chosen]
    return tuple(found)


def split_of(task: Task) -> str:
    """The split that a problem belongs to, whatever its numbers' order."""
    digest = hashlib.sha256(f"countdown {Task(tuple(sorted(task.numbers)), task.target).question}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return next(split for split, (_, high) in SPLITS.items() if place < high or split == "test")


@lru_cache(maxsize=3)
def _tasks(split: str) -> list[tuple[Task, int]]:
    """All problems of a split that have a solution, each with the number of its solutions."""
    return [
        (task, number)
        for numbers in combinations_with_replacement(range(1, _MOST + 1), _GIVEN)
        for target, number in sorted(count_solutions(numbers).items())
        if split_of(task := Task(numbers, target)) == split
    ]


def _draw(key: str, split: str, num_problems: int, allowed: tuple[int, int | None], *, seed: int) -> list[Task]:
    """Problems of a split with so many solutions, from the fewest to the most; None sets no limit."""
    fewest, most = allowed
    if split not in SPLITS:
        raise ConfigError(f"{key}.split is {split!r}; expected one of {', '.join(SPLITS)}")
    _check_whole(f"{key}.num_problems", num_problems, least=1)
    _check_whole(f"{key}.min_solutions", fewest, least=1)
    if most is not None:
        _check_whole(f"{key}.max_solutions", most, least=fewest)
    tasks = [task for task, number in _tasks(split) if fewest <= number and (most is None or number <= most)]
    if num_problems > len(tasks):
        bounds = [f" with at least {fewest} solutions"] * (fewest > 1)
        bounds += [f" with at most {most} solutions"] if most is not None else []
        raise ConfigError(
            f"{key}.num_problems is {num_problems}, but split {split} has {len(tasks)} problems"
            f"{' and'.join(bounds)}; ask for fewer"
        )
    return [tasks[place] for place in _rng(f"{key}.seed", seed).permutation(len(tasks))[:num_problems]]


def _problem(task: Task) -> Problem:
    target = str(task.target)
    return Problem(content_id(task.question), task.question, Answer((target,), raw=target))


def _demonstration(task: Task, chain: str) -> Demonstration:
    question = task.question
    return Demonstration(Prompt(content_id(question), question), chain)


def _rng(key: str, seed: int) -> np.random.Generator:
    _check_whole(key, seed, least=0)
    return np.random.default_rng(seed)


def _check_whole(key: str, value: object, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{key} is {value!r}; expected a whole number, {least} or more")
