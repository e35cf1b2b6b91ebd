"""What the samples of all problems say beyond right and wrong: votes, the model's confidence, how varied answers are.

P problems, n samples of each, K values of k. Equal answers are one cluster. Which answers are equal is the verifier's
matter: all correct ones are equal by its own judgement, and wrong ones by their normal form.
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kurve.errors import MetricError
from kurve.metrics.bootstrap import Estimate, mean_band, mean_interval, student_interval
from kurve.metrics.efficiency import HEADLINE_K
from kurve.metrics.measured import Measured
from kurve.metrics.passk import Floats, Ints, high_variance
from kurve.metrics.selection import SUBSETS, answer_entropy, best_of_k, majority_at_k
from kurve.types import Curve, Responses, Table

SampleMetric: TypeAlias = Callable[..., Measured]  # of all problems' Responses; rng=, ks= and confidence= are given


def majority(
    responses: Sequence[Responses],
    *,
    rng: np.random.Generator,
    ks: Sequence[int] = (),
    confidence: float = 0.95,
    subsets: int = SUBSETS,
) -> Measured:
    """maj@k over powers of two, `maj_at_k`, and at the headline k (256 or n) as a number with its interval.

    Mean over problems of `majority_at_k`. The interval is for problems like these; the noise of the subsets, at most
    0.5 / sqrt(subsets * P), is part of the spread it rests on.

    Args:
        responses: of all problems, [P].
        rng: source of the subsets.
        ks: further k to show as numbers; those above the smallest n are left out.
        confidence: of interval and band, a fraction.
        subsets: drawn for each problem and k.

    Raises:
        MetricError: no problems, or no subsets.
    """
    if missing := _unnamed(responses):
        return Measured(notes=(f"maj@k is left out: {missing}",))
    shown, grid = _grid([one.correct.size for one in responses], ks)
    table = np.stack([majority_at_k(clusters(one), one.correct, grid, rng, subsets=subsets) for one in responses])
    counts = np.array([one.correct.size for one in responses])
    return Measured(
        _at(table, grid, shown, name="maj_at_{}", confidence=confidence),
        (_curve("maj_at_k", table, grid, counts, rng=rng, confidence=confidence),),
        notes=_abstained(responses),
    )


def best_by_logprob(
    responses: Sequence[Responses],
    *,
    rng: np.random.Generator,
    ks: Sequence[int] = (),
    confidence: float = 0.95,
    score: Literal["mean", "sum"] = "mean",
) -> Measured:
    """The chance that the response that the model finds likeliest of k is right, exactly, as curve and headline.

    The score is the log-probability of all drawn tokens: `sum`, which favours short responses, or their `mean`. Samples
    without one are left out, and with them k above the fewest that are left.

    Args:
        responses: of all problems, [P].
        rng: source of the band's multipliers.
        ks: further k to show as numbers.
        confidence: of interval and band, a fraction.
        score: mean a token, or sum.

    Raises:
        MetricError: no problems, or another score.
    """
    if score not in ("mean", "sum"):
        raise MetricError(f"the score of a response is its mean or its sum of log-probabilities, got {score!r}")
    name = f"best_of_{{}}_by_{score}_logprob"
    scored = [_scores(one, score) for one in responses]
    counts = np.array([values.size for values, _ in scored])
    if counts.min() == 0:
        without = f"{np.count_nonzero(counts == 0)} problems have no sample with a log-probability"
        return Measured(notes=(f"{name.format('k')} is left out: {without}.",) if counts.any() else ())
    shown, grid = _grid(counts.tolist(), ks)
    table = np.stack([best_of_k(values, right, grid) for values, right in scored])
    missing = sum(one.correct.size for one in responses) - int(counts.sum())
    return Measured(
        _at(table, grid, shown, name=name, confidence=confidence),
        (_curve(name.format("k"), table, grid, counts, rng=rng, confidence=confidence),),
        notes=(f"{name.format('k')} leaves out {missing} samples without a log-probability.",) if missing else (),
    )


def diversity(
    responses: Sequence[Responses], *, rng: np.random.Generator, ks: Sequence[int] = (), confidence: float = 0.95
) -> Measured:
    """How varied the answers of a problem are, means over problems, and one row a problem.

    `answer_entropy` in nats (Miller-Madow), `effective_answers` its exponential, `distinct_answers` clusters seen:
    of problems with an answer. `distinct_correct_answers` different spellings in normal form, and
    `distinct_correct_responses` different texts: of problems that are solved. All but the entropy grow with n: compare
    models at the same n.

    Args:
        responses: of all problems, [P].
        rng: not used; every measurement of samples gets one.
        ks: not used.
        confidence: of the intervals, a fraction.
    """
    del rng, ks
    if missing := _unnamed(responses):
        return Measured(notes=(f"Answer entropy and distinct answers are left out: {missing}",))
    rows = [_answer_row(one) for one in responses]
    means = {
        "answer_entropy": [row["answer_entropy"] for row in rows],
        "effective_answers": [None if row["answer_entropy"] is None else np.exp(row["answer_entropy"]) for row in rows],
        "distinct_answers": [row["distinct_answers"] or None for row in rows],
        "distinct_correct_answers": [row["distinct_correct_answers"] or None for row in rows],
        "distinct_correct_responses": [row["distinct_correct_responses"] or None for row in rows],
    }
    known = {key: [value for value in column if value is not None] for key, column in means.items()}
    scalars = {key: student_interval(values, confidence=confidence) for key, values in known.items() if values}
    columns = ("id", *rows[0])
    table = tuple((one.problem_id, *row.values()) for one, row in zip(responses, rows, strict=True))
    return Measured(scalars, tables=(Table("answers", columns, table),), notes=_abstained(responses))


def clusters(one: Responses) -> Ints:
    """Cluster of each sample's answer, -1 for none, [n]: correct ones are one, wrong ones by their normal form."""
    _, number = np.unique(np.where(one.correct, -1, one.answer), return_inverse=True)
    found: Ints = number.reshape(-1).astype(np.int64) + 1
    found[one.answer < 0] = -1
    found[one.correct] = 0
    return found


def _answer_row(one: Responses) -> dict[str, float | None]:
    """What is known of one problem's answers, by the name of the column."""
    label = clusters(one)
    votes = np.bincount(label[label >= 0])
    answered = int(votes.sum())
    return {
        "n": label.size,
        "answered": answered,
        "distinct_answers": int(np.count_nonzero(votes)),
        "answer_entropy": answer_entropy(label) if answered else None,
        "largest_share": float(votes.max() / answered) if answered else None,
        "distinct_correct_answers": _num_distinct(one.answer[one.correct]),
        "distinct_correct_responses": _num_distinct(one.text[one.correct]),
    }


def _num_distinct(numbers: Ints) -> int:
    return int(np.unique(numbers[numbers >= 0]).size)


def _unnamed(responses: Sequence[Responses]) -> str:
    """Why votes cannot be counted; empty if they can."""
    unnamed = sum(one.num_unnamed for one in responses)
    named = sum(int(np.count_nonzero(~one.correct & (one.answer >= 0))) for one in responses)
    if unnamed <= named:
        return ""
    return f"{unnamed} verdicts say that an answer is wrong, but not what it was."


def _abstained(responses: Sequence[Responses]) -> tuple[str, ...]:
    unnamed = sum(one.num_unnamed for one in responses)
    return (f"{unnamed} wrong answers without a text have no vote and count as no answer.",) if unnamed else ()


def _scores(one: Responses, score: str) -> tuple[Floats, NDArray[np.bool_]]:
    """Score and verdict of the samples that have a log-probability."""
    known = np.isfinite(one.logprob) & (one.num_tokens > 0)
    values = one.logprob[known] / (one.num_tokens[known] if score == "mean" else 1)
    return values, one.correct[known]


def _grid(sizes: Sequence[int], ks: Sequence[int]) -> tuple[list[int], Ints]:
    """The k that become numbers, and with the powers of two those of the curve."""
    if not sizes:
        raise MetricError("need at least one problem, got none")
    fewest = min(sizes)
    shown = sorted({min(HEADLINE_K, fewest)} | {k for k in ks if 1 < k <= fewest})
    powers = {2**place for place in range(fewest.bit_length())}
    return shown, np.array(sorted(powers | set(shown)), dtype=np.int64)


def _at(table: Floats, grid: Ints, shown: Sequence[int], *, name: str, confidence: float) -> dict[str, Estimate]:
    columns = {k: table[:, int(np.searchsorted(grid, k))] for k in shown}
    return {name.format(k): mean_interval(np.clip(one, 0, 1), confidence=confidence) for k, one in columns.items()}


def _curve(name: str, table: Floats, grid: Ints, counts: Ints, *, rng: np.random.Generator, confidence: float) -> Curve:
    low, high = mean_band(np.clip(table, 0, 1), rng, confidence=confidence)
    return Curve(name, grid, table.mean(axis=0), low, high, high_variance(counts, grid), confidence)
