"""Samplers turn prompts into samples, scorers give samples their log-probability under a model.

Each module adapts one engine, named in `conf/sampler/` and `conf/scorer/`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from kurve.types import Prompt, Sample, SampleRequest, Score, ScoreRequest

if TYPE_CHECKING:
    from kurve.samplers.tokens import PromptTokenizer


class Sampler(Protocol):
    """An engine that draws samples.

    The constructor is cheap: it takes the settings and refuses bad ones with `ConfigError`; heavy imports and
    the engine itself come with the first request.
    """

    engine: str  # name that enters the sampling spec
    ready_at: float | None  # time.monotonic() when the engine began to draw; None before: speed counts from here

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Refuse what cannot be sampled (missing model, context too short), before the engine starts.

        Raises:
            ConfigError: what was given, what was expected and what to change.
        """

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[Sample]:
        """Draw the requested samples, yielding each as soon as it is finished, in any order.

        `requests` is consumed lazily, ahead of need, so that the engine's queue never runs dry. Closing the
        iterator shuts the engine down.

        Raises:
            SamplingError: the engine or server failed; what was yielded before is valid.
        """


class Pilot(Protocol):
    """An engine that stays up between draws at several temperatures."""

    def sample(self, requests: Iterable[SampleRequest], temperature: float) -> Iterator[Sample]:
        """Draw as `Sampler.sample`, at this temperature and with the sampler's other settings.

        What a sample says of its probabilities is about the distribution that each of its tokens was drawn from, after
        temperature and truncation: `logprob_sum` always, `entropy_mean` where the engine shows whole distributions.

        Raises:
            SamplingError: the engine failed.
        """


class PilotSampler(Sampler, Protocol):
    """A sampler that can be asked for the distribution that it really draws from."""

    def pilot(self) -> AbstractContextManager[Pilot]:
        """An engine of its own, started by the first draw and ended with the context."""


class Scorer(Protocol):
    """An engine that says how likely a model finds responses.

    The constructor is cheap, as a sampler's; the weights are loaded with the first request.
    """

    engine: str  # name that enters the scoring model
    dtype: str  # of the numbers it computes with; `auto` is the checkpoint's own
    tokens: "PromptTokenizer"  # of the model
    ready_at: float | None  # time.monotonic() when the engine began to score

    @property
    def longest(self) -> int | None:
        """Tokens that a prompt with its response may have; None if there is no limit."""

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Score]:
        """Score the responses, each yielded soon after it is done, in any order; empty ones are scored 0.

        `requests` is consumed lazily. Closing the iterator shuts the engine down.

        Raises:
            SamplingError: the engine failed, or gave something that is no log-probability.
        """
