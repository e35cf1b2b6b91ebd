"""Real reference answers and solutions, and math-verify called one by one: what the verifier is compared with."""

import json
import os
import random
import re
from pathlib import Path

import pytest
from math_verify import parse, verify

DATA = Path(os.environ.get("KURVE_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")

TEMPLATES = (
    "{work}\n\nTherefore the answer is $\\boxed{{{answer}}}$.",
    "{work}\n\n\\[\n\\boxed{{{answer}}}\n\\]",
    "{work} So we get \\boxed{{{answer}}}",
    "{work}\nFirst I thought $\\boxed{{{other}}}$, but that cannot be, as a closer look at the numbers above has shown."
    "\n\n**Final Answer**\n\n$\\boxed{{{answer}}}$",
    "{work}\nFinal Answer: The final answer is ${answer}$. I hope it is correct.",
    "{work}\nThe final answer is ${answer}$.",
    "{work}\nAnswer: ${answer}$",
    "{work}\nThe answer is ${answer}$",
    "{work}\nHence the result is ${answer}$.",
)


def read(name: str) -> list[dict[str, object]]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"real data {name} is not in {DATA}; set KURVE_SHARED_DATA")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def golds() -> list[tuple[str, str]]:
    """(reference answer, solution text) of all six benchmarks, normalised as a loader does."""
    pairs = []
    for row in read("gsm8k.jsonl"):
        work, _, answer = str(row["answer"]).rpartition("#### ")
        pairs.append((answer.replace(",", ""), work))
    pairs += [(str(row["answer"]), str(row["solution"])) for row in read("math500.jsonl")]
    for row in read("minerva_math.jsonl"):
        solution = str(row["solution"])
        answer = last_box(solution)
        if answer:
            pairs.append((re.sub(r"^([\d.]+)e(-?\d+)$", r"\1\\times10^{\2}", answer), solution))
    for row in read("olympiadbench.jsonl"):
        final = row["final_answer"]
        assert isinstance(final, list)
        pairs.append((",".join(str(value).strip("$") for value in final), "We work it out."))
    pairs += [(str(int(str(row["answer"]))), str(row["solution"])) for row in read("aime24.jsonl")]
    pairs += [(f"{float(str(row['answer'])):g}", "We count.") for row in read("amc23.jsonl")]
    return pairs


def last_box(text: str) -> str:
    start = text.rfind("\\boxed{")
    depth = 0
    for i in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start + 7 : i]
    return ""


def responses(rng: random.Random, pairs: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """(reference answer, response): about half right, in the ways that models answer."""
    made = []
    for _ in range(count):
        gold, work = rng.choice(pairs)
        wrong = rng.choice(pairs)[0]
        work = re.sub(r"\\boxed|\\framebox|#### .*", "", work)[-1500:]
        answer = gold if rng.random() < 0.5 else wrong
        made.append((gold, rng.choice(TEMPLATES).format(work=work, answer=answer, other=wrong)))
    return made


def one_by_one(gold: str, text: str) -> bool:
    parsed = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
    return bool(verify(parsed, parse(text, parsing_timeout=None), timeout_seconds=None))
