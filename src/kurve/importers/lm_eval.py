"""lm-evaluation-harness: `samples_<task>_<date>.jsonl` of --log_samples, from 0.4.0 on.

One row is one document and one filter: the responses in `resps` (several with `repeats`), the metrics of what the
filter made of them. A metric of several responses (`maj@8`, `pass@k`) is no verdict on each: then there is none. Of
multiple choice, the option with the largest log-likelihood is the response.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kurve.errors import DataError
from kurve.importers.grades import choose, outcomes_of
from kurve.importers.imported import Facts, Imported, LeftOut, Options
from kurve.importers.reading import Meter, Peek, Values, document, json_rows
from kurve.importers.values import (
    QUESTION,
    count_of,
    dataset_id,
    first_text,
    gold_of,
    mapping_of,
    number_of,
    under,
)
from kurve.types import Outcome

NAME = "lm_eval"

_PREFERRED = ("exact_match", "math_verify", "acc", "pass@1", "pass_at_1")
_OWN = ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "task_id")
_NO_MATCH = "[invalid]"  # what a filter writes where its pattern finds nothing
_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl(?:\.gz)?")


def recognises(peek: Peek) -> bool:
    """A row with a document, its responses and what was made of them."""
    return peek.kind == "jsonl" and {"doc_id", "doc", "resps"} <= peek.keys


def gather(paths: Sequence[Path]) -> list[Path]:
    """Every file of samples."""
    return list(paths)


def facts(path: Path) -> Facts:
    """Task and model from the name, the results beside it and the first row."""
    match = _NAME.fullmatch(path.name)
    task = match["task"] if match else ""
    results = _results(path, match["date"] if match else "")
    config = under(results, "config")
    generation = {
        **_settings(under(results, "configs", task, "generation_kwargs")),
        **_settings(under(config, "gen_kwargs")),
        **_settings(_request(next(json_rows(path))[1], 0)[1]),
    }
    greedy = generation.get("do_sample") is False
    folder = path.parent.name.replace("__", "/") if "__" in path.parent.name else ""
    until = generation.get("until")
    return Facts(
        model=first_text({"name": under(results, "model_name"), "folder": folder}, ("name", "folder")),
        revision=str(under(config, "model_revision") or ""),
        benchmark=task,
        temperature=0.0 if greedy else number_of(generation.get("temperature")),
        top_p=number_of(generation.get("top_p")),
        top_k=count_of(generation.get("top_k")),
        min_p=number_of(generation.get("min_p")),
        max_tokens=count_of(generation.get("max_gen_toks", generation.get("max_tokens"))),
        stop=tuple(map(str, until)) if isinstance(until, list) else None,
    )


def read(path: Path, options: Options, meter: Meter) -> Iterator[Imported | LeftOut]:
    """Each response of each document, by the rows of one filter."""
    taken: str | None = None  # the filter whose rows count
    others: set[str] = set()
    seen: set[object] = set()
    for place, row in json_rows(path, meter):
        doc = mapping_of(row, "doc", place)
        name, graders = _graders(row)
        wanted = _wanted(graders, name, options.grader)
        if taken is None and (options.grader is None or wanted):
            taken = name
        if name != taken:
            others.update(graders)
            yield LeftOut(place, f"filter {name}")
            continue
        if (key := json.dumps(row.get("doc_id"))) in seen:  # before 0.4.3 rows do not name their filter
            yield LeftOut(place, "another filter on the same responses")
            continue
        seen.add(key)
        yield from _samples(row, doc, graders, wanted, place=place)
    if taken is None:
        raise DataError(f"{path}: no verdict by grader={options.grader}; there is {', '.join(sorted(others))}")


def _graders(row: Values) -> tuple[str, tuple[str, ...]]:
    """The row's filter, and its metrics by the names that grader=... takes."""
    name = row.get("filter")
    listed = row.get("metrics")
    metrics = (
        listed if isinstance(listed, list) else [key for key in row if key not in _OWN and not key.endswith("_hash")]
    )
    metrics = [str(one) for one in metrics if not isinstance(row.get(str(one)), str)]
    prefix = f"{name}/" if isinstance(name, str) and name != "none" else ""
    return str(name), tuple(f"{prefix}{metric}" for metric in metrics)


def _wanted(graders: Sequence[str], name: str, grader: str | None) -> str | None:
    """The grader asked for, by its whole name, its filter or its metric; None if the row has no such."""
    if grader is None:
        return None
    fitting = [one for one in graders if grader in (one, name, one.rpartition("/")[2])]
    return fitting[0] if fitting else None


def _samples(
    row: Values, doc: Mapping[str, object], graders: tuple[str, ...], wanted: str | None, *, place: str
) -> Iterator[Imported]:
    prefix = graders[0].rpartition("/")[0] if graders else ""
    preferred = [f"{prefix}/{name}" if prefix else name for name in _PREFERRED]
    grader = choose(graders, wanted, preferred, place)
    texts, logprob = _responses(row, place)
    outcomes = outcomes_of(row.get(grader.rpartition("/")[2]), len(texts), place, grader)
    answers = row.get("filtered_resps")
    answers = answers if isinstance(answers, list) and len(answers) == len(texts) else [None] * len(texts)
    prompt, _ = _request(row, 0)
    question, gold = first_text(doc, QUESTION) or prompt, _gold(row, is_choice=logprob is not None)
    for text, outcome, answer in zip(texts, outcomes, answers, strict=True):
        judged, missing = outcome is not None, answer == _NO_MATCH and outcome is Outcome.WRONG
        yield Imported(
            place,
            text,
            question,
            dataset_id(doc),
            gold,
            prompt,
            outcome=Outcome.NO_ANSWER if missing else outcome,
            grader=grader if judged else "",
            graders=graders if judged else (),
            answer=answer if isinstance(answer, str) and not missing else "",
            logprob_sum=logprob,
        )


def _responses(row: Values, place: str) -> tuple[list[str], float | None]:
    """The texts of a document; of multiple choice the chosen option and its log-likelihood."""
    resps = row.get("resps")
    if isinstance(resps, list) and resps and all(isinstance(one, list) for one in resps):
        found = [response for one in resps for response in one]
        if found and all(isinstance(text, str) for text in found):
            return found, None
        scores = [number_of(one[0]) for one in found if isinstance(one, list) and one]
        known = [score for score in scores if score is not None]
        if known and len(known) == len(found):
            best = max(range(len(known)), key=known.__getitem__)
            return [_option(row, best)], known[best]
    raise DataError(f"{place}: resps is {resps!r:.60}; expected lists of responses, or of log-likelihoods")


def _gold(row: Values, *, is_choice: bool) -> str | None:
    target = row.get("target")
    number = count_of(target) if is_choice else None
    return gold_of(target) if number is None else _option(row, number)


def _option(row: Values, number: int) -> str:
    """The option that a request scored; its number where the file does not keep it."""
    _, option = _request(row, number)
    return option.strip() if isinstance(option, str) else str(number)


def _request(row: Values, number: int) -> tuple[str, object]:
    """Prompt, and settings or option, of a request: {gen_args_0: {arg_0, arg_1}}, before 0.4.4 [[prompt, ...], ...]."""
    arguments = row.get("arguments")
    requests = list(arguments.values()) if isinstance(arguments, dict) else arguments
    one = requests[number] if isinstance(requests, list) and number < len(requests) else None
    parts = list(one.values()) if isinstance(one, dict) else one
    if not isinstance(parts, list) or not parts:
        return "", None
    return parts[0] if isinstance(parts[0], str) else "", parts[1] if len(parts) > 1 else None


def _settings(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, dict) else {}


def _results(path: Path, date: str) -> object:
    """The results file of the same call, if it is still there."""
    results = path.with_name(f"results_{date}.json")
    return document(results) if date and results.is_file() else None
