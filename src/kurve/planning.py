"""What an evaluation will cost before it is paid for: arithmetic on amounts that say how they are known.

Nothing here guesses: an amount that follows from something unknown is unknown, and says what to give. Tokens are
generated ones unless a name says otherwise. P is the number of problems.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kurve.errors import MetricError

CONFIDENCE = 0.95  # of every interval here
_Z = 1.96  # its normal quantile


@dataclass(frozen=True, slots=True)
class Amount:
    """A quantity, how sure it is, and how it is known."""

    value: float | None = None  # None: not known
    low: float | None = None  # of its interval; None without one, as for what is exact
    high: float | None = None
    at_most: float | None = None  # what it cannot exceed; None: not known
    source: str = ""  # how it is known; of an unknown one, what to give

    def times(self, factor: float, *, source: str | None = None) -> "Amount":
        """This many times the quantity; none of it is nothing, whatever it is."""
        known = self.source if source is None else source
        if factor == 0:
            return Amount(0.0, source=known)
        value, low, high, at_most = (
            None if one is None else one * factor for one in (self.value, self.low, self.high, self.at_most)
        )
        return Amount(value, low, high, at_most, known)


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be drawn in one evaluation."""

    label: str  # of the evaluation, for people
    model: str
    benchmark: str
    store: str  # fingerprint of its sample store
    problems: int
    num_samples: int  # n
    stored: int  # samples below n that the store holds
    missing: int  # samples still to be drawn
    unjudged: int  # samples that will need a verdict: those, and stored ones without
    max_tokens: int
    prompt_tokens: Amount  # of the problems that lack samples, each once
    prompt_tokens_each: Amount  # the same, each as often as it lacks samples
    half_width: Amount  # of the interval of pass@1 over problems, a fraction
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rates:
    """What one sample costs."""

    tokens: Amount  # a sample
    tokens_per_second: Amount  # of one GPU, or of one process where `gpus` is 0
    gpus: int  # of one sampling process; 0: it draws on a processor
    processes: int  # at the same time
    bytes_per_token: Amount  # samples and verdicts as they are stored, compressed
    seconds_per_verdict: Amount  # of one processor
    gpu_hour_price: float | None = None  # in the user's currency
    tracked_share: float = 0.0  # bytes that a tracker gets for each stored one


@dataclass(frozen=True, slots=True)
class Costs:
    """What one evaluation will cost."""

    work: Work
    rates: Rates
    tokens: Amount
    process_hours: Amount  # of sampling, engine starts left out
    gpu_hours: Amount
    wall_hours: Amount  # with all processes at work to the end
    price: Amount
    stored_bytes: Amount
    tracked_bytes: Amount
    verification_hours: Amount  # of one processor


TOTALS = (
    "tokens", "process_hours", "gpu_hours", "wall_hours", "price", "stored_bytes", "tracked_bytes",
    "verification_hours",
)  # fmt: skip


def costs(work: Work, rates: Rates) -> Costs:
    """What is to be drawn, by what a sample costs."""
    tokens = _derived(rates.tokens, work.missing, "samples to be drawn x tokens a sample")
    process_hours = _hours(tokens, rates)
    gpu_hours = process_hours.times(rates.gpus)
    unpriced = Amount(source="give gpu_hour_price=<price of a GPU for an hour>")
    price = unpriced if rates.gpu_hour_price is None else _derived(gpu_hours, rates.gpu_hour_price, "GPU-hours x price")
    stored = _product(tokens, rates.bytes_per_token)
    return Costs(
        work=work,
        rates=rates,
        tokens=tokens,
        process_hours=process_hours,
        gpu_hours=gpu_hours,
        wall_hours=process_hours.times(1 / rates.processes),
        price=price,
        stored_bytes=stored,
        tracked_bytes=stored.times(rates.tracked_share),
        verification_hours=rates.seconds_per_verdict.times(work.unjudged / 3600),
    )


def total(amounts: Iterable[Amount]) -> Amount:
    """Their sum; unknown where one of them is, with what to give for it. Intervals add up end by end."""
    parts = [one for one in amounts if one.value != 0]
    unknown = [one for one in parts if one.value is None]
    bounds = [_bound(one) for one in parts]
    at_most = sum(bound for bound in bounds if bound is not None) if None not in bounds else None
    bounded = at_most if any(one.at_most is not None for one in parts) else None
    if unknown:
        return Amount(at_most=bounded, source=unknown[0].source)
    value = sum(one.value for one in parts if one.value is not None)
    if not any(one.low is not None for one in parts):
        return Amount(value, at_most=bounded)
    low, high = (sum(_end(one, end) for one in parts) for end in ("low", "high"))
    return Amount(value, low, high, bounded)


def mean_length(tokens: Mapping[str, NDArray[np.int64]], problem_ids: Sequence[str], *, longest: int) -> Amount:
    """Tokens of a sample of these problems, from stored samples of some problems, each problem counting the same.

    Where every problem was sampled, at least twice, only the samples vary; otherwise the measured problems stand for
    the others, and their spread makes the interval. Both are normal approximations.

    Args:
        tokens: lengths of the stored samples of each measured problem.
        problem_ids: the problems to be sampled, [P].
        longest: tokens that a sample can have.

    Raises:
        MetricError: nothing was measured.
    """
    measured = {problem_id: lengths for problem_id, lengths in tokens.items() if len(lengths)}
    if not measured:
        raise MetricError("the mean length of no samples is not known; give stored samples with their tokens")
    wanted = set(problem_ids)
    if wanted <= set(measured) and all(len(measured[one]) > 1 for one in wanted):
        held = [measured[one] for one in sorted(wanted)]
        error = math.sqrt(sum(float(one.var(ddof=1)) / len(one) for one in held)) / len(held)
    else:
        held = [measured[one] for one in sorted(measured)]
        error = spread(np.array([one.mean() for one in held])) / math.sqrt(len(held))
    value = float(np.mean([one.mean() for one in held]))
    if not math.isfinite(error):
        return Amount(value, at_most=longest)
    return Amount(value, max(value - _Z * error, 0.0), min(value + _Z * error, longest), longest)


def spread(values: NDArray[np.float64]) -> float:
    """Standard deviation of a population from a sample of it; NaN for one value."""
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def as_json(one: Costs) -> dict[str, Any]:
    """All numbers of one evaluation, unknown ones null, with their sources."""
    work, rates = one.work, one.rates
    amounts = {
        "prompt_tokens": work.prompt_tokens,
        "prompt_tokens_each": work.prompt_tokens_each,
        "tokens_per_sample": rates.tokens,
        "tokens_per_second": rates.tokens_per_second,
        "bytes_per_token": rates.bytes_per_token,
        "seconds_per_verdict": rates.seconds_per_verdict,
        "pass_at_1_half_width": work.half_width,
        **{name: getattr(one, name) for name in TOTALS},
    }
    facts = (
        "label",
        "model",
        "benchmark",
        "store",
        "problems",
        "num_samples",
        "stored",
        "missing",
        "unjudged",
        "max_tokens",
    )
    return {
        **{name: getattr(work, name) for name in facts},
        "gpus": rates.gpus,
        "processes": rates.processes,
        **{name: amount_json(amount) for name, amount in amounts.items()},
        "notes": list(work.notes),
    }


def amount_json(amount: Amount) -> dict[str, float | str | None]:
    """An amount for programs."""
    return {"value": amount.value, "low": amount.low, "high": amount.high, "at_most": amount.at_most,
            "source": amount.source}  # fmt: skip


def _hours(tokens: Amount, rates: Rates) -> Amount:
    """Hours of one process; its speed's own interval is not known, so only that of the tokens is carried on."""
    speed = rates.tokens_per_second
    if tokens.value == 0:
        return tokens
    if speed.value is None:
        return Amount(source=speed.source)
    return _derived(tokens, 1 / (speed.value * max(rates.gpus, 1) * 3600), "generated tokens / tokens/s")


def _product(one: Amount, factor: Amount) -> Amount:
    if factor.value is None:
        return Amount(source=factor.source)
    return _derived(one, factor.value, factor.source)


def _derived(one: Amount, factor: float, how: str) -> Amount:
    """So many times the amount, known in this way if the amount is known."""
    return one.times(factor, source=None if one.value is None else how)


def _bound(one: Amount) -> float | None:
    return one.at_most if one.at_most is not None else (one.value if one.low is None else None)


def _end(one: Amount, end: str) -> float:
    found = getattr(one, end)
    return float(one.value or 0.0) if found is None else float(found)
