"""How far one sample of the tuned model is from what many samples of its base can do."""

from kurve.metrics.bootstrap import Estimate
from kurve.metrics.paired import difference_interval
from kurve.metrics.passk import pass_at_k_of
from kurve.types import Tally

HEADLINE_K = 256  # of the efficiency gap in Yue et al. 2025; the largest k if n is smaller


def delta_se(base: Tally, tuned: Tally, k: int, *, confidence: float = 0.95) -> Estimate:
    """The sampling-efficiency gap, base pass@k - tuned pass@1, as a fraction; lower is better.

    Yue et al. 2025 (arXiv:2504.13837), section 4.3, with k = 256. The interval is paired over problems, for problems
    like these.

    Args:
        base: counts of the model before training, [P].
        tuned: counts of the same problems in the same order, [P].
        k: of the base.
        confidence: of the interval, a fraction.

    Raises:
        MetricError: a k above what the base allows, or bad counts as in `pass_at_k`.
    """
    before = pass_at_k_of(base, [k])[:, 0]
    after = pass_at_k_of(tuned, [1])[:, 0]
    return difference_interval(before - after, confidence=confidence)


def headline_k(base: Tally, tuned: Tally) -> int:
    """256, or the largest k that all problems of both allow."""
    return min(HEADLINE_K, int(base.reach.min()), int(tuned.reach.min()))


def delta_se_k(base: Tally) -> int:
    """256, or the largest k that all problems of the base allow: of the tuned model delta SE takes pass@1."""
    return min(HEADLINE_K, int(base.reach.min()))
