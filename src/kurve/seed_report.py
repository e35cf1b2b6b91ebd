"""Configurations that were run with several seeds -> what each measures, with two kinds of chance told apart.

An interval over problems says what these very models would show on problems like these; one over seeds what another
seed of the configuration would show on these very problems. Neither stands for the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kurve.errors import DataError
from kurve.metrics.efficiency import HEADLINE_K, delta_se_k
from kurve.metrics.passk import Floats, Ints, log_spaced, pass_at_k_of
from kurve.metrics.seeds import OverSeeds, over_seeds
from kurve.metrics.tallies import problems_at
from kurve.types import Tally

MOST_KS = 256  # of a curve; every k up to there, log-spaced beyond
TRAINING, SAMPLING = "training", "sampling"  # what a seed changes: the model, or only which answers were drawn


@dataclass(frozen=True, slots=True)
class SeedCounts:
    """What one seed of a configuration measured."""

    seed: str  # as it was given, "seed=0"
    model: str  # name for people
    weights: str  # what tells the model from others
    tally: Tally
    base: Tally | None = None  # of the model before training, where it is known
    job: str = ""
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Configuration:
    """All but the seed is the same."""

    name: str  # what tells it from the others
    seeds: tuple[SeedCounts, ...]
    is_base: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """A configuration over its seeds."""

    name: str
    varies: str  # TRAINING or SAMPLING
    is_base: bool
    seeds: tuple[SeedCounts, ...]
    quantities: dict[str, OverSeeds]  # pass_at_1, pass_at_<k>, and delta_se where the base is known
    ks: Ints  # of the curve, [K]
    curve: tuple[OverSeeds, ...]  # pass@k at each of them; intervals hold at each k alone, [K]


@dataclass(frozen=True, slots=True)
class SeedReport:
    """All configurations on one benchmark."""

    benchmark: str
    num_problems: int
    k: int  # of the headline: 256, or the largest that all allow
    delta_se_k: int | None  # of the base in delta SE; None: no base is known
    confidence: float
    configurations: tuple[Measured, ...]


def seed_report(benchmark: str, found: Sequence[Configuration], *, confidence: float = 0.95) -> SeedReport:
    """Measure each configuration over its seeds, all of them on the same problems.

    Several samplings of the same model that stand beside other models in a configuration are pooled: they are one seed.

    Raises:
        DataError: two of them are of different problems, or a problem has no judged sample.
        MetricError: bad counts.
    """
    pooled = [Configuration(one.name, _pooled(one), one.is_base) for one in found]
    order = pooled[0].seeds[0].tally.problem_ids
    everything = [one for configuration in pooled for one in configuration.seeds]
    tallies = {id(one): _aligned(one.tally, order, f"{one.job} ({one.model})", benchmark) for one in everything}
    bases = {
        id(one): _aligned(one.base, order, f"the base of {one.job}", benchmark)
        for one in everything
        if one.base is not None
    }
    reach = min(int(one.reach.min()) for one in tallies.values())
    k = min(HEADLINE_K, reach)
    gap_k = min(map(delta_se_k, bases.values())) if bases else None
    ks = np.union1d(log_spaced(reach, MOST_KS), [k])
    return SeedReport(
        benchmark,
        len(order),
        k,
        gap_k,
        confidence,
        tuple(_measured(one, tallies, bases, ks=ks, k=k, gap_k=gap_k, confidence=confidence) for one in pooled),
    )


def gap_per_problem(base: Tally, tuned: Tally, k: int) -> Floats:
    """base pass@k - tuned pass@1 of each problem, which are in the same order, [P]."""
    gap: Floats = pass_at_k_of(base, [k])[:, 0] - pass_at_k_of(tuned, [1])[:, 0]
    return gap


def _measured(
    one: Configuration,
    tallies: dict[int, Tally],
    bases: dict[int, Tally],
    *,
    ks: Ints,
    k: int,
    gap_k: int | None,
    confidence: float,
) -> Measured:
    cube = np.stack([pass_at_k_of(tallies[id(seed)], ks) for seed in one.seeds])  # [S, P, K]
    curve = tuple(over_seeds(cube[:, :, at], confidence=confidence) for at in range(ks.size))
    quantities = {f"pass_at_{int(one_k)}": curve[int(np.searchsorted(ks, one_k))] for one_k in sorted({1, k})}
    if gap_k is not None and all(id(seed) in bases for seed in one.seeds) and not one.is_base:
        gaps = [gap_per_problem(bases[id(seed)], tallies[id(seed)], gap_k) for seed in one.seeds]
        quantities["delta_se"] = over_seeds(np.stack(gaps), signed=True, confidence=confidence)
    models = {seed.weights for seed in one.seeds}
    varies = SAMPLING if len(models) == 1 and len(one.seeds) > 1 else TRAINING
    return Measured(one.name, varies, one.is_base, one.seeds, quantities, ks, curve)


def _pooled(one: Configuration) -> tuple[SeedCounts, ...]:
    """One entry a model where there are several models; a single model keeps its samplings apart."""
    by_model: dict[str, list[SeedCounts]] = {}
    for seed in one.seeds:
        by_model.setdefault(seed.weights, []).append(seed)
    if len(by_model) == 1 or len(by_model) == len(one.seeds):
        return one.seeds
    return tuple(_pool(seeds) for seeds in by_model.values())


def _pool(seeds: Sequence[SeedCounts]) -> SeedCounts:
    if len(seeds) == 1:
        return seeds[0]
    first = seeds[0]
    return SeedCounts(
        ", ".join(seed.seed for seed in seeds),
        first.model,
        first.weights,
        pool_tallies([seed.tally for seed in seeds], [seed.job for seed in seeds]),
        base=first.base,
        job=", ".join(seed.job for seed in seeds),
        run_id=", ".join(seed.run_id for seed in seeds if seed.run_id),
    )


def pool_tallies(tallies: Sequence[Tally], names: Sequence[str]) -> Tally:
    """The counts of several independent samplings of one model together.

    Raises:
        DataError: they are of different problems, or one was sampled adaptively, whose counts cannot be added.
    """
    first = tallies[0]
    ordered = [_aligned(one, first.problem_ids, name, "") for one, name in zip(tallies, names, strict=True)]
    if len(ordered) > 1 and any(one.largest_k is not None for one in ordered):
        raise DataError(
            f"{', '.join(names)} sampled one model several times, adaptively: such counts cannot be added; "
            "give base= one of them, or a base of its own"
        )
    if len(ordered) == 1:
        return first

    def total(columns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        summed: NDArray[np.int64] = np.sum(np.stack(columns), axis=0)
        return summed

    return Tally(
        first.problem_ids,
        total([one.num_samples for one in ordered]),
        total([one.num_correct for one in ordered]),
        total([one.num_errors for one in ordered]),
        strata=first.strata,
    )


def _aligned(tally: Tally, order: Sequence[str], name: str, benchmark: str) -> Tally:
    """The counts in the given order of problems."""
    where = f" on {benchmark}" if benchmark else ""
    if sorted(tally.problem_ids) != sorted(order):
        more, fewer = set(tally.problem_ids) - set(order), set(order) - set(tally.problem_ids)
        raise DataError(
            f"{name}{where} is of other problems than the first job: it alone has {_few(more)}, it lacks {_few(fewer)}"
            "; a mean over jobs needs the same problems for all, so report sweeps of other problems apart"
        )
    if not order or int(tally.num_samples.min()) < 1:
        raise DataError(f"{name}{where} has a problem without a judged sample; sample or judge it again")
    row = {problem_id: at for at, problem_id in enumerate(tally.problem_ids)}
    return problems_at(tally, np.array([row[problem_id] for problem_id in order], dtype=np.intp))


def _few(ids: set[str]) -> str:
    named = sorted(ids)[:3]
    return f"{', '.join(named)}{f' and {len(ids) - 3} more' if len(ids) > 3 else ''}" if ids else "none"
