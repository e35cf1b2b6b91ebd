"""Short ways to make what a verifier judges."""

from kurve.types import Answer, Problem, Sample, Verdict
from kurve.verifiers.math import MathVerifier


def item(
    gold: str | tuple[str, ...],
    text: str,
    *,
    finish: str = "stop",
    unit: str = "",
    tolerance: float | None = None,
    index: int = 0,
) -> tuple[Problem, Sample]:
    values = gold if isinstance(gold, tuple) else (gold,)
    answer = Answer(values, raw=",".join(values), unit=unit, tolerance=tolerance)
    return Problem("p", "How many?", answer), Sample("p", index, text, finish, num_tokens=1)


def judge(
    verifier: MathVerifier,
    gold: str | tuple[str, ...],
    text: str,
    *,
    finish: str = "stop",
    unit: str = "",
    tolerance: float | None = None,
) -> Verdict:
    return verifier.verify([item(gold, text, finish=finish, unit=unit, tolerance=tolerance)])[0]
