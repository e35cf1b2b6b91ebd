"""What a paired comparison could have found, and what it would take to settle an open one.

Normal approximations: plans, not verdicts. P problems; problem i contributes d_i = tuned pass@k - base pass@k. The
variance of d has a part between problems, which only more problems average out, and a part within them, which falls
as 1/n and which more samples of the same problems reduce.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from kurve.errors import MetricError
from kurve.metrics.bootstrap import CONSTANT, normal_quantile
from kurve.metrics.passk import Floats, pass_at_k_of, sampling_variance
from kurve.types import Tally

POWER = 0.8  # usual chance of finding what is there


@dataclass(frozen=True, slots=True)
class Settling:
    """What would settle the difference at one k."""

    k: int
    difference: float  # tuned - base, as it was seen, a fraction
    detectable: float  # the smallest true difference that these data find with `power`, a fraction
    problems: float  # in all, with the same n, if the true difference is the seen one; infinite if that is 0
    samples: (
        float  # n of each of these problems instead; infinite if they cannot do it, NaN if k > n/2 or n is adaptive
    )
    power: float


def settling(base: Tally, tuned: Tally, k: int, *, confidence: float = 0.95, power: float = POWER) -> Settling:
    """How much more would settle whether pass@k changed.

    Args:
        base: counts of the model before training, [P].
        tuned: counts of the same problems in the same order, [P].
        k: up to min(n) of both.
        confidence: of the interval that shall exclude 0.
        power: chance that it does.

    Raises:
        MetricError: counts as `pass_at_k` refuses them, a k above min(n), or a confidence or power outside (0, 1).
    """
    if not 0 < power < 1:
        raise MetricError(f"power must lie between 0 and 1, got {power}; {POWER} is usual")
    reach = normal_quantile(confidence) + NormalDist().inv_cdf(power)
    before = pass_at_k_of(base, [k])[:, 0]
    after = pass_at_k_of(tuned, [k])[:, 0]
    differences = after - before
    num_problems, seen = differences.size, float(differences.mean())
    if num_problems == 1:
        return Settling(k, seen, math.inf, math.nan, math.nan, power)
    variance = float(differences.var(ddof=1))
    if variance < CONSTANT:  # all problems agree: they say nothing of how far others may differ
        return Settling(k, seen, math.nan, math.nan, math.nan, power)
    needed = (reach / seen) ** 2 * variance if abs(seen) > CONSTANT else math.inf
    problems = float(math.ceil(max(needed, 2))) if math.isfinite(needed) else math.inf
    samples = _samples_needed(base, tuned, k, variance, allowed=(seen / reach) ** 2 * num_problems)
    return Settling(k, seen, reach * math.sqrt(variance / num_problems), problems, samples, power)


def _samples_needed(base: Tally, tuned: Tally, k: int, variance: float, *, allowed: float) -> float:
    """n at which the variance of d is the allowed one, where the part within problems falls as 1 / n."""
    fewest = int(min(base.num_samples.min(), tuned.num_samples.min()))
    if 2 * k > fewest or base.largest_k is not None or tuned.largest_k is not None:
        return math.nan
    within = float(_noise(base, k).mean() + _noise(tuned, k).mean())
    between = max(variance - within, 0.0)
    if allowed <= between:
        return math.inf
    return float(max(math.ceil(fewest * within / (allowed - between)), k))


def _noise(tally: Tally, k: int) -> Floats:
    return sampling_variance(tally.num_samples, tally.num_correct, np.array([k]))[:, 0]
