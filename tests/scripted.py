"""A sampler that needs no model: small, real, deterministic by seed."""

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kurve.errors import SamplingError
from kurve.types import Decoding, Model, Prompt, Sample, SampleRequest


class ScriptedSampler:
    """Answers with one of `answers`, chosen by the sample's seed."""

    engine = "scripted"
    ready_at: float | None = None

    def __init__(
        self,
        *,
        model: Model,
        decoding: Decoding,
        log: Path,
        answers: Sequence[str] = ("1", "2", "3"),
        seconds: float = 0.0,
        fail_after: int | None = None,
    ) -> None:
        self._answers, self._seconds, self._fail_after = tuple(answers), seconds, fail_after

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Nothing can be wrong."""

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[Sample]:
        """Each requested sample, in order."""
        drawn = 0
        for request in requests:
            for index in request.indices:
                if drawn == self._fail_after:
                    raise SamplingError(f"the scripted engine stops after {drawn} samples")
                drawn += 1
                time.sleep(self._seconds)
                seed = request.seed + index
                answer = random.Random(seed).choice(self._answers)
                yield Sample(
                    problem_id=request.prompt.problem_id,
                    index=index,
                    text=f"Seed {seed} says \\boxed{{{answer}}}.",
                    finish_reason="stop",
                    num_tokens=7,
                    seed=seed,
                    engine=self.engine,
                    engine_version="1",
                )
