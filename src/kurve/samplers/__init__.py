"""Samplers turn prompts into samples. Each module adapts one engine, named in `conf/sampler/`."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from kurve.types import Prompt, Sample, SampleRequest


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
