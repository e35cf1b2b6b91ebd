"""A million samples in 64 shards become one store: taken over one after another, and by `kurve merge`."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import Row
from benchmarks.processes import Cost, python
from kurve.store import SampleStore, Shard, fingerprint
from kurve.store.shards import FOLDER
from kurve.store.slices import cells, cells_name
from kurve.types import Sample, SamplingSpec

_PROBLEMS, _SAMPLES, _SHARDS = 1_000, 1_000, 64
_SECONDS, _BYTES = 120.0, 1 << 30
_WORDS = 60  # a response, about 400 characters
_SPEC = SamplingSpec(
    model="bench", model_revision="", lora="", benchmark="bench", benchmark_revision="", prompt="none",
    prompt_digest="", temperature=0.6, top_p=0.95, top_k=0, min_p=0.0, max_tokens=4096, stop=(), engine="vllm",
    seed="0",
)  # fmt: skip

_TAKE_OVER = """
import sys
from pathlib import Path
from kurve.store import SampleStore
from kurve.store.shards import take_leftovers
with SampleStore.open_folder(Path(sys.argv[1]), read_only=False) as store:
    take_leftovers(store)
    print(store.count())
"""
_ONE_PASS = """
import json, sys
from pathlib import Path
seen, target = set(), open(sys.argv[2], "w")
for path in sorted(Path(sys.argv[1]).glob("*.jsonl")):
    for line in open(path):
        row = json.loads(line)
        key = row["problem_id"], row["index"]
        if key not in seen:
            seen.add(key)
            target.write(json.dumps(row) + "\\n")
target.close()
print(len(seen))
"""


def run(quick: bool = False) -> list[Row]:
    """Five rows; `quick` merges a tenth, and the goals are of the whole."""
    n = _SAMPLES // 10 if quick else _SAMPLES
    with tempfile.TemporaryDirectory(prefix="kurve-bench-") as name:
        folder = Path(name)
        size = _write(folder, n)
        plain = python(["-c", _ONE_PASS, str(folder / "plain"), str(folder / "plain.jsonl")])
        shutil.rmtree(folder / "plain")
        named = ",".join(str(folder / "apart" / str(number) / fingerprint(_SPEC)) for number in range(_SHARDS))
        words = ["merge", f"samples=[{named}]", f"paths.out={folder / 'out'}"]
        merged = python(["-m", "kurve.cli", *words])
        taken = python(["-c", _TAKE_OVER, str(folder / "together" / fingerprint(_SPEC))])
    if {plain.printed.strip(), taken.printed.strip()} != {str(_PROBLEMS * n)}:
        raise RuntimeError(f"samples were lost: {plain.printed!r} {taken.printed!r} of {_PROBLEMS * n}")
    what = f"{_PROBLEMS * n:,} samples in {_SHARDS} shards"
    ways = (("taken over into one store", taken), ("kurve merge", merged))
    rows = [row for way, cost in ways for row in _rows(f"{what}, {way}", cost)]
    ratio = plain.computing / taken.computing
    detail = f"{plain.computing:.0f} s against {taken.computing:.0f} s of the processor; {size >> 20} MiB of JSONL"
    return [
        *rows,
        Row(f"{what}, taken over, against json.loads, a set and json.dumps in one pass", ratio, None, detail),
    ]


def _rows(what: str, cost: Cost) -> list[Row]:
    detail = f"{cost.seconds:.0f} s, start to end, of it computing {cost.computing:.0f} s"
    return [
        Row(f"{what}, as a part of 2 minutes", cost.seconds / _SECONDS, 1.0, detail, at_most=True),
        Row(f"{what}, as a part of 1 GB", cost.peak / _BYTES, 1.0, f"{cost.peak / 2**20:.0f} MB at most", at_most=True),
    ]


def _write(folder: Path, num_samples: int) -> int:
    """The same samples as plain files, as stores apart, and as shards of one store; bytes of the plain files."""
    ids = tuple(f"bench/{problem}" for problem in range(_PROBLEMS))
    size = 0
    (folder / "plain").mkdir()
    together = folder / "together" / fingerprint(_SPEC)
    SampleStore.open(folder / "together", _SPEC).close()
    for number in range(_SHARDS):
        shard = Shard(ids, num_samples, _SHARDS, number)
        path = folder / "plain" / f"{number}.jsonl"
        with SampleStore.open(folder / "apart" / str(number), _SPEC) as store, path.open("w", encoding="ascii") as file:
            for drawn in _samples(shard):
                store.append_many(drawn)
                file.writelines(json.dumps(_fields(sample)) + "\n" for sample in drawn)
        shutil.copytree(store.folder, together / FOLDER / f"{number:04d}-{cells_name(shard)}")
        size += path.stat().st_size
    return size


def _samples(shard: Shard) -> Iterator[list[Sample]]:
    words = np.array([f"word{number}" for number in range(5_000)])
    rng = np.random.default_rng(shard.number)
    for problem_id, indices in cells(shard).items():
        texts = [" ".join(text) for text in words[rng.integers(len(words), size=(len(indices), _WORDS))]]
        yield [
            Sample(problem_id, index, text, "stop", 130, 17 + index, -1.5 * index, 0.25, "vllm", "0.31.0")
            for index, text in zip(indices, texts, strict=True)
        ]


def _fields(sample: Sample) -> dict[str, object]:
    return {name: getattr(sample, name) for name in Sample.__dataclass_fields__}
