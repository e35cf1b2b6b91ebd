"""Demonstrations for supervised training: responses to imitate, from a file, a sample store or a function.

They are asked with the training's prompt template, so that a model is trained on what the sampler will send it.
"""

import difflib
import functools
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kurve.benchmarks import files
from kurve.benchmarks.cells import content_id
from kurve.errors import ConfigError, DataError
from kurve.prompts import Template
from kurve.store import SampleStore, VerdictStore
from kurve.types import Answer, Demonstration, Message, Outcome, Problem, Prompt

_VERDICTS = re.compile(r"verdicts-([A-Za-z0-9_.]+)-\d{4,}\.jsonl(?:\.zst)?")
_CUT = ("length", "abort")  # finish reasons of responses without an end


@dataclass(frozen=True)
class Demonstrations:
    """What to imitate, and where it comes from."""

    name: str
    source: str  # path
    items: tuple[Demonstration, ...]
    questions: tuple[tuple[str, str], ...]  # problem id and question of each problem, once
    verbatim: bool = False  # the questions are whole prompts: nobody said which part of them asks
    teacher: str = ""  # the model that wrote the responses, where it is known

    @functools.cached_property
    def digest(self) -> str:
        """32 hex digits of prompts and responses, in order."""
        digest = hashlib.sha256()
        for item in self.items:
            prompt = [item.prompt.text, [[m.role, m.content] for m in item.prompt.messages]]
            digest.update(json.dumps([prompt, item.response], ensure_ascii=True).encode("ascii"))
        return digest.hexdigest()[:32]


def none() -> None:
    """No demonstrations: for algorithms that learn from verdicts."""


def from_file(
    *,
    path: str,
    template: Template,
    question: str | None = "question",
    prompt: str | None = None,
    response: str = "response",
    limit: int | None = None,
    name: str | None = None,
) -> Demonstrations:
    """The rows of a JSONL (also .gz) or Parquet file, in order.

    Args:
        path: the file.
        template: asks the questions.
        question: column of the question, put into `template`; None if `prompt` is given.
        prompt: column of the whole prompt, sent as it is: text, or a list of {role, content}; None if `question` is.
        response: column of the response, text; or one assistant message.
        limit: only the first rows.
        name: label; None takes the file's name.

    Raises:
        ConfigError: no such file, not exactly one of `question` and `prompt`, or a limit below 1.
        DataError: a malformed row; the message names file and line.
    """
    if (question is None) == (prompt is None):
        raise ConfigError(
            "data.question and data.prompt: give one of them the name of a column and set the other to null; a "
            "question is put into the prompt template, a prompt is sent as it is"
        )
    _check_count("limit", limit)
    rows, _ = files.read(Path(path))
    items, asked = [], {}
    for row in rows[:limit]:
        try:
            if question is not None:
                sent, text = _asked(_text(row.values, question, "data.question"), template)
            else:
                sent, text = _verbatim(_cell(row.values, str(prompt), "data.prompt"))
            items.append(Demonstration(sent, _response(_cell(row.values, response, "data.response"))))
        except DataError as error:
            raise DataError(f"{row.place}: {error}") from error
        asked[sent.problem_id] = text
    return Demonstrations(
        name or Path(path).name,
        source=str(Path(path).expanduser().absolute()),
        items=tuple(items),
        questions=tuple(asked.items()),
        verbatim=prompt is not None,
    )


def made(*, make: Callable[[], Sequence[Demonstration]], template: Template, name: str) -> Demonstrations:
    """Demonstrations that a function makes, such as `kurve.benchmarks.countdown.reductions`.

    Args:
        make: gives prompts whose text is the question, and the responses.
        template: asks the questions.
        name: label.

    Raises:
        ConfigError: one of its settings is out of range.
    """
    items, asked = [], {}
    for item in make():
        problem_id, question = item.prompt.problem_id, item.prompt.text
        items.append(Demonstration(template.render(_problem(problem_id, question)), item.response))
        asked[problem_id] = question
    source = getattr(make, "func", make)
    return Demonstrations(
        name=name,
        source=f"{source.__module__}.{source.__qualname__}",
        items=tuple(items),
        questions=tuple(asked.items()),
    )


def from_store(
    *,
    samples: str | Path,
    template: Template,
    verifier: str | None = None,
    per_problem: int | None = None,
    seed: int = 0,
    name: str | None = None,
) -> Demonstrations:
    """The samples of a store that a verifier found correct: what a student learns from a teacher of any kind.

    Problems are in the order of their ids, the samples of each in the order of their indices. A response is taken
    once a problem, however often it was drawn, and samples cut at max_tokens are left out: they show no end.

    Args:
        samples: folder of the store.
        template: asks the stored questions; the teacher may have been asked otherwise.
        verifier: fingerprint of the verdicts to go by, or its beginning; None takes the store's only ones.
        per_problem: at most so many distinct responses a problem, chosen at random; None takes all.
        seed: of that choice; a problem's choice depends on nothing else.
        name: label; None takes the store's benchmark and model.

    Raises:
        ConfigError: no or several sets of verdicts fit, no sample is correct, or `per_problem` is below 1.
        DataError: the store is damaged or does not hold its questions.
    """
    _check_count("per_problem", per_problem)
    folder = Path(samples).expanduser()
    with SampleStore.open_folder(folder) as store:
        chosen = _verdict_set(folder, verifier)
        with VerdictStore.open(store, chosen, read_only=True) as verdicts:
            outcomes = {(v.problem_id, v.index): v.outcome for v in verdicts.verdicts()}
        if not outcomes:
            raise ConfigError(f"{folder} holds samples and no verdict; judge them: kurve verify samples={folder.name}")
        found = _responses(store, {key for key, outcome in outcomes.items() if outcome is Outcome.CORRECT})
        questions = {one.problem_id: one.question for one in store.prompts() if one.problem_id in found}
        label = name or f"{store.spec.benchmark} by {_named(Path(store.spec.model))}"
        teacher = store.spec.model
    if not found:
        raise ConfigError(
            f"{folder} holds {len(outcomes):,} judged samples and none of them is correct and complete; a teacher must "
            "solve some problems: draw more samples, take a stronger one, or other verdicts: data.verifier=..."
        )
    return Demonstrations(
        name=label,
        source=str(folder.absolute()),
        items=tuple(_chosen(found, questions, template, per_problem=per_problem, seed=seed, folder=folder)),
        questions=tuple(sorted(questions.items())),
        teacher=teacher,
    )


def _check_count(key: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError(f"data.{key} is {value!r}; expected a whole number of at least 1, or null for all")


def _responses(store: SampleStore, correct: Set[tuple[str, int]]) -> dict[str, dict[str, int]]:
    """By problem, the distinct complete responses among the correct samples, each with its first index."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for sample in store.samples(problem_ids={problem_id for problem_id, _ in correct}):
        key, whole = (sample.problem_id, sample.index), sample.finish_reason not in _CUT
        if key in correct and whole and sample.text.strip():
            first = found[sample.problem_id].get(sample.text, sample.index)
            found[sample.problem_id][sample.text] = min(first, sample.index)
    return found


def _chosen(
    found: Mapping[str, Mapping[str, int]],
    questions: Mapping[str, str],
    template: Template,
    *,
    per_problem: int | None,
    seed: int,
    folder: Path,
) -> Iterable[Demonstration]:
    for problem_id in sorted(found):
        question = questions.get(problem_id, "")
        if not question:
            raise DataError(
                f"{folder} does not say what problem {problem_id!r} asks (it was imported without questions); give "
                "demonstrations as a file with data=jsonl"
            )
        prompt = template.render(_problem(problem_id, question))
        responses = sorted(found[problem_id], key=found[problem_id].__getitem__)
        if per_problem is not None and len(responses) > per_problem:
            rng = np.random.default_rng([seed, *hashlib.sha256(problem_id.encode("utf-8", "surrogatepass")).digest()])
            kept = sorted(rng.choice(len(responses), size=per_problem, replace=False).tolist())
            responses = [responses[place] for place in kept]
        yield from (Demonstration(prompt, response) for response in responses)


def _named(model: Path) -> str:
    """What a person calls a model: a training's result is the folder `model` of the training's own."""
    return model.parent.name if model.name == "model" else model.name


def _verdict_set(folder: Path, verifier: str | None) -> str:
    """Which verdicts of the store to go by."""
    held = sorted({match[1] for path in folder.iterdir() if (match := _VERDICTS.fullmatch(path.name))})
    if not held:
        raise ConfigError(f"{folder} holds samples and no verdict; judge them: kurve verify samples={folder.name}")
    fitting = [one for one in held if verifier is None or one.startswith(verifier)]
    if len(fitting) == 1:
        return fitting[0]
    if verifier is None:
        raise ConfigError(f"{folder} holds verdicts of several verifiers; choose: data.verifier={' or '.join(held)}")
    near = difflib.get_close_matches(verifier, held, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it holds {', '.join(held)}"
    raise ConfigError(f"data.verifier={verifier} fits {len(fitting)} sets of verdicts in {folder}; {hint}")


def _problem(problem_id: str, question: str) -> Problem:
    return Problem(problem_id, question, Answer((), ""))


def _cell(values: Mapping[str, object], column: str, key: str) -> object:
    if column not in values:
        near = difflib.get_close_matches(column, list(values), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(
            f"no column {column!r}; the row has {', '.join(sorted(values)) or 'none'}. {hint}Set {key}=<column>"
        )
    return values[column]


def _text(values: Mapping[str, object], column: str, key: str) -> str:
    value = _cell(values, column, key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{column} must be text that is not empty, got {value!r:.80}")
    return value.strip()


def _asked(question: str, template: Template) -> tuple[Prompt, str]:
    return template.render(_problem(content_id(question), question)), question


def _verbatim(value: object) -> tuple[Prompt, str]:
    """A prompt that is sent as it is, text or chat messages, and all its words."""
    if isinstance(value, str) and value:
        return Prompt(content_id(value), text=value), value
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        messages = tuple(_message(one) for one in value)
        words = "\n".join(m.content for m in messages)
        return Prompt(content_id(words), messages=messages), words
    raise DataError(f"the prompt must be text or a list of messages and not empty, got {value!r:.80}")


def _message(value: object) -> Message:
    match value:
        case {"role": str() as role, "content": str() as content}:
            return Message(role, content)
    raise DataError(f"a message must be {{role, content}}, both text, got {value!r:.80}")


def _response(value: object) -> str:
    match value:
        case str() if value.strip():
            return value
        case [{"role": "assistant", "content": str() as content}] if content.strip():
            return content
    raise DataError(f"the response must be text (or one assistant message) and not empty, got {value!r:.80}")
