"""Verdicts and stored samples -> Report: what one evaluation measured, with its uncertainty."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kurve.errors import ConfigError
from kurve.measurements import (
    Collected,
    Metric,
    MetricValue,
    add_metrics,
    add_sample_metrics,
    check_metrics,
    check_sample_metrics,
    checked_reach,
)
from kurve.metrics.adaptive import unbiased_tally
from kurve.metrics.answers import SampleMetric
from kurve.metrics.bootstrap import Estimate, mean_band, mean_interval
from kurve.metrics.chance import GUESSED_SHARE, against_chance
from kurve.metrics.coverage import accuracy_histogram
from kurve.metrics.efficiency import HEADLINE_K
from kurve.metrics.extrapolation import beyond_n
from kurve.metrics.likelihood import perplexity
from kurve.metrics.measured import Measured
from kurve.metrics.passk import high_variance, log_spaced, pass_at_k_of
from kurve.observations import DrawnSamples, JudgedSamples, gold_text, preview_plan, shortened, tally
from kurve.responses import Gathered
from kurve.types import (
    Curve,
    Outcome,
    Problem,
    Report,
    Sample,
    SamplingSpec,
    StoppingRule,
    Table,
    Tally,
    Verdict,
)

__all__ = ["Metric", "MetricValue", "ReportSettings", "build_report", "check_budget", "tally"]

FEW_PROBLEMS = 30
MAX_PREVIEW_ROWS = 2_000
MAX_PAIR_ROWS = 1_000
QUESTION_CHARS = 200


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What is measured, and with which uncertainty.

    Raises:
        ConfigError: a setting is impossible, or `ks` asks for more than `num_samples` (see `check_budget`).
    """

    num_samples: int  # counted per problem; what is stored beyond is left out
    ks: tuple[int, ...] | None = None  # further k to show as scalars; 1 and min(256, n) always are
    confidence: float = 0.95
    draws: int = 2000  # multipliers behind the band
    seed: int = 0  # of those draws
    preview_rows: int = MAX_PREVIEW_ROWS
    metrics: Mapping[str, Metric | None] = field(default_factory=dict)  # further metrics by key; None is off
    sample_metrics: Mapping[str, SampleMetric | None] = field(default_factory=dict)  # of single samples, the same way
    extrapolate: tuple[int, ...] | None = None  # k above num_samples, at most 100 times it
    guess_filter: str | int | None = None  # what holds the counts of direct answers; the commands apply it
    guess_threshold: float = GUESSED_SHARE  # share of direct answers below which they are guesses
    stopping: StoppingRule | None = None  # by which the samples that are given were drawn; `num_samples` is its `most`

    def __post_init__(self) -> None:
        """Take lists and mappings of any kind; refuse what cannot be measured."""
        ks: object = self.ks
        if ks is not None and (isinstance(ks, str) or not isinstance(ks, Iterable)):
            raise ConfigError(f"report.ks must be a list such as [1,8,64] or null, got {ks!r}")
        object.__setattr__(self, "ks", tuple(self.ks) if self.ks is not None else None)
        for name, takes in (("metrics", "a Tally"), ("sample_metrics", "Responses")):
            check_metrics(f"report.{name}", getattr(self, name) or {}, takes)
            object.__setattr__(self, name, dict(getattr(self, name) or {}))
        check_budget(self.num_samples, self.ks)
        object.__setattr__(self, "extrapolate", checked_reach(self.extrapolate, self.num_samples))
        if self.extrapolate and self.stopping is not None:
            raise ConfigError(
                "report.extrapolate needs the same number of samples of every problem; leave out one of it and "
                "sampling.adaptive"
            )
        if not isinstance(self.confidence, float) or not 0 < self.confidence < 1:
            raise ConfigError(f"report.confidence must lie between 0 and 1, got {self.confidence!r}; 0.95 is usual")
        check_sample_metrics(self.sample_metrics, confidence=self.confidence)
        _check_whole("draws", self.draws, 100, 1_000_000)
        _check_whole("seed", self.seed, 0, 2**63)
        _check_whole("preview_rows", self.preview_rows, 0, MAX_PREVIEW_ROWS)
        threshold: object = self.guess_threshold
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
            raise ConfigError(f"report.guess_threshold must lie above 0 and up to 1, got {threshold!r}; 0.05 is usual")


def check_budget(num_samples: int, ks: Sequence[int] | None) -> None:
    """Refuse to plot a k that no problem has the samples for, before anything is sampled.

    Raises:
        ConfigError: num_samples < 1, a k that is no positive whole number, or a k above num_samples.
    """
    if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 1:
        raise ConfigError(f"num_samples must be a whole number from 1 on, got {num_samples!r}")
    wrong = [k for k in ks or () if isinstance(k, bool) or not isinstance(k, int) or k < 1]
    if wrong:
        raise ConfigError(f"report.ks must hold whole numbers from 1 on, got {wrong[:5]}")
    if ks and max(ks) > num_samples:
        raise ConfigError(
            f"report.ks asks for pass@{max(ks)} but num_samples is {num_samples}; "
            f"raise num_samples to {max(ks)} or drop the larger ks"
        )


def build_report(
    *,
    benchmark: str,
    spec: SamplingSpec,
    verifier: str,
    problems: Sequence[Problem],
    samples: Iterable[Sample],
    verdicts: Iterable[Verdict],
    settings: ReportSettings,
    rng: np.random.Generator | None = None,
    answer_space: int | None = None,
) -> Report:
    """Measure one evaluation in one pass over the verdicts and one over the samples, both in any order.

    Only indices below `settings.num_samples` of the given problems count; with `settings.stopping`, `samples` and
    `verdicts` hold the counted prefix of each (`metrics.adaptive`) and no more. Scalars are fractions, but for tokens
    (`mean_tokens`, `total_tokens`), nats a token (`mean_logprob`, `mean_entropy`) and counts (`num_*`). Rates of
    outcomes are shares of all verdicts; what cannot be known (no second grader, no samples) is absent, never 0.

    Args:
        benchmark: its name.
        spec: what the samples were drawn with.
        verifier: the verifier's fingerprint.
        problems: all problems of the evaluation.
        samples: stored samples; may be empty when only verdicts exist.
        verdicts: the verifier's judgements.
        settings: what to measure.
        rng: source of the band's multipliers; by default made from `settings.seed`.
        answer_space: possible answers of a problem, where the benchmark has a fixed set: what guessing would score.

    Raises:
        MetricError: a problem without a judged sample, a sample that comes twice, or a metric that fails.
    """
    seen = _observe(problems, samples, verdicts, settings)
    counts = unbiased_tally(seen.counted, settings.stopping) if settings.stopping else seen.counted
    found = _measured(seen, counts, settings, rng=rng, answer_space=answer_space)
    return Report(
        benchmark=benchmark,
        spec=spec,
        verifier=verifier,
        tally=counts,
        scalars=found.scalars,
        curves=tuple(found.curves),
        histograms=tuple(found.histograms),
        tables=tuple(found.tables),
        notes=tuple(found.notes),
        stopping=settings.stopping,
    )


@dataclass(frozen=True, slots=True)
class _Observed:
    """What one pass over verdicts and samples found."""

    problems: Sequence[Problem]
    judged: JudgedSamples
    counted: Tally  # as it was judged
    drawn: DrawnSamples
    gathered: Gathered | None  # single samples, where they are measured


def _observe(
    problems: Sequence[Problem], samples: Iterable[Sample], verdicts: Iterable[Verdict], settings: ReportSettings
) -> _Observed:
    plan = preview_plan(len(problems), settings.num_samples, settings.preview_rows) if problems else []
    gathered = Gathered(problems) if _of_samples(settings) else None
    judged = JudgedSamples(problems, settings.num_samples, plan, gathered=gathered)
    counted = tally([problem.id for problem in problems], judged.follow(verdicts))
    drawn = DrawnSamples(problems, settings.num_samples, plan, gathered=gathered)
    drawn.read(samples)
    return _Observed(problems, judged, counted, drawn, gathered)


def _measured(
    seen: _Observed,
    counts: Tally,
    settings: ReportSettings,
    *,
    rng: np.random.Generator | None,
    answer_space: int | None,
) -> Collected:
    estimates, curve = _pass_at_k(counts, settings, rng or np.random.default_rng(settings.seed))
    notes = [*_notes(seen.counted, settings, seen.drawn), *_adaptive_notes(seen.counted, settings)]
    histograms = [accuracy_histogram(counts), *filter(None, [seen.drawn.perplexities()])]
    found = Collected(curves=[curve], histograms=histograms, notes=notes)
    found.add("pass_at_k", Measured({f"pass_at_{k}": estimate for k, estimate in estimates.items()}))
    found.scalars |= _count_scalars(counts, seen.counted) | _outcome_scalars(seen.judged) | _sample_scalars(seen.drawn)
    pairs, left_out = _disagreement_table(seen.judged)
    problems = _problem_table(seen.problems, counts, seen.drawn)
    found.tables += (_sample_table(seen.problems, seen.judged, seen.drawn), pairs, problems)
    found.notes += left_out
    add_metrics(found, counts, settings.metrics)
    if seen.gathered is not None:
        _add_of_samples(found, seen.gathered, settings)
    if answer_space is not None:
        found.add("chance", against_chance(curve, answer_space, estimates))
        found.scalars["num_possible_answers"] = float(answer_space)
    if settings.extrapolate:
        found.add("extrapolate", _extrapolated(counts, settings))
    return found


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"report.{name} must be a whole number in {least}..{most}, got {value!r}")


def _of_samples(settings: ReportSettings) -> bool:
    """Whether single samples are measured: votes and the like need the same number of them for every problem."""
    return settings.stopping is None and any(settings.sample_metrics.values())


def _pass_at_k(counts: Tally, settings: ReportSettings, rng: np.random.Generator) -> tuple[dict[int, Estimate], Curve]:
    fewest = int(counts.reach.min())
    headline = {1, min(HEADLINE_K, fewest)} | {k for k in settings.ks or () if k <= fewest}
    ks = np.union1d(log_spaced(fewest), np.array(sorted(headline)))
    values = pass_at_k_of(counts, ks)
    low, high = mean_band(values, rng, confidence=settings.confidence, draws=settings.draws)
    estimates = {
        k: mean_interval(values[:, int(np.searchsorted(ks, k))], confidence=settings.confidence)
        for k in sorted(headline)
    }
    low = np.maximum.accumulate(low)  # the true curve rises: a band that holds it holds it within its rising part
    high = np.minimum.accumulate(high[::-1])[::-1]
    unsure = high_variance(counts.reach, ks)
    return estimates, Curve("pass_at_k", ks, values.mean(axis=0), low, high, unsure, settings.confidence)


def _add_of_samples(found: Collected, gathered: Gathered, settings: ReportSettings) -> None:
    add_sample_metrics(
        found,
        gathered.responses(),
        settings.sample_metrics,
        ks=settings.ks or (),
        confidence=settings.confidence,
        seed=settings.seed,
    )


def _extrapolated(counts: Tally, settings: ReportSettings) -> Measured:
    rng = np.random.default_rng(settings.seed)
    return beyond_n(counts, settings.extrapolate or (), rng=rng, confidence=settings.confidence)


def _count_scalars(counts: Tally, counted: Tally) -> dict[str, float]:
    """`num_samples` is the largest k of all problems: with a fixed number of samples, the fewest of any."""
    return {
        "num_problems": float(len(counts.problem_ids)),
        "num_samples": float(counts.reach.min()),
        "num_judged": float(counted.num_samples.sum()),
        "num_errors": float(counts.num_errors.sum()),
    }


def _outcome_scalars(judged: JudgedSamples) -> dict[str, float]:
    total = judged.outcomes.total()
    rates = {
        f"{outcome.value}_rate": judged.outcomes[outcome] / total
        for outcome in (Outcome.NO_ANSWER, Outcome.TIMEOUT, Outcome.ERROR)
    }
    rates["truncation_rate"] = judged.outcomes[Outcome.TRUNCATED] / total
    if judged.compared:
        rates["verifier_disagreement_rate"] = judged.disagreed / judged.compared
    return rates


def _sample_scalars(drawn: DrawnSamples) -> dict[str, float]:
    total = drawn.finish_reasons.total()
    if not total:
        return {}
    scalars = {}
    if drawn.num_tokens:  # imported samples may not say
        scalars = {"mean_tokens": drawn.num_tokens / total, "total_tokens": float(drawn.num_tokens)}
    have = drawn.count > 0
    scalars["duplicate_rate"] = float(np.mean(1 - drawn.distinct[have] / drawn.count[have]))
    for reason, count in drawn.finish_reasons.most_common(8):
        key = f"finish_{re.sub(r'[^a-z0-9]+', '_', reason[:40].lower()) or 'unknown'}_rate"
        scalars[key] = scalars.get(key, 0.0) + count / total
    if drawn.logprob_tokens:
        scalars["mean_logprob"] = drawn.logprob / drawn.logprob_tokens
        scalars["perplexity"] = float(perplexity(-scalars["mean_logprob"]))  # of all tokens together
    if drawn.entropy_tokens:
        scalars["mean_entropy"] = drawn.entropy / drawn.entropy_tokens
    return scalars


def _sample_table(problems: Sequence[Problem], judged: JudgedSamples, drawn: DrawnSamples) -> Table:
    columns = ("problem", "index", "outcome", "answer", "reference", "finish_reason", "num_tokens", "text")
    rows: list[tuple[object, ...]] = []
    for row, index in sorted(judged.shown.keys() | drawn.shown.keys()):
        outcome, answer = judged.shown.get((row, index), ("not judged", ""))
        seen = drawn.shown.get((row, index))
        response = (seen.finish_reason, seen.num_tokens, seen.text) if seen else ("", None, "")
        rows.append((problems[row].id, index, str(outcome), answer, gold_text(problems[row]), *response))
    return Table("samples", columns, tuple(rows))


def _disagreement_table(judged: JudgedSamples) -> tuple[Table, list[str]]:
    """The most frequent disagreeing pairs, and a note on those left out."""
    top = sorted(judged.pairs.items(), key=lambda item: (-item[1], item[0].gold, item[0].answer))[:MAX_PAIR_ROWS]
    rows = tuple((pair.gold, pair.answer, str(pair.outcome), str(pair.second), count) for pair, count in top)
    table = Table("disagreements", ("gold", "answer", "verifier", "second", "count"), rows)
    missing = judged.disagreed - sum(count for _, count in top)
    note = f"The table of disagreements shows the {len(rows)} most frequent pairs; {missing} samples are not in it."
    return table, [note] if missing else []


def _problem_table(problems: Sequence[Problem], counts: Tally, drawn: DrawnSamples) -> Table:
    columns = ("id", "n", "c", "errors", "pass_at_1", "duplicate_rate", "question")
    rows = []
    for row, problem in enumerate(problems):
        n, c = int(counts.num_samples[row]), int(counts.num_correct[row])
        same = 1 - int(drawn.distinct[row]) / int(drawn.count[row]) if drawn.count[row] else None
        question = shortened(problem.question, QUESTION_CHARS)
        rows.append((problem.id, n, c, int(counts.num_errors[row]), c / n, same, question))
    return Table("problems", columns, tuple(rows))


def _could_have(counted: Tally, rule: StoppingRule | None) -> NDArray[np.int64]:
    """Judged samples of each problem, [P]; of those that were stopped, what they could have had."""
    if rule is None:
        return counted.num_samples
    return np.where(counted.num_correct >= rule.successes, rule.most - counted.num_errors, counted.num_samples)


def _adaptive_notes(counted: Tally, settings: ReportSettings) -> list[str]:
    rule = settings.stopping
    if rule is None:
        return []
    total, fixed = int(counted.num_samples.sum()), rule.most * len(counted.problem_ids)
    return [
        f"Adaptive sampling: drawn up to {rule.successes} correct samples, at least {rule.least} and at most "
        f"{rule.most}; {total:,} samples count, a fixed number would have taken {fixed:,}. n and c leave out the "
        "correct sample that stopped a problem: so pass@k of them is unbiased.",
        "Rates of outcomes and means of tokens are over the samples that count, of which hard problems have more.",
        "Votes, confidence and diversity are not measured: they need the same number of samples of every problem.",
    ]


def _notes(counts: Tally, settings: ReportSettings, drawn: DrawnSamples) -> list[str]:
    notes = []
    numbers = _could_have(counts, settings.stopping)
    fewest, most = int(numbers.min()), int(numbers.max())
    errors: NDArray[np.int64] = counts.num_errors
    if fewest > 1:
        notes.append(f"pass@k for k > {fewest // 2} (half of n) has high variance: few samples decide it.")
    if len(counts.problem_ids) < FEW_PROBLEMS:
        notes.append(f"Only {len(counts.problem_ids)} problems: intervals for problems like these are wide.")
    if errors.any():
        notes.append(
            f"{errors.sum()} judgements in {np.count_nonzero(errors)} problems failed; "
            "they are excluded from n and not counted as wrong."
        )
    if fewest < settings.num_samples:
        short = int(np.count_nonzero(numbers < settings.num_samples))
        notes.append(
            f"{short} problems have fewer than the {settings.num_samples} judged samples asked for (n is {fewest} to "
            f"{most}); curves end at k = {fewest}."
        )
    unreachable = [k for k in settings.ks or () if k > fewest]
    if unreachable:
        notes.append(f"pass@k for k in {unreachable} is left out: a problem has only {fewest} judged samples.")
    judged_all = counts.num_samples + errors
    if drawn.count.any() and not np.array_equal(drawn.count, judged_all):
        notes.append(f"{drawn.count.sum()} samples were read but {judged_all.sum()} are judged; only those count.")
    return notes
