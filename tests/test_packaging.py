"""The wheel holds the tree, and nothing else is needed for its light parts."""

import zipfile
from pathlib import Path

import pytest

from tests.wheel import REPOSITORY, build_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("build"))


def test_the_wheel_holds_every_module_and_every_config(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        target + str(path.relative_to(REPOSITORY / source))
        for source, target, pattern in (
            ("src/kurve", "kurve/", "**/*.py"),
            ("src/kurve/review", "kurve/review/", "page.*"),
            ("mlflow_plugins/kurve/compare/page", "mlflow_plugins/kurve/compare/page/", "*.*"),
            ("conf", "kurve/conf/", "**/*.yaml"),
            ("mlflow_plugins", "mlflow_plugins/", "**/*.py"),
            ("src/hydra_plugins", "hydra_plugins/", "**/*.py"),
        )
        for path in (REPOSITORY / source).glob(pattern)
        if "local" not in path.relative_to(REPOSITORY / source).parts[:1]
    }
    assert expected <= names
    code = {name for name in names if name.endswith((".py", ".yaml")) and not name.startswith("kurve/conf/__init__")}
    assert code <= expected | {"kurve/conf/__init__.py"}


def test_the_wheel_declares_no_engine_among_its_own_dependencies(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("METADATA")]
        metadata = archive.read(name).decode()
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert required
    for heavy in ("torch", "vllm", "transformers", "trl", "datasets"):
        assert not any(f" {heavy}" in line for line in required)
