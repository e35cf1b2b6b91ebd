from collections.abc import Iterator

import pytest

from kurve.verifiers.math import MathVerifier


@pytest.fixture(scope="session")
def verifier() -> Iterator[MathVerifier]:
    with MathVerifier(workers=2) as verifier:
        yield verifier


@pytest.fixture(scope="session")
def impatient() -> Iterator[MathVerifier]:
    with MathVerifier(workers=1, budget=1.0, memory_gb=2) as verifier:
        yield verifier
