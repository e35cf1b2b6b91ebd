"""The values that travel between the stages of an evaluation.

All are frozen and hold no behaviour beyond a property. Array shapes: P problems, K values of k.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Outcome(StrEnum):
    """How a sample fared. Only CORRECT counts as solved."""

    CORRECT = "correct"
    WRONG = "wrong"  # an answer was found; it is not the reference
    NO_ANSWER = "no_answer"  # the response ended without one
    TRUNCATED = "truncated"  # cut at max_tokens before an answer
    TIMEOUT = "timeout"  # judging the answer ran out of time
    ERROR = "error"  # the verifier failed; counted apart, never as WRONG


@dataclass(frozen=True, slots=True)
class Answer:
    """The reference answer of a math problem, normalised so that it verifies against itself."""

    values: tuple[str, ...]  # LaTeX or plain numbers; a response must give all of them, in any order
    raw: str  # as the dataset wrote it
    unit: str = ""  # a response may give the unit or leave it out
    tolerance: float | None = None  # absolute; None means exact


@dataclass(frozen=True, slots=True)
class Problem:
    """One item of a benchmark."""

    id: str  # stable across revisions: a dataset id or a content hash, never a row position
    question: str
    reference: Answer
    images: tuple[str, ...] = ()  # paths


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str  # system, user or assistant
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent to the model: raw text, or chat messages for the model's own template."""

    problem_id: str
    text: str = ""  # used when there are no messages
    messages: tuple[Message, ...] = ()
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A response to imitate, for supervised training and distillation."""

    prompt: Prompt
    response: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model to sample: where its weights are and how to load them."""

    name: str  # label in reports
    path: str  # hub id or local folder
    revision: str = ""  # hub commit or tag; for a local folder the digest of its files
    dtype: str = "auto"
    context: int | None = None  # tokens; None takes the model's own limit
    lora: str = ""  # path of a LoRA adapter


@dataclass(frozen=True, slots=True)
class Decoding:
    """How tokens are drawn."""

    temperature: float
    top_p: float
    max_tokens: int
    top_k: int = 0  # 0 switches it off
    min_p: float = 0.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """When a problem has enough samples: at the first n >= `least` with `successes` correct ones, else at `most`."""

    least: int
    successes: int
    most: int


@dataclass(frozen=True, slots=True)
class SamplingSpec:
    """All that decides which samples are drawn; its fingerprint addresses the store.

    The engine's version is recorded with every sample, not here: an upgrade does not orphan a store.
    """

    model: str
    model_revision: str
    lora: str
    benchmark: str
    benchmark_revision: str
    prompt: str  # name of the template
    prompt_digest: str  # of the template's text
    temperature: float | None  # None, here and below: imported samples whose tool does not say
    top_p: float | None
    top_k: int | None
    min_p: float | None
    max_tokens: int | None
    stop: tuple[str, ...] | None
    engine: str  # of imported samples the tool
    seed: str  # one seed, several joined by '+' in a merged store, or import-<digest of the imported files>


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Samples still to be drawn for one prompt. Sample i is drawn with seed `seed + i`."""

    prompt: Prompt
    indices: tuple[int, ...]
    seed: int  # the problem's own base seed


@dataclass(frozen=True, slots=True)
class Sample:
    """One generated response to a prompt."""

    problem_id: str
    index: int  # which of the problem's samples, from 0
    text: str
    finish_reason: str  # stop, length, abort; empty if an imported sample's tool does not say
    num_tokens: int  # 0 if an imported sample's tool does not say
    seed: int | None = None
    logprob_sum: float | None = None  # nats, of the drawn tokens under the unmodified distribution
    entropy_mean: float | None = None  # nats a token
    engine: str = ""
    engine_version: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's judgement of one sample."""

    problem_id: str
    index: int
    outcome: Outcome
    answer: str = ""  # what the verifier read out of the response
    second: Outcome | None = None  # what the independent second grader says of the same answer


class Soundness(StrEnum):
    """What a judge says of the reasoning in a sample whose answer is correct."""

    SOUND = "sound"
    UNSOUND = "unsound"
    UNSURE = "unsure"  # the judge cannot tell, or did not say
    ERROR = "error"  # the judge failed; counted apart, never as UNSOUND


@dataclass(frozen=True, slots=True)
class CotVerdict:
    """One judge's verdict on one sample's chain of thought."""

    problem_id: str
    index: int  # which of the problem's samples, from 0
    judge: str  # a person, or a model with its settings and the number of the repeat
    soundness: Soundness
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One response whose log-probability is asked for."""

    problem_id: str
    index: int
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """How likely a model finds one sample, given its prompt."""

    problem_id: str
    index: int  # which of the problem's samples, from 0
    logprob_sum: float  # nats, over the tokens of the response; the prompt is not scored
    num_tokens: int  # scored: of the text, and the end token or stop string where the sample ended by one


@dataclass(frozen=True, slots=True)
class ScoringModel:
    """All that decides the scores of a sample; its digest names the set of scores."""

    path: str  # hub id; for a local folder empty, since its digest says which it is
    revision: str
    lora: str
    dtype: str
    engine: str
    rule: int = 1  # how a response becomes tokens; raised when that changes


@dataclass(frozen=True, slots=True)
class Tally:
    """Per-problem counts: all that pass@k, delta SE, coverage and histograms need."""

    problem_ids: tuple[str, ...]  # [P]
    num_samples: NDArray[np.int64]  # judged samples, the failed judgements (num_errors) left out, [P]
    num_correct: NDArray[np.int64]  # [P]
    num_errors: NDArray[np.int64]  # samples whose judgement failed (Outcome.ERROR), [P]
    # Largest k of which pass@k is known, [P]; None: num_samples. After adaptive sampling it exceeds num_samples where a
    # problem was stopped, and the success that stopped it is in neither count: `metrics.adaptive`.
    largest_k: NDArray[np.int64] | None = None
    strata: tuple[str, ...] = ()  # kind of each problem, [P]; an empty one is unknown, none at all is the usual case

    @property
    def reach(self) -> NDArray[np.int64]:
        """`largest_k`, or num_samples where the number of samples was fixed, [P]."""
        return self.num_samples if self.largest_k is None else self.largest_k


@dataclass(frozen=True, slots=True)
class Responses:
    """The judged samples of one problem by ascending index, n of them; failed judgements are left out."""

    problem_id: str
    correct: NDArray[np.bool_]  # [n]
    answer: NDArray[np.int64]  # number of the answer: equal ones share it; -1 without one, [n]
    text: NDArray[np.int64]  # number of the response's text; -1 where the sample was not read, [n]
    logprob: NDArray[np.float64]  # nats, of all tokens; NaN where it is not known, [n]
    num_tokens: NDArray[np.int64]  # 0 where it is not known, [n]
    num_unnamed: int = 0  # wrong answers that the verifier found but did not write down


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity over k with its simultaneous confidence band."""

    name: str
    k: NDArray[np.int64]  # [K]
    value: NDArray[np.float64]  # fractions, [K]
    low: NDArray[np.float64]  # [K]
    high: NDArray[np.float64]  # [K]
    high_variance: NDArray[np.bool_]  # k > n/2 for some problem, [K]
    confidence: float  # of the band, a fraction


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts in bins that all runs share, so that they can be laid over one another."""

    name: str
    edges: NDArray[np.float64]  # [B + 1]
    counts: NDArray[np.int64]  # [B]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for a person to read; `columns` gives their order."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What one evaluation measured: what a tracker logs and a gate reads."""

    benchmark: str
    spec: SamplingSpec
    verifier: str  # the verifier's fingerprint
    tally: Tally
    scalars: Mapping[str, float]  # key without the benchmark's name; fractions unless the key says otherwise
    curves: tuple[Curve, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = field(default=())  # sentences a reader must know before using the numbers
    model: str = ""  # what people call it; empty takes the spec's path
    stopping: StoppingRule | None = None  # of adaptive sampling

    @property
    def label(self) -> str:
        """The model's name for people."""
        return self.model or self.spec.model
