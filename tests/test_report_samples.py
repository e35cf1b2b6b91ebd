"""What a report says of the samples themselves: lengths, likelihoods, duplicates, graders' disagreement, a preview."""

import math

import numpy as np
import pytest

from kurve.errors import MetricError
from kurve.metrics.likelihood import EDGES, histogram
from kurve.report import ReportSettings, build_report
from kurve.types import Outcome, Sample, Verdict
from tests.reports import SPEC, C, E, W, problems, report, samples, table


def test_perplexities_of_single_samples_are_counted_in_bins_that_all_runs_share() -> None:
    nats = [0.0, 0.009, 0.01, *EDGES[5:9].tolist(), 0.5, 10.0, 1e6, math.inf]
    drawn = [Sample("p0", i, str(i), "stop", 10, logprob_sum=-10 * one) for i, one in enumerate(nats)]
    drawn += [Sample("p0", len(nats), "unknown", "stop", 10), Sample("p0", len(nats) + 1, "", "stop", 0, logprob_sum=0)]
    made = report([[C] * len(drawn)], ReportSettings(num_samples=len(drawn)), drawn)
    [found] = [one for one in made.histograms if one.name == "perplexity"]
    assert np.array_equal(found.edges, EDGES)
    assert found.counts.tolist() == histogram(nats[:-1]).tolist()
    unknown = report([[C]], ReportSettings(num_samples=1), [Sample("p0", 0, "a", "stop", 10)])
    assert [one.name for one in unknown.histograms] == ["accuracy"]


def test_tokens_finish_reasons_and_logprobs_come_from_the_samples() -> None:
    drawn = [
        Sample("p0", 0, "a", "stop", 10, logprob_sum=-5.0, entropy_mean=0.5),
        Sample("p0", 1, "b", "length", 30, logprob_sum=-15.0, entropy_mean=1.5),
    ]
    scalars = report([[C, W]], ReportSettings(2), drawn).scalars
    assert (scalars["mean_tokens"], scalars["total_tokens"]) == (20, 40)
    assert (scalars["finish_stop_rate"], scalars["finish_length_rate"]) == (0.5, 0.5)
    assert scalars["mean_logprob"] == -0.5
    assert scalars["mean_entropy"] == 1.25


def test_what_cannot_be_known_is_absent_and_not_zero() -> None:
    scalars = report([[C, W]], ReportSettings(2), drawn=[]).scalars
    assert not {"mean_tokens", "duplicate_rate", "mean_logprob", "verifier_disagreement_rate"} & set(scalars)


def test_duplicates_are_counted_within_a_problem() -> None:
    drawn = [
        Sample(f"p{p}", i, text, "stop", 1) for p, line in enumerate(["aaab", "abcd"]) for i, text in enumerate(line)
    ]
    made = report([[W] * 4, [W] * 4], ReportSettings(4), drawn)
    assert made.scalars["duplicate_rate"] == 0.25
    assert [row[5] for row in table(made, "problems").rows] == [0.5, 0.0]


def test_a_sample_stored_twice_is_refused() -> None:
    with pytest.raises(MetricError, match="stored twice"):
        report([[C, W]], ReportSettings(2), samples(1, 2) + samples(1, 1))


def test_disagreement_is_measured_where_both_graders_have_a_say() -> None:
    items = [
        Verdict("p0", 0, C, "1/2", second=C),
        Verdict("p0", 1, C, "0.5", second=W),
        Verdict("p0", 2, C, "0.5", second=W),
        Verdict("p0", 3, W, "x", second=Outcome.NO_ANSWER),
        Verdict("p0", 4, E, "", second=C),
        Verdict("p0", 5, C, "1"),
    ]
    made = build_report(
        benchmark="toy",
        spec=SPEC,
        verifier="v",
        problems=problems(1),
        samples=[],
        verdicts=items,
        settings=ReportSettings(6),
    )
    assert made.scalars["verifier_disagreement_rate"] == 0.5
    assert table(made, "disagreements").rows == (("0", "0.5", "correct", "wrong", 2),)


def test_disagreements_beyond_the_table_are_counted_in_a_note() -> None:
    items = [Verdict("p0", i, C, str(i), second=W) for i in range(1_500)]
    made = build_report(
        benchmark="toy",
        spec=SPEC,
        verifier="v",
        problems=problems(1),
        samples=[],
        verdicts=items,
        settings=ReportSettings(1_500),
    )
    assert len(table(made, "disagreements").rows) == 1_000
    assert any("500 samples are not in it" in note for note in made.notes)


@pytest.mark.parametrize(("num_problems", "n", "rows"), [(3, 4, 10), (50, 2, 10), (1, 30, 10), (4, 2, 0)])
def test_the_preview_is_small_and_spread_over_problems(num_problems: int, n: int, rows: int) -> None:
    made = report([[W] * n] * num_problems, ReportSettings(n, preview_rows=rows))
    shown = table(made, "samples").rows
    assert len(shown) <= rows
    assert len({row[0] for row in shown}) == min(num_problems, rows)


def test_a_preview_row_shows_the_sample_beside_its_verdict() -> None:
    made = report([[C]], ReportSettings(1))
    assert table(made, "samples").columns == (
        "problem",
        "index",
        "outcome",
        "answer",
        "reference",
        "finish_reason",
        "num_tokens",
        "text",
    )
    assert table(made, "samples").rows == (("p0", 0, "correct", "7", "0", "stop", 10, "text 0 0"),)


def test_hostile_text_is_shortened_and_made_safe_to_show() -> None:
    text = "\ud800\x00\x1b[31m\u202e<script>" + "{" * 3_000_000 + "the answer is 4"
    made = report([[C]], ReportSettings(1), [Sample("p0", 0, text, "stop\ud800", 10)])
    shown = str(table(made, "samples").rows[0][7])
    assert len(shown) < 2_100
    assert shown.endswith("the answer is 4")
    assert "characters left out" in shown
    shown.encode("utf-8")
    assert not {"\x00", "\x1b", "\u202e", "\ud800"} & set(shown)
