"""Every gold of the six files verifies against itself, and those that parse only as strings are known."""

import multiprocessing
import signal
import threading
import time
from pathlib import Path

import pytest

from kurve.benchmarks.rows import Benchmark
from kurve.benchmarks.selfcheck import string_only
from kurve.types import Answer, Problem
from tests.benchmarks.configs import FILES, load_local

# Not understood by math-verify 0.9.0: \odot, a subscripted E (it is Euler's number), a sentence.
STRING_ONLY = {"minerva": 3, "olympiad": 1}
SLOW = {"olympiad": pytest.mark.slow}


def problem(*values: str) -> Problem:
    return Problem(id=values[0], question="?", reference=Answer(values=values, raw=""))


def unverified(benchmark: Benchmark) -> list[tuple[str, str]]:
    """Golds that math-verify does not accept as an answer to themselves."""
    from math_verify import parse, verify

    found = []
    for item in benchmark.problems:
        whole = ", ".join(item.reference.values)
        for text in {whole, *item.reference.values}:
            gold, response = parse(f"${text}$"), parse(f"The answer is $\\boxed{{{text}}}$.")
            if not verify(gold, response):
                found.append((item.id, text))
    return found


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in FILES])
def test_every_gold_verifies_against_itself(name: str, shared_data: Path) -> None:
    assert unverified(load_local(name, shared_data)) == []


@pytest.mark.parametrize("name", FILES)
def test_golds_that_parse_only_as_strings_are_reported(name: str, shared_data: Path) -> None:
    assert len(load_local(name, shared_data).string_only) == STRING_ONLY.get(name, 0)


def test_the_check_is_free_for_numbers_and_cached_for_the_rest(shared_data: Path) -> None:
    gsm8k = load_local("gsm8k", shared_data)
    start = time.process_time()
    assert gsm8k.string_only == ()
    assert time.process_time() - start < 0.5


def test_all_answers_of_a_problem_must_parse() -> None:
    assert string_only([problem("1", "E_{1}"), problem("2", "x")]) == ("1",)


@pytest.mark.parametrize("value", ["(" * 13 + "x" + ")" * 13, "x+" * 2_000 + "x", "an arbitrary integer", "("])
def test_what_the_parser_cannot_be_trusted_with_counts_as_a_string(value: str) -> None:
    start = time.process_time()
    assert string_only([problem(value)]) == (value,)
    assert time.process_time() - start < 5


def test_the_check_runs_off_the_main_thread_and_leaves_the_callers_alarm_alone() -> None:
    found: list[tuple[str, ...]] = []
    before = signal.getsignal(signal.SIGALRM)
    thread = threading.Thread(target=lambda: found.append(string_only([problem("y^{7}+3"), problem("E_{7}")])))
    thread.start()
    thread.join(60)
    assert found == [("E_{7}",)]
    assert signal.getsignal(signal.SIGALRM) is before
    assert not multiprocessing.active_children()
