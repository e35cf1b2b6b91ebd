"""The stores that are reviewed: their correct samples, what was asked, and the rows of the sheet."""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

from kurve.commands.references import one_verdict_set, tally_of
from kurve.commands.stopping import is_adaptive
from kurve.commands.stored import find_store, stored_benchmark, stored_config
from kurve.errors import ConfigError, DataError, TrackingError
from kurve.observations import gold_text
from kurve.review.rows import Choice, Correct, Place, Row, choose, ordered, sample_id
from kurve.store import SampleStore, VerdictStore
from kurve.tracking import Tracker
from kurve.types import Outcome


@dataclass(frozen=True, slots=True)
class Source:
    """One store under review."""

    store: SampleStore  # open for reading
    correct: Correct
    verifier: str  # name of the set of verdicts on answers
    run_id: str = ""  # of the evaluation, where it was named by its run
    num_unjudged: int = 0  # problems that were left out, since no answer of theirs was judged

    @property
    def benchmark(self) -> str:
        """Its name."""
        return self.store.spec.benchmark


def several(value: object, key: str) -> list[str]:
    """The texts that a setting lists, with commas between them or as a list.

    Raises:
        ConfigError: there is none, or an empty one.
    """
    given = list(value) if isinstance(value, ListConfig) else [str(value)]
    if len(given) == 1 and not Path(str(given[0])).expanduser().exists():
        given = str(given[0]).split(",")
    texts = [str(one).strip() for one in given]
    if not texts or not all(texts):
        raise ConfigError(f"{key} is {value!s}; expected one or several, with commas between them")
    return texts


@contextmanager
def opened(cfg: DictConfig, choice: Choice, tracker: Tracker) -> Iterator[list[Source]]:
    """The stores that `samples` names, open for reading.

    Raises:
        ConfigError: one is not there, or named twice.
        DataError: it has no verdicts on its answers, or does not fit its benchmark.
    """
    with ExitStack() as stack:
        found = []
        for reference in several(cfg.samples, "samples"):
            folder, run_id = _folder(cfg, reference, tracker)
            store = stack.enter_context(SampleStore.open_folder(folder))
            found.append(dataclasses.replace(_source(cfg, store, choice), run_id=run_id))
        folders = [one.store.folder for one in found]
        if len(set(folders)) < len(folders):
            raise ConfigError(f"samples names a store twice: {', '.join(map(str, folders))}")
        yield _with_different_names(found)


def rows_of(sources: Sequence[Source], choice: Choice) -> list[Row]:
    """The rows of the sheet in its order; of all stored texts only theirs are held."""
    found = [row for source in sources for row in _rows(source, choice)]
    return ordered(found, choice)


def known_samples(sources: Sequence[Source], wanted: Collection[str]) -> dict[str, tuple[int, Place]]:
    """Store and place of samples by their row's id, of those that are wanted; every stored text is read once."""
    found = {}
    for number, source in enumerate(sources):
        tally = source.correct.tally
        solved = {one for one, c in zip(tally.problem_ids, tally.num_correct.tolist(), strict=True) if c}
        for sample in source.store.samples(problem_ids=solved):
            key = sample_id(source.correct.fingerprint, sample.problem_id, sample.index, sample.text)
            if key in wanted:
                found[key] = number, (sample.problem_id, sample.index)
    return found


def answers(source: Source, problem_ids: Iterable[str]) -> dict[Place, str]:
    """The answers that the verifier read out of the correct samples of some problems."""
    with VerdictStore.open(source.store, source.verifier, read_only=True) as verdicts:
        return {
            (one.problem_id, one.index): one.answer
            for one in verdicts.verdicts(problem_ids=set(problem_ids))
            if one.outcome is Outcome.CORRECT
        }


def _folder(cfg: DictConfig, reference: str, tracker: Tracker) -> tuple[Path, str]:
    """The store's folder, and the run that named it."""
    try:
        return find_store(cfg, reference), ""
    except ConfigError as error:
        run_id = reference.rstrip("/").rpartition("/runs/")[2]
        try:
            folder = tracker.tags(run_id).get("kurve.store", "")
        except TrackingError:
            raise error from None
        if not folder or not Path(folder).is_dir():
            raise ConfigError(
                f"samples={reference} is a run whose samples are not here ({folder or 'no store on record'}); "
                "name the folder of the store"
            ) from error
        return Path(folder), run_id


def _source(cfg: DictConfig, store: SampleStore, choice: Choice) -> Source:
    if is_adaptive(store.folder):
        raise ConfigError(
            f"{store.folder} was sampled adaptively: what it holds depends on which samples were correct, so the "
            "share of sound ones is no estimate; evaluate with a fixed num_samples to review"
        )
    verifier = one_verdict_set(store.folder, cfg.verdicts)
    drawn_with = stored_config(store.folder)
    questions, references = _asked(cfg, drawn_with, store)
    with VerdictStore.open(store, verifier, read_only=True) as verdicts:
        outcomes = verdicts.counts(list(questions))
    ids = [one for one in questions if outcomes[one].total() > outcomes[one][Outcome.ERROR]]
    if not ids:
        raise DataError(f"no answer in {store.folder} is judged by {verifier}; kurve verify samples={store.folder}")
    tally = tally_of(ids, outcomes)
    under = [one for one, chosen in zip(ids, choice.under_review(tally), strict=True) if chosen]
    name = str(OmegaConf.select(drawn_with, "model.name", default="") if drawn_with else "") or store.spec.model
    correct = Correct(store.fingerprint, Path(name).name or name, {}, tally, questions, references)
    source = Source(store, correct, verifier, num_unjudged=len(questions) - len(ids))
    places = answers(source, under) if under else {}
    return dataclasses.replace(source, correct=dataclasses.replace(correct, places=places))


def _asked(cfg: DictConfig, drawn_with: DictConfig | None, store: SampleStore) -> tuple[dict[str, str], dict[str, str]]:
    """Questions and reference answers by problem; a store of unknown origin knows its own questions at least."""
    named = cfg.benchmark if cfg.get("benchmark") is not None else drawn_with and drawn_with.get("benchmark")
    if named is None:
        asked = {prompt.problem_id: prompt.question or prompt.text for prompt in store.prompts()}
        return {problem_id: asked.get(problem_id, "") for problem_id in store.counts()}, {}
    problems = stored_benchmark(cfg, drawn_with, store).problems
    return {one.id: one.question for one in problems}, {one.id: gold_text(one) for one in problems}


def _with_different_names(sources: Sequence[Source]) -> list[Source]:
    names = [one.correct.model for one in sources]
    return [
        one
        if names.count(one.correct.model) == 1
        else dataclasses.replace(
            one, correct=dataclasses.replace(one.correct, model=f"{one.correct.model} ({one.correct.fingerprint})")
        )
        for one in sources
    ]


def _rows(source: Source, choice: Choice) -> Iterator[Row]:
    correct, tally = source.correct, source.correct.tally
    chosen = frozenset(choose(correct, choice))
    counts = {
        one: (n, c)
        for one, n, c in zip(tally.problem_ids, tally.num_samples.tolist(), tally.num_correct.tolist(), strict=True)
    }
    for sample in source.store.samples(problem_ids={one for one, _ in chosen}) if chosen else ():
        place = sample.problem_id, sample.index
        if place in chosen:
            n, c = counts[sample.problem_id]
            yield Row(
                sample=sample_id(correct.fingerprint, *place, sample.text),
                problem_id=sample.problem_id,
                index=sample.index,
                question=correct.questions.get(sample.problem_id, ""),
                reference=correct.references.get(sample.problem_id, ""),
                response=sample.text,
                answer=correct.places[place],
                num_samples=n,
                num_correct=c,
                model=correct.model,
                fingerprint=correct.fingerprint,
            )
