"""What one pass over verdicts and one over samples leaves behind: counts, distinct pairs and a few rows to read.

Memory grows by some ten bytes a sample, and by 45 more where votes and diversity are measured; no text is kept but
the previewed ones, shortened.
"""

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kurve.errors import MetricError
from kurve.metrics.likelihood import EDGES
from kurve.responses import Gathered
from kurve.types import Histogram, Outcome, Problem, Sample, Tally, Verdict

MAX_PAIRS = 20_000  # distinct disagreeing (gold, answer) pairs that are told apart
MAX_INDEX = 100_000_000  # of a sample; beyond it the index is damage, not a sample
TEXT_CHARS = 2_000  # of a response in a preview
ANSWER_CHARS = 300

_CODES = {outcome: code for code, outcome in enumerate(Outcome, start=1)}  # 0: not judged
_SAYS = {Outcome.CORRECT: True, Outcome.WRONG: False, Outcome.NO_ANSWER: False, Outcome.TRUNCATED: False}
_UNSAFE = dict.fromkeys((*range(32), 127, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
_UNSAFE |= {ord("\n"): "\n", ord("\t"): "\t", ord("\r"): ""}
_INNER_EDGES = EDGES[1:-1].tolist()

Place = tuple[int, int]  # row of the problem, index of the sample


@dataclass(frozen=True, slots=True)
class Pair:
    """An answer on which the two graders disagree."""

    gold: str
    answer: str
    outcome: Outcome
    second: Outcome


@dataclass(frozen=True, slots=True)
class Shown:
    """The readable part of a sample."""

    finish_reason: str
    num_tokens: int
    text: str  # shortened


def tally(problem_ids: Sequence[str], verdicts: Iterable[Verdict]) -> Tally:
    """Count verdicts in one pass, in the order of `problem_ids`; verdicts of other problems are left out.

    A failed judgement (`Outcome.ERROR`) counts in `num_errors` only: it says nothing about the model.

    Raises:
        MetricError: no problems, an id given twice, a sample judged twice, or a problem without a judged sample.
    """
    seen = {problem: bytearray() for problem in problem_ids}
    if len(seen) != len(problem_ids) or not seen:
        repeated = [problem for problem, count in Counter(problem_ids).items() if count > 1]
        raise MetricError(f"need at least one problem and each id once, got {repeated[:5] or 'none'}")
    for verdict in verdicts:
        codes = seen.get(verdict.problem_id)
        if codes is not None:
            _mark(codes, verdict.problem_id, verdict.index, code=_CODES[verdict.outcome], done="judged")
    errors = _counts(codes.count(_CODES[Outcome.ERROR]) for codes in seen.values())
    judged = _counts(len(codes) - codes.count(0) for codes in seen.values()) - errors
    correct = _counts(codes.count(_CODES[Outcome.CORRECT]) for codes in seen.values())
    _refuse_unjudged(tuple(seen), judged, errors)
    return Tally(tuple(seen), judged, correct, errors)


@dataclass(slots=True)
class JudgedSamples:
    """The verdicts that `follow` let through, counted."""

    problems: Sequence[Problem]
    num_samples: int  # indices from here on are left out
    previewed: Sequence[int]  # how many samples of each problem are shown, [P]
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    shown: dict[Place, tuple[Outcome, str]] = field(default_factory=dict)
    compared: int = 0  # samples on which both graders have a say
    disagreed: int = 0
    pairs: Counter[Pair] = field(default_factory=Counter)
    gathered: Gathered | None = None  # takes every verdict too

    def follow(self, verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
        """Pass on the verdicts of the given problems and indices, counting them on the way."""
        rows = {problem.id: row for row, problem in enumerate(self.problems)}
        for verdict in verdicts:
            row = rows.get(verdict.problem_id)
            if row is None or verdict.index >= self.num_samples:
                continue
            self.outcomes[verdict.outcome] += 1
            if verdict.index < self.previewed[row]:
                self.shown[row, verdict.index] = (verdict.outcome, shortened(verdict.answer, ANSWER_CHARS))
            if self.gathered is not None:
                self.gathered.judged(row, verdict)
            if verdict.second is not None:
                self._compare(self.problems[row], verdict, verdict.second)
            yield verdict

    def _compare(self, problem: Problem, verdict: Verdict, second: Outcome) -> None:
        says, second_says = _SAYS.get(verdict.outcome), _SAYS.get(second)
        if says is None or second_says is None:
            return
        self.compared += 1
        if says == second_says:
            return
        self.disagreed += 1
        pair = Pair(gold_text(problem), shortened(verdict.answer, ANSWER_CHARS), verdict.outcome, second)
        if pair in self.pairs or len(self.pairs) < MAX_PAIRS:
            self.pairs[pair] += 1


@dataclass(slots=True)
class DrawnSamples:
    """The samples that were read, counted."""

    problems: Sequence[Problem]
    num_samples: int
    previewed: Sequence[int]
    finish_reasons: Counter[str] = field(default_factory=Counter)
    num_tokens: int = 0
    logprob: float = 0.0  # nats, over logprob_tokens
    logprob_tokens: int = 0
    log_perplexities: list[int] = field(default_factory=lambda: [0] * (len(EDGES) - 1))  # samples in bins of EDGES
    entropy: float = 0.0  # nats, over entropy_tokens
    entropy_tokens: int = 0
    shown: dict[Place, Shown] = field(default_factory=dict)
    gathered: Gathered | None = None  # takes every sample too
    count: NDArray[np.int64] = field(init=False)  # samples of each problem, [P]
    distinct: NDArray[np.int64] = field(init=False)  # different texts among them, [P]

    def read(self, samples: Iterable[Sample]) -> None:
        """Count the samples of the given problems and indices.

        Raises:
            MetricError: a sample comes twice.
        """
        rows = {problem.id: row for row, problem in enumerate(self.problems)}
        seen = [bytearray() for _ in rows]
        hashes = [array("q") for _ in rows]  # 64 bits of each text: a collision among 100,000 has odds of 1 in 10^9
        for sample in samples:
            row = rows.get(sample.problem_id)
            if row is None or sample.index >= self.num_samples:
                continue
            _mark(seen[row], sample.problem_id, sample.index, code=1, done="stored")
            hashes[row].append(hash(sample.text))
            self._count(sample)
            if self.gathered is not None:
                self.gathered.drawn(row, sample)
            if sample.index < self.previewed[row]:
                text = shortened(sample.text, TEXT_CHARS)
                self.shown[row, sample.index] = Shown(plain(sample.finish_reason[:40]), sample.num_tokens, text)
        self.count = _counts(len(values) for values in hashes)
        self.distinct = _counts(np.unique(np.frombuffer(values, dtype=np.int64)).size for values in hashes)

    def perplexities(self) -> Histogram | None:
        """Samples by log-perplexity under their own model, nats a token; the last bin has no upper end.

        None where no sample has a log-probability.
        """
        counts = np.array(self.log_perplexities, dtype=np.int64)
        return Histogram("perplexity", EDGES, counts) if counts.any() else None

    def _count(self, sample: Sample) -> None:
        self.finish_reasons[sample.finish_reason] += 1
        self.num_tokens += sample.num_tokens
        if sample.logprob_sum is not None and np.isfinite(sample.logprob_sum):
            self.logprob += sample.logprob_sum
            self.logprob_tokens += sample.num_tokens
            if sample.num_tokens > 0:
                self.log_perplexities[bisect_right(_INNER_EDGES, -sample.logprob_sum / sample.num_tokens)] += 1
        if sample.entropy_mean is not None and np.isfinite(sample.entropy_mean):
            self.entropy += sample.entropy_mean * sample.num_tokens
            self.entropy_tokens += sample.num_tokens


def preview_plan(num_problems: int, num_samples: int, num_rows: int) -> list[int]:
    """How many samples of each problem are shown: at most `num_rows` in total, spread evenly over problems."""
    if num_problems <= num_rows:
        return [min(num_samples, num_rows // num_problems)] * num_problems
    return [int((row + 1) * num_rows // num_problems > row * num_rows // num_problems) for row in range(num_problems)]


def gold_text(problem: Problem) -> str:
    """The reference answer for a person to read."""
    return shortened(problem.reference.raw or ", ".join(problem.reference.values), ANSWER_CHARS)


def shortened(text: str, limit: int) -> str:
    """At most about `limit` characters, both ends kept (answers stand at the end), safe to show."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]} [... {len(text) - 2 * half} characters left out ...] {text[-half:]}"
    return plain(text)


def plain(text: str) -> str:
    """The text without what breaks JSON readers or deceives a reader: lone surrogates, control and bidi characters."""
    return text.translate(_UNSAFE).encode("utf-8", "replace").decode("utf-8")


def _mark(seen: bytearray, problem_id: str, index: int, *, code: int, done: str) -> None:
    if not 0 <= index < MAX_INDEX:
        raise MetricError(f"sample index {index} of problem {problem_id!r} is outside 0..{MAX_INDEX}: damaged data")
    if index >= len(seen):
        seen.extend(bytes(index + 1 - len(seen)))
    if seen[index]:
        raise MetricError(f"sample {index} of problem {problem_id!r} is {done} twice; counting it twice would be wrong")
    seen[index] = code


def _counts(values: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(values, dtype=np.int64)


def _refuse_unjudged(problem_ids: Sequence[str], judged: NDArray[np.int64], errors: NDArray[np.int64]) -> None:
    empty = np.flatnonzero(judged == 0)
    if not empty.size:
        return
    row = int(empty[0])
    others = f" and {empty.size - 1} more" if empty.size > 1 else ""
    reason = f"all {errors[row]} judgements of it failed" if errors[row] else "it has no verdict"
    raise MetricError(
        f"problem {problem_ids[row]!r}{others} cannot be counted: {reason}; "
        "sample and verify it, or leave it out of the benchmark"
    )
