"""A simulation of drawing, merging, verifying and reporting 10^8 samples, from what one sample costs.

Shards wait for GPUs, a model's stages for one another, all of it for processors: tasks that start as soon as what they
follow is done and their resource is free, in order. Times are seconds.
"""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

STAGES = ("draw", "merge", "verify", "report", "track")


@dataclass(frozen=True, slots=True)
class Unit:
    """What one sample costs, in seconds of a processor unless the name says otherwise."""

    merge: float
    judge: float  # reading it and storing its verdict, in the one process that does
    grade: float  # the verdict itself, in worker processes
    report: float
    band: float  # seconds a problem
    track: float  # seconds a report


@dataclass(frozen=True, slots=True)
class Setup:
    """The study and the machines."""

    models: int = 10
    problems: int = 10_000
    samples: int = 1_024  # of a problem
    tokens: float = 700.0  # of a sample
    tokens_spread: float = 600.0  # standard deviation of a sample's tokens
    tokens_per_second: float = 2_500.0  # of a GPU
    engine_start: float = 120.0  # of a shard
    shards: int = 128  # of a model
    gpus: int = 64
    cores: int = 64  # for everything but drawing


@dataclass(slots=True)
class Task:
    """Something that takes a resource for a time, once what it follows is done."""

    stage: str
    model: int
    resource: str
    amount: int
    seconds: float
    follows: Sequence[int] = ()  # numbers of earlier tasks
    ended: float = field(default=0.0)


def simulate(setup: Setup, unit: Unit, *, seed: int = 0) -> list[Task]:
    """All tasks with when they ended."""
    tasks = _tasks(setup, unit, np.random.default_rng(seed))
    return _run(tasks, {"gpu": setup.gpus, "core": setup.cores, "server": 1})


def ends(tasks: Sequence[Task]) -> dict[str, float]:
    """When the last task of each stage ended."""
    last: dict[str, float] = defaultdict(float)
    for task in tasks:
        last[task.stage] = max(last[task.stage], task.ended)
    return dict(last)


def _tasks(setup: Setup, unit: Unit, rng: np.random.Generator) -> list[Task]:
    tasks: list[Task] = []
    of_model = setup.problems * setup.samples
    of_shard = of_model / setup.shards
    mean = of_shard * setup.tokens
    spread = setup.tokens_spread * np.sqrt(of_shard)
    for model in range(setup.models):
        first = len(tasks)
        for tokens in rng.normal(mean, spread, setup.shards):
            seconds = setup.engine_start + float(tokens) / setup.tokens_per_second
            tasks.append(Task("draw", model, "gpu", 1, seconds))
        workers = max(setup.cores // setup.models, 1)
        verifying = of_model * max(unit.judge, unit.grade / workers)
        reporting = of_model * unit.report + setup.problems * unit.band
        shards = range(first, len(tasks))
        for stage, resource, amount, seconds in (
            ("merge", "core", 1, of_model * unit.merge),
            ("verify", "core", workers, verifying),
            ("report", "core", 1, reporting),
            ("track", "server", 1, unit.track),
        ):
            follows = shards if stage == "merge" else (len(tasks) - 1,)
            tasks.append(Task(stage, model, resource, amount, seconds, follows))
    return tasks


def _run(tasks: list[Task], free: dict[str, int]) -> list[Task]:
    """Start every task as early as its turn allows: of those that wait for one resource the first goes first."""
    waits_for = [len(task.follows) for task in tasks]
    followers: dict[int, list[int]] = defaultdict(list)
    for number, task in enumerate(tasks):
        for before in task.follows:
            followers[before].append(number)
    ready: Mapping[str, list[int]] = {resource: [] for resource in free}
    for number, task in enumerate(tasks):
        if not task.follows:
            heapq.heappush(ready[task.resource], number)
    running: list[tuple[float, int]] = []
    now = 0.0
    while True:
        for resource, queue in ready.items():
            while queue and tasks[queue[0]].amount <= free[resource]:
                number = heapq.heappop(queue)
                free[resource] -= tasks[number].amount
                heapq.heappush(running, (now + tasks[number].seconds, number))
        if not running:
            return tasks
        now, number = heapq.heappop(running)
        tasks[number].ended = now
        free[tasks[number].resource] += tasks[number].amount
        for follower in followers[number]:
            waits_for[follower] -= 1
            if not waits_for[follower]:
                heapq.heappush(ready[tasks[follower].resource], follower)
