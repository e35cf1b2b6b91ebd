"""Draw samples of the problems that still need some: the drawing of `kurve evaluate sampling.adaptive=...`."""

import heapq
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kurve.commands.sampling_plan import Plan, problem_seed
from kurve.commands.stages import draw_requests, judge, judge_stored
from kurve.commands.stopping import prefixes
from kurve.progress import Progress
from kurve.samplers import Sampler
from kurve.store import SampleStore, VerdictStore
from kurve.types import Problem, Sample, SampleRequest, StoppingRule
from kurve.verifiers import Verifier

_CHUNK = 8  # samples of one problem asked for at once, after its first `least`


def draw_adaptively(
    plan: Plan,
    rule: StoppingRule,
    sampler: Sampler,
    *,
    store: SampleStore,
    verdicts: VerdictStore,
    verifier: Verifier,
    progress: Progress,
) -> None:
    """Draw and judge until every problem has what the rule asks for.

    The rule decides from the stored verdicts alone, in the order of the samples' indices, so that a drawing that was
    killed goes on to the same end. What an engine had under way when a problem was stopped is stored and not counted.

    Raises:
        SamplingError: the engine failed; what was stored before stays.
        StoreError: a sample or verdict could not be stored.
    """
    problems = {problem.id: problem for problem in plan.benchmark.problems}
    judge_stored(store, verdicts, verifier, problems, num_samples=rule.most, progress=progress)
    drawing = _Drawing(plan, rule, verdicts, verifier, problems, progress)
    drawing.open(store.missing(plan.ids, rule.most))
    draw_requests(plan, store, sampler, drawing.requests(), progress=progress, on_stored=drawing.waiting.append)


def unfinished(plan: Plan, rule: StoppingRule, verifier: str, store: SampleStore) -> list[str]:
    """Ids of the problems that need more samples, by the stored verdicts of the verifier with this fingerprint."""
    with VerdictStore.open(store, verifier, read_only=True) as verdicts:
        return [one for one, prefix in prefixes(verdicts, plan.ids, rule).items() if not prefix.complete]


@dataclass(slots=True)
class _Drawing:
    """The problems that are open, and what has not been asked for of each."""

    plan: Plan
    rule: StoppingRule
    verdicts: VerdictStore
    verifier: Verifier
    problems: Mapping[str, Problem]
    progress: Progress
    waiting: list[Sample] = field(default_factory=list)  # stored, not judged
    _left: dict[str, deque[int]] = field(default_factory=dict)  # indices to ask for, of open problems
    _queue: list[tuple[int, int]] = field(default_factory=list)  # next index and row of each: the least sampled first

    def open(self, missing: Mapping[str, Sequence[int]]) -> None:
        """Take up the problems that need more than is stored."""
        for row, (problem_id, prefix) in enumerate(prefixes(self.verdicts, self.plan.ids, self.rule).items()):
            if prefix.complete or problem_id not in missing:
                self.progress.enough(problem_id)
                continue
            self._left[problem_id] = deque(missing[problem_id])
            self._queue.append((missing[problem_id][0], row))
        heapq.heapify(self._queue)

    def requests(self) -> Iterator[SampleRequest]:
        """What to draw next, each time an engine has room; ends when no open problem has samples to ask for.

        Nothing here waits for samples under way: the thread that asks is the one that delivers them. Judging what has
        been delivered is short beside the work an engine holds in its queue.
        """
        while True:
            self._judge_waiting()
            request = self._next()
            if request is None:
                return
            yield request

    def _judge_waiting(self) -> None:
        if not self.waiting:
            return
        batch, self.waiting[:] = list(self.waiting), []
        judge(batch, self.verifier, self.verdicts, self.problems, progress=self.progress)
        drawn = {sample.problem_id for sample in batch if sample.problem_id in self._left}
        for problem_id, prefix in prefixes(self.verdicts, sorted(drawn), self.rule).items():
            if prefix.complete:
                del self._left[problem_id]
                self.progress.enough(problem_id)

    def _next(self) -> SampleRequest | None:
        while self._queue:
            start, row = heapq.heappop(self._queue)
            prompt = self.plan.prompts[row]
            left = self._left.get(prompt.problem_id)
            if not left:  # stopped meanwhile
                continue
            indices = [left.popleft() for _ in range(min(len(left), max(_CHUNK, self.rule.least - start)))]
            if left:
                heapq.heappush(self._queue, (left[0], row))
            return SampleRequest(prompt, tuple(indices), problem_seed(self.plan.seed, prompt.problem_id))
        return None
