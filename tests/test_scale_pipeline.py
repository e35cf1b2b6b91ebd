"""The simulation keeps to its resources, its order and its sums."""

from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.bench_scale import fit
from benchmarks.scale_costs import Point
from benchmarks.scale_pipeline import Setup, Task, Unit, ends, simulate

UNIT = Unit(merge=1e-4, judge=5e-5, grade=1e-3, report=6e-5, band=1e-3, track=1.0)
SMALL = Setup(models=3, problems=100, samples=100, tokens_spread=0.0, shards=4, gpus=2, cores=6)


def at_once(tasks: list[Task], resource: str) -> int:
    """The most of a resource that is taken at one time."""
    moments = [(task.ended - task.seconds, task.amount) for task in tasks if task.resource == resource]
    moments += [(task.ended, -task.amount) for task in tasks if task.resource == resource]
    held = most = 0
    for _, change in sorted((round(when, 6), change) for when, change in moments):
        held += change
        most = max(most, held)
    return most


def test_no_more_is_taken_than_there_is_and_nothing_starts_before_what_it_follows() -> None:
    tasks = simulate(SMALL, UNIT)
    assert Counter(task.stage for task in tasks) == {"draw": 12, "merge": 3, "verify": 3, "report": 3, "track": 3}
    assert at_once(tasks, "gpu") == 2
    assert at_once(tasks, "core") <= 6
    assert at_once(tasks, "server") == 1
    for task in tasks:
        assert all(task.ended - task.seconds >= tasks[before].ended - 1e-6 for before in task.follows)


def test_drawing_takes_the_tokens_by_the_speed_of_all_gpus() -> None:
    shard = SMALL.engine_start + 2500 * SMALL.tokens / SMALL.tokens_per_second
    assert ends(simulate(SMALL, UNIT))["draw"] == pytest.approx(6 * shard)
    many = replace(SMALL, gpus=12)
    assert ends(simulate(many, UNIT))["draw"] == pytest.approx(shard)


def test_the_last_model_s_stages_follow_its_last_shard() -> None:
    found = ends(simulate(replace(SMALL, gpus=1), UNIT))
    verify = 10_000 * UNIT.grade / 2  # six cores among three models
    after = 10_000 * UNIT.merge + verify + 10_000 * UNIT.report + 100 * UNIT.band + UNIT.track
    assert found["track"] - found["draw"] == pytest.approx(after)


def test_a_line_is_found_again_with_its_error() -> None:
    points = [Point("append", 1, n, 2.0 + 1e-3 * n, 0, 0) for n in (1_000, 10_000, 100_000)]
    line = fit(points, "seconds")
    assert (line.start, line.each) == pytest.approx((2.0, 1e-3))
    assert line.error == pytest.approx(0.0, abs=1e-9)
    assert line.at(1_000_000) == pytest.approx(1_002.0)
