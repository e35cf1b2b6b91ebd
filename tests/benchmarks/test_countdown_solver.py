"""The solver against enumeration that shares no code with it, and against the verifier's rules."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations_with_replacement, permutations, product

import numpy as np
import pytest

from kurve.benchmarks.countdown_solver import (
    LARGEST,
    SEPARATOR,
    State,
    Weights,
    count_solutions,
    random_reduction,
    solutions,
)
from kurve.types import Answer, Outcome, Problem, Sample
from kurve.verifiers import countdown
from kurve.verifiers.countdown import CountdownVerifier

EVEN: Weights = (1.0, 1.0, 1.0, 1.0)


def every_chain(numbers: State) -> set[tuple[str, int]]:
    """Each chain that the rules allow and where it ends, by trying every two places in both orders."""
    if len(numbers) == 1:
        return {("", numbers[0])}
    found = set()
    for i, j in permutations(range(len(numbers)), 2):
        a, b = numbers[i], numbers[j]
        rest = tuple(number for place, number in enumerate(numbers) if place not in (i, j))
        results = {"+": Fraction(a + b), "-": Fraction(a - b), "*": Fraction(a * b), "/": Fraction(a, b)}
        for sign, result in results.items():
            if result in range(1, 100) and not (sign in "+*" and a > b):
                equation = f"{a} {sign} {b} = {result}"
                for chain, end in every_chain((*rest, int(result))):
                    found.add((f"{equation} , {chain}" if chain else equation, end))
    return found


def accepted(numbers: State, target: int, chains: Sequence[str]) -> list[str]:
    """The chains that the verifier takes as solutions."""
    problem = Problem("p", f"{' '.join(map(str, numbers))} -> {target} :", Answer((str(target),), raw=str(target)))
    items = [(problem, Sample("p", index, chain, "stop", 1)) for index, chain in enumerate(chains)]
    return [chains[one.index] for one in CountdownVerifier().verify(items) if one.outcome is Outcome.CORRECT]


def smaller_first(chain: str) -> str:
    """The chain with the operands of + and * in the solver's order."""
    return SEPARATOR.join(map(_smaller_first, chain.split(SEPARATOR)))


def _smaller_first(equation: str) -> str:
    a, sign, b, _, c = equation.split()
    left, right = sorted((a, b), key=int) if sign in "+*" else (a, b)
    return f"{left} {sign} {right} = {c}"


TWO = list(combinations_with_replacement(range(1, 7), 2))
THREE = list(combinations_with_replacement((1, 2, 3, 12, 50), 3))
FOUR = [(1, 1, 1, 1), (1, 2, 3, 4), (2, 2, 2, 12), (3, 7, 7, 11), (12, 12, 12, 12)]


@pytest.mark.parametrize("states", [TWO, THREE, FOUR], ids=["two numbers", "three", "four"])
def test_it_finds_every_chain_once_and_no_other(states: Sequence[State]) -> None:
    for state in states:
        chains = every_chain(state)
        assert count_solutions(state) == Counter(end for _, end in chains)
        for target in range(1, LARGEST + 1):
            assert sorted(solutions(state, target)) == sorted(chain for chain, end in chains if end == target)


def test_it_finds_what_the_verifier_accepts_among_all_texts() -> None:
    """Two equations over small numbers, right or wrong; the verifier takes the operands of + and * in any order."""
    numbers, reached = (1, 2, 3), range(1, 7)
    first = [f"{a} {sign} {b} = {c}" for a, b in product(numbers, repeat=2) for sign in "+-*/" for c in reached]
    for target in (1, 4, 6):
        second = [f"{a} {sign} {b} = {target}" for a, b in product(reached, repeat=2) for sign in "+-*/"]
        right = accepted(numbers, target, list(map(SEPARATOR.join, product(first, second))))
        assert {smaller_first(chain) for chain in right} == set(solutions(numbers, target))


def test_solver_and_verifier_allow_numbers_up_to_the_same() -> None:
    assert LARGEST == countdown.LARGEST
    assert solutions((9, 11), 99) == accepted((9, 11), 99, ["9 * 11 = 99"]) == ["9 * 11 = 99"]
    assert solutions((10, 10), 100) == accepted((10, 10), 100, ["10 * 10 = 100"]) == []


def test_a_target_out_of_reach_has_no_solution() -> None:
    assert solutions((1, 1, 1, 1), 90) == []
    assert 90 not in count_solutions((1, 1, 1, 1))


def test_a_reduction_is_a_solution_of_where_it_ends() -> None:
    rng = np.random.default_rng(0)
    for row in np.sort(rng.integers(1, 13, size=(2_000, 4))).tolist():
        state = tuple(row)
        chain, target = random_reduction(state, rng, weights=(6.0, 3.0, 3.0, 0.6))
        assert accepted(state, target, [chain]) == [chain]
        assert smaller_first(chain) == chain


def test_operators_are_chosen_by_their_weights_among_those_that_the_rules_allow() -> None:
    rng, draws = np.random.default_rng(1), 8_000
    signs = Counter(random_reduction((3, 6), rng, weights=(6.0, 3.0, 3.0, 0.6))[0].split()[1] for _ in range(draws))
    for sign, weight in zip("+-*/", (6.0, 3.0, 3.0, 0.6), strict=True):
        share = weight / 12.6
        assert signs[sign] == pytest.approx(draws * share, abs=4 * (draws * share * (1 - share)) ** 0.5)
    assert {random_reduction((50, 60), rng, weights=EVEN)[0] for _ in range(50)} == {"60 - 50 = 10"}


def test_every_two_places_are_equally_likely() -> None:
    """Of four places there are six pairs: two of them hold 1 and 7, one holds both ones."""
    rng, draws = np.random.default_rng(2), 6_000
    first = [random_reduction((1, 1, 7, 9), rng, weights=EVEN)[0].split(SEPARATOR)[0] for _ in range(draws)]
    operands = Counter(frozenset(equation.split(" = ")[0].split()[::2]) for equation in first)
    expected = {frozenset("1"): 1 / 6, frozenset("17"): 2 / 6, frozenset("19"): 2 / 6, frozenset("79"): 1 / 6}
    assert operands.keys() == expected.keys()
    for pair, share in expected.items():
        assert operands[pair] == pytest.approx(draws * share, abs=4 * (draws * share * (1 - share)) ** 0.5)


def test_the_generator_decides_the_reduction() -> None:
    chains = [random_reduction((2, 5, 7, 11), np.random.default_rng(seed), weights=EVEN) for seed in (0, 0, 1, 2)]
    assert chains[0] == chains[1]
    assert len(set(chains)) > 1
