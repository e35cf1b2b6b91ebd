"""One record, one line of ASCII JSON that ends in its own CRC-32.

    sample   p problem id, i index, t text, f finish reason, n tokens, s seed, l sum of log-probabilities (nats),
             h mean entropy (nats a token), e engine, v engine version
    verdict  p, i, o outcome, s CRC of the judged sample's line, a answer, g outcome of the second grader
    cot      p, i, o soundness, s CRC of the judged sample's line, j judge, t comment
    score    p, i, s CRC of the scored sample's line, l sum of log-probabilities (nats), n tokens they are of
    prompt   p, i always 0, d digest, t text, m messages [[role, content], ...], q question
    all      c CRC-32 of everything before `,"c"`, last, 8 hex digits

Absent values are left out. Floats are their shortest exact decimals; NaN and infinities are strings. Text is any
Python string: where two lone surrogates would read back as one character, it is a list of strings to join.
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from kurve.errors import StoreError
from kurve.store.keys import MAX_INDEX
from kurve.types import CotVerdict, Message, Outcome, Prompt, Sample, Score, Soundness, Verdict

OUTCOMES = tuple(Outcome)  # the tag of an outcome is its place here, from 1; only ever append to the enum
TAGS = {str(outcome): tag for tag, outcome in enumerate(OUTCOMES, start=1)}
ERROR_TAG = TAGS[Outcome.ERROR]
COT_TAGS = {101: Soundness.SOUND, 102: Soundness.UNSOUND, 103: Soundness.UNSURE, ERROR_TAG: Soundness.ERROR}
TAGS |= {str(soundness): tag for tag, soundness in COT_TAGS.items()}

_TAIL = 16  # bytes of `,"c":"xxxxxxxx"}`
_KEY = re.compile(rb'\{"p":("(?:[^"\\]|\\.)*+"),"i":(\d{1,9})(?:(?:,"o":"([a-z_]+)")?,"s":(\d{1,10}))?[,}]')
_PAIR = re.compile("(?<=[\ud800-\udbff])(?=[\udc00-\udfff])")
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().raw_decode


class Record(NamedTuple):
    """A line and what its log must know of it."""

    problem_id: str
    sample_index: int
    mark: int
    tag: int
    line: bytes


class LineKey(NamedTuple):
    """What a stored line says of itself, without its text."""

    raw_id: bytes  # the problem id as a JSON string
    sample_index: int
    mark: int
    tag: int


class DamagedLineError(ValueError):
    """A line that is not what was written; the message says how."""


@dataclass(frozen=True, slots=True)
class StoredPrompt:
    """What was sent to the model for one problem."""

    problem_id: str
    digest: str  # of text, messages and images
    text: str = ""
    messages: tuple[Message, ...] = ()
    question: str = ""


def sample_record(sample: Sample) -> Record:
    """The line of a sample; its mark is its CRC.

    Raises:
        StoreError: an id that is not valid Unicode, or an index outside 0..10 million.
    """
    fields: dict[str, object] = {"p": sample.problem_id, "i": int(sample.index), "t": _pack(sample.text)}
    fields["f"] = _pack(sample.finish_reason)
    fields["n"] = int(sample.num_tokens)
    if sample.seed is not None:
        fields["s"] = int(sample.seed)
    if sample.logprob_sum is not None:
        fields["l"] = _pack_float(sample.logprob_sum)
    if sample.entropy_mean is not None:
        fields["h"] = _pack_float(sample.entropy_mean)
    if sample.engine:
        fields["e"] = _pack(sample.engine)
    if sample.engine_version:
        fields["v"] = _pack(sample.engine_version)
    return _record(fields, sample.problem_id, sample.index)


def verdict_record(verdict: Verdict, sample_mark: int) -> Record:
    """The line of a verdict on the sample whose line has the CRC `sample_mark`."""
    outcome = Outcome(verdict.outcome)
    fields: dict[str, object] = {
        "p": verdict.problem_id,
        "i": int(verdict.index),
        "o": str(outcome),
        "s": sample_mark,
    }
    if verdict.answer:
        fields["a"] = _pack(verdict.answer)
    if verdict.second is not None:
        fields["g"] = str(Outcome(verdict.second))
    record = _record(fields, verdict.problem_id, verdict.index)
    return record._replace(mark=sample_mark, tag=TAGS[str(outcome)])


def cot_record(verdict: CotVerdict, sample_mark: int) -> Record:
    """The line of a verdict on the chain of thought in the sample whose line has the CRC `sample_mark`."""
    soundness = str(Soundness(verdict.soundness))
    fields: dict[str, object] = {"p": verdict.problem_id, "i": int(verdict.index), "o": soundness, "s": sample_mark}
    fields["j"] = _pack(verdict.judge)
    if verdict.comment:
        fields["t"] = _pack(verdict.comment)
    record = _record(fields, verdict.problem_id, verdict.index)
    return record._replace(mark=sample_mark, tag=TAGS[soundness])


def score_record(score: Score, sample_mark: int) -> Record:
    """The line of a score of the sample whose line has the CRC `sample_mark`."""
    fields: dict[str, object] = {
        "p": score.problem_id,
        "i": int(score.index),
        "s": sample_mark,
        "l": _pack_float(score.logprob_sum),
        "n": int(score.num_tokens),
    }
    return _record(fields, score.problem_id, score.index)._replace(mark=sample_mark)


def stored_prompt(prompt: Prompt, question: str) -> StoredPrompt:
    """What is kept of a prompt."""
    return StoredPrompt(prompt.problem_id, prompt_digest(prompt), prompt.text, prompt.messages, question)


def prompt_record(prompt: StoredPrompt) -> Record:
    """The line of a prompt."""
    fields: dict[str, object] = {"p": prompt.problem_id, "i": 0, "d": prompt.digest}
    if prompt.text:
        fields["t"] = _pack(prompt.text)
    if prompt.messages:
        fields["m"] = [[_pack(m.role), _pack(m.content)] for m in prompt.messages]
    if prompt.question:
        fields["q"] = _pack(prompt.question)
    return _record(fields, prompt.problem_id, 0)


def prompt_digest(prompt: Prompt) -> str:
    """16 hex digits of what the model is sent: text, messages, and the bytes of the images (not their paths)."""
    images = [_image_digest(Path(image)) for image in prompt.images]
    sent = [_pack(prompt.text), [[_pack(m.role), _pack(m.content)] for m in prompt.messages], images]
    return hashlib.sha256(_encode(sent).encode()).hexdigest()[:16]


def read_key(line: bytes) -> LineKey:
    """Check a line (without its newline) against its CRC and read its key, not its text.

    Raises:
        DamagedLineError: it is not what was written.
    """
    mark = crc32(memoryview(line)[:-_TAIL])
    if line[-_TAIL:] != b',"c":"%08x"}' % mark:
        raise DamagedLineError("its checksum does not match")
    key = _KEY.match(line)
    if key is None:
        raise DamagedLineError("it does not start with a problem id and an index")
    raw_id, index, outcome, sample_mark = key.groups()
    if outcome is None:
        return LineKey(raw_id, int(index), mark if sample_mark is None else int(sample_mark), 1)
    tag = TAGS.get(outcome.decode())
    if tag is None:
        raise DamagedLineError(f"outcome {outcome.decode()!r} is unknown to this version")
    return LineKey(raw_id, int(index), int(sample_mark), tag)


def read_id(raw_id: bytes) -> str:
    """The problem id of a `LineKey`."""
    return str(json.loads(raw_id))


def read_sample(line: bytes) -> Sample:
    """The sample of a checked line."""
    get = _decode(line.decode("ascii"))[0].get
    text, finish_reason = get("t"), get("f")
    return Sample(
        get("p"),
        get("i"),
        text if type(text) is str else "".join(text),
        finish_reason if type(finish_reason) is str else "".join(finish_reason),
        get("n"),
        get("s"),
        _unpack_float(get("l")),
        _unpack_float(get("h")),
        _unpack(get("e", "")),
        _unpack(get("v", "")),
    )


def read_verdict(line: bytes) -> Verdict:
    """The verdict of a checked line."""
    get = _decode(line.decode("ascii"))[0].get
    second = get("g")
    return Verdict(
        get("p"), get("i"), Outcome(get("o")), _unpack(get("a", "")), None if second is None else Outcome(second)
    )


def read_cot(line: bytes) -> CotVerdict:
    """The verdict on a chain of thought of a checked line."""
    get = _decode(line.decode("ascii"))[0].get
    return CotVerdict(get("p"), get("i"), _unpack(get("j", "")), Soundness(get("o")), _unpack(get("t", "")))


def read_score(line: bytes) -> Score:
    """The score of a checked line."""
    get = _decode(line.decode("ascii"))[0].get
    return Score(get("p"), get("i"), float(get("l")), get("n"))


def read_prompt(line: bytes) -> StoredPrompt:
    """The prompt of a checked line."""
    get = _decode(line.decode("ascii"))[0].get
    messages = tuple(Message(_unpack(role), _unpack(content)) for role, content in get("m", ()))
    return StoredPrompt(get("p"), get("d"), _unpack(get("t", "")), messages, _unpack(get("q", "")))


def _record(fields: dict[str, object], problem_id: str, index: int) -> Record:
    if not 0 <= index < MAX_INDEX:
        raise StoreError(f"sample index {index} of problem {problem_id!r} is outside 0..{MAX_INDEX - 1}")
    if not problem_id.isascii() and _has_surrogate(problem_id):
        raise StoreError(f"problem id {problem_id!r} is not valid Unicode; give the problem another id")
    body = _encode(fields)[:-1].encode("ascii")
    mark = crc32(body)
    return Record(problem_id, int(index), mark, 1, b'%b,"c":"%08x"}\n' % (body, mark))


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _pack(text: str) -> str | list[str]:
    if text.isascii() or _PAIR.search(text) is None:
        return text
    return _PAIR.split(text)


def _unpack(stored: str | list[str]) -> str:
    return stored if isinstance(stored, str) else "".join(stored)


def _pack_float(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def _unpack_float(stored: float | str | None) -> float | None:
    return float(stored) if type(stored) is str else stored  # type: ignore[return-value]  # no str is left


def _image_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StoreError(f"cannot read image {path}: {error.strerror}; check the dataset's image folder") from error
