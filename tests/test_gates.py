import dataclasses
import math

import numpy as np
import pytest

from kurve.comparison import compare
from kurve.gate_settings import Gate
from kurve.gates import Check, Evidence, GateOutcome, GateResult, Measured, judge
from kurve.types import Tally
from tests.gating import BASE, BETTER, NARROWER, measured, tally

PASSED, FAILED, INSUFFICIENT = GateOutcome.PASSED, GateOutcome.FAILED, GateOutcome.INSUFFICIENT_EVIDENCE
GATE = Gate("test", superiority_margin=0.0, non_inferiority_margin=0.05, draws=400)


def judged(tuned: Measured, base: Measured | None = None, /, **settings: object) -> GateResult:
    gate = dataclasses.replace(GATE, **settings)  # type: ignore[arg-type]  # any setting of a gate
    return judge(gate, [Evidence("easy", base or measured(BASE), tuned)])


def one(result: GateResult, name: str, benchmark: str = "easy") -> Check:
    [found] = [check for check in result.checks if (check.name, check.benchmark) == (name, benchmark)]
    return found


def outcomes(result: GateResult) -> dict[str, GateOutcome]:
    return {check.name: check.outcome for check in result.checks}


def test_a_model_that_is_better_at_one_sample_and_no_worse_at_many_passes() -> None:
    result = judged(measured(BETTER))
    assert result.outcome is PASSED
    assert set(outcomes(result)) == {"problems", "samples", "settings", "sandbox", "superiority", "non_inferiority"}


def test_a_model_that_is_surer_and_solves_less_fails() -> None:
    result = judged(measured(NARROWER))
    assert result.outcome is FAILED
    assert one(result, "superiority").outcome is PASSED
    assert one(result, "non_inferiority").outcome is FAILED
    assert "easy: pass@64 changed by -40.0 points" in result.reason


def test_the_same_model_is_neither_better_nor_shown_to_be_worse() -> None:
    result = judged(measured(BASE))
    assert one(result, "superiority").outcome is INSUFFICIENT
    assert result.outcome is INSUFFICIENT


def test_a_model_that_is_worse_fails_and_does_not_only_lack_evidence() -> None:
    result = judged(measured(BASE), measured(BETTER))
    assert one(result, "superiority").outcome is FAILED


def test_the_intervals_are_those_that_kurve_compare_shows() -> None:
    shown = compare(BASE, BETTER, rng=np.random.default_rng(7), draws=400)
    result = judged(measured(BETTER), seed=7, delta_se_cap=0.9)
    first, large, gap = (one(result, name) for name in ("superiority", "non_inferiority", "delta_se"))
    change = shown.at_1.change
    assert (first.value, first.low, first.high, first.k) == (change.value, change.low, change.high, 1)
    assert (large.low, large.high) == (shown.difference.low[-1], shown.difference.high[-1])
    assert large.k == gap.k == 64
    assert (gap.value, gap.low, gap.high) == (shown.delta_se.value, shown.delta_se.low, shown.delta_se.high)


@pytest.mark.parametrize(("cap", "outcome"), [(0.99, PASSED), (0.5, INSUFFICIENT), (0.01, FAILED)])
def test_delta_se_has_to_lie_below_its_cap_as_a_whole(cap: float, outcome: GateOutcome) -> None:
    gap = judged(measured(BETTER), delta_se_cap=0.5)
    value = one(gap, "delta_se").value
    assert value is not None
    near = cap if cap != 0.5 else value
    assert one(judged(measured(BETTER), delta_se_cap=near), "delta_se").outcome is outcome


@pytest.mark.parametrize(
    ("name", "tuned", "settings", "outcome"),
    [
        ("problems", measured(BETTER), {"min_problems": 81}, INSUFFICIENT),
        ("samples", measured(BETTER), {"min_samples": 65}, INSUFFICIENT),
        ("settings", measured(BETTER, verifier="other"), {}, INSUFFICIENT),
        ("truncation", measured(BETTER, 0.2), {"max_truncation_rate": 0.1}, FAILED),
        ("truncation", measured(BETTER, None), {"max_truncation_rate": 0.1}, INSUFFICIENT),
        ("truncation", measured(BETTER, math.nan), {"max_truncation_rate": 0.1}, INSUFFICIENT),
        ("sandbox", dataclasses.replace(measured(BETTER), unsafe_sandbox=True), {}, FAILED),
    ],
)
def test_one_thing_that_is_wrong_with_the_evidence_keeps_a_good_model_out(
    name: str, tuned: Measured, settings: dict[str, object], outcome: GateOutcome
) -> None:
    result = judged(tuned, **settings)
    assert result.outcome is outcome
    assert outcome in {check.outcome for check in result.checks if check.name == name}


def test_verifier_errors_count_against_the_evidence_of_either_model() -> None:
    broken = dataclasses.replace(BETTER, num_errors=np.full(80, 10))
    for tuned, base in ((measured(broken), measured(BASE)), (measured(BASE), measured(broken))):
        result = judged(tuned, base, max_error_rate=0.05)
        assert FAILED in {check.outcome for check in result.checks if check.name == "verifier_errors"}
    assert judged(measured(broken), max_error_rate=0.2).outcome is PASSED


def test_evidence_that_cannot_be_used_is_not_compared() -> None:
    result = judged(measured(NARROWER), min_problems=1000)
    assert result.outcome is INSUFFICIENT
    assert one(result, "superiority").low is None


@pytest.mark.parametrize("missing", ["base", "tuned", "all", "problems"])
def test_what_was_not_measured_is_never_passed(missing: str) -> None:
    base = None if missing == "base" else measured(BASE)
    tuned = None if missing == "tuned" else measured(tally(0.5, problems=79) if missing == "problems" else BETTER)
    result = judge(GATE, [] if missing == "all" else [Evidence("easy", base, tuned)])
    assert result.outcome is INSUFFICIENT
    assert result.reason


def test_a_k_that_nobody_has_the_samples_for_is_not_known() -> None:
    result = judged(measured(BETTER), k=256)
    assert result.outcome is INSUFFICIENT
    assert "pass@256 is not known, there are 64 samples" in result.reason
    assert one(judged(measured(BETTER), k=8), "non_inferiority").k == 8


def test_a_single_problem_and_one_that_all_models_solve_establish_nothing() -> None:
    alone = tally(0.5, problems=1)
    assert judge(GATE, [Evidence("easy", measured(alone), measured(alone))]).outcome is INSUFFICIENT
    solved = dataclasses.replace(BASE, num_correct=BASE.num_samples)
    assert one(judged(measured(solved), measured(solved)), "superiority").outcome is INSUFFICIENT


def test_every_named_benchmark_has_to_pass_and_others_are_left_alone() -> None:
    good, bad = measured(BETTER), measured(NARROWER)
    evidence = [Evidence("easy", measured(BASE), good), Evidence("hard", measured(BASE), bad)]
    assert judge(GATE, evidence).outcome is FAILED
    named = dataclasses.replace(GATE, benchmarks=("easy",))
    assert judge(named, evidence).outcome is PASSED
    asked = dataclasses.replace(GATE, benchmarks=("easy", "other"))
    result = judge(asked, evidence)
    assert result.outcome is INSUFFICIENT
    assert one(result, "superiority").confidence == pytest.approx(0.975)  # the missing one counts


def test_in_a_fixed_sequence_what_comes_behind_an_open_test_is_not_tested() -> None:
    evidence = [Evidence("easy", measured(BASE), measured(BASE)), Evidence("hard", measured(BASE), measured(BETTER))]
    first, second = (
        judge(
            dataclasses.replace(GATE, non_inferiority_margin=None, multiplicity="fixed_sequence", benchmarks=order),
            evidence,
        )
        for order in (("easy", "hard"), ("hard", "easy"))
    )
    assert one(first, "superiority", "hard").outcome is INSUFFICIENT
    assert "since easy comes before it" in one(first, "superiority", "hard").reason
    assert one(second, "superiority", "hard").outcome is PASSED


def test_a_gate_that_asks_for_nothing_passes_whatever_there_is() -> None:
    assert judge(Gate("none"), []).outcome is PASSED
    assert judge(Gate("none"), []).checks == ()


def _drawn(rng: np.random.Generator, rates: np.ndarray) -> Tally:
    whole = np.full(rates.size, 32)
    return Tally(tuple(map(str, range(rates.size))), whole, rng.binomial(32, rates), np.zeros(rates.size, dtype=int))


@pytest.mark.parametrize("lost", [False, True])
def test_a_model_at_the_border_passes_about_as_seldom_as_the_confidence_says(lost: bool) -> None:
    """Superiority at no true change; non-inferiority at a true loss of the margin, on problems that were drawn."""
    rng = np.random.default_rng(5)
    margin, trials, passed = 0.2, 400, 0
    gate = Gate("border", superiority_margin=0.0, draws=200)
    if lost:
        gate = Gate("border", non_inferiority_margin=margin, draws=200)
    for _ in range(trials):
        rates = rng.beta(1, 2, 60) if not lost else np.ones(60)
        after = np.where(rng.random(60) < margin, 0.0, rates) if lost else rng.permutation(rates)
        evidence = Evidence("easy", measured(_drawn(rng, rates)), measured(_drawn(rng, after)))
        passed += judge(gate, [evidence]).outcome is PASSED
    assert passed / trials < 0.025 + 3 * math.sqrt(0.025 / trials)
