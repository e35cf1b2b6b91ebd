"""Which problems are solved at all, and how often."""

import numpy as np
from numpy.typing import NDArray

from kurve.metrics.bootstrap import Estimate, fixed_problems_interval, mean_interval
from kurve.types import Histogram, Tally

ACCURACY_BINS = 12


def solved_share(tally: Tally, *, confidence: float = 0.95) -> Estimate:
    """Share of the problems with at least one correct sample, for problems like these; it grows with n."""
    return mean_interval(tally.num_correct > 0, confidence=confidence)


def these_problems_pass_at_1(tally: Tally, *, confidence: float = 0.95) -> Estimate | None:
    """pass@1 with the interval of these very problems, sampled again; None with fewer than 2 samples a problem."""
    if tally.num_samples.min() < 2:
        return None
    return fixed_problems_interval(tally.num_samples, tally.num_correct, 1, confidence=confidence)


def accuracy_bins(tally: Tally) -> NDArray[np.int64]:
    """The bin of `accuracy_histogram` that each problem is in, 0 to 11, [P]."""
    n, c = tally.num_samples, tally.num_correct
    tenth = -(-10 * c // n)  # in integers: 3/10 belongs to (0.2, 0.3] whatever the rounding
    bins: NDArray[np.int64] = np.where(c == n, ACCURACY_BINS - 1, np.minimum(tenth, 10))
    return bins


def accuracy_histogram(tally: Tally) -> Histogram:
    """Problems by their share of correct samples, in the bins of Yue et al. 2025 (arXiv:2504.13837), fig. 5.

    Twelve bins: {0}, (0, 0.1], (0.1, 0.2], ..., (0.9, 1), {1}. The first and the last have equal edges.
    """
    edges = np.concatenate([[0.0], np.arange(11) / 10, [1.0]])
    counts = np.bincount(accuracy_bins(tally), minlength=ACCURACY_BINS)
    return Histogram("accuracy", edges, counts.astype(np.int64))
