"""The wheel holds the tree, and nothing else is needed for its light parts."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)],
        capture_output=True,
        check=True,
    )
    [path] = out.glob("*.whl")
    return path


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
