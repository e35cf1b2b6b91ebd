"""What an import may load: light on a login node, light on a tracking server."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "vllm", "transformers", "trl", "hydra", "omegaconf", "datasets", "openai")


@pytest.mark.parametrize(
    "statement",
    [
        "import kurve",
        "import mlflow",
        "import kurve.metrics.passk, kurve.report",
        "import mlflow_plugins.kurve.tracker, mlflow_plugins.kurve.app",
    ],
)
def test_an_import_loads_nothing_heavy(statement: str) -> None:
    code = f"import sys\n{statement}\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_plugin_is_installed_so_that_import_mlflow_meets_it() -> None:
    from importlib.metadata import entry_points

    assert "kurve" in {entry.name for entry in entry_points(group="mlflow.run_context_provider")}
