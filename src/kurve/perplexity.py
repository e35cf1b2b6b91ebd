"""Scored samples of several models -> Perplexities: how likely one model finds what others say.

The four distributions of Yue et al. 2025 (arXiv:2504.13837v2), figure 6, are of this kind: the base's own responses,
the tuned model's and reference texts under the base, and the tuned model's under itself. S is the number of samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from kurve.errors import MetricError
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.likelihood import (
    LengthControl,
    Summary,
    length_control,
    log_perplexity,
    mean_quantile,
    quantiles_within,
    summarise,
)
from kurve.types import SamplingSpec

CORRECT, OTHER, UNJUDGED = 1, 0, -1  # of `Distribution.correct`
UNITS = ("token", "byte")


@dataclass(frozen=True, slots=True)
class Distribution:
    """Responses of one model with their log-probabilities under one model, in any order."""

    scored_by: str  # name of the model that finds them likely or not
    drawn_by: str  # name of the model, or of the file, that they are from
    source: str  # where they are stored
    spec: SamplingSpec  # what they were drawn with
    problem_ids: tuple[str, ...]  # [P]
    problem: NDArray[np.int64]  # place in `problem_ids`, [S]
    index: NDArray[np.int64]  # which of the problem's samples, [S]
    num_tokens: NDArray[np.int64]  # that the log-probability is of, [S]
    num_bytes: NDArray[np.int64]  # of the text in UTF-8, [S]
    logprob_sum: NDArray[np.float64]  # nats, [S]
    correct: NDArray[np.int8]  # CORRECT, OTHER or UNJUDGED, [S]
    left_out: dict[str, int] = field(default_factory=dict)  # samples by why they are not among these
    retokenised: int = 0  # samples whose text makes another number of tokens than were drawn

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.drawn_by} under {self.scored_by}"

    def units(self, unit: str) -> NDArray[np.int64]:
        """T of each response: its tokens or its bytes, [S]."""
        return self.num_tokens if unit == "token" else self.num_bytes

    def log_perplexities(self, unit: str) -> NDArray[np.float64]:
        """Nats a unit, [S]."""
        return log_perplexity(self.logprob_sum, self.units(unit))

    def where(self, kept: NDArray[np.bool_]) -> "Distribution":
        """Some of the samples."""
        columns = ("problem", "index", "num_tokens", "num_bytes", "logprob_sum", "correct")
        return replace(self, **{name: getattr(self, name)[kept] for name in columns})


@dataclass(frozen=True, slots=True)
class AgainstBase:
    """Responses of one model among the base's own to the same problems, all scored by one model."""

    name: str
    num_problems: int
    quantile: Estimate  # mean over problems: 1/2 where they are as likely as the base's own, 0 where always likelier
    deciles: tuple[float, ...]  # share of the samples in each tenth of the base's, [10]
    length: LengthControl
    quantile_at_equal_length: Estimate  # after the slope on log length is taken out


@dataclass(frozen=True, slots=True)
class Perplexities:
    """What one call measured."""

    unit: str
    confidence: float
    distributions: tuple[Distribution, ...]
    all: tuple[Summary, ...]
    correct: tuple[Summary | None, ...]  # of the correct samples; None where there are none or nothing is judged
    against_base: tuple[AgainstBase, ...]
    notes: tuple[str, ...]  # sentences a reader must know before using the numbers


def measure(
    distributions: Sequence[Distribution],
    *,
    base: int | None,
    unit: str = "token",
    confidence: float = 0.95,
    notes: Sequence[str] = (),
) -> Perplexities:
    """Summarise each distribution and place those of the same scoring model among the base's own.

    Args:
        distributions: to be laid side by side; what cannot be measured is left out, counted.
        base: which of them is the scoring model's own; None if it is not among them.
        unit: what T counts, token or byte.
        confidence: of the intervals, a fraction.
        notes: what is known already.

    Raises:
        MetricError: one has no sample that can be measured.
    """
    kept = [_measurable(one, unit) for one in distributions]
    against: list[AgainstBase] = []
    unpaired: list[str] = []
    if base is not None:
        for one in kept:
            if one is kept[base] or one.scored_by != kept[base].scored_by:
                continue
            if set(one.problem_ids) & set(kept[base].problem_ids):
                against.append(_against(one, kept[base], unit, confidence))
            else:
                unpaired.append(f"{one.drawn_by} answers none of the problems of {kept[base].drawn_by}.")
    return Perplexities(
        unit=unit,
        confidence=confidence,
        distributions=tuple(kept),
        all=tuple(_summary(one, unit, confidence) for one in kept),
        correct=tuple(_of_correct(one, unit, confidence) for one in kept),
        against_base=tuple(against),
        notes=(*notes, *_notes(kept), *unpaired),
    )


def _measurable(one: Distribution, unit: str) -> Distribution:
    """The samples that have a perplexity; the others are counted."""
    empty, impossible = one.units(unit) < 1, ~np.isfinite(one.logprob_sum)
    counted = {"empty": int(empty.sum()), "ruled out by the model": int((impossible & ~empty).sum())}
    left_out = one.left_out | counted
    found = one.where(~empty & ~impossible)
    if not found.index.size:
        raise MetricError(f"{one.name}: no sample in {one.source} has a perplexity ({_reasons(left_out)})")
    return replace(found, left_out={why: count for why, count in left_out.items() if count})


def _summary(one: Distribution, unit: str, confidence: float) -> Summary:
    return summarise(one.logprob_sum, one.units(unit), one.problem, confidence=confidence)


def _of_correct(one: Distribution, unit: str, confidence: float) -> Summary | None:
    right = one.correct == CORRECT
    return _summary(one.where(right), unit, confidence) if right.any() else None


def _against(one: Distribution, base: Distribution, unit: str, confidence: float) -> AgainstBase:
    places = {problem_id: place for place, problem_id in enumerate(base.problem_ids)}
    beyond = len(places)
    codes = np.array([places.setdefault(problem_id, len(places)) for problem_id in one.problem_ids], dtype=np.int64)
    shared = codes[one.problem] < beyond
    one, mine = one.where(shared), codes[one.problem][shared]
    values, base_values = one.log_perplexities(unit), base.log_perplexities(unit)
    lengths, base_lengths = one.units(unit), base.units(unit)
    control = length_control(
        np.concatenate([values, base_values]),
        np.concatenate([lengths, base_lengths]),
        np.concatenate([mine, base.problem]),
        is_other=np.repeat([True, False], [len(values), len(base_values)]),
        confidence=confidence,
    )
    quantiles = quantiles_within(values, mine, base_values, base.problem)
    level, base_level = values - control.slope * np.log(lengths), base_values - control.slope * np.log(base_lengths)
    at_equal_length = quantiles_within(level, mine, base_level, base.problem)
    deciles = np.histogram(quantiles[~np.isnan(quantiles)], bins=10, range=(0, 1))[0]
    return AgainstBase(
        name=one.drawn_by,
        num_problems=control.num_problems,
        quantile=mean_quantile(quantiles, mine, confidence=confidence),
        deciles=tuple((deciles / deciles.sum()).tolist()),
        length=control,
        quantile_at_equal_length=mean_quantile(at_equal_length, mine, confidence=confidence),
    )


def drawn_words(spec: SamplingSpec) -> str:
    """How the samples' distribution differs from the one that scores them, in words; empty if it does not."""
    if spec.temperature is None or spec.top_p is None or spec.top_k is None or spec.min_p is None:
        return "settings that are not on record, perhaps another distribution than the one that scores them"
    cuts = {"top_p": spec.top_p < 1, "top_k": spec.top_k > 0, "min_p": spec.min_p > 0}
    settings = [f"T = {spec.temperature:g}", *(f"{name} = {getattr(spec, name):g}" for name, on in cuts.items() if on)]
    if spec.temperature <= 1 and (spec.temperature < 1 or any(cuts.values())):
        return f"{', '.join(settings)}, a sharper distribution than the one that scores them"
    if spec.temperature > 1:
        kind = "another distribution" if any(cuts.values()) else "a flatter distribution"
        return f"{', '.join(settings)}, {kind} than the one that scores them"
    return ""


def _notes(distributions: Sequence[Distribution]) -> list[str]:
    notes: dict[str, None] = {}
    for one in distributions:
        if words := drawn_words(one.spec):
            notes[
                f"{one.drawn_by} was drawn at {words} (T = 1, nothing cut off): its perplexity is not that of samples "
                "of the model itself."
            ] = None
        if one.left_out:
            notes[f"{one.name}: {sum(one.left_out.values()):,} samples left out ({_reasons(one.left_out)})."] = None
        if one.retokenised:
            share = one.retokenised / len(one.index)
            notes[
                f"{one.name}: the texts of {one.retokenised:,} samples ({share:.1%}) make another number of tokens "
                "than were drawn; those that the texts make are scored."
            ] = None
    settings = {(one.spec.temperature, one.spec.top_p, one.spec.top_k, one.spec.min_p) for one in distributions}
    if len(settings) > 1:
        notes["The models were drawn with different settings, which alone makes perplexities differ."] = None
    return list(notes)


def _reasons(left_out: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {why}" for why, count in left_out.items() if count) or "there are none"
