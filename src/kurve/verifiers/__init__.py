"""Verifiers judge samples: V(x, y) of the paper. Each module judges one kind of answer, named in `conf/verifier/`."""

from collections.abc import Sequence
from typing import Protocol, Self

from kurve.types import Problem, Sample, Verdict


class Verifier(Protocol):
    """A judge of samples; a context manager that owns its worker processes."""

    fingerprint: str  # name, version and settings: verdicts under another fingerprint are never mixed

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def verify(self, items: Sequence[tuple[Problem, Sample]]) -> list[Verdict]:
        """Judge each sample against its problem's reference; one verdict an item, in order.

        A failure of the judge itself is `Outcome.ERROR` for the items concerned, never WRONG.

        Raises:
            VerifierError: the judge cannot be started at all.
        """
