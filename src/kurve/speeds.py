"""How fast samples were drawn and judged: a line of JSON beside the samples for each time, read by whoever plans more.

    draws.jsonl      tokens, samples and seconds of one draw, engine starts left out; gpu: what it ran on
    judgings.jsonl   verdicts, seconds of the verifier and its processes, under which verifier

Speeds are asides: one that cannot be written is warned of and nothing else, one that is torn by a crash is left out.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kurve.store.shards import DRAWS

__all__ = [
    "DRAWS", "JUDGINGS", "DrawSpeed", "JudgeSpeed", "draw_speed", "gpu", "judge_speed", "record_draw", "record_judging",
]  # fmt: skip

JUDGINGS = "judgings.jsonl"
_GPUS = Path("/proc/driver/nvidia/gpus")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DrawSpeed:
    """The speed of all draws into one store."""

    tokens_per_second: float  # of one sampling process, with all its GPUs
    tokens: int  # generated, over all draws
    seconds: float
    gpus: tuple[str, ...]  # kinds of GPU that were drawn on; an empty name is a processor
    when: float  # of the last draw, seconds since 1970


@dataclass(frozen=True, slots=True)
class JudgeSpeed:
    """The speed of one verifier on one store."""

    seconds_per_verdict: float  # of one worker process, at most: workers that wait are counted as if they worked
    verdicts: int


def record_draw(folder: Path, *, engine: str, version: str, tokens: int, samples: int, seconds: float) -> None:
    """Keep the speed of one draw into the store at `folder`, from the engine's first sample on."""
    facts = {"engine": engine, "engine_version": version, "tokens": tokens, "samples": samples, "seconds": seconds}
    _append(folder / DRAWS, {"time": time.time(), **facts, "gpu": gpu()})


def record_judging(folder: Path, *, verifier: str, verdicts: int, seconds: float, workers: int) -> None:
    """Keep the speed of one verifier over some samples of the store at `folder`."""
    facts = {"verifier": verifier, "verdicts": verdicts, "seconds": seconds, "workers": workers}
    _append(folder / JUDGINGS, {"time": time.time(), **facts})


def draw_speed(folder: Path) -> DrawSpeed | None:
    """Throughput over all draws into a store; None if nothing was recorded."""
    rows = list(_rows(folder / DRAWS, ("time", "tokens", "seconds")))
    seconds = sum(float(row["seconds"]) for row in rows)
    if not seconds:
        return None
    tokens = sum(int(row["tokens"]) for row in rows)
    kinds = tuple(dict.fromkeys(str(row["gpu"]) for row in rows if "gpu" in row))
    return DrawSpeed(tokens / seconds, tokens, seconds, kinds, max(float(row["time"]) for row in rows))


def judge_speed(folder: Path, verifier: str = "") -> JudgeSpeed | None:
    """Time a verdict took in a store; None if nothing was recorded.

    Args:
        folder: of the store.
        verifier: beginning of the name of its set of verdicts; empty takes all.
    """
    needed = ("verifier", "verdicts", "seconds", "workers")
    rows = [row for row in _rows(folder / JUDGINGS, needed) if str(row["verifier"]).startswith(verifier)]
    verdicts = sum(int(row["verdicts"]) for row in rows)
    if not verdicts:
        return None
    return JudgeSpeed(sum(float(row["seconds"]) * int(row["workers"]) for row in rows) / verdicts, verdicts)


def gpu() -> str:
    """The kind of this machine's first NVIDIA GPU; empty without one."""
    for about in sorted(_GPUS.glob("*/information")):
        for line in about.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "Model":
                return value.strip()
    return ""


def _append(path: Path, record: Mapping[str, object]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:  # a full disk: the samples' own error matters, their speed does not
        _log.warning("how fast this was is not recorded: %s", error)


def _rows(path: Path, needed: tuple[str, ...]) -> Iterator[dict[str, str | int | float]]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and all(key in row for key in needed):
            yield row
