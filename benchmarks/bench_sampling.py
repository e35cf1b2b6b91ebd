"""Sampling and storing against bare `vllm.LLM.generate` on the same prompts and model, in tokens a second.

Each measurement runs in a process of its own, the two sides taking turns; the start of the engine is not counted:
`python -m benchmarks.bench_sampling <bare|kurve> <settings as JSON>` is one measurement.
"""

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import Row
from kurve.embedded import smollm2_135m_instruct
from kurve.types import Decoding, Model, Prompt, SampleRequest
from tests.samplers.tiny import make_tiny_model
from tests.store.support import SPEC

GOAL = 0.95
_RESULT = "tokens a second: "  # vLLM writes to standard output too, also after the result
SENTENCE = "Janet has {} eggs and sells {} of them for 2 dollars each. How many dollars does she have?"


def run(quick: bool = False) -> list[Row]:
    """A row a model; `quick` samples less."""
    with tempfile.TemporaryDirectory() as folder:
        tiny = Model("tiny", str(make_tiny_model(Path(folder) / "tiny")), dtype="float32", context=512)
        real = smollm2_135m_instruct()
        return [
            _compare("tiny model", tiny, problems=16, samples=16 if quick else 128, rounds=1 if quick else 3),
            _compare("SmolLM2-135M", real, problems=4, samples=8 if quick else 32, rounds=1 if quick else 3),
        ]


def _compare(label: str, model: Model, *, problems: int, samples: int, rounds: int) -> Row:
    settings = {
        "model": {"name": model.name, "path": model.path, "dtype": model.dtype, "context": model.context},
        "problems": problems,
        "samples": samples,
        "max_tokens": 64,
    }
    rates: dict[str, list[float]] = {"bare": [], "kurve": []}
    for turn in range(rounds):
        for side in ("bare", "kurve") if turn % 2 == 0 else ("kurve", "bare"):
            rates[side].append(_measure(side, settings))
    ours, bare = statistics.median(rates["kurve"]), statistics.median(rates["bare"])
    return Row(
        name=f"sampling and storing, {label}, {problems} x {samples}, against bare LLM.generate",
        ratio=ours / bare,
        goal=GOAL,
        detail=f"{ours:.0f} against {bare:.0f} tokens/s, median of {rounds}; ours seeded, with log-probabilities",
    )


def _measure(side: str, settings: dict[str, Any]) -> float:
    command = [sys.executable, "-m", "benchmarks.bench_sampling", side, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rates = [line.removeprefix(_RESULT) for line in done.stdout.splitlines() if line.startswith(_RESULT)]
    if done.returncode != 0 or len(rates) != 1:
        raise RuntimeError(f"{side}: {done.stderr[-2000:]}")
    return float(rates[0])


def _requests(settings: dict[str, Any]) -> list[SampleRequest]:
    indices = tuple(range(settings["samples"]))
    prompts = [Prompt(str(i), text=SENTENCE.format(16 + i, i)) for i in range(settings["problems"])]
    return [SampleRequest(prompt, indices, 1000 * i) for i, prompt in enumerate(prompts)]


def _bare(settings: dict[str, Any]) -> float:
    from kurve.samplers.vllm_settings import engine_environments, engine_kwargs

    environment = engine_environments(1, 1, 2)[0]
    environment.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)  # vLLM's default, as a script has it
    os.environ.update(environment)
    import vllm

    model = Model(**settings["model"])
    engine = vllm.LLM(**engine_kwargs(model, 1, {}))
    drawing = vllm.SamplingParams(n=settings["samples"], temperature=1.0, max_tokens=settings["max_tokens"])
    prompts = [request.prompt.text for request in _requests(settings)]
    started = time.perf_counter()
    outputs = engine.generate(prompts, drawing, use_tqdm=False)
    seconds = time.perf_counter() - started
    return sum(len(one.token_ids) for output in outputs for one in output.outputs) / seconds


class _ReadyAt(logging.Handler):
    moment = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if "is ready" in record.getMessage():
            self.moment = time.perf_counter()


def _kurve(settings: dict[str, Any]) -> float:
    from kurve.samplers.vllm import VllmSampler
    from kurve.store import SampleStore

    ready = _ReadyAt()
    logging.getLogger("kurve.engine").setLevel(logging.INFO)
    logging.getLogger("kurve.engine").addHandler(ready)
    drawn = Decoding(1.0, 1.0, settings["max_tokens"])
    tokens = 0
    with tempfile.TemporaryDirectory() as folder, SampleStore.open(Path(folder), SPEC) as store:
        sampler = VllmSampler(model=Model(**settings["model"]), decoding=drawn)
        for sample in sampler.sample(_requests(settings)):
            store.append(sample)
            tokens += sample.num_tokens
            last = time.perf_counter()
    return tokens / (last - ready.moment)


if __name__ == "__main__":
    print(_RESULT + str({"bare": _bare, "kurve": _kurve}[sys.argv[1]](json.loads(sys.argv[2]))), flush=True)
