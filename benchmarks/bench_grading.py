"""Grading 100,000 samples: the verifier against `math_verify.parse` + `verify` called one by one.

What is realistic: the 500 problems of MATH500 with their own references; 200 samples a problem; a problem's answers
repeat as those of a sampled model do, Zipf-like over 5 to 15 distinct ones (the right one first for about half of the
problems); every text is different, about 1,000 characters of worked solution with formulas, the answer mostly in a box.
Calling math-verify on all of them takes many minutes, so it is timed on a random subsample (its texts are drawn alike,
so the time of one is the same) and both are compared by their seconds a sample. Its verdicts must agree.
"""

import json
import os
import random
import re
import time
from pathlib import Path

from math_verify import parse, verify

from benchmarks import Row
from kurve.types import Answer, Outcome, Problem, Sample
from kurve.verifiers.math import MathVerifier

DATA = Path(os.environ.get("KURVE_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
GOAL = 5.0
_ENDINGS = (
    "Therefore, the answer is $\\boxed{{{}}}$.",
    "\\[\n\\boxed{{{}}}\n\\]",
    "So the final answer is \\boxed{{{}}}.",
    "Thus we obtain $x = \\boxed{{{}}}$.",
    "The final answer is ${}$.",
)
_WEIGHTS = (4, 3, 3, 2, 1)


def run(quick: bool = False) -> list[Row]:
    """Time both; `quick` takes 5,000 samples of 50 problems and a subsample of 200."""
    rng = random.Random(0)
    problems, count, subsample = (50, 5_000, 200) if quick else (500, 100_000, 2_000)
    items = _items(rng, problems, count // problems)
    start = time.perf_counter()
    with MathVerifier() as verifier:
        outcomes = [verdict.outcome for verdict in verifier.verify(items)]
    ours = (time.perf_counter() - start) / len(items)
    chosen = rng.sample(range(len(items)), subsample)
    start = time.perf_counter()
    theirs_correct = [_one_by_one(*items[i]) for i in chosen]
    theirs = (time.perf_counter() - start) / subsample
    different = sum(
        (outcomes[i] is Outcome.CORRECT) is not right for i, right in zip(chosen, theirs_correct, strict=True)
    )
    if different:
        raise AssertionError(f"{different} of {subsample} verdicts differ from math-verify's")
    pairs = len({(problem.id, sample.text.rpartition("\n\n")[2]) for problem, sample in items})
    detail = (
        f"{len(items):,} samples ({pairs:,} distinct endings) in {ours * len(items):.1f} s, worker start included; "
        f"math-verify {theirs * 1e3:.2f} ms each on {subsample:,}, so {theirs * len(items):.0f} s for all; "
        f"0 of {subsample:,} verdicts differ (golds with a percent sign left out: they are read differently on purpose)"
    )
    name = f"grading {len(items):,} samples, against math_verify.parse + verify one by one"
    return [Row(name=name, ratio=theirs / ours, goal=GOAL, detail=detail)]


def _items(rng: random.Random, problems: int, samples: int) -> list[tuple[Problem, Sample]]:
    lines = (DATA / "math500.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for line in lines if "\\%" not in (row := json.loads(line))["answer"]][:problems]
    golds = [row["answer"] for row in rows]
    solutions = [re.sub(r"\\boxed", "", row["solution"]) for row in rows]
    items = []
    for row in rows:
        problem = Problem(row["unique_id"], row["problem"], Answer((row["answer"],), row["answer"]))
        answers = _distinct_answers(rng, row["answer"], golds)
        weights = [1 / (rank + 1) for rank in range(len(answers))]
        for index, answer in enumerate(rng.choices(answers, weights, k=samples)):
            ending = rng.choices(_ENDINGS, _WEIGHTS)[0].format(answer)
            text = f"{_work(rng, solutions)}\n\n{ending}"
            items.append((problem, Sample(problem.id, index, text, "stop", num_tokens=300)))
    return items


def _distinct_answers(rng: random.Random, gold: str, golds: list[str]) -> list[str]:
    count = rng.randint(5, 15)
    wrong = [str(rng.randint(-50, 500)) if rng.random() < 0.5 else rng.choice(golds) for _ in range(count - 1)]
    return [gold, *wrong] if rng.random() < 0.5 else [*wrong[:2], gold, *wrong[2:]]


def _work(rng: random.Random, solutions: list[str]) -> str:
    """About 1,000 characters of worked solution; whole paragraphs, so that formulas stay whole."""
    work = ""
    while len(work) < 800:
        work += rng.choice(solutions)[:1000].rpartition("\n")[0] + f"\nThis is step {rng.random()}.\n"
    return work[-1200:].partition("\n")[2]


def _one_by_one(problem: Problem, sample: Sample) -> bool:
    gold = parse(f"\\boxed{{{problem.reference.values[0]}}}")
    return bool(verify(gold, parse(sample.text)))
