"""Verdicts and stored samples -> Report: what one evaluation measured, with its uncertainty."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kurve.errors import ConfigError, MetricError
from kurve.metrics.bootstrap import Estimate, mean_band, mean_interval
from kurve.metrics.coverage import accuracy_histogram
from kurve.metrics.efficiency import HEADLINE_K
from kurve.metrics.passk import high_variance, log_spaced, pass_at_k_per_problem
from kurve.observations import DrawnSamples, JudgedSamples, gold_text, preview_plan, shortened, tally
from kurve.types import Curve, Histogram, Outcome, Problem, Report, Sample, SamplingSpec, Table, Tally, Verdict

__all__ = ["Metric", "MetricValue", "ReportSettings", "build_report", "check_budget", "tally"]

MetricValue: TypeAlias = float | Estimate | Curve | Histogram | None
Metric: TypeAlias = Callable[[Tally], MetricValue]

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

    def __post_init__(self) -> None:
        """Take lists and mappings of any kind; refuse what cannot be measured."""
        ks: object = self.ks
        metrics: object = self.metrics
        if ks is not None and (isinstance(ks, str) or not isinstance(ks, Iterable)):
            raise ConfigError(f"report.ks must be a list such as [1,8,64] or null, got {ks!r}")
        if metrics is not None and not isinstance(metrics, Mapping):
            raise ConfigError(f"report.metrics must map names to functions, got {metrics!r}")
        object.__setattr__(self, "ks", tuple(self.ks) if self.ks is not None else None)
        object.__setattr__(self, "metrics", dict(self.metrics or {}))
        check_budget(self.num_samples, self.ks)
        if not isinstance(self.confidence, float) or not 0 < self.confidence < 1:
            raise ConfigError(f"report.confidence must lie between 0 and 1, got {self.confidence!r}; 0.95 is usual")
        _check_whole("draws", self.draws, 100, 1_000_000)
        _check_whole("seed", self.seed, 0, 2**63)
        _check_whole("preview_rows", self.preview_rows, 0, MAX_PREVIEW_ROWS)
        for name, metric in self.metrics.items():
            _check_metric(name, metric)


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
) -> Report:
    """Measure one evaluation in one pass over the verdicts and one over the samples, both in any order.

    Only indices below `settings.num_samples` of the given problems count. Scalars are fractions, but for tokens
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

    Raises:
        MetricError: a problem without a judged sample, a sample that comes twice, or a metric that fails.
    """
    plan = preview_plan(len(problems), settings.num_samples, settings.preview_rows) if problems else []
    judged = JudgedSamples(problems, settings.num_samples, plan)
    counts = tally([problem.id for problem in problems], judged.follow(verdicts))
    drawn = DrawnSamples(problems, settings.num_samples, plan)
    drawn.read(samples)
    estimates, curve = _pass_at_k(counts, settings, rng or np.random.default_rng(settings.seed))
    scalars = _named(estimates) | _count_scalars(counts) | _outcome_scalars(judged) | _sample_scalars(drawn)
    extra, curves, histograms, skipped = _apply_metrics(counts, settings.metrics, frozenset(scalars))
    pairs, left_out = _disagreement_table(judged)
    return Report(
        benchmark=benchmark,
        spec=spec,
        verifier=verifier,
        tally=counts,
        scalars=scalars | extra,
        curves=(curve, *curves),
        histograms=(accuracy_histogram(counts), *histograms),
        tables=(_sample_table(problems, judged, drawn), pairs, _problem_table(problems, counts, drawn)),
        notes=(*_notes(counts, settings, drawn), *left_out, *skipped),
    )


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"report.{name} must be a whole number in {least}..{most}, got {value!r}")


def _check_metric(name: str, metric: object) -> None:
    if not re.fullmatch(r"[A-Za-z][\w.-]*", str(name), flags=re.ASCII):
        raise ConfigError(f"report.metrics has the key {name!r}; use letters, digits, '_', '-' and '.' (trackers do)")
    if metric is not None and not callable(metric):
        raise ConfigError(
            f"report.metrics.{name} must be a function of a Tally, got {type(metric).__name__}; "
            "write {_target_: <function>, _partial_: true}"
        )


def _pass_at_k(
    counts: Tally, settings: ReportSettings, rng: np.random.Generator
) -> tuple[dict[str, float | Estimate], Curve]:
    fewest = int(counts.num_samples.min())
    headline = {1, min(HEADLINE_K, fewest)} | {k for k in settings.ks or () if k <= fewest}
    ks = np.union1d(log_spaced(fewest), np.array(sorted(headline)))
    values = pass_at_k_per_problem(counts.num_samples, counts.num_correct, ks)
    low, high = mean_band(values, rng, confidence=settings.confidence, draws=settings.draws)
    estimates: dict[str, float | Estimate] = {
        f"pass_at_{k}": mean_interval(values[:, int(np.searchsorted(ks, k))], confidence=settings.confidence)
        for k in sorted(headline)
    }
    low = np.maximum.accumulate(low)  # the true curve rises: a band that holds it holds it within its rising part
    high = np.minimum.accumulate(high[::-1])[::-1]
    unsure = high_variance(counts.num_samples, ks)
    return estimates, Curve("pass_at_k", ks, values.mean(axis=0), low, high, unsure, settings.confidence)


def _named(estimates: Mapping[str, float | Estimate]) -> dict[str, float]:
    scalars: dict[str, float] = {}
    for name, value in estimates.items():
        if isinstance(value, Estimate):
            scalars |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        else:
            scalars[name] = float(value)
    return scalars


def _count_scalars(counts: Tally) -> dict[str, float]:
    return {
        "num_problems": float(len(counts.problem_ids)),
        "num_samples": float(counts.num_samples.min()),
        "num_judged": float(counts.num_samples.sum()),
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
    if drawn.entropy_tokens:
        scalars["mean_entropy"] = drawn.entropy / drawn.entropy_tokens
    return scalars


def _apply_metrics(
    counts: Tally, metrics: Mapping[str, Metric | None], taken: frozenset[str]
) -> tuple[dict[str, float], list[Curve], list[Histogram], list[str]]:
    scalars: dict[str, float] = {}
    curves: list[Curve] = []
    histograms: list[Histogram] = []
    skipped: list[str] = []
    for name, metric in metrics.items():
        if metric is None:
            continue
        value = _value(name, metric, counts)
        if value is None:
            skipped.append(f"{name} does not apply to these counts and is left out.")
        elif isinstance(value, Curve):
            curves.append(value)
        elif isinstance(value, Histogram):
            histograms.append(value)
        else:
            scalars |= _checked_scalars(name, value, taken | frozenset(scalars))
    return scalars, curves, histograms, skipped


def _value(name: str, metric: Metric, counts: Tally) -> MetricValue:
    try:
        value: object = metric(counts)
    except MetricError as error:
        raise MetricError(f"metric {name}: {error}; report.metrics.{name}=null switches it off") from error
    if isinstance(value, np.number | int):
        return float(value)
    if value is None or isinstance(value, float | Estimate | Curve | Histogram):
        return value
    raise MetricError(
        f"metric {name} returned {type(value).__name__}; a number, Estimate, Curve, Histogram or None is expected"
    )


def _checked_scalars(name: str, value: float | Estimate, taken: frozenset[str]) -> dict[str, float]:
    scalars = _named({name: value})
    for key, number in scalars.items():
        if key in taken:
            raise MetricError(f"metric {name} would overwrite {key}; choose another key under report.metrics")
        if not np.isfinite(number):
            raise MetricError(f"metric {name} gave {key}={number}; return None where the metric does not apply")
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


def _notes(counts: Tally, settings: ReportSettings, drawn: DrawnSamples) -> list[str]:
    notes = []
    fewest, most = int(counts.num_samples.min()), int(counts.num_samples.max())
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
        short = int(np.count_nonzero(counts.num_samples < settings.num_samples))
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
