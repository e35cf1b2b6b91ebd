"""Several trainings of one configuration: the seed is a second source of chance beside the problems.

S seeds, P problems; d_si is what seed s changed at problem i. An interval over problems says what this one model
changed; one for the configuration must also hold what another seed would have given, and needs at least 3 of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from kurve.errors import MetricError
from kurve.metrics.bootstrap import CONSTANT, Estimate, mean_interval, normal_quantile, student_quantile
from kurve.metrics.paired import difference_interval
from kurve.metrics.passk import Floats

LEAST_SEEDS = 3


@dataclass(frozen=True, slots=True)
class SeedEffect:
    """The mean change of a configuration, and how far its seeds differ."""

    change: Estimate  # for further seeds and problems like these, fractions
    seed_spread: float  # standard deviation of a seed's true mean change, 0 if the seeds differ by no more than chance
    num_seeds: int


@dataclass(frozen=True, slots=True)
class OverSeeds:
    """A mean over seeds and problems with its two kinds of uncertainty, apart and together.

    Fewer than 3 seeds say nothing of another seed: `seeds`, `both` and `spread` are None. Nor do seeds whose means are
    all the same, at 0 or 1 most of all: `seeds` is None.
    """

    value: float  # fraction
    by_seed: Floats  # mean over problems, [S]
    problems: Estimate  # for problems like these, and these very seeds
    seeds: Estimate | None  # for another seed, and these very problems; the noise of sampling is in it
    both: Estimate | None  # for another seed and problems like these; holds `problems`
    spread: float | None  # standard deviation of a seed's true mean, as in `SeedEffect`


def over_seeds(values: ArrayLike, *, signed: bool = False, confidence: float = 0.95) -> OverSeeds:
    """Mean of one value a seed and problem.

    Over seeds Student's t interval of the S means; over problems that of `mean_interval`, or with `signed` that of
    `difference_interval`; over both `seed_effect`.

    Args:
        values: fractions, [S, P]; all seeds on the same problems.
        signed: they are differences, from -1 to 1.
        confidence: of each interval, a fraction.

    Raises:
        MetricError: no values, values out of range, or a confidence outside (0, 1).
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.size == 0:
        raise MetricError(f"need a value for each seed and problem, [S, P], got shape {table.shape}")
    if not np.all((table >= (-1 if signed else 0)) & (table <= 1)):
        raise MetricError(f"need {'differences from -1' if signed else 'fractions from 0'} to 1")
    seeds, problems = table.shape
    interval = difference_interval if signed else mean_interval
    over_problems = interval(np.clip(table.mean(axis=0), -1, 1), confidence=confidence)
    by_seed = table.mean(axis=1)
    if seeds < LEAST_SEEDS or problems < 2:
        return OverSeeds(float(table.mean()), by_seed, over_problems, None, None, None)
    effect, least = seed_effect(table, confidence=confidence), -1.0 if signed else 0.0
    return OverSeeds(
        effect.change.value,
        by_seed,
        over_problems,
        _over_seeds(by_seed, least=least, confidence=confidence),
        _holding(effect.change, over_problems, least=least),
        effect.seed_spread,
    )


def seed_effect(differences: ArrayLike, *, confidence: float = 0.95) -> SeedEffect:
    """Mean change with an interval in which seeds and problems are both random.

    Two-way crossed random effects: Var = MS_seed / SP + MS_problem / SP - MS_rest / SP, each mean square of the table's
    analysis of variance, since the rest is in both of the others; never below the larger of the first two terms. The t
    quantile has Satterthwaite's degrees of freedom. Where that is narrower than `difference_interval` over problems
    alone, as for values that hardly vary, it is widened to hold it.

    Args:
        differences: tuned - base of each seed and problem, -1..1, [S, P]; all seeds on the same problems.
        confidence: of the interval, a fraction.

    Raises:
        MetricError: fewer than 3 seeds or 2 problems, values outside -1..1, or a confidence outside (0, 1).
    """
    table = np.asarray(differences, dtype=np.float64)
    tail = normal_quantile(confidence)
    if table.ndim != 2 or table.shape[0] < LEAST_SEEDS or table.shape[1] < 2:
        raise MetricError(f"need at least {LEAST_SEEDS} seeds and 2 problems, [S, P], got shape {table.shape}")
    if not np.all(np.abs(table) <= 1):
        raise MetricError("need differences from -1 to 1")
    seeds, problems = table.shape
    mean = float(table.mean())
    by_seed, by_problem = table.mean(axis=1), table.mean(axis=0)
    rest = table - by_seed[:, None] - by_problem[None, :] + mean
    squares = {
        "seed": problems * float(((by_seed - mean) ** 2).sum()) / (seeds - 1),
        "problem": seeds * float(((by_problem - mean) ** 2).sum()) / (problems - 1),
        "rest": float((rest**2).sum()) / ((seeds - 1) * (problems - 1)),
    }
    combined = squares["seed"] + squares["problem"] - squares["rest"]
    terms = {"seed": squares["seed"] ** 2 / (seeds - 1), "problem": squares["problem"] ** 2 / (problems - 1)}
    largest = max(squares["seed"], squares["problem"])
    if combined > largest:
        terms["rest"] = squares["rest"] ** 2 / ((seeds - 1) * (problems - 1))
    else:
        combined = largest
        terms = {name: value for name, value in terms.items() if squares[name] == largest}
    freedom = combined**2 / sum(terms.values()) if combined > 0 else 1.0
    quantile = -float(special.stdtrit(max(freedom, 1.0), special.ndtr(-tail)))
    half = quantile * float(np.sqrt(combined / (seeds * problems)))
    spread = (squares["seed"] - squares["rest"]) / problems
    alone = difference_interval(by_problem, confidence=confidence)
    return SeedEffect(
        _holding(Estimate(mean, mean - half, mean + half), alone, least=-1.0),
        float(np.sqrt(spread)) if spread > CONSTANT**2 else 0.0,
        seeds,
    )


def _over_seeds(by_seed: Floats, *, least: float, confidence: float) -> Estimate | None:
    """Student's t interval, cut where no fraction or difference can be; None where all seeds agree."""
    spread = float(by_seed.std(ddof=1))
    if spread <= CONSTANT:
        return None
    half = student_quantile(normal_quantile(confidence), by_seed.size) * spread / np.sqrt(by_seed.size)
    mean = float(by_seed.mean())
    return Estimate(mean, max(mean - half, least), min(mean + half, 1.0))


def _holding(both: Estimate, problems: Estimate, *, least: float) -> Estimate:
    """The interval over both, from `least` to 1, widened where it does not hold the one over problems alone."""
    return Estimate(both.value, max(min(both.low, problems.low), least), min(max(both.high, problems.high), 1.0))
