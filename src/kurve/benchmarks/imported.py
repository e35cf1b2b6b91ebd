"""The problems of samples that were made elsewhere: what their files say of them, kept beside the samples.

A problem may have no reference answer, or one that cannot be read: then its verdicts come from the file alone.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kurve.benchmarks import answers
from kurve.benchmarks.answers import Gold
from kurve.benchmarks.files import read
from kurve.benchmarks.rows import Benchmark
from kurve.errors import ConfigError, DataError
from kurve.types import Answer, Problem

_LONGEST = 300  # characters; longer text without a box is a solution whose answer we cannot find


@dataclass(frozen=True, slots=True)
class Item:
    """A problem as the imported files have it."""

    id: str
    question: str
    gold: str | None  # reference answer as written
    prompt: str = ""  # what was sent, where known


def load(*, name: str, path: str | Path, limit: int | None = None, num_samples: int = 1) -> Benchmark:
    """The problems that `lines` wrote.

    Raises:
        ConfigError: no such file, or a limit below 1.
        DataError: the file is damaged.
    """
    if limit is not None and (isinstance(limit, bool) or limit < 1):
        raise ConfigError(f"benchmark.limit is {limit!r}; expected a whole number, 1 or more")
    rows, _ = read(Path(path))
    items = []
    for row in rows:
        problem_id, question, gold = (row.values.get(key) for key in ("id", "question", "answer"))
        if not isinstance(problem_id, str) or not isinstance(question, str) or not isinstance(gold, str | None):
            raise DataError(f"{row.place}: expected id, question and answer as texts; import the samples again")
        items.append(Item(problem_id, question, gold))
    return of_items(name, items, source=str(path), num_samples=num_samples, limit=limit)


def of_items(name: str, items: Iterable[Item], *, source: str, num_samples: int, limit: int | None = None) -> Benchmark:
    """The benchmark of these problems; its revision is a digest of all of them, whatever the limit."""
    kept = list(items)
    return Benchmark(
        name=name,
        problems=tuple(Problem(item.id, item.question, reference(item.gold)) for item in kept[:limit]),
        revision=f"sha256:{hashlib.sha256(lines(kept)).hexdigest()[:16]}",
        source=source,
        num_samples=num_samples,
    )


def lines(items: Iterable[Item]) -> bytes:
    """The problems as JSONL, by id."""
    rows = ({"id": one.id, "question": one.question, "answer": one.gold} for one in sorted(items, key=lambda i: i.id))
    return "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")


def reference(gold: str | None) -> Answer:
    """The reference answer as a verifier takes it; without values where there is none or it cannot be read."""
    if gold is None:
        return Answer((), raw="")
    try:
        if "####" in gold:
            return answers.gsm8k(Gold(gold))
        if answers.last_boxed(gold) is not None:
            return answers.boxed(Gold(gold))
        return answers.latex(Gold(gold)) if len(gold) <= _LONGEST else Answer((), raw=gold)
    except DataError:
        return Answer((), raw=gold)
