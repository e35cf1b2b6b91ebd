"""Pilots: a few samples of every problem that tell the entropy of what is drawn from; a store for each temperature.

The stores lie in `pilots/` under `paths.samples`, and no reader of evaluations looks there: what their samples say of
probabilities is about the distribution after temperature and truncation. Engines that show whole distributions give
the entropy of each. Others give -log q of each drawn token, q being what it was drawn from, whose expectation is the
entropy: so the sum over a response is the sum of entropies on its way, without bias, also where a response ends early.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from omegaconf import DictConfig

from kurve.commands.build import build, target
from kurve.commands.sampling_plan import Plan
from kurve.commands.stages import draw
from kurve.errors import ConfigError
from kurve.metrics.token_entropy import TokenEntropies
from kurve.progress import Progress
from kurve.samplers import Pilot, PilotSampler
from kurve.store import SampleStore
from kurve.types import Sample, SampleRequest, SamplingSpec

FOLDER = "pilots"
_ENGINE = "{}, as drawn"


def refuse_unable(node: DictConfig) -> None:
    """Refuse a sampler whose engine does not tell what it draws from.

    Raises:
        ConfigError: and which ones do.
    """
    if not hasattr(target(node, "sampler"), "pilot"):
        raise ConfigError(
            f"sampling.match_entropy needs an engine that tells the distribution it draws from, and {node._target_} "
            "does not; use sampler=vllm or sampler=transformers"
        )


class PilotDraws:
    """Draws what pilots of one model still lack. A context manager; the engine starts with the first draw, if any.

    Args:
        cfg: the sampler's node and `paths.samples`.
        plan: the model, the prompts and how tokens are drawn, at whatever temperature.
        num_samples: of each problem.
        log: file that receives the engine's output.
    """

    def __init__(self, cfg: DictConfig, plan: Plan, *, num_samples: int, log: Path) -> None:
        # No evaluation has a negative seed, so a pilot's samples are never an evaluation's.
        seed = -1 - plan.seed
        spec = dataclasses.replace(plan.spec, engine=_ENGINE.format(plan.spec.engine), seed=str(seed))
        self._plan = dataclasses.replace(plan, spec=spec, seed=seed, num_samples=num_samples)
        self._root = Path(cfg.paths.samples) / FOLDER
        self._sampler: PilotSampler = build(cfg.sampler, "sampler", model=plan.model, decoding=plan.decoding, log=log)
        self._stack = ExitStack()
        self._pilot: Pilot | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def entropies(self, temperature: float) -> TokenEntropies:
        """The entropies at a temperature, in the order of the plan's problems, [P]; drawn where they are not stored.

        Raises:
            ConfigError: the sampler cannot draw these prompts.
            SamplingError: the engine failed; what was drawn before is stored.
            StoreError: a store cannot be read or written.
        """
        spec = dataclasses.replace(self._plan.spec, temperature=temperature)
        plan = dataclasses.replace(self._plan, spec=spec)
        ids = [prompt.problem_id for prompt in plan.prompts]
        with SampleStore.open(self._root, spec) as store:
            if missing := store.missing(ids, plan.num_samples):
                if self._pilot is None:
                    self._sampler.check(plan.prompts)
                    self._pilot = self._stack.enter_context(self._sampler.pilot())
                store.record_prompts(plan.prompts)
                lacking = {problem_id: len(indices) for problem_id, indices in missing.items()}
                with Progress(missing=lacking, num_problems=len(ids)) as progress:
                    draw(plan, store, _At(self._sampler, self._pilot, temperature), missing, progress=progress)
            found = stored_entropies(store, ids, num_samples=plan.num_samples)
        if found is None:
            raise ConfigError(
                f"{self._plan.spec.engine}: the samples of {store.folder} tell no entropy; remove that folder"
            )
        return found


class _At:
    """A pilot at one temperature, as a sampler."""

    def __init__(self, sampler: PilotSampler, pilot: Pilot, temperature: float) -> None:
        self._sampler, self._pilot, self._temperature = sampler, pilot, temperature
        self.engine = sampler.engine
        self.check = sampler.check
        self.ready_at: float | None = None

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[Sample]:
        """Draw at the temperature; see `Sampler.sample`."""
        for sample in self._pilot.sample(requests, self._temperature):
            self.ready_at = self._sampler.ready_at
            yield sample


def tells_entropy(spec: SamplingSpec) -> bool:
    """Whether evaluations with these settings draw from the model's own distribution, which their samples tell of."""
    return (spec.temperature, spec.top_p, spec.top_k, spec.min_p) == (1, 1, 0, 0)


def stored_entropies(
    store: SampleStore, ids: Sequence[str], *, num_samples: int | None = None
) -> TokenEntropies | None:
    """What the stored samples say, by the entropies of all of them, else by all log-probabilities, else None.

    Args:
        store: of a pilot, or of an evaluation that `tells_entropy`.
        ids: the problems and their order, P of them.
        num_samples: only indices below this; None takes all.
    """
    rows = {problem_id: row for row, problem_id in enumerate(ids)}
    exact, surprisal, tokens = (np.zeros(len(rows)) for _ in range(3))
    for sample in store.samples(problem_ids=rows, num_samples=num_samples):
        if sample.num_tokens == 0:
            continue  # nothing was drawn, so nothing had an entropy
        row = rows[sample.problem_id]
        tokens[row] += sample.num_tokens
        exact[row] += np.nan if sample.entropy_mean is None else sample.entropy_mean * sample.num_tokens
        surprisal[row] -= np.nan if sample.logprob_sum is None else sample.logprob_sum
    for nats in (exact, surprisal):
        if np.isfinite(nats).all():
            return TokenEntropies(nats, tokens)
    return None
