"""What adaptive sampling saves, and whether it stays right.

`python -m benchmarks.bench_adaptive` prints the tables of docs/adaptive.md in some minutes. Success probabilities are
drawn from distributions like those of real benchmarks; widths and numbers of samples are exact sums over every way a
problem may end, bias and coverage are simulated with a seed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import Row
from kurve.metrics.adaptive import default_successes, expected, unbiased_tally
from kurve.metrics.efficiency import delta_se
from kurve.metrics.passk import Floats, Ints, pass_at_k_per_problem
from kurve.types import StoppingRule, Tally

GOAL = 0.4  # of the samples of a fixed number, at the same width of delta SE's interval
LEAST = 24  # as sampling.adaptive has it
SIZES = ((64, 64), (64, 256), (256, 256), (256, 512), (256, 1024))  # k, and num_samples
NAMED = {  # Beta distributions of the base's success probability: mean .13, .62, .33, .02
    "AIME-like": (0.3, 2.0),
    "MATH-like": (0.8, 0.5),
    "Olympiad-like": (0.35, 0.7),
    "countdown-like": (0.35, 15.0),
}
_CLOSE = 1.02  # times as wide counts as the same width
_LOST = 0.1  # share of problems that the tuned model cannot solve
_SEED = 0


@dataclass(frozen=True, slots=True)
class Saving:
    """Adaptive sampling beside a fixed number of samples of both models."""

    base: float  # samples of the base, as a share of the fixed number
    both: float  # samples of base and tuned model
    width: float  # of delta SE's interval for problems like these, as a multiple of that of the fixed number
    width_here: float  # the same for these problems
    both_here: float  # samples of both where the tuned model gets as many as keep the latter within 2 %


def run(quick: bool = False) -> list[Row]:
    """One row for each distribution: samples of both models for delta SE at k = 256 = num_samples."""
    rows = []
    for name in NAMED:
        one = saving(name, 256, 256, num_problems=200 if quick else 2000)
        detail = f"samples of base and tuned model; interval {one.width:.3f} times as wide"
        rows.append(Row(f"delta SE, adaptive against fixed n = 256, {name}", one.both, GOAL, detail, at_most=True))
    return rows


def saving(name: str, k: int, most: int, *, num_problems: int = 2000) -> Saving:
    """The exact saving over evenly spaced quantiles of a distribution."""
    from scipy.stats import beta

    base = beta.ppf((np.arange(num_problems) + 0.5) / num_problems, *NAMED[name])
    tuned = _tuned(base, np.random.default_rng(_SEED))
    rules = [StoppingRule(LEAST, default_successes(k, most), most), StoppingRule(LEAST, 2, LEAST)]
    fixed = StoppingRule(most, 2, most)
    samples, within = [], []
    for p, rule, at in ((base, rules[0], k), (tuned, rules[1], 1), (base, fixed, k), (tuned, fixed, 1)):
        one = expected(p, rule, [at])
        samples.append(float(one.num_samples.mean()))
        within.append(float(one.variance.mean()))
    between = float(np.var(1 - (1 - base) ** k - tuned))
    ours, theirs = within[0] + within[1], within[2] + within[3]
    return Saving(
        base=samples[0] / most,
        both=(samples[0] + samples[1]) / (2 * most),
        width=float(np.sqrt((between + ours) / (between + theirs))),
        width_here=float(np.sqrt(ours / theirs)),
        both_here=(samples[0] + _tuned_samples(tuned, _CLOSE**2 * theirs - within[0], most)) / (2 * most),
    )


def _tuned_samples(tuned: Floats, allowed: float, most: int) -> float:
    """Samples of each problem at which the variance of pass@1 is the allowed one; `most` if none is low enough."""
    return min(most, float(np.mean(tuned * (1 - tuned))) / allowed) if allowed > 0 else most


def bias(name: str, ks: Sequence[int], *, repeats: int = 400, num_problems: int = 500) -> tuple[Floats, Floats, Floats]:
    """Mean error of pass@k with all samples counted, with the last success left out, and the standard error, [K].

    num_samples is 256 and the rule that of k = 256.
    """
    rule, rng = StoppingRule(LEAST, 2, 256), np.random.default_rng(_SEED)
    naive, ours = np.empty((repeats, len(ks))), np.empty((repeats, len(ks)))
    for repeat in range(repeats):
        p = rng.beta(*NAMED[name], num_problems)
        truth = 1 - (1 - p[:, None]) ** np.asarray(ks)
        counted = draw(p, rule, rng)
        reach = np.where(counted.num_correct > 0, np.maximum(rule.most, counted.num_samples), counted.num_samples)
        for table, tally, largest in (
            (naive, counted, reach),
            (ours, unbiased_tally(counted, rule), unbiased_tally(counted, rule).reach),
        ):
            values = pass_at_k_per_problem(tally.num_samples, tally.num_correct, ks, largest_k=largest)
            table[repeat] = (values - truth).mean(axis=0)
    return naive.mean(axis=0), ours.mean(axis=0), ours.std(axis=0, ddof=1) / np.sqrt(repeats)


def coverage(name: str, num_problems: int, *, repeats: int = 2000) -> tuple[float, float]:
    """How often the 95 % interval of delta SE at k = 256 holds the truth: adaptive, and n = 256 fixed."""
    rng = np.random.default_rng(_SEED)
    many = rng.beta(*NAMED[name], 1_000_000)
    truth = float(np.mean(1 - (1 - many) ** 256 - _tuned(many, rng)))
    rules = ((StoppingRule(LEAST, 2, 256), StoppingRule(LEAST, 2, LEAST)), (StoppingRule(256, 2, 256),) * 2)
    held = np.zeros(2)
    for _ in range(repeats):
        base = rng.beta(*NAMED[name], num_problems)
        tuned = _tuned(base, rng)
        for place, (of_base, of_tuned) in enumerate(rules):
            before = unbiased_tally(draw(base, of_base, rng), of_base)
            after = unbiased_tally(draw(tuned, of_tuned, rng), of_tuned)
            found = delta_se(before, after, 256)
            held[place] += found.low <= truth <= found.high
    return float(held[0] / repeats), float(held[1] / repeats)


def draw(p: Floats, rule: StoppingRule, rng: np.random.Generator) -> Tally:
    """Where each problem ends, n and c of all its samples, from the waiting times for its successes."""
    arrivals = max(rule.successes, rule.least)
    waits = np.minimum(rng.geometric(np.maximum(p, 1e-9)[:, None], (p.size, arrivals)), rule.most + 1)
    times: Ints = np.cumsum(waits, axis=1)
    n = np.minimum(np.maximum(times[:, rule.successes - 1], rule.least), rule.most)
    c = (times <= n[:, None]).sum(axis=1)
    return Tally(tuple(map(str, range(p.size))), n, c, np.zeros_like(n))


def _tuned(base: Floats, rng: np.random.Generator) -> Floats:
    """A model made surer, sqrt(p), that has lost some problems."""
    sharper: Floats = np.sqrt(base) * (rng.random(base.size) >= _LOST)
    return sharper


def tables() -> Iterator[str]:
    """The tables of docs/adaptive.md, as lines."""
    yield from _line(
        "accuracy of the base",
        "k",
        "n fixed",
        "samples: base",
        "base and tuned",
        "width",
        "width, these",
        "both, these",
    )
    yield from _line(*["---"] * 8)
    for name in NAMED:
        for k, most in SIZES:
            one = saving(name, k, most)
            base, both, here = (f"{100 * share:.0f} %" for share in (one.base, one.both, one.both_here))
            yield from _line(name, k, most, base, both, f"{one.width:.3f}", f"{one.width_here:.3f}", here)
    yield ""
    ks = (4, 32, 128, 256)
    yield from _line("accuracy", *(f"k = {k}: all counted" for k in ks), *(f"k = {k}: ours" for k in ks))
    yield from _line(*["---"] * 9)
    for name in NAMED:
        naive, ours, error = bias(name, ks)
        exact = [f"{100 * value:+.2f} ± {100 * one:.2f}" for value, one in zip(ours, error, strict=True)]
        yield from _line(name, *(f"{100 * value:+.2f}" for value in naive), *exact)
    yield ""
    yield from _line("accuracy", "problems", "adaptive", "fixed")
    yield from _line(*["---"] * 4)
    for name in NAMED:
        for num_problems in (30, 100, 500):
            yield from _line(name, num_problems, *(f"{100 * one:.1f} %" for one in coverage(name, num_problems)))


def _line(*cells: object) -> Iterator[str]:
    yield "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    for line in tables():
        print(line)
