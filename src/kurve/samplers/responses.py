"""Stored responses as the token ids that a model is asked about, with the token that ended them."""

from collections.abc import Sequence
from pathlib import Path

from kurve.errors import ConfigError
from kurve.samplers.tokens import PromptTokenizer, clean
from kurve.types import Model, Prompt, Sample, SamplingSpec

ENOUGH_AGREE = 0.9  # share of samples whose token count must be the stored one, where the tokenizer itself is not there
_ANCHOR = "\n"
_SHOWN = 40  # characters


class ResponseTokenizer:
    """Turns stored responses into the tokens that were drawn, as far as the text tells.

    A store keeps texts, so tokens are those that the tokenizer makes of the text: a model may have drawn others that
    read the same. A sample that stopped ends by the end token of its tokenizer, or by a stop string of its store if
    only that makes the tokens as many as were drawn; one that fits neither has no end scored where the store has stop
    strings. One that was cut off (`length`) or was not drawn by a model has no end.

    Args:
        tokens: tokenizer of the scoring model.
        stops: stop strings that the samples were drawn with.
        drawing: tokenizer of the model that drew them, whose end token is taken if both have it; None takes `tokens`'.
    """

    def __init__(
        self, tokens: PromptTokenizer, *, stops: Sequence[str] = (), drawing: PromptTokenizer | None = None
    ) -> None:
        self._tokenizer = tokens.tokenizer
        self._stops = tuple(stops)
        self._end: int | None = self._tokenizer.eos_token_id
        if drawing is not None and (end := drawing.tokenizer.eos_token) is not None:
            known = self._tokenizer.get_vocab().get(end)
            self._end = self._end if known is None else known
        self._anchor: list[int] | None = None
        if self._adds_space():
            self._anchor = self._ids([_ANCHOR])[0]

    @property
    def end(self) -> int | None:
        """The end token."""
        return self._end

    def encode(self, samples: Sequence[Sample]) -> list[tuple[int, ...]]:
        """Token ids of each response, its end included if it ended by itself; empty for an empty text that was cut."""
        texts = self._texts([sample.text for sample in samples])
        return [tuple(self._ended(sample, ids)) for sample, ids in zip(samples, texts, strict=True)]

    def _ended(self, sample: Sample, ids: list[int]) -> list[int]:
        if sample.finish_reason != "stop":
            return ids
        ended = [*ids, self._end] if self._end is not None else ids
        if not self._stops or len(ended) == sample.num_tokens:
            return ended
        stopped = self._texts([sample.text + stop for stop in self._stops])
        return next((one for one in stopped if len(one) == sample.num_tokens), ids)

    def _texts(self, texts: Sequence[str]) -> list[list[int]]:
        """A text goes on after a prompt, so a tokenizer that puts a space before texts must not."""
        plain = self._ids(texts)
        if self._anchor is None:
            return plain
        size = len(self._anchor)
        anchored = self._ids([_ANCHOR + text for text in texts])
        return [
            after[size:] if after[:size] == self._anchor else alone
            for after, alone in zip(anchored, plain, strict=True)
        ]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        found: list[list[int]] = self._tokenizer([clean(text) for text in texts], add_special_tokens=False)["input_ids"]
        return found

    def _adds_space(self) -> bool:
        first = self._tokenizer.convert_ids_to_tokens(self._ids(["a"])[0][:1])
        return bool(first) and str(first[0]).startswith("\u2581")


def tokenizer_of(spec: SamplingSpec) -> PromptTokenizer | None:
    """The tokenizer of the model that drew a store, if it is on this machine; nothing is downloaded."""
    if not spec.model or (Path(spec.model).is_absolute() and not Path(spec.model).is_dir()):
        return None
    try:
        return PromptTokenizer(Model(spec.model, spec.model, revision=spec.model_revision), local_only=True)
    except ConfigError:
        return None


def tokenizer_difference(
    scoring: PromptTokenizer,
    drawing: PromptTokenizer | None,
    *,
    spec: SamplingSpec,
    prompts: Sequence[Prompt],
    samples: Sequence[Sample],
) -> str:
    """How the scoring model reads a store otherwise than the model that drew it, in words; empty if it does not.

    With the drawing model's tokenizer, ids of prompts and texts are compared one by one. Without it, the stored numbers
    of tokens must be met by 90 % of the samples that have one; nothing can be said of the template then.

    Args:
        scoring: tokenizer of the scoring model.
        drawing: of the model that drew the samples, if it is there.
        spec: the store's settings.
        prompts: some of the store's prompts.
        samples: some of its samples.
    """
    ours = ResponseTokenizer(scoring, stops=spec.stop or (), drawing=drawing)
    if drawing is None:
        return _other_counts(ours, samples)
    theirs = ResponseTokenizer(drawing, stops=spec.stop or ())
    if ours.end != theirs.end:
        return f"it has no {drawing.tokenizer.eos_token!r}, the end token of the model that drew them"
    for sample, mine, drawn in zip(samples, ours.encode(samples), theirs.encode(samples), strict=True):
        if mine != drawn:
            return f"it reads {_short(sample.text)!r} as other tokens"
    for prompt in prompts:
        if scoring.encode(prompt) != drawing.encode(prompt):
            return f"its template or tokenizer makes other tokens of the prompt of problem {prompt.problem_id!r}"
    return ""


def _other_counts(ours: ResponseTokenizer, samples: Sequence[Sample]) -> str:
    counted = [sample for sample in samples if sample.num_tokens > 0 and sample.finish_reason in ("stop", "length")]
    ids = ours.encode(counted)
    agreeing = sum(len(one) == sample.num_tokens for one, sample in zip(ids, counted, strict=True))
    if not counted or agreeing >= ENOUGH_AGREE * len(counted):
        return ""
    return f"it makes {len(counted) - agreeing} of {len(counted)} responses another number of tokens than were drawn"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
