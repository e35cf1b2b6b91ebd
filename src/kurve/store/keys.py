"""Which (problem, index) pairs a log holds, in five bytes a record."""

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MAX_INDEX = 10_000_000  # one stray index must not allocate gigabytes


class Keys:
    """A mark (32 bits) and a tag (1..255; 0 is absent) for every record held.

    Not safe for threads by itself: its log holds a mutex around it.
    """

    def __init__(self) -> None:
        self._tags: dict[str, bytearray] = {}
        self._marks: dict[str, array[int]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._tags))

    def get(self, problem_id: str, index: int) -> tuple[int, int]:
        """The mark and tag of a record, (0, 0) if it is not held."""
        tags = self._tags.get(problem_id)
        if tags is None or index >= len(tags):
            return 0, 0
        return self._marks[problem_id][index], tags[index]

    def put(self, problem_id: str, index: int, mark: int, tag: int) -> None:
        """Hold a record, in place of an earlier one with its key."""
        tags, marks = self._room(problem_id, index + 1)
        marks[index] = mark
        tags[index] = tag

    def put_all(
        self, problem_id: str, indices: NDArray[np.uint32], marks: NDArray[np.uint32], tags: NDArray[np.uint8]
    ) -> None:
        """Hold many records of one problem; of several with one index the last stays. Arrays are [N]."""
        tag_room, mark_room = self._room(problem_id, int(indices.max()) + 1)
        np.frombuffer(tag_room, dtype=np.uint8)[indices] = tags
        np.frombuffer(mark_room, dtype=np.uint32)[indices] = marks

    def tags(self, problem_id: str) -> NDArray[np.uint8]:
        """Tag by index, 0 where nothing is held; a copy."""
        return np.frombuffer(bytes(self._tags.get(problem_id, b"")), dtype=np.uint8)

    def marks(self, problem_id: str) -> NDArray[np.uint32]:
        """Mark by index, as long as `tags`; a copy."""
        marks = self._marks.get(problem_id)
        return np.frombuffer(marks.tobytes() if marks else b"", dtype=np.uint32)

    def count(self, problem_id: str) -> int:
        """Records held of one problem."""
        tags = self._tags.get(problem_id, b"")
        return len(tags) - tags.count(0)

    def _room(self, problem_id: str, size: int) -> tuple[bytearray, "array[int]"]:
        tags = self._tags.get(problem_id)
        if tags is None:
            tags = self._tags[problem_id] = bytearray()
            self._marks[problem_id] = array("I")
        marks = self._marks[problem_id]
        grow = size - len(tags)
        if grow > 0:
            tags.extend(bytes(grow))
            marks.frombytes(bytes(grow * marks.itemsize))
        return tags, marks
