"""Panels of made-up models for the tests of figures."""

from collections.abc import Sequence

import numpy as np

from kurve.arrangement import Evaluated, arrange, with_curves
from kurve.figures.panels import Panel, Style
from kurve.types import Tally

HOSTILE = (
    "_a$\\frac{$",
    "<b>bold</b>",
    "b" * 500,
    "new\nline\ttab",
    "\u6a21\u578b \ud800 \u202e",
    "",
    "$x^2$ & 100 %",
    "_",
)
STYLE = Style(draws=200)


def tally(n: Sequence[int] | int, c: Sequence[int]) -> Tally:
    ids = tuple(f"p{place}" for place in range(len(c)))
    return Tally(ids, np.broadcast_to(np.array(n), len(c)).copy(), np.array(c), np.zeros(len(c), dtype=np.int64))


def model(
    name: str, *, problems: int = 30, n: int = 32, lift: float = 0.0, benchmark: str = "math500", **more: object
) -> Evaluated:
    rng = np.random.default_rng(problems + n)
    chance = np.clip(rng.beta(0.4, 1.2, problems) + lift * (rng.random(problems) - 0.3), 0, 1)
    return Evaluated(name, tally(n, rng.binomial(n, chance).tolist()), benchmark=benchmark, **more)  # type: ignore[arg-type]  # its fields by name


def family(names: Sequence[str], benchmarks: Sequence[str] = ("math500",), **more: int) -> list[Evaluated]:
    """The first name is the base of the others, on every benchmark."""
    return [
        model(name, benchmark=benchmark, lift=0.1 * place, role="base" if place == 0 else "tuned", **more)
        for benchmark in benchmarks
        for place, name in enumerate(names)
    ]


def panels(models: Sequence[Evaluated], *, by: str = "benchmark") -> tuple[Panel, ...]:
    return arrange(models, by=by).panels


def measured(models: Sequence[Evaluated], *, by: str = "benchmark", style: Style = STYLE) -> list[Panel]:
    return [with_curves(panel, style) for panel in panels(models, by=by)]
