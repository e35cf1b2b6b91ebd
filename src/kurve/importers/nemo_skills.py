"""NeMo-Skills: `output-rs<seed>.jsonl`, one file a seed, one row a problem with the dataset's own fields.

After `ns eval` a row has a verdict: `symbolic_correct` (`is_correct` in older versions and for code), `judgement` by a
model. Rows that are not judged yet have only `generation`.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kurve.importers.grades import choose, outcome_of
from kurve.importers.imported import Facts, Imported, LeftOut, Options
from kurve.importers.reading import Meter, Peek, Values, json_rows
from kurve.importers.values import QUESTION, count_of, dataset_id, first_text, gold_of, text_of
from kurve.types import Outcome

NAME = "nemo_skills"
_VERDICTS = ("symbolic_correct", "is_correct", "judgement", "is_correct-plus")
_SEED = re.compile(r"output(?:-rs(?P<seed>\d+)|-greedy)?(?:_chunk_(?P<chunk>\d+))?(?:-async)?\.jsonl(?:\.gz)?")
_JUDGEMENT = re.compile(r"judgement:?\W*(yes|no)\b", re.IGNORECASE)
_RESULTS = "eval-results"


def recognises(peek: Peek) -> bool:
    """A row with a generation, in a file of the tool's name or with the tool's own fields."""
    own = {"num_generated_tokens", "predicted_answer", "expected_answer", *_VERDICTS} & peek.keys
    return peek.kind == "jsonl" and "generation" in peek.keys and bool(own or _SEED.fullmatch(peek.path.name))


def gather(paths: Sequence[Path]) -> list[Path]:
    """The files by seed and chunk, so that sample 10 does not come before sample 2."""

    def order(path: Path) -> tuple[str, int, int, str]:
        match = _SEED.fullmatch(path.name)
        numbers = [int(match[key] or 0) if match else 0 for key in ("seed", "chunk")]
        return str(path.parent), numbers[0], numbers[1], path.name

    return sorted(paths, key=order)


def facts(path: Path) -> Facts:
    """The benchmark from the folder, as in eval-results/<benchmark>/output-rs0.jsonl."""
    return Facts(benchmark=path.parent.name if path.parent.parent.name == _RESULTS else "")


def read(path: Path, options: Options, meter: Meter) -> Iterator[Imported | LeftOut]:
    """One sample a row."""
    for place, row in json_rows(path, meter):
        graders = tuple(key for key in _VERDICTS if row.get(key) is not None)
        grader = choose(graders, options.grader, _VERDICTS, place) if graders else ""
        answer = row.get("predicted_answer")
        yield Imported(
            place,
            text_of(row, "generation", place),
            first_text(row, QUESTION),
            dataset_id(row),
            gold_of(row.get("expected_answer")),
            outcome=_outcome(row, grader, place),
            grader=grader,
            graders=graders,
            answer=answer if isinstance(answer, str) else "",
            finish_reason=first_text(row, ("finish_reason",)),
            num_tokens=count_of(row.get("num_generated_tokens")) or 0,
        )


def _outcome(row: Values, grader: str, place: str) -> Outcome | None:
    value = row.get(grader)
    if grader == "judgement" and isinstance(value, str) and (found := _JUDGEMENT.search(value)):
        value = found[1].lower()
    outcome = outcome_of(value, place, grader)
    unanswered = "predicted_answer" in row and row["predicted_answer"] is None
    return Outcome.NO_ANSWER if outcome is Outcome.WRONG and unanswered else outcome
