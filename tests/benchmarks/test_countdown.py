"""The embedded study's benchmark: disjoint splits, the same draw everywhere, demonstrations of `train` only."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations_with_replacement

import pytest

from kurve.benchmarks.cells import content_id
from kurve.benchmarks.countdown import SPLITS, Task, load, reductions, solved, split_of
from kurve.benchmarks.countdown_solver import count_solutions, solutions
from kurve.errors import ConfigError
from kurve.types import Answer, Demonstration, Outcome, Problem, Sample
from kurve.verifiers.countdown import CountdownVerifier

GOLDEN = {  # ids at seed 0; other ones orphan every stored sample, so a change needs a new VERSION
    "train": ["cd19b4081fdbe40f", "cf900e0a0d360464", "365a18234a269f45"],
    "tuning": ["b9da9a50dad52e3a", "03eb771314c16324", "f7495b7e13ee1896"],
    "test": ["52d1157763b4a5f5", "d2e0c9717385465d", "fe727223e95cc866"],
}
SIZES = {"train": 39_198, "tuning": 13_124, "test": 13_207}  # problems that have a solution


def task_of(question: str) -> Task:
    numbers, target = question.removesuffix(" :").split(" -> ")
    return Task(tuple(map(int, numbers.split())), int(target))


def all_correct(items: Sequence[tuple[Problem, str]]) -> bool:
    samples = [(problem, Sample(problem.id, index, text, "stop", 1)) for index, (problem, text) in enumerate(items)]
    return {verdict.outcome for verdict in CountdownVerifier().verify(samples)} == {Outcome.CORRECT}


def teach_train_only(demonstrations: Sequence[Demonstration]) -> bool:
    """Whether each solves a problem of `train`, under the id that the benchmark gives it."""
    items = []
    for one in demonstrations:
        question = one.prompt.text
        target = str(task_of(question).target)
        items.append((Problem(one.prompt.problem_id, question, Answer((target,), raw=target)), one.response))
        assert split_of(task_of(question)) == "train"
        assert one.prompt.problem_id == content_id(question)
    return all_correct(items)


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_problems_are_drawn_everywhere(split: str) -> None:
    drawn = load(split=split, num_problems=3)
    assert [problem.id for problem in drawn.problems] == GOLDEN[split]
    assert drawn.revision == f"1-{split}-all-0"


def test_the_same_problems_with_few_solutions_are_drawn_everywhere() -> None:
    drawn = load(num_problems=3, max_solutions=6, seed=1, num_samples=64)
    assert [problem.id for problem in drawn.problems] == ["ba081ce5088581ed", "8b77f7702f3168f3", "35b06d38e5d7e141"]
    assert (drawn.revision, drawn.num_samples) == ("1-test-6-1", 64)


def test_every_problem_is_in_one_split_only() -> None:
    """Also for a reader that does not see blanks, as the check for overlapping training data."""
    ids, questions, squeezed = set(), set(), set()
    for split, size in SIZES.items():
        problems = load(split=split, num_problems=size).problems
        assert {split_of(task_of(problem.question)) for problem in problems} == {split}
        ids |= {problem.id for problem in problems}
        questions |= {problem.question for problem in problems}
        squeezed |= {problem.question.replace(" ", "") for problem in problems}
    assert len(ids) == len(questions) == len(squeezed) == sum(SIZES.values())


def test_the_splits_together_are_all_problems_that_can_be_solved() -> None:
    states = combinations_with_replacement(range(1, 13), 4)
    assert sum(len(count_solutions(state)) for state in states) == sum(SIZES.values())


def test_a_problem_has_the_split_of_its_numbers_in_any_order() -> None:
    tasks = [task_of(problem.question) for problem in load(num_problems=500).problems]
    assert {split_of(Task(tuple(reversed(task.numbers)), task.target)) for task in tasks} == {"test"}
    assert all(tuple(sorted(task.numbers)) == task.numbers for task in tasks)


def test_splits_are_as_large_as_they_say() -> None:
    tasks = [Task(numbers, target) for numbers in ((1, 2, 3, 4), (2, 5, 7, 11)) for target in range(1, 10_000)]
    counts = Counter(map(split_of, tasks))
    for split, (low, high) in SPLITS.items():
        assert counts[split] / len(tasks) == pytest.approx(high - low, abs=0.015)


def test_every_solution_of_every_problem_is_correct() -> None:
    for split in SPLITS:
        problems = load(split=split, num_problems=200).problems
        pairs = [(problem, chain) for problem in problems for chain in solutions(*task_of(problem.question))]
        assert {problem.id for problem, _ in pairs} == {problem.id for problem in problems}
        assert all_correct(pairs)


def test_problems_are_four_numbers_to_12_and_a_target_to_99() -> None:
    problems = load(num_problems=2_000).problems
    for problem in problems:
        assert re.fullmatch(r"(\d+ ){4}-> \d+ :", problem.question)
        task = task_of(problem.question)
        assert all(1 <= number <= 12 for number in task.numbers)
        assert 1 <= task.target <= 99
        assert problem.reference == Answer((str(task.target),), raw=str(task.target))
    numbers = Counter(number for problem in problems for number in task_of(problem.question).numbers)
    assert set(numbers) == set(range(1, 13))


def test_more_problems_keep_the_first_ones_and_another_seed_draws_others() -> None:
    few, more, other = load(num_problems=50), load(num_problems=300), load(num_problems=50, seed=1)
    assert more.problems[:50] == few.problems
    assert len({problem.id for problem in few.problems} & {problem.id for problem in other.problems}) < 5
    assert few.revision == more.revision != other.revision


@pytest.mark.parametrize("most", [1, 6, 40])
def test_no_problem_has_more_solutions_than_asked_for(most: int) -> None:
    tasks = [task_of(problem.question) for problem in load(num_problems=300, max_solutions=most).problems]
    counts = [count_solutions(task.numbers)[task.target] for task in tasks]
    assert max(counts) == most
    free = [task_of(problem.question) for problem in load(num_problems=300).problems]
    assert max(count_solutions(task.numbers)[task.target] for task in free) > 40


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "dev"}, r"benchmark\.split is 'dev'; expected one of train, tuning, test"),
        ({"num_problems": 0}, r"benchmark\.num_problems is 0"),
        ({"num_problems": True}, r"benchmark\.num_problems is True"),
        ({"num_problems": 1_000_000}, "split test has 13207 problems; ask for fewer"),
        ({"num_problems": 100_000, "max_solutions": 2}, r"\d+ problems with at most 2 solutions; ask for fewer"),
        ({"max_solutions": 0}, r"benchmark\.max_solutions is 0"),
        ({"seed": -1}, r"benchmark\.seed is -1"),
        ({"num_samples": 0}, r"benchmark\.num_samples is 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(**settings)  # type: ignore[arg-type]  # that is the point


def test_reductions_teach_problems_of_train_only() -> None:
    found = reductions(count=20_000)
    assert len(found) == 20_000
    assert teach_train_only(found)


def test_the_seed_decides_the_reductions_and_more_of_them_keep_the_first_ones() -> None:
    first = reductions(count=100, seed=3)
    assert reductions(count=6_000, seed=3)[:100] == first
    assert reductions(count=100, seed=4) != first


def test_weights_make_an_operator_rare() -> None:
    def shares(weights: tuple[float, ...]) -> Counter[str]:
        found = reductions(count=4_000, weights=weights)
        return Counter(sign for one in found for sign in re.findall(r" ([-+*/]) ", one.response))

    usual, divided = shares((6.0, 3.0, 3.0, 0.6)), shares((1.0, 1.0, 1.0, 100.0))
    assert usual["+"] > 1.3 * usual["-"] > 1.3 * 4 * usual["/"]
    assert divided["/"] > 10 * usual["/"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, r"data\.count is 0"),
        ({"count": 5, "seed": -1}, r"data\.seed is -1"),
        ({"count": 5, "weights": (1.0, 1.0, 1.0)}, r"data\.weights is \[1\.0, 1\.0, 1\.0\]; expected four numbers"),
        ({"count": 5, "weights": (1.0, 0.0, 1.0, 1.0)}, r"data\.weights"),
        ({"count": 5, "weights": (1.0, float("nan"), 1.0, 1.0)}, r"data\.weights"),
    ],
)
def test_reductions_out_of_range_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        reductions(**settings)  # type: ignore[arg-type]  # that is the point


def test_solved_problems_are_of_train_and_each_solution_is_another() -> None:
    found = solved(num_problems=300, per_problem=4, max_solutions=6)
    assert teach_train_only(found)
    by_problem = Counter(one.prompt.text for one in found)
    assert len(by_problem) == 300
    assert len(set(found)) == len(found)
    for question, times in by_problem.items():
        task = task_of(question)
        number = count_solutions(task.numbers)[task.target]
        assert number <= 6
        assert times == min(4, number)


def test_the_problems_solved_are_the_first_of_the_benchmark() -> None:
    found = solved(num_problems=20, max_solutions=6, seed=5)
    assert [one.prompt.problem_id for one in found] == [
        problem.id for problem in load(split="train", num_problems=20, max_solutions=6, seed=5).problems
    ]


def test_rounds_choose_the_solutions_anew_and_seeds_other_problems() -> None:
    once, twice = solved(num_problems=100), solved(num_problems=100, rounds=2)
    assert twice[:100] == once
    assert [one.prompt for one in twice[100:]] == [one.prompt for one in once]
    changed = [a.response != b.response for a, b in zip(once, twice[100:], strict=True)]
    assert sum(changed) > 50
    assert solved(num_problems=100, seed=1)[0].prompt != once[0].prompt


@pytest.mark.parametrize("key", ["num_problems", "per_problem", "rounds", "max_solutions"])
def test_solutions_out_of_range_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.{key} is 0"):
        solved(**{"num_problems": 5, key: 0})
