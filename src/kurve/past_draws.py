"""What stored samples tell of those that are still to be drawn: how long they are, and what they take on a disk."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from kurve.errors import StoreError
from kurve.store import SampleStore
from kurve.store.segments import list_segments, read_data
from kurve.store.spec import read_spec
from kurve.types import SamplingSpec

MOST_READ = 50_000  # samples: enough for the third digit of a mean, read in two seconds
_LEVEL = 3  # of zstd, as segments are sealed
_INDEX_BYTES = 13  # a record, in a segment's index


def stored_lengths(store: SampleStore) -> dict[str, NDArray[np.int64]]:
    """Tokens of stored samples by problem, of the first of each problem where there are very many.

    Imported samples whose tool did not count tokens are left out.

    Raises:
        StoreError: the samples cannot be read.
    """
    counts = store.counts()
    limit = max(2, -(-MOST_READ // max(len(counts), 1)))
    found: dict[str, list[int]] = defaultdict(list)
    for sample in store.samples(num_samples=limit):
        if sample.num_tokens:
            found[sample.problem_id].append(sample.num_tokens)
    return {problem_id: np.array(lengths, dtype=np.int64) for problem_id, lengths in found.items()}


def stored_bytes(folder: Path, log: str) -> int:
    """What the segments of a log take on the disk once all of them are compressed, with their indices.

    Raises:
        StoreError: a segment cannot be read.
    """
    total = 0
    for segment in list_segments(folder, log):
        if segment.sealed.exists():
            index = segment.index.stat().st_size if segment.index.exists() else 0
            total += segment.sealed.stat().st_size + index
        else:
            data = read_data(segment)
            total += len(zstandard.ZstdCompressor(level=_LEVEL).compress(data)) + data.count(b"\n") * _INDEX_BYTES
    return total


def specs(root: Path) -> Iterator[tuple[Path, SamplingSpec]]:
    """The sample stores under a folder with their settings; those whose settings cannot be read are left out."""
    for path in sorted(root.glob("*/spec.json")):
        try:
            yield path.parent, read_spec(path.parent)
        except StoreError:
            continue
