"""Two models over the same problems -> Comparison: where the tuned one gained, lost, and where nothing is established.

Always paired: the counts of both are brought into the same order by problem id, and a problem that only one of them
has is refused.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kurve.errors import DataError
from kurve.metrics.bootstrap import Estimate, mean_band
from kurve.metrics.coverage import accuracy_histogram
from kurve.metrics.coverage_sets import CoverageSets, SplitHalf, coverage_sets, support_threshold
from kurve.metrics.crossover import Crossover, crossover
from kurve.metrics.efficiency import delta_se, delta_se_k, headline_k
from kurve.metrics.paired import (
    DRAWS,
    Change,
    KRange,
    PairedDifference,
    difference_interval,
    k_ranges,
    overall,
    paired_difference,
)
from kurve.metrics.passk import high_variance, log_spaced, pass_at_k_of
from kurve.metrics.power import Settling, settling
from kurve.metrics.seeds import SeedEffect, seed_effect
from kurve.metrics.strata import Stratum, by_stratum
from kurve.metrics.tallies import problems_at
from kurve.strata import agreed_strata, strata_json, with_strata
from kurve.types import Curve, Tally

MOST_KS = 2048  # every k up to here, log-spaced beyond: a band over more holds no more
_NAMED = 5  # ids that a refusal spells out


@dataclass(frozen=True, slots=True)
class PassAtK:
    """pass@k of both models at one k, as fractions."""

    k: int
    base: float
    tuned: float
    change: Estimate  # tuned - base, with its own paired interval (not the band)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed between base and tuned over the problems that both were sampled on."""

    base: str  # name for people
    tuned: str
    difference: PairedDifference  # over all k, with the simultaneous band
    ranges: tuple[KRange, ...]  # where the band says gain, loss, or nothing
    verdict: Change  # of the whole curve
    at_1: PassAtK
    headline: PassAtK  # at k = 256, or the largest k if n is smaller
    delta_se: Estimate  # base pass@k - tuned pass@1
    delta_se_k: int  # of the base: 256, or its largest k
    crossover: Crossover
    coverage: CoverageSets
    settling: tuple[Settling, ...]  # of pass@1 and of the headline: what would settle them
    counts: tuple[Tally, Tally]  # of base and tuned, the same problems in the same order
    strata: tuple[Stratum, ...] = ()  # the same for each kind of problem, where kinds are known


def compare(
    base: Tally,
    tuned: Tally,
    *,
    rng: np.random.Generator,
    names: tuple[str, str] = ("base", "tuned"),
    confidence: float = 0.95,
    draws: int = DRAWS,
) -> Comparison:
    """Compare two models problem by problem, for every k up to the fewest samples that any problem has.

    Args:
        base: counts of the model before training.
        tuned: counts of the model after, over the same problems in any order.
        rng: source of all draws; the same state gives the same comparison.
        names: of base and tuned, for people.
        confidence: of every interval and of the band, a fraction.
        draws: multipliers behind the band, and draws of the bootstrap.

    Raises:
        DataError: no problems, or problems that do not pair, see `paired`.
        MetricError: bad counts.
    """
    base, tuned = paired(base, tuned, names=names)
    k = headline_k(base, tuned)
    ks = np.union1d(log_spaced(int(min(base.reach.min(), tuned.reach.min())), MOST_KS), [k])
    before, after = pass_at_k_of(base, ks), pass_at_k_of(tuned, ks)
    difference = paired_difference(before, after, ks, rng, confidence=confidence, draws=draws)
    ranges, gap_k = k_ranges(difference), delta_se_k(base)

    def at(column: int) -> PassAtK:
        change = difference_interval(after[:, column] - before[:, column], confidence=confidence)
        return PassAtK(int(ks[column]), float(difference.base[column]), float(difference.tuned[column]), change)

    return Comparison(
        base=names[0],
        tuned=names[1],
        difference=difference,
        ranges=ranges,
        verdict=overall(ranges),
        at_1=at(0),
        headline=at(int(np.searchsorted(ks, k))),
        delta_se=delta_se(base, tuned, gap_k, confidence=confidence),
        delta_se_k=gap_k,
        crossover=crossover(after - before, difference, rng, draws=draws),
        coverage=coverage_sets(base, tuned),
        settling=tuple(settling(base, tuned, one, confidence=confidence) for one in sorted({1, k})),
        counts=(base, tuned),
        strata=by_stratum(base, tuned, k, confidence=confidence) if base.strata else (),
    )


def seed_effects(
    base: Tally, seeds: Sequence[Tally], *, names: Sequence[str], confidence: float = 0.95
) -> tuple[tuple[int, SeedEffect], ...]:
    """What a configuration changed at k = 1 and at the headline k, from trainings that differ in their seed.

    Args:
        base: counts of the model before training.
        seeds: counts of the model of each seed.
        names: of the base and of each seed, for people.
        confidence: of the intervals.

    Raises:
        DataError: problems that do not pair, see `paired`.
        MetricError: fewer than 3 seeds.
    """
    pairs = [paired(base, one, names=(names[0], name)) for one, name in zip(seeds, names[1:], strict=True)]
    k = min(headline_k(*pair) for pair in pairs)
    ks = np.array(sorted({1, k}))
    tables = [pass_at_k_of(after, ks) - pass_at_k_of(before, ks) for before, after in pairs]
    cube = np.stack(tables)  # [S, P, K]
    return tuple((int(one), seed_effect(cube[:, :, place], confidence=confidence)) for place, one in enumerate(ks))


def paired(base: Tally, tuned: Tally, *, names: tuple[str, str] = ("base", "tuned")) -> tuple[Tally, Tally]:
    """The same counts in the order of the base's problems, with the strata that either of them knows.

    Raises:
        DataError: a problem that only one of them has, that one has twice, or that has no judged sample, with the ids;
            no problem at all; or a problem of different strata.
    """
    for tally, name in zip((base, tuned), names, strict=True):
        _check(tally, name)
    known, sampled = set(base.problem_ids), set(tuned.problem_ids)
    only_base = [one for one in base.problem_ids if one not in sampled]
    only_tuned = [one for one in tuned.problem_ids if one not in known]
    if only_base or only_tuned:
        raise DataError(
            f"a paired comparison needs the same problems for both models: only {names[0]} has "
            f"{_named(only_base)}, only {names[1]} has {_named(only_tuned)}; evaluate both on the same problems, or "
            "compare those that both have (kurve compare unpaired=drop)"
        )
    row = {problem_id: at for at, problem_id in enumerate(tuned.problem_ids)}
    ordered = problems_at(tuned, np.array([row[problem_id] for problem_id in base.problem_ids], dtype=np.intp))
    strata = agreed_strata((base, tuned), names)
    return with_strata(base, strata), with_strata(ordered, strata)


def shared_problems(tallies: Sequence[Tally]) -> tuple[list[Tally], list[str]]:
    """The counts of the problems that all tallies have, in the order of the first, and the ids of the others."""
    shared = set(tallies[0].problem_ids).intersection(*(one.problem_ids for one in tallies[1:]))
    everywhere = dict.fromkeys(problem_id for one in tallies for problem_id in one.problem_ids)
    return [restricted(one, shared) for one in tallies], [
        problem_id for problem_id in everywhere if problem_id not in shared
    ]


def restricted(tally: Tally, kept: Collection[str]) -> Tally:
    """The counts of some of the problems, in their order."""
    return problems_at(tally, np.flatnonzero([problem_id in kept for problem_id in tally.problem_ids]))


def in_words(comparison: Comparison) -> str:
    """The verdict range by range: "gain at k = 1 to 8, not established at k = 9 to 47, loss at k = 48 to 256"."""
    return ", ".join(f"{one.change} at {_k_words(one)}" for one in comparison.ranges)


def crossing_is_established(comparison: Comparison) -> bool:
    """Whether the band says gain at some k and loss at a larger one; a point where the curves meet alone says less."""
    gains = [one.last for one in comparison.ranges if one.change is Change.GAIN]
    losses = [one.first for one in comparison.ranges if one.change is Change.LOSS]
    return bool(gains and losses and min(gains) < max(losses) and np.isfinite(comparison.crossover.point))


def supports(comparison: Comparison) -> tuple[float, float]:
    """Thresholds of empirical support of base and tuned: the success probability that no correct sample of the model's
    smallest n excludes, at the comparison's confidence for each single problem.
    """
    chance = 1 - comparison.difference.confidence
    base, tuned = (support_threshold(int(one.reach.min()), chance=chance) for one in comparison.counts)
    return base, tuned


def pass_at_k_curve(tally: Tally, rng: np.random.Generator, *, confidence: float = 0.95, draws: int = 2000) -> Curve:
    """One model's own curve with its simultaneous band, for a figure beside others.

    Raises:
        DataError: no problems, or one without a judged sample.
    """
    _check(tally, "the model")
    ks = log_spaced(int(tally.reach.min()))
    values = pass_at_k_of(tally, ks)
    low, high = mean_band(values, rng, confidence=confidence, draws=draws)
    unsure = high_variance(tally.reach, ks)
    return Curve("pass_at_k", ks, values.mean(axis=0), low, high, unsure, confidence)


def as_json(comparison: Comparison, *, seed: int | None = None) -> dict[str, object]:
    """The comparison as plain values; null stands for infinity (no crossing) and for what cannot be known.

    Args:
        comparison: what to write.
        seed: of the generator that made it, for the record.
    """
    difference, cross = comparison.difference, comparison.crossover
    strata: dict[str, object] = {"strata": strata_json(comparison.strata)} if comparison.strata else {}
    k, low, high = difference.k, difference.low, difference.high
    return {
        "base": comparison.base,
        "tuned": comparison.tuned,
        "num_problems": difference.num_problems,
        "alpha": 1 - difference.confidence,
        "seed": seed,
        "ks": k.tolist(),
        "base_pass_at_k": difference.base.tolist(),
        "tuned_pass_at_k": difference.tuned.tolist(),
        "delta": difference.delta.tolist(),
        "delta_se_of_mean": _finite(difference.standard_error),
        "delta_lower": low.tolist(),
        "delta_upper": high.tolist(),
        "critical_value": _finite([difference.critical_value])[0],
        "gain_ks": k[low > 0].tolist(),
        "loss_ks": k[high < 0].tolist(),
        "verdict": {
            "overall": comparison.verdict.name,
            "ranges": [{"first_k": r.first, "last_k": r.last, "verdict": r.change.name} for r in comparison.ranges],
            "words": in_words(comparison),
        },
        "pass_at_1": _at_json(comparison.at_1),
        "pass_at_k": _at_json(comparison.headline),
        "delta_se": {"k": comparison.delta_se_k} | _estimate_json(comparison.delta_se),
        "crossover": {
            "point": _finite([cross.point])[0],
            "confidence_set": _finite(cross.confidence_set),
            "bootstrap_interval": _finite(cross.interval),
            "probability_of_crossing": _finite([cross.probability])[0],
        },
        "coverage": _coverage_json(comparison.coverage) | {"support_threshold": _support_json(comparison)},
        "accuracy_histogram": _histogram_json(comparison),
        "settling": [_settling_json(one) for one in comparison.settling],
        **strata,
    }


def _check(tally: Tally, name: str) -> None:
    if not tally.problem_ids:
        raise DataError(f"{name} has no problems; evaluate it first")
    twice = [one for one, times in Counter(tally.problem_ids).items() if times > 1]
    if twice:
        raise DataError(f"{name} has {_named(twice)} more than once; merge its counts or drop one of them")
    empty = [one for one, n in zip(tally.problem_ids, tally.num_samples.tolist(), strict=True) if n < 1]
    if empty:
        raise DataError(f"{name} has no judged sample of {_named(empty)}; sample or judge them again")


def _named(ids: Sequence[str]) -> str:
    if not ids:
        return "none"
    rest = len(ids) - _NAMED
    return ", ".join(ids[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _k_words(one: KRange) -> str:
    return f"k = {one.first}" if one.first == one.last else f"k = {one.first} to {one.last}"


def _at_json(at: PassAtK) -> dict[str, object]:
    return {"k": at.k, "base": at.base, "tuned": at.tuned, "delta": _estimate_json(at.change)}


def _coverage_json(sets: CoverageSets) -> dict[str, object]:
    return {
        "both": list(sets.both),
        "base_only": list(sets.base_only),
        "tuned_only": list(sets.tuned_only),
        "neither": list(sets.neither),
        "mcnemar_p": sets.p_value,
        "srr": _finite([sets.support_retention])[0],
        "ndr": _finite([sets.discovery_rate])[0],
        "nscr": _finite([sets.net_change_rate])[0],
        "split_half": {"base": _half_json(sets.base_null), "tuned": _half_json(sets.tuned_null)},
    }


def _support_json(comparison: Comparison) -> dict[str, object]:
    names = ("base", "tuned")
    found = zip(names, comparison.counts, supports(comparison), strict=True)
    return {name: {"n": int(tally.num_samples.min()), "value": value} for name, tally, value in found}


def _histogram_json(comparison: Comparison) -> dict[str, object]:
    base, tuned = map(accuracy_histogram, comparison.counts)
    return {"edges": base.edges.tolist(), "base": base.counts.tolist(), "tuned": tuned.counts.tolist()}


def _half_json(half: SplitHalf | None) -> dict[str, object] | None:
    return None if half is None else {"n": half.num_samples, "solved": half.solved, "only_one": half.only_one}


def _settling_json(one: Settling) -> dict[str, object]:
    """null: it cannot be known, or no number suffices; `kurve compare` says which."""
    return {
        "k": one.k,
        "power": one.power,
        "detectable_difference": _finite([one.detectable])[0],
        "problems": _finite([one.problems])[0],
        "samples": _finite([one.samples])[0],
    }


def _estimate_json(estimate: Estimate) -> dict[str, object]:
    return {"value": estimate.value, "lower": estimate.low, "upper": estimate.high}


def _finite(values: Sequence[float] | NDArray[np.float64]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]
