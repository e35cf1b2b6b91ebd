"""Verdicts and samples -> Report."""

import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.processes import peak_bytes
from kurve.errors import ConfigError, MetricError
from kurve.metrics.answers import diversity, majority
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.coverage import solved_share
from kurve.metrics.passk import pass_at_k
from kurve.report import Metric, MetricValue, ReportSettings, build_report, check_budget, tally
from kurve.types import Curve, Histogram, Outcome, Sample, StoppingRule, Tally, Verdict
from tests.reports import SPEC, C, E, W, problems, report, samples, table, verdicts

ROOT = Path(__file__).parents[1]


def test_a_failed_judgement_counts_as_an_error_and_never_as_wrong() -> None:
    counts = tally(["p0", "p1"], verdicts([[C, W, E, Outcome.TIMEOUT], [E, C]]))
    assert counts.problem_ids == ("p0", "p1")
    assert counts.num_samples.tolist() == [3, 1]
    assert counts.num_correct.tolist() == [1, 1]
    assert counts.num_errors.tolist() == [1, 1]


def test_verdicts_of_other_problems_are_left_out_and_any_order_is_fine() -> None:
    items = verdicts([[C, W], [W, W], [C, C]])
    random.Random(0).shuffle(items)
    assert tally(["p2", "p1"], iter(items)).num_correct.tolist() == [2, 0]


def test_a_problem_without_a_judged_sample_is_named() -> None:
    with pytest.raises(MetricError, match=r"'p1' and 1 more .* has no verdict"):
        tally(["p0", "p1", "p2"], verdicts([[C]]))
    with pytest.raises(MetricError, match=r"'p0' cannot be counted: all 2 judgements of it failed"):
        tally(["p0"], verdicts([[E, E]]))


def test_a_sample_judged_twice_is_refused() -> None:
    with pytest.raises(MetricError, match="sample 0 of problem 'p0' is judged twice"):
        tally(["p0"], verdicts([[C]]) * 2)


@pytest.mark.parametrize("index", [-1, 10**12])
def test_an_impossible_index_is_refused(index: int) -> None:
    with pytest.raises(MetricError, match="damaged"):
        tally(["p0"], [Verdict("p0", index, C)])


def test_no_problems_and_repeated_ids_are_refused() -> None:
    for ids in ([], ["p0", "p0"]):
        with pytest.raises(MetricError, match="each id once"):
            tally(ids, [])


def test_more_samples_than_drawn_is_refused() -> None:
    with pytest.raises(ConfigError, match="raise num_samples to 256"):
        check_budget(128, ks=[1, 256])
    with pytest.raises(ConfigError, match="raise num_samples to 256"):
        ReportSettings(num_samples=128, ks=(256,))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_samples": 0}, "num_samples"),
        ({"num_samples": 8.0}, "num_samples"),
        ({"ks": (0,)}, "ks"),
        ({"ks": 5}, "ks must be a list"),
        ({"ks": "18"}, "ks must be a list"),
        ({"ks": (2.0,)}, "ks must hold whole numbers"),
        ({"confidence": 95.0}, "confidence"),
        ({"confidence": "high"}, "confidence"),
        ({"draws": 5}, "draws"),
        ({"draws": 2000.5}, "draws"),
        ({"seed": -1}, "seed"),
        ({"preview_rows": 5_000}, "preview_rows"),
        ({"metrics": "solved"}, "metrics"),
        ({"metrics": {"pass@1": solved_share}}, "key"),
        ({"metrics": {"solved": "solved_share"}}, "_partial_"),
    ],
)
def test_impossible_settings_are_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReportSettings(**{"num_samples": 8, **wrong})


def test_the_curve_is_pass_at_k_of_the_counts_within_its_band() -> None:
    made = report([[C, W, W, W], [C, C, C, C], [W, W, W, W]], ReportSettings(4))
    (curve,) = made.curves
    assert curve.k.tolist() == [1, 2, 3, 4]
    assert curve.value == pytest.approx(pass_at_k([4, 4, 4], [1, 4, 0]))
    assert np.all((curve.low <= curve.value) & (curve.value <= curve.high))
    assert curve.high_variance.tolist() == [False, False, True, True]
    assert made.scalars["pass_at_1"] == pytest.approx(5 / 12)
    assert made.scalars["pass_at_4"] == pytest.approx(2 / 3)
    assert made.scalars["pass_at_4_low"] < 2 / 3 < made.scalars["pass_at_4_high"]


def test_both_edges_of_the_band_rise_with_k_as_the_true_curve_does() -> None:
    made = report([[C] + [W] * 7] + [[W] * 8] * 7, ReportSettings(8))
    assert np.all(np.diff(made.curves[0].low) >= 0)
    assert np.all(np.diff(made.curves[0].high) >= 0)


def test_the_headline_is_pass_at_256_and_extra_ks_are_added() -> None:
    made = report([[C] + [W] * 299, [W] * 300], ReportSettings(300, ks=(20,)))
    assert {"pass_at_1", "pass_at_20", "pass_at_256"} <= set(made.scalars)
    assert "pass_at_300" not in made.scalars
    assert made.scalars["pass_at_256"] == pytest.approx(256 / 600)


def test_only_the_planned_samples_of_the_given_problems_count() -> None:
    settings = ReportSettings(2)
    plain = report([[C, W], [W, W]], settings)
    more = build_report(
        benchmark="toy",
        spec=SPEC,
        verifier="v1",
        problems=problems(2),
        samples=samples(3, 5),
        verdicts=verdicts([[C, W, C], [W, W, C, C], [C]]),
        settings=settings,
    )
    assert more.scalars == plain.scalars
    assert more.tables == plain.tables
    assert more.notes == plain.notes


def test_the_order_of_samples_and_verdicts_changes_nothing() -> None:
    outcomes = [[C, W, Outcome.NO_ANSWER, E], [W, Outcome.TRUNCATED, W, C]]
    first = report(outcomes, ReportSettings(4))
    shuffled = verdicts(outcomes)
    random.Random(1).shuffle(shuffled)
    again = build_report(
        benchmark="toy",
        spec=SPEC,
        verifier="v1",
        problems=problems(2),
        samples=samples(2, 4)[::-1],
        verdicts=shuffled,
        settings=ReportSettings(4),
    )
    assert again.scalars == first.scalars
    assert again.tables == first.tables
    assert np.array_equal(again.curves[0].low, first.curves[0].low)


def test_the_seed_of_the_settings_is_used() -> None:
    rng = np.random.default_rng(0)
    outcomes = [[C if hit else W for hit in rng.random(20) < p] for p in rng.random(12)]
    low = [report(outcomes, ReportSettings(20, seed=seed)).curves[0].low for seed in (0, 0, 1)]
    assert np.array_equal(low[0], low[1])
    assert not np.array_equal(low[0], low[2])


def test_rates_are_shares_of_all_verdicts_and_name_the_outcome() -> None:
    outcomes = [[C, W, E, Outcome.TIMEOUT, Outcome.NO_ANSWER], [Outcome.TRUNCATED, Outcome.TRUNCATED, W, W, W]]
    scalars = report(outcomes, ReportSettings(5)).scalars
    assert scalars["truncation_rate"] == 0.2
    assert scalars["no_answer_rate"] == scalars["timeout_rate"] == scalars["error_rate"] == 0.1
    assert (scalars["num_samples"], scalars["num_judged"], scalars["num_errors"]) == (4, 9, 1)


def test_errors_shorten_the_curve_and_are_noted() -> None:
    made = report([[C, E, E, W], [C, W, W, W]], ReportSettings(4, ks=(3,)))
    assert made.curves[0].k.tolist() == [1, 2]
    assert "pass_at_3" not in made.scalars
    text = " ".join(made.notes)
    for part in ("2 judgements in 1 problems failed", "n is 2 to 4", r"k in [3] is left out"):
        assert part in text


def test_a_metric_is_a_function_of_a_tally() -> None:
    def half(counts: Tally) -> MetricValue:
        return np.float64(0.5) if counts.num_samples.size else None

    def bounded(counts: Tally, *, width: float) -> MetricValue:
        return Estimate(0.5, 0.5 - width, 0.5 + width)

    def curve(counts: Tally) -> MetricValue:
        one = np.ones(1)
        return Curve("flat", np.ones(1, dtype=np.int64), one, one, one, np.zeros(1, dtype=np.bool_), 0.95)

    def histogram(counts: Tally) -> MetricValue:
        return Histogram("lengths", np.array([0.0, 1.0]), np.ones(1, dtype=np.int64))

    metrics: dict[str, Metric | None] = {
        "half": half,
        "bounded": partial(bounded, width=0.25),
        "flat": curve,
        "lengths": histogram,
        "absent": lambda counts: None,
        "off": None,
    }
    made = report([[C, W]], ReportSettings(2, metrics=metrics))
    assert made.scalars["half"] == 0.5
    assert (made.scalars["bounded_low"], made.scalars["bounded_high"]) == (0.25, 0.75)
    assert [c.name for c in made.curves] == ["pass_at_k", "flat"]
    assert [h.name for h in made.histograms] == ["accuracy", "lengths"]
    assert any(note.startswith("absent does not apply") for note in made.notes)
    assert "off" not in made.scalars


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("bad", float("nan"), "gave bad=nan"), ("pass_at_1", 0.5, "would overwrite"), ("bad", "text", "returned str")],
)
def test_a_metric_that_misbehaves_is_named(name: str, value: float, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        report([[C]], ReportSettings(1, metrics={name: lambda counts: value}))


def test_a_metric_that_refuses_says_how_to_switch_it_off() -> None:
    def refuses(counts: Tally) -> MetricValue:
        raise MetricError("needs more samples")

    with pytest.raises(MetricError, match=r"metric picky: needs more samples; report.metrics.picky=null"):
        report([[C]], ReportSettings(1, metrics={"picky": refuses}))


def test_problems_are_listed_in_their_order_with_their_counts() -> None:
    made = report([[C, W, E], [W, W, W]], ReportSettings(3))
    assert table(made, "problems").rows == (
        ("p0", 2, 1, 1, 0.5, 0.0, "What is 0?"),
        ("p1", 3, 0, 0, 0.0, 0.0, "What is 1?"),
    )


def test_samples_without_a_verdict_are_noted() -> None:
    made = report([[C, W]], ReportSettings(3))
    assert any("3 samples were read but 2 are judged" in note for note in made.notes)


def test_the_config_names_functions_that_exist() -> None:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    config = OmegaConf.create({"report": OmegaConf.load(ROOT / "conf/report/default.yaml")})
    settings = instantiate(config.report, num_samples=4)
    assert isinstance(settings, ReportSettings)
    made = report([[C, W, W, W], [W, W, W, W]], settings)
    assert made.scalars["solved"] == 0.5
    assert made.scalars["these_problems_pass_at_1_low"] < 0.125 < made.scalars["these_problems_pass_at_1_high"]


def test_one_sample_of_one_problem_is_enough_for_a_report() -> None:
    made = report([[C]], ReportSettings(1, metrics={"solved": solved_share}))
    assert (made.scalars["pass_at_1"], made.scalars["pass_at_1_low"], made.scalars["pass_at_1_high"]) == (1, 0, 1)
    assert replace(made, notes=()).curves[0].value.tolist() == [1.0]


def _million() -> None:
    n, count = 2_000, 500

    def drawn() -> Iterator[Sample]:
        for p in range(count):
            for i in range(n):
                yield Sample(f"p{p}", i, f"{p} {i} ".ljust(500, "x"), "stop", 120, i, -30.0, 0.4, "vllm", "0.31.0")

    def judged() -> Iterator[Verdict]:
        for p in range(count):
            for i in range(n):
                yield Verdict(f"p{p}", i, C if i % (p + 1) == 0 else W, f"answer {i}", W)

    made = build_report(
        benchmark="toy",
        spec=SPEC,
        verifier="v",
        problems=problems(count),
        samples=drawn(),
        verdicts=judged(),
        settings=ReportSettings(n, sample_metrics={"majority": majority, "diversity": diversity}),
    )
    assert made.scalars["num_judged"] == 1_000_000
    assert made.scalars["maj_at_256"] > 0
    print(peak_bytes())


@pytest.mark.slow
def test_a_million_samples_are_reported_within_a_gigabyte() -> None:
    code = "from tests.test_report import _million; _million()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(done.stdout) < 1 << 30


def test_adaptive_samples_are_not_extrapolated() -> None:
    with pytest.raises(ConfigError, match=r"sampling\.adaptive"):
        ReportSettings(num_samples=8, extrapolate=(16,), stopping=StoppingRule(2, 2, 8))
