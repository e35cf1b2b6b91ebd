"""What a report measures beyond pass@k."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from kurve.errors import ConfigError, MetricError
from kurve.measurements import Collected, add_sample_metrics, checked_reach
from kurve.metrics.answers import SampleMetric, best_by_logprob, diversity, majority
from kurve.metrics.measured import Measured
from kurve.report import ReportSettings, build_report
from kurve.types import Report, Sample, Table, Tally, Verdict
from tests.reports import SPEC, C, E, W, problems

ALL: dict[str, SampleMetric | None] = {
    "majority": majority,
    "mean": partial(best_by_logprob, score="mean"),
    "sum": partial(best_by_logprob, score="sum"),
    "diversity": diversity,
}


def measured(
    verdicts: list[Verdict], settings: ReportSettings, *, count: int, answer_space: int | None = None
) -> Report:
    drawn = [
        Sample(v.problem_id, v.index, f"{v.answer} {v.index % 3}", "stop", 5, logprob_sum=-v.index - 1.0)
        for v in verdicts
    ]
    return build_report(
        benchmark="toy",
        spec=SPEC,
        verifier="v",
        problems=problems(count),
        samples=drawn,
        verdicts=verdicts,
        settings=settings,
        answer_space=answer_space,
    )


def judged(count: int, n: int, share: float) -> list[Verdict]:
    rng = np.random.default_rng(0)
    return [
        Verdict(f"p{p}", i, C if rng.random() < share else W, str(rng.integers(5)))
        for p in range(count)
        for i in range(n)
    ]


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("count", "n"), [(1, 1), (3, 1), (2, 8), (25, 4)])
def test_every_measurement_stands_odd_data(count: int, n: int, share: float) -> None:
    settings = ReportSettings(n, sample_metrics=ALL, extrapolate=(n + 1, 100 * n))
    made = measured(judged(count, n, share), settings, count=count, answer_space=2)
    assert all(np.isfinite(number) for number in made.scalars.values())
    for curve in made.curves:
        assert np.isfinite([curve.value, curve.low, curve.high]).all()
    for key in (f"maj_at_{n}", f"best_of_{n}_by_mean_logprob", f"chance_pass_at_{n}", "num_possible_answers"):
        assert key in made.scalars
    assert {curve.name for curve in made.curves} >= {"pass_at_k", "maj_at_k", "chance_pass_at_k"}
    if share == 1.0:
        assert made.scalars[f"maj_at_{n}"] == 1
    if share == 0.0:
        assert made.scalars[f"maj_at_{n}"] == 0


def test_ragged_samples_and_failed_judgements_end_the_curves_with_the_fewest() -> None:
    verdicts = [*judged(2, 6, 0.5), *(Verdict("p2", i, E if i < 2 else C, "3") for i in range(5))]
    made = measured(verdicts, ReportSettings(6, sample_metrics=ALL), count=3)
    maj = next(curve for curve in made.curves if curve.name == "maj_at_k")
    assert maj.k.tolist() == [1, 2, 3]
    assert "maj_at_3" in made.scalars


def test_a_measurement_does_not_depend_on_which_others_are_on() -> None:
    verdicts = judged(6, 16, 0.4)
    alone = measured(verdicts, ReportSettings(16, sample_metrics={"majority": majority}), count=6)
    together = measured(verdicts[::-1], ReportSettings(16, sample_metrics=dict(reversed(list(ALL.items())))), count=6)
    for key in ("maj_at_16", "maj_at_16_low"):
        assert alone.scalars[key] == together.scalars[key]
    assert np.array_equal(alone.curves[1].value, next(c for c in together.curves if c.name == "maj_at_k").value)


def test_off_is_not_gathered_and_not_measured() -> None:
    made = measured(judged(2, 4, 0.5), ReportSettings(4, sample_metrics={"majority": None}), count=2)
    assert not any(key.startswith(("maj_", "answer_")) for key in made.scalars)


def test_the_answer_table_stands_beside_the_others() -> None:
    made = measured(judged(2, 4, 0.5), ReportSettings(4, sample_metrics=ALL), count=2)
    assert [table.name for table in made.tables] == ["samples", "disagreements", "problems", "answers"]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (Measured({"a": 1.0}), "would overwrite a"),
        (Measured({"b": float("nan")}), "gave b=nan"),
        (Measured(tables=(Table("rows", (), ()),)), "would overwrite rows"),
    ],
)
def test_two_measurements_of_one_name_are_refused(second: Measured, words: str) -> None:
    collected = Collected()
    collected.add("first", Measured({"a": 1.0}, tables=(Table("rows", (), ()),)))
    with pytest.raises(MetricError, match=words):
        collected.add("second", second)


def test_a_metric_of_samples_that_gives_something_else_is_named() -> None:
    odd: dict[str, SampleMetric | None] = {"odd": lambda *_, **__: 1.0}  # type: ignore[dict-item]  # what is refused
    with pytest.raises(MetricError, match="metric odd returned float"):
        add_sample_metrics(Collected(), [], odd, ks=(), confidence=0.95, seed=0)


@pytest.mark.parametrize(
    ("function", "settings", "words"),
    [
        (majority, {"subsets": 0}, r"report\.sample_metrics\.mine: need at least one subset"),
        (majority, {"subset": 5}, r"report\.sample_metrics\.mine: .*subset"),
        (best_by_logprob, {"score": "max"}, r"report\.sample_metrics\.mine: the score"),
        (Tally, {}, r"report\.sample_metrics\.mine: "),
    ],
)
def test_a_wrong_setting_of_a_metric_is_refused_before_anything_is_sampled(
    function: Callable[..., Measured], settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        ReportSettings(4, sample_metrics={"mine": partial(function, **settings)})
    with pytest.raises(ConfigError, match="must be a function of Responses"):
        ReportSettings(4, sample_metrics={"mine": "maj"})  # type: ignore[dict-item]  # what is refused


@pytest.mark.parametrize("ks", ["32", 32, [16], [1601], [20.5]])
def test_k_that_cannot_be_extrapolated_to_are_refused(ks: object) -> None:
    assert checked_reach(None, 16) == ()
    assert checked_reach([17, 1600], 16) == (17, 1600)
    with pytest.raises(ConfigError, match=r"report.extrapolate"):
        checked_reach(ks, 16)


@pytest.mark.parametrize("threshold", [0, 1.5, True, "5 %", float("nan")])
def test_a_guess_threshold_is_a_share(threshold: float) -> None:
    with pytest.raises(ConfigError, match=r"report.guess_threshold"):
        ReportSettings(4, guess_threshold=threshold)
