"""Respond greedily with transformers and with vLLM inside TRL, and print both as JSON.

A process of its own: TRL and vLLM set its environment and join a process group. Usage: `python -m ... <folder>`, where
`<folder>/initial` is a model.
"""

import json
import sys
from pathlib import Path
from typing import Any

from kurve.algorithms.advantages import greedy_baseline
from kurve.algorithms.remax import Remax
from tests.algorithms.scripted_training import make_job


def main(folder: Path) -> None:
    """Print the responses' token ids by engine."""
    remax = Remax(advantage=greedy_baseline, args={"loss_type": "dr_grpo"})
    by_transformers = remax.make_trainer(make_job(folder, generation_kwargs=None))
    engine: dict[str, Any] = {"use_vllm": True, "vllm_max_model_length": 128, "vllm_gpu_memory_utilization": 0.3}
    job = make_job(folder, generation_kwargs={"temperature": 1.7}, vllm_mode="colocate", **engine)
    by_vllm = remax.make_trainer(job)
    by_vllm._last_loaded_step = 0  # the engine has the initial weights; vLLM's CPU build cannot take new ones
    prompts = [prompt.text for prompt in job.prompts]
    found = {}
    for name, trainer in (("transformers", by_transformers), ("vllm", by_vllm), ("vllm again", by_vllm)):
        with trainer._greedily():
            found[name] = [list(ids) for ids in trainer._generate(prompts)[1]]
    sampled = by_vllm._generate([text for text in prompts for _ in range(4)])[1]
    found["sampled"] = [list(ids) for ids in sampled]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
