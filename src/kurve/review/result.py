"""Verdicts -> CoT-pass@k of one model, beside its pass@k, with bounds and the judges' agreement."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from kurve.comparison import pass_at_k_curve
from kurve.errors import ConfigError
from kurve.metrics.agreement import Agreement, cohen_kappa, fleiss_kappa
from kurve.metrics.bootstrap import Estimate, mean_interval
from kurve.metrics.efficiency import HEADLINE_K
from kurve.metrics.judged import (
    NONE,
    RULES,
    SOUND,
    UNDECIDED,
    UNSOUND,
    JudgedCounts,
    cot_pass_at_k_band,
    rulings,
    sound_shares,
)
from kurve.metrics.tallies import problems_at
from kurve.review.rows import Place
from kurve.types import CotVerdict, Curve, Soundness, Tally

_CODES = {Soundness.SOUND: SOUND, Soundness.UNSOUND: UNSOUND, Soundness.UNSURE: UNDECIDED, Soundness.ERROR: NONE}
_KINDS = {SOUND: 0, UNSOUND: 1, UNDECIDED: 2, NONE: -1}  # of verdicts between which judges agree or not
_MOST_PAIRS = 45  # of judges


@dataclass(frozen=True, slots=True)
class Judged:
    """What judges said of one model's correct samples."""

    tally: Tally
    reviewed: NDArray[np.bool_]  # which problems were under review, [P]
    places: tuple[Place, ...]  # the judged correct samples, [S]
    judges: tuple[str, ...]  # [J]
    codes: NDArray[np.int8]  # of `kurve.metrics.judged`, [S, J]
    num_failed: int  # verdicts that a judge failed to give

    def counts(self, rule: str) -> JudgedCounts:
        """Sound and unsound samples of each problem by a rule."""
        rows = {problem_id: row for row, problem_id in enumerate(self.tally.problem_ids)}
        at = np.array([rows[problem_id] for problem_id, _ in self.places], dtype=np.int64)
        ruled = rulings(self.codes, rule)
        sound, unsound = (np.bincount(at[ruled == code], minlength=len(rows)) for code in (SOUND, UNSOUND))
        return JudgedCounts(self.tally.num_samples, self.tally.num_correct, sound, unsound, self.reviewed)


@dataclass(frozen=True, slots=True)
class CotResult:
    """CoT-pass@k by one rule."""

    rule: str
    counts: JudgedCounts
    estimate: Curve  # the judged samples stand for the open ones; problems that were not reviewed count as sound
    least: Curve  # every open sample unsound, those of problems that were not reviewed included
    most: Curve  # every open sample sound
    plain: Curve  # pass@k
    reviewed_estimate: Curve | None  # of the reviewed problems alone, which needs nothing of the others
    reviewed_plain: Curve | None
    sound_share: Estimate | None  # mean over problems of the share of sound among their samples that have a ruling


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    """How verdicts are counted and with which uncertainty."""

    rule: str = "majority"
    confidence: float = 0.95
    draws: int = 2000
    seed: int = 0


def judged(
    tally: Tally,
    under_review: NDArray[np.bool_],
    verdicts: Mapping[str, Mapping[Place, CotVerdict]],
    correct: frozenset[Place],
) -> Judged:
    """Verdicts by judge as a table; those on samples that are not `correct` do not count.

    A problem is reviewed when it is `under_review` or has a verdict that counts.
    """
    judges = tuple(verdicts)
    given = {
        place: one.soundness for by_place in verdicts.values() for place, one in by_place.items() if place in correct
    }
    places = tuple(sorted(given))
    codes = np.full((len(places), len(judges)), NONE, dtype=np.int8)
    row = {place: number for number, place in enumerate(places)}
    failed = 0
    for column, judge in enumerate(judges):
        for place, one in verdicts[judge].items():
            if place in row:
                codes[row[place], column] = _CODES[one.soundness]
                failed += one.soundness is Soundness.ERROR
    having = {problem_id for problem_id, _ in places}
    reviewed = under_review | np.array([problem_id in having for problem_id in tally.problem_ids], dtype=np.bool_)
    return Judged(tally, reviewed, places, judges, codes, failed)


def cot_result(found: Judged, rule: str, settings: ReviewSettings) -> CotResult:
    """CoT-pass@k by a rule: the estimate, both bounds, and pass@k beside them.

    Raises:
        MetricError: the counts do not allow it.
    """
    counts = found.counts(rule)
    plain = _plain(found.tally, settings)
    most = counts.num_correct - counts.num_unsound
    alone = counts.of(counts.reviewed) if counts.reviewed.any() else None
    shares = sound_shares(counts)
    return CotResult(
        rule,
        counts,
        _estimate("cot_pass_at_k", counts, plain, settings),
        replace(_plain(replace(found.tally, num_correct=counts.num_sound), settings), name="cot_pass_at_k_least"),
        replace(_plain(replace(found.tally, num_correct=most), settings), name="cot_pass_at_k_most"),
        plain,
        None if alone is None else _estimate("cot_pass_at_k_reviewed", alone, plain, settings),
        None
        if alone is None
        else replace(
            _plain(problems_at(found.tally, np.flatnonzero(counts.reviewed)), settings), name="pass_at_k_reviewed"
        ),
        mean_interval(shares, confidence=settings.confidence) if shares.size else None,
    )


def check_rule(rule: object) -> str:
    """The rule, if it is one.

    Raises:
        ConfigError: it is none of any, majority and all.
    """
    if rule not in RULES:
        raise ConfigError(f"rule is {rule!r}; expected one of {', '.join(RULES)}")
    return str(rule)


def agreements(found: Judged, settings: ReviewSettings) -> dict[str, Agreement]:
    """Cohen's kappa of every two judges with a sample in common, and Fleiss' of all where there are more than two.

    Being unsure is a kind of verdict of its own. A judge's failures are none.
    """
    problems = {problem_id: number for number, problem_id in enumerate(found.tally.problem_ids)}
    groups = np.array([problems[problem_id] for problem_id, _ in found.places], dtype=np.int64)
    kinds = np.vectorize(_KINDS.__getitem__, otypes=[np.int64])(found.codes)
    known = {"confidence": settings.confidence, "draws": settings.draws}
    result: dict[str, Agreement] = {}
    for one, other in list(combinations(range(len(found.judges)), 2))[:_MOST_PAIRS]:
        rng = np.random.default_rng(settings.seed)
        pair = cohen_kappa(kinds[:, one], kinds[:, other], groups, rng, **known)  # type: ignore[arg-type]  # both fit
        if pair is not None:
            result[f"{found.judges[one]} and {found.judges[other]}"] = pair
    if len(found.judges) > 2:
        every = fleiss_kappa(kinds, groups, np.random.default_rng(settings.seed), **known)  # type: ignore[arg-type]
        if every is not None:
            result["all judges"] = every
    return result


def scalars(result: CotResult, found: Judged) -> dict[str, float]:
    """Numbers by name: fractions, and counts (`num_*`)."""
    counts = result.counts
    largest = min(HEADLINE_K, int(result.plain.k[-1]))
    numbers: dict[str, float] = {}
    for k in sorted({1, largest}):
        for curve in (result.estimate, result.plain):
            at = int(np.searchsorted(curve.k, k))
            key = f"{curve.name.removesuffix('_k')}_{k}"
            numbers |= {key: curve.value[at], f"{key}_low": curve.low[at], f"{key}_high": curve.high[at]}
        at = int(np.searchsorted(result.plain.k, k))
        numbers |= {f"cot_pass_at_{k}_least": result.least.value[at], f"cot_pass_at_{k}_most": result.most.value[at]}
    if result.sound_share is not None:
        share = result.sound_share
        numbers |= {"sound_share": share.value, "sound_share_low": share.low, "sound_share_high": share.high}
    totals = {
        "num_reviewed_problems": int(np.count_nonzero(counts.reviewed)),
        "num_correct": int(counts.num_correct.sum()),
        "num_correct_reviewed": int(counts.num_correct[counts.reviewed].sum()),
        "num_sound": int(counts.num_sound.sum()),
        "num_unsound": int(counts.num_unsound.sum()),
        "num_open_reviewed": int(counts.num_open[counts.reviewed].sum()),
        "num_judges": len(found.judges),
        "num_judge_failures": found.num_failed,
    }
    return {key: float(value) for key, value in (numbers | totals).items()}


def as_json(
    results: Sequence[CotResult], found: Judged, agreement: Mapping[str, Agreement], settings: ReviewSettings
) -> bytes:
    """Everything as JSON: curves by rule, counts of every reviewed problem, judges and their agreement."""
    document: dict[str, object] = {
        "format": 1,
        "rule": settings.rule,
        "confidence": settings.confidence,
        "seed": settings.seed,
        "judges": list(found.judges),
        "num_judge_failures": found.num_failed,
        "rules": {one.rule: _rule_json(one, found) for one in results},
        "agreement": {name: _agreement_json(one) for name, one in agreement.items()},
    }
    return json.dumps(document, indent=1, allow_nan=False).encode()


def _rule_json(one: CotResult, found: Judged) -> dict[str, object]:
    curves = (one.plain, one.estimate, one.least, one.most, one.reviewed_plain, one.reviewed_estimate)
    columns = (one.counts.num_samples, one.counts.num_correct, one.counts.num_sound, one.counts.num_unsound)
    rows = zip(found.tally.problem_ids, *(column.tolist() for column in columns), one.counts.reviewed, strict=True)
    return {
        "scalars": scalars(one, found),
        "curves": {curve.name: _curve_json(curve) for curve in curves if curve is not None},
        "problems": [
            {"id": problem_id, "n": n, "c": c, "sound": sound, "unsound": unsound, "open": c - sound - unsound}
            for problem_id, n, c, sound, unsound, reviewed in rows
            if reviewed
        ],
    }


def _curve_json(curve: Curve) -> dict[str, object]:
    return {
        "k": curve.k.tolist(),
        "value": curve.value.tolist(),
        "low": curve.low.tolist(),
        "high": curve.high.tolist(),
        "high_variance": curve.high_variance.tolist(),
    }


def _agreement_json(one: Agreement) -> dict[str, object]:
    kappa = one.kappa and {"value": one.kappa.value, "low": one.kappa.low, "high": one.kappa.high}
    return {"kappa": kappa, "observed": one.observed, "num_samples": one.num_samples}


def _plain(tally: Tally, settings: ReviewSettings) -> Curve:
    rng = np.random.default_rng(settings.seed)
    return pass_at_k_curve(tally, rng, confidence=settings.confidence, draws=settings.draws)


def _estimate(name: str, counts: JudgedCounts, plain: Curve, settings: ReviewSettings) -> Curve:
    rng = np.random.default_rng(settings.seed)
    band = cot_pass_at_k_band(counts, plain.k, rng, confidence=settings.confidence, draws=settings.draws)
    return Curve(name, plain.k, *band, plain.high_variance, settings.confidence)
