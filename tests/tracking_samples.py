"""A report and a run as an evaluation would hand them to a tracker."""

from collections.abc import Mapping

import numpy as np

from kurve.tracking import RunInfo
from kurve.types import Curve, Report, SamplingSpec, Table, Tally

HOSTILE = '<script>window.attacked=1</script><img src=x onerror="window.attacked=1"> \ud800 \x00 {[}]\u202e'


def curve(num_samples: int, height: float = 0.9) -> Curve:
    k = np.arange(1, num_samples + 1, dtype=np.int64)
    value = height * (1 - 0.8 / np.sqrt(k))
    return Curve("pass_at_k", k, value, value - 0.05, value + 0.05, k > num_samples / 2, 0.95)


def report(
    num_samples: int = 64,
    *,
    benchmark: str = "gsm8k",
    height: float = 0.9,
    scalars: Mapping[str, float] | None = None,
    tables: tuple[Table, ...] = (),
    notes: tuple[str, ...] = (),
) -> Report:
    spec = SamplingSpec("model", "r1", "", benchmark, "b1", "chat", "d1", 1.0, 1.0, 0, 0.0, 256, (), "replay", "0")
    counts = np.array([num_samples, num_samples])
    tally = Tally(("a", "b"), counts, np.array([0, num_samples]), np.array([0, 0]))
    whole = curve(num_samples, height)
    found = {"pass_at_1": float(whole.value[0]), f"pass_at_{num_samples}": float(whole.value[-1])}
    return Report(
        benchmark, spec, "math-1", tally, found | dict(scalars or {}), curves=(whole,), tables=tables, notes=notes
    )


def run_info(
    key: str = "0123456789abcdef",
    *,
    name: str = "model on gsm8k",
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> RunInfo:
    return RunInfo(
        key=key,
        name=name,
        params=params if params is not None else {"num_samples": "64", "sampling.temperature": "1.0"},
        tags={"mlflow.source.git.commit": "c0ffee", "kurve.kind": "base"} | dict(tags or {}),
        config_yaml="num_samples: 64\n",
        versions={"kurve": "0.1.0"},
        dataset_name="gsm8k",
        dataset_source="openai/gsm8k",
        dataset_digest="d" * 64,
        prompts=(("a", "1 + 1?"), ("b", "2 + 2?")),
    )
