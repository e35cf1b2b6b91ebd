"""Which samples a shard draws: a block of the list of all (problem, index) pairs, problem by problem.

Blocks are contiguous, so that an engine gets whole problems and reads the prompt of each once; only a block's first and
last problem may be shared with its neighbours.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kurve.errors import StoreError
from kurve.store.samples import SampleStore


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several equal parts of what is drawn in all, which alone decide which samples are whose."""

    problem_ids: tuple[str, ...]  # of all shards together, in the benchmark's order
    num_samples: int  # of each problem, of all shards together
    num_shards: int
    number: int  # from 0


def cells(shard: Shard) -> dict[str, range]:
    """The sample indices of a shard by problem, in the benchmark's order; shards differ by one sample at most.

    Raises:
        StoreError: there are more shards than samples, or the shard is not one of them.
    """
    n, parts = shard.num_samples, shard.num_shards
    total = len(shard.problem_ids) * n
    if not 0 <= shard.number < parts <= total:
        raise StoreError(
            f"shard {shard.number} of {parts} of {total} samples; shards count from 0, and each draws at least one"
        )
    start, stop = shard.number * total // parts, (shard.number + 1) * total // parts
    return {
        shard.problem_ids[place]: range(max(start - place * n, 0), min(stop - place * n, n))
        for place in range(start // n, (stop - 1) // n + 1)
    }


def cells_name(shard: Shard) -> str:
    """The name of what all shards draw together, and in how many parts: the same for each of them."""
    drawn = json.dumps([shard.problem_ids, shard.num_samples], ensure_ascii=True)
    return f"of-{shard.num_shards}-{hashlib.sha256(drawn.encode('ascii')).hexdigest()[:8]}"


def missing(wanted: Mapping[str, range], stores: Sequence[SampleStore]) -> dict[str, tuple[int, ...]]:
    """The wanted indices that none of the stores holds, by problem; complete problems are left out."""
    found = {}
    for problem_id, indices in wanted.items():
        held = np.zeros(len(indices), dtype=np.bool_)
        for store in stores:
            tags = store.marks(problem_id)[1][indices.start : indices.stop]
            held[: len(tags)] |= tags > 0
        absent = np.flatnonzero(~held) + indices.start
        if len(absent):
            found[problem_id] = tuple(absent.tolist())
    return found


def num_complete(store: SampleStore, shard: Shard) -> int:
    """How many of the shards have all their samples in the store."""
    held = {problem_id: store.marks(problem_id)[1] > 0 for problem_id in shard.problem_ids}

    def is_complete(number: int) -> bool:
        return all(
            len(held[problem_id]) >= indices.stop and held[problem_id][indices.start : indices.stop].all()
            for problem_id, indices in cells(replace(shard, number=number)).items()
        )

    return sum(map(is_complete, range(shard.num_shards)))
