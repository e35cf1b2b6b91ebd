"""The benchmarks' own YAML, pointed at local copies of their data."""

from pathlib import Path
from typing import Any

import yaml

from kurve.benchmarks.rows import Benchmark, load

CONF = Path(__file__).resolve().parents[2] / "conf"
FILES = {
    "gsm8k": "gsm8k.jsonl",
    "math500": "math500.jsonl",
    "minerva": "minerva_math.jsonl",
    "olympiad": "olympiadbench.jsonl",
    "aime24": "aime24.jsonl",
    "amc23": "amc23.jsonl",
}


def settings(name: str, **changed: Any) -> dict[str, Any]:
    """Arguments of `load` in the benchmark's YAML."""
    node: dict[str, Any] = yaml.safe_load((CONF / "benchmark" / f"{name}.yaml").read_text())
    assert node.pop("_target_") == "kurve.benchmarks.rows.load"
    return {**node, **changed}


def load_local(name: str, folder: Path, **changed: Any) -> Benchmark:
    """The benchmark as its YAML describes it, from a file in `folder`."""
    return load(**settings(name, path=folder / FILES[name], **changed))
