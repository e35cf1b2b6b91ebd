"""Samplers turn prompts into samples. Each module adapts one engine, named in `conf/sampler/`."""

from collections.abc import Iterable, Iterator, Sequence
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
