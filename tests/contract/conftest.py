from pathlib import Path

import pytest

from kurve.types import Model
from tests.samplers.tiny import make_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder: Path = make_tiny_model(tmp_path_factory.mktemp("tiny"))
    return Model("tiny", str(folder), dtype="float32")
