"""Inspect: `.eval` logs (a zip, its members deflated or zstd-compressed) and `.json` logs, log version 2.

One sample of an epoch is one sample of ours; the scorers are the judges. Values: C or 1 is correct, I or 0 wrong, P
(partly correct) not correct, N no answer; a scorer that gives several values is one judge for each. Samples on which
the tool itself failed are no samples. Logs whose samples are stored in chunks are read too.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kurve.errors import DataError
from kurve.importers.grades import choose, outcome_of
from kurve.importers.imported import Facts, Imported, LeftOut, Options
from kurve.importers.inspect_archive import Archive
from kurve.importers.reading import Meter, Peek, Values, document
from kurve.importers.values import count_of, gold_of, mapping_of, number_of, under
from kurve.types import Outcome

NAME = "inspect"
_LETTERS = {"C": Outcome.CORRECT, "I": Outcome.WRONG, "P": Outcome.WRONG, "N": Outcome.NO_ANSWER}
_ENDS = {"stop": "stop", "max_tokens": "length", "model_length": "length"}
_ATTACHED = "attachment://"


def recognises(peek: Peek) -> bool:
    """A zip of the name, or a document with version, status and eval."""
    if peek.kind == "zip":
        return peek.path.suffix.lower() == ".eval"
    return peek.kind == "json" and {"version", "status", "eval"} <= peek.keys


def gather(paths: Sequence[Path]) -> list[Path]:
    """Every log."""
    return list(paths)


def facts(path: Path) -> Facts:
    """Model, task and sampling settings from the log's header; a model's provider is not part of its name."""
    header = _header(path)
    settings = _config(under(header, "eval", "model_generate_config")) | _config(under(header, "plan", "config"))
    stop = settings.get("stop_seqs")
    return Facts(
        model=str(under(header, "eval", "model") or ""),
        benchmark=str(under(header, "eval", "task") or "").rpartition("/")[2],
        temperature=number_of(settings.get("temperature")),
        top_p=number_of(settings.get("top_p")),
        top_k=count_of(settings.get("top_k")),
        max_tokens=count_of(settings.get("max_tokens")),
        stop=tuple(map(str, stop)) if isinstance(stop, list) else None,
    )


def read(path: Path, options: Options, meter: Meter) -> Iterator[Imported | LeftOut]:
    """The samples, epoch by epoch."""
    for place, sample in _samples(path, meter):
        if sample.get("error") is not None and not sample.get("scores"):
            yield LeftOut(place, "the tool failed on the sample")
            continue
        yield _sample(sample, options, place)


def _sample(sample: Values, options: Options, place: str) -> Imported:
    output = mapping_of(sample, "output", place)
    scores = _scores(sample, place)
    grader = choose(tuple(scores), options.grader, (), place) if scores else ""
    value, answer = scores.get(grader, (None, ""))
    sample_id = sample.get("id")
    return Imported(
        place,
        _completion(output, place),
        _question(sample),
        sample_id if isinstance(sample_id, str) and not sample_id.isdigit() else "",
        gold_of(sample.get("target")),
        outcome=_outcome(value, place, f"the score {grader}"),
        grader=grader,
        graders=tuple(scores),
        answer=answer if isinstance(answer, str) else "",
        finish_reason=_finish_reason(output),
        num_tokens=count_of(under(output, "usage", "output_tokens")) or 0,
    )


def _scores(sample: Values, place: str) -> dict[str, tuple[object, object]]:
    """Value and answer by judge."""
    found: dict[str, tuple[object, object]] = {}
    scores = sample.get("scores") or ({"score": sample["score"]} if sample.get("score") else {})
    for name, score in mapping_of({"scores": scores}, "scores", place).items():
        value, answer = under(score, "value"), under(score, "answer")
        if isinstance(value, dict):
            found |= {f"{name}/{key}": (one, answer) for key, one in value.items()}
        else:
            found[name] = (value, answer)
    return found


def _outcome(value: object, place: str, name: str) -> Outcome | None:
    return _LETTERS[value] if isinstance(value, str) and value in _LETTERS else outcome_of(value, place, name)


def _completion(output: Mapping[str, object], place: str) -> str:
    choices = output.get("choices")
    if isinstance(choices, list) and choices:
        return _content(under(choices[0], "message", "content"))
    completion = output.get("completion")
    if not isinstance(completion, str):
        raise DataError(f"{place}: output has neither choices nor a completion")
    return completion


def _content(content: object) -> str:
    """The text of a message; of one in parts, what was reasoned and what was said."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [under(part, "text") or under(part, "reasoning") for part in parts]
    return "\n".join(text for text in texts if isinstance(text, str))


def _question(sample: Values) -> str:
    asked = sample.get("input")
    if isinstance(asked, list):
        users = [message for message in asked if under(message, "role") == "user"]
        asked = _content(under(users[-1], "content")) if users else ""
    return asked if isinstance(asked, str) else ""


def _finish_reason(output: Mapping[str, object]) -> str:
    choices = output.get("choices")
    reason = under(choices[0], "stop_reason") if isinstance(choices, list) and choices else None
    return _ENDS.get(reason, reason) if isinstance(reason, str) else ""


def _header(path: Path) -> object:
    if path.suffix.lower() != ".eval":
        return document(path)
    with Archive(path) as archive:
        return archive.header()


def _samples(path: Path, meter: Meter) -> Iterator[tuple[str, Values]]:
    if path.suffix.lower() == ".eval":
        with Archive(path) as archive:
            for place, sample in archive.samples(meter):
                yield place, _attached(sample)
        return
    found = document(path)
    samples = under(found, "samples")
    if not isinstance(samples, list):
        raise DataError(f"{path} holds no samples; run inspect eval with --log-samples")
    for number, sample in enumerate(samples, start=1):
        if not isinstance(sample, dict):
            raise DataError(f"{path}, sample {number}: expected an object, got {sample!r:.60}")
        yield f"{path}, sample {sample.get('id')} of epoch {sample.get('epoch')}", _attached(sample)


def _attached(sample: Values) -> Values:
    """The sample with the long texts that its log keeps apart put back."""
    attachments = sample.get("attachments")
    if not attachments:
        return sample
    return {key: _put_back(sample.get(key), attachments) for key in sample if key not in ("events", "attachments")}


def _put_back(value: object, attachments: object) -> object:
    if isinstance(value, str) and value.startswith(_ATTACHED):
        key = value.removeprefix(_ATTACHED)
        if isinstance(attachments, list):
            return attachments[int(key)] if key.isdigit() and int(key) < len(attachments) else value
        return under(attachments, key) or value
    if isinstance(value, dict):
        return {key: _put_back(one, attachments) for key, one in value.items()}
    return [_put_back(one, attachments) for one in value] if isinstance(value, list) else value


def _config(value: object) -> dict[str, object]:
    return {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else {}
