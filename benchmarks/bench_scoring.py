"""`kurve score`'s work on a store against a bare forward pass over the same tokens in the same batches.

Ours reads stored samples, makes tokens of them, scores them and stores the scores; the bare side has its batches of
token ids ready and computes all logits. Both run in one process, in turns, and CPU seconds are compared, since other
work on the machine would decide wall time. The weights are loaded before.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import Row
from kurve.embedded import smollm2_135m_instruct
from kurve.samplers.responses import ResponseTokenizer
from kurve.samplers.transformers_network import load_network
from kurve.samplers.transformers_score import LogprobSums
from kurve.samplers.transformers_scorer import TransformersScorer, batches
from kurve.store import SampleStore, ScoreStore
from kurve.types import Model, Prompt, Sample, ScoreRequest
from tests.store.support import SPEC

GOAL = 1.1
_TEXT = "Janet has 16 eggs , eats three and sells the rest for 2 dollars each , so it is clear that she has"


def run(quick: bool = False) -> list[Row]:
    """One row; `quick` scores less."""
    problems, samples, rounds = (2, 4, 1) if quick else (2, 16, 3)
    with tempfile.TemporaryDirectory() as folder:
        return [_compare(Path(folder), smollm2_135m_instruct(), problems=problems, samples=samples, rounds=rounds)]


def _compare(folder: Path, model: Model, *, problems: int, samples: int, rounds: int) -> Row:
    model = replace(model, dtype="float32")
    scorer = TransformersScorer(model=model, batch_tokens=2048)
    network = load_network(model, device="cpu", trust_remote_code=False)
    sums = LogprobSums(network)
    sums([((1, 2), (3,))])  # the comparison with the network's own pass is made once a process
    scorer._load = lambda: sums  # type: ignore[method-assign]  # both sides use the same loaded weights
    with SampleStore.open(folder, SPEC) as store:
        store.append_many(_samples(problems, samples))
        given = list(_requests(store, scorer))
        made = list(batches([(one.prompt_ids, one.response_ids) for one in given], 2048))
        padded = [_padded(batch) for batch in made]
        times: dict[str, list[float]] = {"bare": [], "kurve": []}
        for turn in range(rounds):
            sides: list[tuple[str, Callable[[], None]]] = [
                ("bare", lambda: _bare(network, padded)),
                ("kurve", lambda turn=turn: _kurve(store, scorer, f"round{turn}")),  # type: ignore[misc]  # bound now
            ]
            for side, work in sides if turn % 2 == 0 else reversed(sides):
                began = time.process_time()
                work()
                times[side].append(time.process_time() - began)
    ratios = [ours / bare for ours, bare in zip(times["kurve"], times["bare"], strict=True)]
    tokens = sum(len(one.prompt_ids) + len(one.response_ids) for one in given)
    return Row(
        name=f"scoring, SmolLM2-135M, {problems} x {samples}, against a bare forward pass",
        ratio=statistics.median(ratios),
        goal=GOAL,
        detail=f"{tokens:,} tokens: {statistics.median(times['kurve']):.1f} s against "
        f"{statistics.median(times['bare']):.1f} s of CPU, median of {rounds}; reading, tokenising, storing included",
        at_most=True,
    )


def _samples(problems: int, samples: int) -> list[Sample]:
    """Texts of 40 to 200 words, all different."""
    words = _TEXT.split()
    return [
        Sample(str(p), i, " ".join(words[(p + i * j) % len(words)] for j in range(40 + 10 * i)), "length", 0)
        for p in range(problems)
        for i in range(samples)
    ]


def _requests(store: SampleStore, scorer: TransformersScorer) -> list[ScoreRequest]:
    samples = list(store.samples())
    ids = ResponseTokenizer(scorer.tokens).encode(samples)
    prompts = {one.problem_id: _prompt(scorer, one.problem_id) for one in samples}
    return [
        ScoreRequest(one.problem_id, one.index, prompts[one.problem_id], response)
        for one, response in zip(samples, ids, strict=True)
    ]


def _prompt(scorer: TransformersScorer, problem_id: str) -> tuple[int, ...]:
    return tuple(scorer.tokens.encode(Prompt(problem_id, text=f"Question {problem_id}: how many eggs are there?")))


def _padded(batch: list[Any]) -> Any:
    import torch

    rows = [[*prompt, *response] for prompt, response in batch]
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def _bare(network: Any, padded: list[Any]) -> None:
    import torch

    with torch.inference_mode():
        for ids in padded:
            network(input_ids=ids, use_cache=False)


def _kurve(store: SampleStore, scorer: TransformersScorer, name: str) -> None:
    with ScoreStore.open(store, name) as scores:
        scores.append_many(scorer.score(_requests(store, scorer)))
