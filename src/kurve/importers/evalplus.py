"""EvalPlus: `<samples>_eval_results.json`, with a base and a plus verdict on every solution.

A sample counts as correct by `plus` when it passes both, as in EvalPlus' own HumanEval+ and MBPP+ numbers. Results from
before v0.2.1 hold no solutions; they are taken from the samples beside them. Samples that were not evaluated have no
verdict, and code has no reference answer, so they are refused.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kurve.errors import DataError
from kurve.importers.grades import choose
from kurve.importers.imported import Facts, Imported, LeftOut, Options
from kurve.importers.reading import Meter, Peek, Values, document, json_rows
from kurve.importers.values import mapping_of, number_of, text_of
from kurve.types import Outcome

NAME = "evalplus"
_PREFERRED = ("plus", "base")
_STATUS = {"pass": Outcome.CORRECT, "fail": Outcome.WRONG, "timeout": Outcome.TIMEOUT}
_RESULTS = re.compile(r"(?P<stem>.*?)[._]?eval_results\.json")
_NAME = re.compile(r"(?P<model>.+?)_(?:vllm|hf|openai|anthropic|google|bedrock|ollama|gptqmodel)_temp_(?P<t>[\d.]+)")
_SETS = {"HumanEval": "humaneval", "Mbpp": "mbpp"}


def recognises(peek: Peek) -> bool:
    """A document of results, or a row with a task's solution."""
    if peek.kind == "json":
        return "eval" in peek.keys and "status" not in peek.keys and bool({"hash", "date"} & peek.keys)
    return peek.kind == "jsonl" and "task_id" in peek.keys and bool({"solution", "completion"} & peek.keys)


def gather(paths: Sequence[Path]) -> list[Path]:
    """The results; for samples, those that evalplus.evaluate wrote beside them.

    Raises:
        DataError: samples without results.
    """
    found = [path if path.name.lower().endswith(".json") else _results_of(path) for path in paths]
    return list(dict.fromkeys(found))


def facts(path: Path) -> Facts:
    """Model and temperature from the name, as in org--model_vllm_temp_0.8_eval_results.json."""
    match = _NAME.match(path.name)
    tasks = mapping_of(_document(path), "eval", str(path))
    prefix = next(iter(tasks), "").partition("/")[0]
    return Facts(
        model=match["model"].replace("--", "/") if match else "",
        benchmark=_SETS.get(prefix, path.parent.name),
        temperature=number_of(match["t"].strip(".")) if match else None,
    )


def read(path: Path, options: Options, meter: Meter) -> Iterator[Imported | LeftOut]:
    """Every solution of every task."""
    del meter  # one document
    tasks = mapping_of(_document(path), "eval", str(path))
    solutions = {} if all(isinstance(one, list) for one in tasks.values()) else _solutions(path)
    for task, results in tasks.items():
        rows = results if isinstance(results, list) else _old_rows(results, solutions.get(task, []))
        for number, row in enumerate(rows, start=1):
            place = f"{path}, {task}, solution {number}"
            if not isinstance(row, dict):
                raise DataError(f"{place}: expected an object, got {row!r:.60}")
            yield _sample(row, task, options, place)


def _sample(row: Values, task: str, options: Options, place: str) -> Imported:
    found = {name: _status(row, name, place) for name in _PREFERRED if row.get(f"{name}_status") is not None}
    if "plus" in found and found.get("base", Outcome.CORRECT) is not Outcome.CORRECT:
        found["plus"] = found["base"]
    grader = choose(tuple(found), options.grader, _PREFERRED, place)
    if not grader:
        raise DataError(f"{place}: neither base_status nor plus_status; expected pass, fail or timeout")
    return Imported(
        place,
        text_of(row, "solution", place),
        problem_id=task,
        outcome=found[grader],
        grader=grader,
        graders=tuple(found),
    )


def _status(row: Values, name: str, place: str) -> Outcome:
    status = row.get(f"{name}_status")
    if not isinstance(status, str) or status not in _STATUS:
        raise DataError(f"{place}: {name}_status is {status!r:.60}; expected {', '.join(_STATUS)}")
    return _STATUS[status]


def _document(path: Path) -> Values:
    found = document(path)
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected EvalPlus' results, an object with `eval`")
    return found


def _results_of(samples: Path) -> Path:
    stem = samples.name.removesuffix(".gz").removesuffix(".jsonl")
    for name in (f"{stem}_eval_results.json", f"{stem}.eval_results.json", "eval_results.json"):
        if samples.with_name(name).is_file():
            return samples.with_name(name)
    raise DataError(
        f"{samples} holds solutions without verdicts and there is no {stem}_eval_results.json beside it; evaluate them "
        "first: evalplus.evaluate --dataset humaneval --samples ..."
    )


def _solutions(results: Path) -> dict[str, list[str]]:
    """The solutions of each task, from the samples beside results that hold none."""
    match = _RESULTS.fullmatch(results.name)
    samples = results.with_name(f"{match['stem'] if match else ''}.jsonl")
    if not samples.is_file():
        raise DataError(f"{results} holds no solutions, and there is no {samples.name} beside it; evaluate again")
    found: dict[str, list[str]] = {}
    for place, row in json_rows(samples):
        found.setdefault(text_of(row, "task_id", place), []).append(text_of(row, "solution", place))
    return found


def _old_rows(results: object, solutions: Sequence[str]) -> list[Values]:
    """Rows of before v0.2.1, where a task has {base: [[status, details], ...], plus: ...}."""
    rows: list[Values] = []
    for number, solution in enumerate(solutions):
        row: dict[str, object] = {"solution": solution}
        for name in _PREFERRED:
            held = results.get(name) if isinstance(results, dict) else None
            if isinstance(held, list) and number < len(held) and isinstance(held[number], list):
                row[f"{name}_status"] = held[number][0]
        rows.append(row)
    return rows
