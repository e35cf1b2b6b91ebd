"""The paper's own evaluation (github.com/LeapLabTHU/limit-of-RLVR, math_eval.py; a fork of Qwen2.5-Math's evaluation).

A row is a problem with its n responses: `idx` (a row position), `question`, `gt`, `code` [n], `pred` [n], `score` [n],
`finish_reason` [n]. The file's name says prompt, seed and temperature. Shards (`_s0_e15`) and seeds are read together.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kurve.errors import DataError
from kurve.importers.grades import outcome_of
from kurve.importers.imported import Facts, Imported, LeftOut, Options
from kurve.importers.reading import Meter, Peek, Values, json_rows
from kurve.importers.values import gold_of, number_of, text_of, texts_of

NAME = "limit_of_rlvr"
_NAME = re.compile(r".*_seed\d+_t(?P<temperature>\d+(?:\.\d+)?)(?:_.*)?\.jsonl(?:\.gz)?")
_PER_SAMPLE = ("pred", "score", "finish_reason")


def recognises(peek: Peek) -> bool:
    """A row with a question, its `gt` and a list of codes."""
    return peek.kind == "jsonl" and {"idx", "question", "gt", "code"} <= peek.keys


def gather(paths: Sequence[Path]) -> list[Path]:
    """Every file of samples."""
    return list(paths)


def facts(path: Path) -> Facts:
    """The benchmark from the folder, the temperature from the name; the model is not written down."""
    match = _NAME.fullmatch(path.name)
    return Facts(benchmark=path.parent.name, temperature=number_of(match["temperature"]) if match else None)


def read(path: Path, options: Options, meter: Meter) -> Iterator[Imported | LeftOut]:
    """Each response of each problem."""
    del options  # there is one judge
    for place, row in json_rows(path, meter):
        question, gold = text_of(row, "question", place), gold_of(row.get("gt"))
        codes = texts_of(row, "code", place)
        columns = [_per_sample(row, key, len(codes), place) for key in _PER_SAMPLE]
        for code, pred, score, reason in zip(codes, *columns, strict=True):
            outcome = outcome_of(score, place, "score")
            answer = pred if isinstance(pred, str) else ""
            finish = reason if isinstance(reason, str) else ""
            yield Imported(place, code, question, gold=gold, outcome=outcome, answer=answer, finish_reason=finish)


def _per_sample(row: Values, key: str, num_samples: int, place: str) -> Sequence[object]:
    values = row.get(key)
    if values is None:
        return [None] * num_samples
    if not isinstance(values, list) or len(values) != num_samples:
        held = f"{len(values)} values" if isinstance(values, list) else f"{values!r:.60}"
        raise DataError(f"{place}: {key} has {held}; expected a list of {num_samples}, one for each code")
    return values
