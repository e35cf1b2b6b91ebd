"""lighteval: `details_<task>_<date>.parquet` of --save-details.

From 0.10 on a row has `doc`, `model_response` and `metric`; before, `full_prompt`, `predictions`, `gold`, `metrics`. A
metric of several responses (`pass@k`, `avg@n`) is no verdict on each: then there is none. The query is the prompt's
form of the question, and `doc.id` a row position, so that a benchmark is matched by what the query contains.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kurve.errors import DataError
from kurve.importers.grades import choose, outcomes_of
from kurve.importers.imported import Facts, Imported, LeftOut, Options
from kurve.importers.reading import Meter, Peek, Values, document, parquet_columns, parquet_rows
from kurve.importers.values import count_of, first_text, gold_of, mapping_of, number_of, under

NAME = "lighteval"
_PREFERRED = ("extractive_match", "math_pass@1:1_samples", "em", "qem", "acc")
_NEW, _OLD = ("doc", "model_response", "metric"), ("full_prompt", "predictions", "metrics")
_FURTHER = ("gold", "choices", "gold_index", "example", "cont_tokens")
_NAME = re.compile(r"details_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d:.-]+)\.parquet")


def recognises(peek: Peek) -> bool:
    """Parquet with the columns of a details file, new or old."""
    return peek.kind == "parquet" and (set(_NEW) <= peek.keys or set(_OLD) <= peek.keys)


def gather(paths: Sequence[Path]) -> list[Path]:
    """Every details file."""
    return list(paths)


def facts(path: Path) -> Facts:
    """Task from the name; model and settings from the results of the same call, results/<model>/results_<date>.json."""
    match = _NAME.fullmatch(path.name)
    general = under(_results(path, match["date"]), "config_general") if match else None
    settings = under(general, "model_config", "generation_parameters") or under(general, "generation_parameters")
    parts = path.parts[path.parts.index("details") + 1 : -2] if "details" in path.parts else ()
    named = {"name": under(general, "model_name"), "folder": "/".join(parts)}
    return Facts(
        model=first_text(named, ("name", "folder")),
        revision=first_text({"sha": under(general, "model_sha")}, ("sha",)),
        benchmark=_task(match["task"]) if match else "",
        temperature=number_of(under(settings, "temperature")),
        top_p=number_of(under(settings, "top_p")),
        top_k=count_of(under(settings, "top_k")),
        min_p=number_of(under(settings, "min_p")),
        max_tokens=count_of(under(settings, "max_new_tokens")),
    )


def read(path: Path, options: Options, meter: Meter) -> Iterator[Imported | LeftOut]:
    """Each response of each row."""
    names = parquet_columns(path)
    wanted = [name for name in (*_NEW, *_OLD, *_FURTHER) if name in names]
    for place, row in parquet_rows(path, wanted, meter):
        doc, response, metrics = _parts(row, place)
        texts = _texts(doc, response, place)
        graders = tuple(name for name, value in metrics.items() if value is not None)
        grader = choose(graders, options.grader, _PREFERRED, place)
        outcomes = outcomes_of(metrics.get(grader), len(texts), place, grader)
        tokens = _lengths(response.get("output_tokens"), len(texts))
        prompt, gold = first_text(doc, ("query",)), _gold(doc)
        for text, outcome, num_tokens in zip(texts, outcomes, tokens, strict=True):
            judged = outcome is not None
            yield Imported(
                place,
                text,
                first_text(doc, ("question", "query")),
                gold=gold,
                prompt=prompt,
                outcome=outcome,
                grader=grader if judged else "",
                graders=graders if judged else (),
                num_tokens=num_tokens,
            )


def _parts(row: Values, place: str) -> tuple[Values, Values, Values]:
    """What was asked, what came back and how it scored, in the names of the new columns."""
    if "model_response" in row:
        return mapping_of(row, "doc", place), mapping_of(row, "model_response", place), mapping_of(row, "metric", place)
    gold = _literal(row.get("gold"))
    doc = {
        "query": row.get("full_prompt"),
        "question": row.get("example"),
        "gold": gold if isinstance(gold, list) else [gold],
        "choices": _literal(row.get("choices")),
    }
    response = {"text": _literal(row.get("predictions")), "output_tokens": _literal(row.get("cont_tokens"))}
    return doc, response, mapping_of(row, "metrics", place)


def _texts(doc: Values, response: Values, place: str) -> list[str]:
    texts, choices, scores = response.get("text"), doc.get("choices"), response.get("logprobs")
    if isinstance(texts, str):
        texts = [texts]
    if isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts):
        return texts
    if isinstance(texts, list) and texts and not scores:  # before 0.10 log-likelihoods stand where texts do
        scores = [one[0] if isinstance(one, list | tuple) and one else one for one in texts]
    if isinstance(choices, list) and isinstance(scores, list) and choices and len(choices) == len(scores):
        numbers = [number_of(score) for score in scores]
        known = [number for number in numbers if number is not None]
        if len(known) == len(choices):
            return [str(choices[max(range(len(known)), key=known.__getitem__)]).strip()]
    raise DataError(f"{place}: the responses are {texts!r:.60}; expected a list of texts, or a log-likelihood a choice")


def _gold(doc: Values) -> str | None:
    if "gold" in doc:
        return gold_of(doc["gold"])
    choices, index = doc.get("choices"), doc.get("gold_index")
    places = index if isinstance(index, list) else [index]
    if isinstance(choices, list) and len(places) == 1 and isinstance(places[0], int) and places[0] < len(choices):
        return gold_of(choices[places[0]])
    return None


def _lengths(tokens: object, num_responses: int) -> list[int]:
    if isinstance(tokens, list) and len(tokens) == num_responses and all(isinstance(one, list) for one in tokens):
        return [len(one) for one in tokens]
    return [0] * num_responses


def _literal(value: object) -> object:
    """A list that an old version wrote as its text."""
    if not isinstance(value, str) or not value.startswith("["):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _task(name: str) -> str:
    """The task without its suite and its number of shots: `lighteval|math_500|0|0` is math_500."""
    parts = [part for part in name.split("|") if part and not part.isdigit()]
    return parts[-1] if parts else name


def _results(path: Path, date: str) -> Mapping[str, object] | None:
    parts = path.parts
    if "details" not in parts:
        return None
    at = parts.index("details")
    results = Path(*parts[:at], "results", *parts[at + 1 : -2], f"results_{date}.json")
    found = document(results) if results.is_file() else None
    return found if isinstance(found, dict) else None
