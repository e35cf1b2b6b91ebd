"""A sampler that needs no model and a verifier that needs no processes: small, real, deterministic by seed."""

import random
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from kurve.errors import SamplingError
from kurve.types import Decoding, Model, Outcome, Problem, Prompt, Sample, SampleRequest, Verdict


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


class ScriptedVerifier:
    """Takes what stands in the box as the answer; its judgement fails on the answer `fails_on`."""

    fingerprint = "scripted"

    def __init__(self, fails_on: str | None = None) -> None:
        self._fails_on = fails_on

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to end."""

    def verify(self, items: Sequence[tuple[Problem, Sample]]) -> list[Verdict]:
        """One verdict a sample, in order."""
        return [self._judge(problem, sample) for problem, sample in items]

    def _judge(self, problem: Problem, sample: Sample) -> Verdict:
        found = re.search(r"boxed\{(.*)\}", sample.text)
        answer = found[1] if found else ""
        outcome = Outcome.CORRECT if (answer,) == problem.reference.values else Outcome.WRONG
        if self._fails_on is not None and answer == self._fails_on:
            outcome = Outcome.ERROR
        return Verdict(sample.problem_id, sample.index, outcome, answer)
