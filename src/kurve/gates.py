"""Evidence and thresholds -> GateResult: whether a tuned model may take a place that others rely on.

Three outcomes. A check is PASSED when the interval lies wholly on the right side of its threshold, FAILED when it lies
wholly on the wrong side, and INSUFFICIENT_EVIDENCE in between, or where something is missing, NaN, or cannot be
compared. A gate is passed when every check is. `docs/promoting.md` says what each check asks for.

The checks of one kind over several benchmarks keep the chance of any false claim together (`metrics.multiplicity`).
Kinds need no correction among each other, since all of them have to pass.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from kurve.comparison import MOST_KS, paired
from kurve.errors import DataError, MetricError
from kurve.gate_settings import Gate
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.efficiency import delta_se, delta_se_k, headline_k
from kurve.metrics.multiplicity import Interval, Multiplicity, Tested, claims
from kurve.metrics.paired import difference_interval, paired_difference
from kurve.metrics.passk import Floats, Ints, log_spaced, pass_at_k_of
from kurve.types import Tally

_NAMED = 3  # settings that a reason spells out


class GateOutcome(StrEnum):
    """What a check, or a whole gate, says."""

    PASSED = "passed"
    FAILED = "failed"  # the data show the contrary
    INSUFFICIENT_EVIDENCE = "insufficient evidence"  # the data allow both, or are not there


@dataclass(frozen=True, slots=True)
class Measured:
    """One model on one benchmark, as it was stored."""

    tally: Tally
    truncation_rate: float | None  # None or NaN: not known
    settings: Mapping[str, object]  # what has to be the same for both models: verifier, temperature, ...
    unsafe_sandbox: bool = False  # its answers' programs ran without a sandbox


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of both models on one benchmark; None: not evaluated."""

    benchmark: str
    base: Measured | None
    tuned: Measured | None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was asked for, and what the data say of it."""

    name: str
    benchmark: str
    outcome: GateOutcome
    reason: str  # a clause for people
    threshold: float | None = None
    value: float | None = None
    low: float | None = None  # of the interval
    high: float | None = None
    k: int | None = None
    confidence: float | None = None  # of the interval, after the correction for several benchmarks


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate says of a model."""

    gate: Gate
    checks: tuple[Check, ...]

    @property
    def outcome(self) -> GateOutcome:
        """FAILED if any check is, else INSUFFICIENT_EVIDENCE if any check is."""
        said = {check.outcome for check in self.checks}
        for outcome in (GateOutcome.FAILED, GateOutcome.INSUFFICIENT_EVIDENCE):
            if outcome in said:
                return outcome
        return GateOutcome.PASSED

    @property
    def reason(self) -> str:
        """Why it is not passed, or that all checks are."""
        if self.outcome is GateOutcome.PASSED:
            return f"all {len(self.checks)} checks passed" if self.checks else "nothing was asked for"
        said = [_where(check) + check.reason for check in self.checks if check.outcome is self.outcome]
        return "; ".join(dict.fromkeys(said))


def judge(gate: Gate, evidence: Sequence[Evidence]) -> GateResult:
    """Try every check of the gate; the same evidence gives the same result, to the last digit.

    Args:
        gate: what is asked for; its seed is that of all draws.
        evidence: at most one for each benchmark; those that the gate does not name are left alone.
    """
    by_name = {one.benchmark: one for one in evidence}
    named = gate.benchmarks if gate.benchmarks is not None else tuple(by_name)
    if gate.asks_nothing:
        return GateResult(gate, ())
    if not named:
        reason = "no evaluation of this version is known; evaluate it and its base, or name the runs with tuned="
        return GateResult(gate, (Check("evidence", "", GateOutcome.INSUFFICIENT_EVIDENCE, reason),))
    checks: list[Check] = []
    pairs: dict[str, _Pair | str] = {}  # or why there is none
    for name in named:
        own, pair = _quality(gate, by_name.get(name, Evidence(name, None, None)))
        checks += own
        pairs[name] = pair
    return GateResult(gate, (*checks, *_tests(gate, pairs)))


@dataclass(frozen=True, slots=True)
class _Pair:
    """The counts of both models on the same problems, and pass@k where a band needs it."""

    base: Tally
    tuned: Tally
    k: int  # the large one
    ks: Ints  # [K]
    tables: tuple[Floats, Floats] = field(repr=False)  # of base and tuned, [P, K]


def _quality(gate: Gate, evidence: Evidence) -> tuple[list[Check], _Pair | str]:
    """Whether the evidence on one benchmark can be used, and the pair of counts if it can."""
    name, base, tuned = evidence.benchmark, evidence.base, evidence.tuned
    if base is None or tuned is None:
        missing = [who for who, one in (("this version", tuned), ("its base", base)) if one is None]
        options = {"this version": "tuned=", "its base": "base="}
        reason = f"no evaluation of {' and '.join(missing)} is known; name one with {options[missing[-1]]}<run id>"
        return [Check("evidence", name, GateOutcome.INSUFFICIENT_EVIDENCE, reason)], reason
    usable = [*_size(gate, name, base.tally, tuned.tally), *_alike(gate, name, base, tuned)]
    limits = [*_rates(gate, name, base, tuned), *_sandbox(gate, name, base, tuned)]
    bad = next((check.reason for check in usable if check.outcome is not GateOutcome.PASSED), "")
    pair = bad or _pair(gate, base.tally, tuned.tally)
    if isinstance(pair, str) and not bad:
        usable.append(Check("evidence", name, GateOutcome.INSUFFICIENT_EVIDENCE, pair))
    return [*usable, *limits], pair


def _size(gate: Gate, benchmark: str, base: Tally, tuned: Tally) -> list[Check]:
    problems = min(len(base.problem_ids), len(tuned.problem_ids))
    samples = min((int(tally.reach.min()) for tally in (base, tuned) if tally.problem_ids), default=0)
    return [
        _enough("problems", benchmark, problems, gate.min_problems, what="problems"),
        _enough("samples", benchmark, samples, gate.min_samples, what="samples of each problem"),
    ]


def _enough(name: str, benchmark: str, found: int, least: int, *, what: str) -> Check:
    outcome = GateOutcome.PASSED if found >= least else GateOutcome.INSUFFICIENT_EVIDENCE
    return Check(name, benchmark, outcome, f"{found:,} {what}, {least:,} are asked for", least, found)


def _alike(gate: Gate, benchmark: str, base: Measured, tuned: Measured) -> list[Check]:
    if not gate.same_settings:
        return []
    keys = dict.fromkeys((*base.settings, *tuned.settings))
    differ = [key for key in keys if base.settings.get(key) != tuned.settings.get(key)]
    if not differ:
        return [Check("settings", benchmark, GateOutcome.PASSED, "both models were sampled and judged alike")]
    shown = [f"{key} {base.settings.get(key)} and {tuned.settings.get(key)}" for key in differ[:_NAMED]]
    more = f" and {len(differ) - _NAMED} more" if len(differ) > _NAMED else ""
    reason = f"base and this version were not sampled and judged alike: {', '.join(shown)}{more}"
    return [Check("settings", benchmark, GateOutcome.INSUFFICIENT_EVIDENCE, reason)]


def _rates(gate: Gate, benchmark: str, base: Measured, tuned: Measured) -> list[Check]:
    found = []
    for who, one in (("base", base), ("this version", tuned)):
        if gate.max_truncation_rate is not None:
            rate = one.truncation_rate
            found.append(_limit("truncation", benchmark, f"truncation of {who}", rate, limit=gate.max_truncation_rate))
        if gate.max_error_rate is not None:
            errors, judged = int(one.tally.num_errors.sum()), int(one.tally.num_samples.sum())
            rate = errors / (errors + judged) if errors + judged else None
            found.append(
                _limit("verifier_errors", benchmark, f"verifier errors of {who}", rate, limit=gate.max_error_rate)
            )
    return found


def _limit(name: str, benchmark: str, what: str, rate: float | None, *, limit: float) -> Check:
    if rate is None or not 0 <= rate <= 1:
        return Check(name, benchmark, GateOutcome.INSUFFICIENT_EVIDENCE, f"{what}: not known", limit)
    outcome = GateOutcome.PASSED if rate <= limit else GateOutcome.FAILED
    return Check(name, benchmark, outcome, f"{what}: {rate:.2%}, at most {limit:.2%} is allowed", limit, rate)


def _sandbox(gate: Gate, benchmark: str, base: Measured, tuned: Measured) -> list[Check]:
    if gate.allow_unsafe_sandbox:
        return []
    unsafe = [who for who, one in (("base", base), ("this version", tuned)) if one.unsafe_sandbox]
    if not unsafe:
        return [Check("sandbox", benchmark, GateOutcome.PASSED, "no program ran without a sandbox")]
    reason = f"programs of {' and '.join(unsafe)} ran without a sandbox, which they may have used"
    return [Check("sandbox", benchmark, GateOutcome.FAILED, reason)]


def _pair(gate: Gate, base: Tally, tuned: Tally) -> _Pair | str:
    try:
        base, tuned = paired(base, tuned, names=("the base", "this version"))
        k = gate.k or headline_k(base, tuned)
        fewest = int(min(base.reach.min(), tuned.reach.min()))
        if k > fewest:
            return f"pass@{k} is not known, there are {fewest:,} samples of each problem"
        ks = np.union1d(log_spaced(fewest, MOST_KS), [k])
        return _Pair(base, tuned, k, ks, (pass_at_k_of(base, ks), pass_at_k_of(tuned, ks)))
    except (DataError, MetricError) as error:
        return str(error)


def _tests(gate: Gate, pairs: Mapping[str, "_Pair | str"]) -> list[Check]:
    """The checks that compare, of every kind and benchmark."""
    found: list[Check] = []
    if (margin := gate.superiority_margin) is not None:
        found += _kind(gate, pairs, _Kind("superiority", margin, above=True, interval=_at_1, k=lambda _: 1))
    if (margin := gate.non_inferiority_margin) is not None:
        kind = _Kind("non_inferiority", -margin, above=True, interval=_band_at_k, k=lambda pair: pair.k)
        found += _kind(gate, pairs, kind)
    if (cap := gate.delta_se_cap) is not None:
        kind = _Kind("delta_se", cap, above=False, interval=_gap, k=lambda pair: _gap_k(gate, pair))
        found += _kind(gate, pairs, kind)
    return found


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of check that compares, the same on every benchmark."""

    name: str
    threshold: float
    above: bool  # the whole interval has to lie above the threshold, else at or below
    interval: Callable[[Gate, _Pair], Interval]
    k: Callable[[_Pair], int]

    def holds(self, one: Estimate) -> bool:
        return one.low > self.threshold if self.above else one.high <= self.threshold

    def contrary(self, one: Estimate) -> bool:
        return one.high <= self.threshold if self.above else one.low > self.threshold


def _kind(gate: Gate, pairs: Mapping[str, "_Pair | str"], kind: _Kind) -> list[Check]:
    intervals = {name: kind.interval(gate, pair) for name, pair in pairs.items() if isinstance(pair, _Pair)}
    rule = Multiplicity(gate.multiplicity)
    missing = len(pairs) - len(intervals)
    tested = claims(intervals, kind.holds, rule, confidence=gate.confidence, untestable=missing)
    found, first_open = [], ""
    for name, pair in pairs.items():
        if isinstance(pair, str):
            check = Check(kind.name, name, GateOutcome.INSUFFICIENT_EVIDENCE, pair, kind.threshold)
        else:
            check = _tested(kind, name, pair, tested[name])
        if first_open and rule is Multiplicity.FIXED_SEQUENCE and check.outcome is not GateOutcome.FAILED:
            reason = f"{check.reason}; not tested, since {first_open} comes before it"
            check = replace(check, outcome=GateOutcome.INSUFFICIENT_EVIDENCE, reason=reason)
        if check.outcome is not GateOutcome.PASSED:
            first_open = first_open or name
        found.append(check)
    return found


def _tested(kind: _Kind, benchmark: str, pair: _Pair, tested: Tested) -> Check:
    one = tested.interval
    known = all(map(math.isfinite, (one.value, one.low, one.high)))
    outcome = GateOutcome.INSUFFICIENT_EVIDENCE
    if known and tested.holds:
        outcome = GateOutcome.PASSED
    elif known and kind.contrary(one):
        outcome = GateOutcome.FAILED
    k = kind.k(pair)
    return Check(
        name=kind.name,
        benchmark=benchmark,
        outcome=outcome,
        reason=_words(kind, one, k),
        threshold=kind.threshold,
        value=one.value,
        low=one.low,
        high=one.high,
        k=k,
        confidence=tested.confidence,
    )


def _words(kind: _Kind, one: Estimate, k: int) -> str:
    numbers = f"{100 * one.value:+.1f} points [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
    if kind.name == "delta_se":
        return f"delta SE at k = {k} is {numbers}, at most {100 * kind.threshold:.1f} is allowed"
    return f"pass@{k} changed by {numbers}, more than {100 * kind.threshold:+.1f} is asked for"


def _at_1(gate: Gate, pair: _Pair) -> Interval:
    change = pair.tables[1][:, 0] - pair.tables[0][:, 0]
    return lambda confidence: difference_interval(change, confidence=confidence)


def _band_at_k(gate: Gate, pair: _Pair) -> Interval:
    """The simultaneous band over all k, at the large one: as `kurve compare` shows it."""
    column = int(np.searchsorted(pair.ks, pair.k))

    def interval(confidence: float) -> Estimate:
        rng = np.random.default_rng(gate.seed)
        band = paired_difference(*pair.tables, pair.ks, rng, confidence=confidence, draws=gate.draws)
        return Estimate(float(band.delta[column]), float(band.low[column]), float(band.high[column]))

    return interval


def _gap(gate: Gate, pair: _Pair) -> Interval:
    return lambda confidence: delta_se(pair.base, pair.tuned, _gap_k(gate, pair), confidence=confidence)


def _gap_k(gate: Gate, pair: _Pair) -> int:
    return gate.k or delta_se_k(pair.base)


def _where(check: Check) -> str:
    return f"{check.benchmark}: " if check.benchmark else ""
