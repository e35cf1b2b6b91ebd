"""What a user gets who may look at k samples and must name one answer: by vote, or by the model's own confidence.

One problem at a time: n samples, each with a label of its answer's cluster (from 0; -1 for no answer) and whether it is
right. Clusters are made by the verifier, since equal answers are written in many ways.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kurve.errors import MetricError
from kurve.metrics.passk import Floats, Ints, checked_ks

SUBSETS = 200  # of k samples behind a maj@k
_CELLS = 1 << 21  # of one block of subsets, 16 MB


def majority_at_k(
    labels: ArrayLike, correct: ArrayLike, ks: ArrayLike, rng: np.random.Generator, *, subsets: int = SUBSETS
) -> Floats:
    """maj@k, the chance that the most frequent answer of k samples is right, [K].

    Wang et al. 2022 (arXiv:2203.11171). The mean over random subsets without replacement (no closed form is known);
    k = 1 and all n samples are exact. A tie of t answers counts 1/t if the right one is among them: half of two.
    Samples without an answer do not vote; k samples of which none has an answer are wrong.

    Args:
        labels: cluster of each sample's answer, -1 for none, [n].
        correct: whether the sample is right, [n]; the same for all samples of a cluster.
        ks: up to n, [K].
        rng: source of the subsets; the same state gives the same value.
        subsets: drawn for each k.

    Raises:
        MetricError: shapes that differ, a cluster that is right and wrong, a k out of range, or no subsets.
    """
    label, right = _labelled(labels, correct)
    wanted = checked_ks(ks, label.size, why="maj@k needs k samples of every problem")
    if subsets < 1:
        raise MetricError(f"need at least one subset, got {subsets}; {SUBSETS} is usual")
    found = np.zeros(wanted.size)
    voted_right = right & (label >= 0)
    if not voted_right.any():
        return found
    is_right = np.zeros(int(label.max()) + 1, dtype=bool)
    is_right[label[voted_right]] = True
    whole, one = wanted == label.size, (wanted == 1) & (label.size > 1)
    found[whole] = _share(np.bincount(label[label >= 0], minlength=is_right.size)[None, :], is_right)[0]
    found[one] = voted_right.mean()
    drawn = ~(whole | one)
    if drawn.any():
        found[drawn] = _mean_vote(label, is_right, wanted[drawn], rng, subsets=subsets)
    return found


def best_of_k(scores: ArrayLike, correct: ArrayLike, ks: ArrayLike) -> Floats:
    """The chance that the highest-scored of k samples is right, exactly, [K].

    For instance with the mean log-probability of a sample's tokens as its score. The r-th highest of n samples (from 0)
    is the best of k with the chance C(n - 1 - r, k - 1) / C(n, k); samples of one score share their ranks' chances.

    Args:
        scores: of the samples, higher is better, [n].
        correct: whether the sample is right, [n].
        ks: up to n, [K].

    Raises:
        MetricError: shapes that differ, a score that is not a number, or a k out of range.
    """
    score, right = np.asarray(scores, dtype=np.float64), np.asarray(correct, dtype=bool)
    if score.ndim != 1 or score.shape != right.shape or score.size == 0:
        raise MetricError(f"need one score and one verdict a sample, got shapes {score.shape} and {right.shape}")
    if np.isnan(score).any():
        raise MetricError("a score is not a number; leave samples without a log-probability out")
    wanted = checked_ks(ks, score.size, why="best of k needs k samples of every problem")
    order = np.argsort(-score, kind="stable")
    _, ties = np.unique(-score[order], return_inverse=True)
    share = np.bincount(ties, weights=right[order]) / np.bincount(ties)  # right ones among equal scores
    ranked = share[ties]  # by rank
    n = score.size
    found = np.empty(wanted.size)
    for place, k in enumerate(wanted.tolist()):
        ranks = np.arange(n - k + 1)
        # C(n-1-r, k-1) / C(n, k) from one rank to the next: times (n - k - r) / (n - 1 - r)
        steps = (n - k - ranks[:-1]) / (n - 1 - ranks[:-1])
        found[place] = k / n * float(np.concatenate([[1.0], np.cumprod(steps)]) @ ranked[: n - k + 1])
    return found


def answer_entropy(labels: ArrayLike) -> float:
    """Entropy of the answers over their clusters, nats, with the Miller-Madow correction for few samples.

    -sum q ln q + (m - 1) / 2n over the m clusters that were seen; its exponential is an effective number of answers.
    Samples without an answer are left out; NaN if none has one.
    """
    label = np.asarray(labels)
    counts = np.bincount(label[label >= 0].astype(np.int64)) if label.size else np.zeros(0, dtype=np.int64)
    counts = counts[counts > 0]
    total = counts.sum()
    if total == 0:
        return float("nan")
    shares = counts / total
    return float(-(shares * np.log(shares)).sum() + (counts.size - 1) / (2 * total))


def _labelled(labels: ArrayLike, correct: ArrayLike) -> tuple[Ints, NDArray[np.bool_]]:
    label, right = np.asarray(labels, dtype=np.int64), np.asarray(correct, dtype=bool)
    if label.ndim != 1 or label.shape != right.shape or label.size == 0:
        raise MetricError(f"need one cluster and one verdict a sample, got shapes {label.shape} and {right.shape}")
    both = np.intersect1d(label[right & (label >= 0)], label[~right & (label >= 0)])
    if both.size:
        raise MetricError(f"cluster {both[0]} holds right and wrong samples; equal answers have one verdict")
    return label, right


def _mean_vote(label: Ints, is_right: NDArray[np.bool_], ks: Ints, rng: np.random.Generator, *, subsets: int) -> Floats:
    """Mean share of the vote that is right over random subsets, [K]; the first k of an order are a subset."""
    height = max(1, _CELLS // max(label.size, is_right.size))
    order = np.argsort(ks)
    total = np.zeros(ks.size)
    for start in range(0, subsets, height):
        rows = min(height, subsets - start)
        drawn = rng.permuted(np.tile(label, (rows, 1)), axis=1)
        votes = np.zeros((rows, is_right.size), dtype=np.int64)
        counted = 0
        for place in order:
            votes += _votes(drawn[:, counted : ks[place]], is_right.size)
            counted = int(ks[place])
            total[place] += _share(votes, is_right).sum()
    return total / subsets


def _votes(drawn: Ints, num_clusters: int) -> Ints:
    """How often each cluster occurs in each row, [rows, clusters]."""
    voting = drawn >= 0
    places = (np.arange(len(drawn))[:, None] * num_clusters + drawn)[voting]
    return np.bincount(places, minlength=len(drawn) * num_clusters).reshape(len(drawn), num_clusters)


def _share(votes: Ints, is_right: NDArray[np.bool_]) -> Floats:
    """Share of each row's most frequent clusters that is right, [rows]; 0 where nothing was voted for."""
    top = (votes == votes.max(axis=1, keepdims=True)) & (votes > 0)
    share: Floats = (top & is_right).sum(axis=1) / np.maximum(top.sum(axis=1), 1)
    return share
