"""Score what is missing in a store, and read it back as distributions."""

import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kurve.commands.provenance import digest
from kurve.commands.score_sources import REFERENCE, Source
from kurve.errors import ConfigError, DataError
from kurve.perplexity import CORRECT, OTHER, UNJUDGED, Distribution
from kurve.progress import Progress
from kurve.samplers import Scorer
from kurve.samplers.responses import ResponseTokenizer, tokenizer_difference, tokenizer_of
from kurve.samplers.tokens import PromptTokenizer
from kurve.store import SampleStore, ScoreStore, StoredPrompt, VerdictStore
from kurve.store.listing import list_verdicts
from kurve.types import Outcome, Prompt, Score, ScoreRequest, ScoringModel

COMPARED = 256  # samples and prompts on which two tokenizers are compared
_BATCH = 512  # samples tokenised, and scores stored, at once
_HELD = 0.5  # seconds that scores wait to be stored with others


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which samples of a store are looked at."""

    problem_ids: tuple[str, ...]
    num_samples: int  # indices below it


@dataclass(frozen=True, slots=True)
class Reading:
    """How the scoring model reads a store's responses."""

    drawing: PromptTokenizer | None  # tokenizer of the model that drew them, where it is on this machine
    difference: str = ""  # to how that model reads them, in words


def score_set(model: ScoringModel) -> str:
    """Name of the scores that this model gives: 12 hex digits."""
    return digest(model.path, model.revision, model.lora, model.dtype, model.engine, model.rule)[:12]


def choose(store: SampleStore, *, limit: Sequence[str] | None, num_samples: int | None) -> Chosen:
    """The samples of the problems `limit` (None: of all), the first `num_samples` of each (None: all).

    Raises:
        DataError: the store has none of the problems.
    """
    counts = store.counts()
    ids = tuple(one for one in (counts if limit is None else limit) if counts.get(one))
    if not ids:
        raise DataError(f"{store.folder} has samples of none of the first {len(limit or ())} problems; raise limit")
    most = max(len(store.marks(one)[1]) for one in ids)
    return Chosen(ids, most if num_samples is None else min(num_samples, most))


def check_reading(store: SampleStore, scorer: Scorer, *, allowed: bool) -> Reading:
    """Refuse a scoring model that reads prompts or responses otherwise than the one that drew them, unless allowed.

    Raises:
        ConfigError: what differs, and the ways out.
    """
    if store.spec.engine == REFERENCE:
        return Reading(None)
    drawing = tokenizer_of(store.spec)
    difference = tokenizer_difference(
        scorer.tokens,
        drawing,
        spec=store.spec,
        prompts=[as_prompt(prompt) for prompt in islice(store.prompts(), COMPARED)],
        samples=list(islice(store.samples(), COMPARED)),
    )
    if difference and not allowed:
        raise ConfigError(
            f"the scoring model reads {store.folder} otherwise than the model that drew it: {difference}. "
            "Perplexities a token of two tokenizers cannot be compared: unit=byte measures bytes of text instead, and "
            "other_tokenizer=retokenise takes the scoring model's tokens (for texts of another model, as a teacher's)"
        )
    return Reading(drawing, difference)


def as_prompt(stored: StoredPrompt) -> Prompt:
    """The prompt as it was sent."""
    return Prompt(stored.problem_id, stored.text, stored.messages)


def score_missing(store: SampleStore, scorer: Scorer, model: ScoringModel, chosen: Chosen, *, reading: Reading) -> None:
    """Score the chosen samples that have no score of this model; where none is missing nothing is loaded or locked.

    Raises:
        SamplingError: the engine failed; what was scored stays.
        StoreError: a score could not be stored, or another process scores with this model.
    """
    name = score_set(model)
    with ScoreStore.open(store, name, read_only=True) as scores:
        if not scores.missing(chosen.problem_ids, chosen.num_samples):
            return
    with ScoreStore.open(store, name) as scores:
        scores.describe(model)
        missing = scores.missing(chosen.problem_ids, chosen.num_samples)
        counts = {problem_id: len(indices) for problem_id, indices in missing.items()}
        with Progress(missing=counts, num_problems=len(chosen.problem_ids)) as progress:
            progress.stage("waiting for the first score")
            _keep(scorer.score(_requests(store, scorer, missing, reading)), scores, scorer, progress)
            progress.stage("scored")


def _keep(found: Iterator[Score], scores: ScoreStore, scorer: Scorer, progress: Progress) -> None:
    """Store scores in small lots, so that storing them costs little and a kill loses half a second at most."""
    lot: list[Score] = []
    began = since = time.monotonic()

    def keep() -> None:
        scores.append_many(lot)
        progress.drawing_since(scorer.ready_at or began)
        progress.stage("scoring")
        for score in lot:
            progress.sampled(score)
        lot.clear()

    try:
        for score in found:
            lot.append(score)
            if len(lot) >= _BATCH or time.monotonic() - since > _HELD:
                keep()
                since = time.monotonic()
    finally:
        if lot:
            keep()


def _requests(
    store: SampleStore, scorer: Scorer, missing: Mapping[str, Sequence[int]], reading: Reading
) -> Iterator[ScoreRequest]:
    """What is missing and fits into the context."""
    wanted = {problem_id: frozenset(indices) for problem_id, indices in missing.items()}
    prompts = {
        prompt.problem_id: tuple(scorer.tokens.encode(as_prompt(prompt)))
        for prompt in store.prompts()
        if prompt.problem_id in wanted
    }
    responses = ResponseTokenizer(scorer.tokens, stops=store.spec.stop or (), drawing=reading.drawing)
    longest = scorer.longest
    unscored = (one for one in store.samples(wanted) if one.index in wanted[one.problem_id])
    while batch := list(islice(unscored, _BATCH)):
        for sample, ids in zip(batch, responses.encode(batch), strict=True):
            prompt = prompts.get(sample.problem_id)
            if prompt is None:
                raise DataError(
                    f"{store.folder} does not say what problem {sample.problem_id!r} was asked, so its samples cannot "
                    "be scored; draw or import it again"
                )
            if longest is None or len(prompt) + len(ids) <= longest:
                yield ScoreRequest(sample.problem_id, sample.index, prompt, ids)


@dataclass(frozen=True, slots=True)
class Columns:
    """One pass over a store, [S] each; NaN and 0 stand for what is not there."""

    problem: NDArray[np.int64]
    index: NDArray[np.int64]
    num_bytes: NDArray[np.int64]
    drawn_tokens: NDArray[np.int64]  # when the sample was drawn
    drawn_logprob: NDArray[np.float64]
    tokens: NDArray[np.int64]  # that were scored
    logprob: NDArray[np.float64]
    correct: NDArray[np.int8]


def read_columns(store: SampleStore, scores_of: str, chosen: Chosen, verdicts: str | None) -> Columns:
    """The chosen samples with their scores of one set and their verdicts of one set."""
    rows = {problem_id: row for row, problem_id in enumerate(chosen.problem_ids)}
    scored = {one: (array("d"), array("q")) for one in rows}
    for values, lengths in scored.values():
        values.extend([np.nan] * chosen.num_samples)
        lengths.extend([0] * chosen.num_samples)
    with ScoreStore.open(store, scores_of, read_only=True) as scores:
        for score in scores.scores(rows, chosen.num_samples):
            scored[score.problem_id][0][score.index] = score.logprob_sum
            scored[score.problem_id][1][score.index] = score.num_tokens
    judged = _judged(store, chosen, verdicts)
    whole, real = [array("q") for _ in range(5)], [array("d") for _ in range(2)]
    correct = array("b")
    for sample in store.samples(rows, chosen.num_samples):
        values, lengths = scored[sample.problem_id]
        size = len(sample.text.encode("utf-8", "surrogatepass"))
        numbers = (rows[sample.problem_id], sample.index, size, sample.num_tokens, lengths[sample.index])
        for column, number in zip(whole, numbers, strict=True):
            column.append(number)
        real[0].append(np.nan if sample.logprob_sum is None else sample.logprob_sum)
        real[1].append(values[sample.index])
        correct.append(judged[sample.problem_id][sample.index] if judged else UNJUDGED)
    problem, index, size_, drawn, tokens = (np.array(column, dtype=np.int64) for column in whole)
    own, logprob = (np.array(column, dtype=np.float64) for column in real)
    return Columns(problem, index, size_, drawn, own, tokens, logprob, np.array(correct, dtype=np.int8))


def chosen_verdicts(folder: Path, wanted: str | None) -> tuple[str | None, str]:
    """The store's set of verdicts, if it has one that is meant, and what to say if it has several.

    Raises:
        ConfigError: `wanted` fits several or none of them.
    """
    names = list_verdicts(folder)
    fitting = [name for name in names if wanted is None or name.startswith(wanted)]
    if len(fitting) == 1:
        return fitting[0], ""
    if wanted is not None and names:
        raise ConfigError(f"verdicts={wanted} fits {len(fitting)} of {folder}'s sets of verdicts: {', '.join(names)}")
    return None, f"{folder} has {len(names)} sets of verdicts; verdicts=... names one." if names else ""


def scored_distribution(
    source: Source, chosen: Chosen, columns: Columns, *, scored_by: str, counted: bool
) -> Distribution:
    """The samples under the scoring model; `counted` says whether numbers of drawn tokens mean the same tokens."""
    known = ~np.isnan(columns.logprob)
    other = known & (columns.drawn_tokens > 0) & (columns.tokens != columns.drawn_tokens)
    too_long = int((~known).sum())
    return _distribution(
        source, chosen, columns, known, tokens=columns.tokens, logprob=columns.logprob, scored_by=scored_by,
        left_out={"longer than the context": too_long} if too_long else {},
        retokenised=int(other.sum()) if counted else 0,
    )  # fmt: skip


def own_distribution(source: Source, chosen: Chosen, columns: Columns) -> Distribution | None:
    """The samples under the model that drew them, by the log-probabilities of the drawing; None if there are none."""
    known = ~np.isnan(columns.drawn_logprob)
    if not known.any():
        return None
    without = int((~known).sum())
    return _distribution(
        source, chosen, columns, known, tokens=columns.drawn_tokens, logprob=np.minimum(columns.drawn_logprob, 0.0),
        scored_by=source.name, left_out={"without a stored log-probability": without} if without else {}, retokenised=0,
    )  # fmt: skip


def _distribution(
    source: Source,
    chosen: Chosen,
    columns: Columns,
    known: NDArray[np.bool_],
    *,
    tokens: NDArray[np.int64],
    logprob: NDArray[np.float64],
    scored_by: str,
    left_out: dict[str, int],
    retokenised: int,
) -> Distribution:
    return Distribution(
        scored_by=scored_by,
        drawn_by=source.name,
        source=str(source.folder),
        spec=source.store.spec,
        problem_ids=chosen.problem_ids,
        problem=columns.problem[known],
        index=columns.index[known],
        num_tokens=tokens[known],
        num_bytes=columns.num_bytes[known],
        logprob_sum=logprob[known],
        correct=columns.correct[known],
        left_out=left_out,
        retokenised=retokenised,
    )


def _judged(store: SampleStore, chosen: Chosen, verdicts: str | None) -> "dict[str, array[int]]":
    """CORRECT, OTHER or UNJUDGED by problem and index; a failed judgement is none. Empty without verdicts."""
    if verdicts is None:
        return {}
    judged: dict[str, array[int]] = {one: array("b", [UNJUDGED]) * chosen.num_samples for one in chosen.problem_ids}
    with VerdictStore.open(store, verdicts, read_only=True) as found:
        for verdict in found.verdicts(chosen.problem_ids, chosen.num_samples):
            if verdict.outcome is not Outcome.ERROR:
                judged[verdict.problem_id][verdict.index] = CORRECT if verdict.outcome is Outcome.CORRECT else OTHER
    return judged
