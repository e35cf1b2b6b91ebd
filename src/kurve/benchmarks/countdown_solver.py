"""Countdown by exhaustive search: combine numbers pairwise with + - * / until one is left, the target.

A chain is one way to do so, written as its equations (`4 + 7 = 11 , 11 - 7 = 4 , 4 * 8 = 32`). Every result is a whole
number from 1 to 99; operands of + and * are written smaller first, so that a chain has one spelling. A state is the
sorted tuple of the numbers that are left.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate, combinations
from typing import NamedTuple

import numpy as np

LARGEST = 99  # of all numbers in a chain
OPERATORS = ("+", "-", "*", "/")
SEPARATOR = " , "  # between the equations of a chain

State = tuple[int, ...]
Weights = tuple[float, float, float, float]  # of the operators, in their order
_STATES = 1 << 17  # remembered; all sets of four numbers up to 12 lead to fewer


class Move(NamedTuple):
    """One equation and the state that it leaves."""

    equation: str
    state: State


@lru_cache(_STATES)
def count_solutions(state: State) -> Mapping[int, int]:
    """How many different chains lead from a state to each target that can be reached."""
    if len(state) == 1:
        return {state[0]: 1}
    counts: Counter[int] = Counter()
    for move in _moves(state):
        counts.update(count_solutions(move.state))
    return dict(counts)


def solutions(state: State, target: int) -> list[str]:
    """All chains from a state to a target, each once; empty if there is none."""
    if len(state) == 2:
        return [move.equation for move in _moves(state) if move.state == (target,)]
    return [
        move.equation + SEPARATOR + rest
        for move in _moves(state)
        if target in count_solutions(move.state)
        for rest in solutions(move.state, target)
    ]


def random_reduction(state: State, rng: np.random.Generator, *, weights: Weights) -> tuple[str, int]:
    """A chain from a state, and where it ends: each time two of the numbers and an operator at random.

    Args:
        state: at least two numbers from 1 to 99, sorted.
        rng: source of the choices.
        weights: how likely each operator is, among those that the rules allow for the two numbers; all above 0.
    """
    equations = []
    for place in rng.random(len(state) - 1).tolist():
        moves, cumulative = _weighted_moves(state, weights)
        move = moves[bisect(cumulative, place * cumulative[-1], hi=len(moves) - 1)]
        equations.append(move.equation)
        state = move.state
    return SEPARATOR.join(equations), state[0]


@lru_cache(_STATES)
def _moves(state: State) -> tuple[Move, ...]:
    """The moves that the rules allow, each once."""
    return tuple(dict.fromkeys(move for pair in _pairs(state) for move, _ in _of_pair(*pair)))


@lru_cache(_STATES)
def _weighted_moves(state: State, weights: Weights) -> tuple[list[Move], list[float]]:
    """The moves of every pair of places, and the running sum of their probabilities."""
    moves, chances = [], []
    for pair in _pairs(state):
        allowed = [(move, weights[operator]) for move, operator in _of_pair(*pair)]
        total = sum(weight for _, weight in allowed)
        moves += [move for move, _ in allowed]
        chances += [weight / total for _, weight in allowed]
    return moves, list(accumulate(chances))


def _pairs(state: State) -> list[tuple[int, int, State]]:
    """Every two of the numbers, smaller first, with the rest."""
    return [
        (state[i], state[j], state[:i] + state[i + 1 : j] + state[j + 1 :])
        for i, j in combinations(range(len(state)), 2)
    ]


def _of_pair(small: int, large: int, rest: State) -> list[tuple[Move, int]]:
    """The moves on two numbers, each with the place of its operator; there is always one."""
    results = (
        (small, large, small + large),
        (large, small, large - small),
        (small, large, small * large),
        (large, small, 0 if large % small else large // small),
    )
    return [
        (Move(f"{left} {OPERATORS[place]} {right} = {result}", tuple(sorted((*rest, result)))), place)
        for place, (left, right, result) in enumerate(results)
        if 1 <= result <= LARGEST
    ]
