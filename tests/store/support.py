"""Specs, samples and small disks that the store's tests share."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kurve.types import Sample, SamplingSpec

SPEC = SamplingSpec(
    model="Qwen/Qwen2.5-7B",
    model_revision="abc",
    lora="",
    benchmark="gsm8k",
    benchmark_revision="main",
    prompt="qwen_boxed",
    prompt_digest="0123",
    temperature=0.6,
    top_p=0.95,
    top_k=0,
    min_p=0.0,
    max_tokens=4096,
    stop=("</s>",),
    engine="vllm",
    seed="0",
)


def sample(problem_id: str = "gsm8k/test/0", index: int = 0, text: str = "so 2 \\boxed{4}", **other: object) -> Sample:
    base = Sample(problem_id, index, text, "stop", 12, 17 + index, -3.25, 0.1, "vllm", "0.31.0")
    return replace(base, **other)  # type: ignore[arg-type]  # the tests know the fields


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, or a skipped test where mounting is not allowed."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"mounting a small disk needs root: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
