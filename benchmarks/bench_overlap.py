"""Judging while sampling: the wall time of both together against the longer of the two alone.

The real model (SmolLM2-135M) on real vLLM answers word problems; samples are stored, then judged by fresh workers
without a cache. The same seeds draw the same samples each time. Engine starts are left out on both sides, worker starts
are not.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

from hydra import compose, initialize_config_module

from benchmarks import Row
from kurve.commands.resolvers import register_resolvers
from kurve.commands.sampling_plan import Plan, make_plan
from kurve.commands.stages import JudgeAlongside, draw, judge_stored, verdict_set
from kurve.progress import Progress
from kurve.samplers.vllm import VllmSampler
from kurve.store import SampleStore, VerdictStore
from kurve.verifiers.math import MathVerifier

GOAL = 1.1


def run(quick: bool = False) -> list[Row]:
    """One row; `quick` draws fewer samples, once."""
    num_samples, rounds = (4, 1) if quick else (16, 3)
    plan = _plan(num_samples)
    ratios, details = [], []
    with tempfile.TemporaryDirectory(prefix="kurve-bench-") as folder:
        for turn in range(rounds):
            root = Path(folder) / str(turn)
            sampling, judging = _apart(plan, root / "apart")
            both = _together(plan, root / "together")
            ratios.append(both / max(sampling, judging))
            details.append(f"{both:.1f} s against {sampling:.1f} s sampling, {judging:.1f} s judging")
    middle = statistics.median(ratios)
    detail = f"{len(plan.ids)} x {num_samples} samples: {details[ratios.index(sorted(ratios)[len(ratios) // 2])]}"
    name = "sampling, storing and judging together, against the longer of the two alone"
    return [Row(name=name, ratio=middle, goal=GOAL, at_most=True, detail=f"{detail}; median of {rounds}")]


def _plan(num_samples: int) -> Plan:
    register_resolvers()
    overrides = [
        "model=smollm2_135m_instruct",
        "benchmark=arithmetic",
        "benchmark.limit=8",
        f"num_samples={num_samples}",
    ]
    with initialize_config_module("kurve.conf", version_base="1.3"):
        return make_plan(compose("evaluate", overrides=[*overrides, "sampling.max_tokens=96"]))


def _apart(plan: Plan, root: Path) -> tuple[float, float]:
    """Seconds of sampling and storing, and of judging what was stored."""
    verifier = MathVerifier()
    problems = {problem.id: problem for problem in plan.benchmark.problems}
    with SampleStore.open(root, plan.spec) as store, _silent() as progress:
        seconds = _draw(plan, store, progress)
        started = time.monotonic()
        with VerdictStore.open(store, verdict_set(verifier, plan.benchmark)) as verdicts, verifier:
            judge_stored(store, verdicts, verifier, problems, num_samples=plan.num_samples)
        return seconds, time.monotonic() - started


def _together(plan: Plan, root: Path) -> float:
    """Seconds until every sample is stored and judged."""
    verifier = MathVerifier()
    problems = {problem.id: problem for problem in plan.benchmark.problems}
    with (
        SampleStore.open(root, plan.spec) as store,
        VerdictStore.open(store, verdict_set(verifier, plan.benchmark)) as verdicts,
        verifier,
        _silent() as progress,
    ):
        sampler = _sampler(plan)
        with JudgeAlongside(verifier, verdicts, problems, progress) as judge:
            missing = store.missing(plan.ids, plan.num_samples)
            draw(plan, store, sampler, missing, progress=progress, on_stored=judge.offer)
            drawn = progress.newest
        before_catching_up = time.monotonic()
        judge_stored(store, verdicts, verifier, problems, num_samples=plan.num_samples, progress=progress)
        left = time.monotonic() - before_catching_up
        assert sampler.ready_at is not None
        # The shutdown of the engine lies between the last sample and here; what was judged meanwhile did not wait.
        return max(drawn, judge.idle_since) - sampler.ready_at + left


def _draw(plan: Plan, store: SampleStore, progress: Progress) -> float:
    draw(plan, store, _sampler(plan), store.missing(plan.ids, plan.num_samples), progress=progress)
    return progress.sampling_seconds


def _sampler(plan: Plan) -> VllmSampler:
    return VllmSampler(model=plan.model, decoding=plan.decoding)


def _silent() -> Progress:
    return Progress(missing={}, num_problems=0, stream=Path(os.devnull).open("w", encoding="utf-8"))
