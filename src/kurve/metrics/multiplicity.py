"""Several tests at once, from intervals rather than p-values: Holm's step-down and the fixed sequence.

A test is an interval that grows with its confidence, and a claim that the interval supports or does not. Intervals
that are nested in this way make Holm (1979) a matter of confidence levels: with r claims still open each is tried at
1 - alpha / r, those that hold are taken, and the rest is tried again with the smaller r. The claims taken are those of
Holm's p-values. In a fixed sequence (Maurer, Hothorn and Lehmacher 1995) each claim is tried at 1 - alpha, and those
after the first that does not hold are not tested. Both keep the chance of any false claim at alpha or below, whatever
the dependence between the tests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kurve.errors import MetricError
from kurve.metrics.bootstrap import Estimate

Interval = Callable[[float], Estimate]  # of a confidence; must grow with it
Claim = Callable[[Estimate], bool]


class Multiplicity(StrEnum):
    """How the chance of a false claim is kept over several tests."""

    HOLM = "holm"
    FIXED_SEQUENCE = "fixed_sequence"
    NONE = "none"  # each test by itself


@dataclass(frozen=True, slots=True)
class Tested:
    """One of several tests."""

    interval: Estimate
    confidence: float  # at which it was tried last
    holds: bool  # False, too, behind the first claim of a fixed sequence that does not hold


def claims(
    intervals: Mapping[str, Interval],
    claim: Claim,
    rule: Multiplicity,
    *,
    confidence: float,
    untestable: int = 0,
) -> dict[str, Tested]:
    """Which of several claims hold, together.

    Args:
        intervals: of each test by name, in the order of a fixed sequence.
        claim: what an interval has to support, the same for all tests.
        rule: how tests are tried.
        confidence: two-sided, of one interval alone, a fraction; a one-sided claim is wrong half as often.
        untestable: further claims that count, but cannot be tried and so do not hold.

    Raises:
        MetricError: a confidence outside (0, 1), or whatever an interval raises.
    """
    if not 0 < confidence < 1:
        raise MetricError(f"confidence must lie between 0 and 1, got {confidence}; 0.95 is usual")
    if rule is Multiplicity.HOLM:
        return _holm(intervals, claim, confidence, untestable)
    found: dict[str, Tested] = {}
    for name, interval in intervals.items():
        stopped = rule is Multiplicity.FIXED_SEQUENCE and not all(one.holds for one in found.values())
        estimate = interval(confidence)
        found[name] = Tested(estimate, confidence, not stopped and claim(estimate))
    return found


def _holm(intervals: Mapping[str, Interval], claim: Claim, confidence: float, untestable: int) -> dict[str, Tested]:
    open_ones = list(intervals)
    found: dict[str, Tested] = {}
    while open_ones:
        level = 1 - (1 - confidence) / (len(open_ones) + untestable)
        tried = {name: intervals[name](level) for name in open_ones}
        found |= {name: Tested(one, level, claim(one)) for name, one in tried.items()}
        still_open = [name for name in open_ones if not found[name].holds]
        if len(still_open) == len(open_ones):
            break
        open_ones = still_open
    return {name: found[name] for name in intervals}
