import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_plugins.kurve.context import KurveRunContext

HEAVY = ["torch", "hydra", "omegaconf", "vllm", "transformers", "trl", "datasets"]

APP = """
import json, sys
import hydra, mlflow
from mlflow import MlflowClient

@hydra.main(version_base="1.3", config_path=None, config_name=None)
def main(config):
    mlflow.set_tracking_uri(sys.argv_uri)
    with mlflow.start_run() as run:
        pass
    print("TAGS " + json.dumps(MlflowClient().get_run(run.info.run_id).data.tags))

sys.argv_uri = sys.argv.pop(1)
main()
"""


@pytest.mark.parametrize("module", ["mlflow", "kurve, kurve.tracking, mlflow_plugins.kurve.context"])
def test_an_import_with_the_plugin_installed_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_tracker_loads_no_torch() -> None:
    code = f"import sys, mlflow_plugins.kurve.tracker; print([m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("first", ["mlflow", "mlflow_plugins.kurve.context"])
def test_the_provider_is_registered_whichever_is_imported_first(first: str) -> None:
    code = (
        f"import warnings; warnings.filterwarnings('error', message='Failure attempting'); import {first}; "
        "from mlflow.tracking.context.registry import _run_context_provider_registry as registry; "
        "print([type(p).__name__ for p in registry].count('KurveRunContext'))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1"


def run_app(folder: Path, *overrides: str, **environment: str) -> list[dict[str, str]]:
    app = folder / "my_app.py"
    app.write_text(APP)
    command = [sys.executable, str(app), f"sqlite:///{folder}/mlflow.db", *overrides]
    given = {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=True)
    return [json.loads(line.removeprefix("TAGS ")) for line in done.stdout.splitlines() if line.startswith("TAGS ")]


def test_a_run_in_a_hydra_job_carries_its_overrides_and_study_without_the_secrets(tmp_path: Path) -> None:
    given = (
        "+lr=1e-6", "+sampler.api_key=sk-geheim", "+max_tokens=5", "+sampler.token=geheim", "+github_token=geheim",
        "+uri=http://me:geheim@host/x?a\\=b", "+login={user: me, password: geheim, tokens: 3}", "+api_key_env=A_NAME",
    )  # fmt: skip
    (tags,) = run_app(tmp_path, *given, KURVE_STUDY_ID="study-1", KURVE_STAGE="train")
    assert (tags["kurve.study"], tags["kurve.stage"]) == ("study-1", "train")
    assert tags["hydra.job.name"] == "my_app"
    assert tags["hydra.job.overrides"] == (
        "+lr=1e-6 +sampler.api_key=*** +max_tokens=5 +sampler.token=*** +github_token=*** "
        "+uri=http://me:***@host/x?a\\=b +login={user: me, password: ***, tokens: 3} +api_key_env=A_NAME"
    )
    assert "geheim" not in json.dumps(tags)
    assert "hydra.job.num" not in tags


@pytest.mark.slow
def test_runs_of_a_sweep_carry_their_number(tmp_path: Path) -> None:
    found = run_app(tmp_path, "-m", "+seed=0,1")
    assert [tags["hydra.job.num"] for tags in found] == ["0", "1"]
    assert [tags["hydra.job.overrides"] for tags in found] == ["+seed=0", "+seed=1"]


def test_outside_of_a_job_there_is_nothing_to_tag() -> None:
    assert not KurveRunContext().in_context()


def test_study_and_sweep_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURVE_SWEEP_ID", "s" * 9000)
    monkeypatch.setenv("KURVE_STUDY_ID", "study-1")
    monkeypatch.setenv("KURVE_SWEEP_JOB", "a1b2")
    tags = KurveRunContext().tags()
    assert tags["kurve.study"] == "study-1"
    assert tags["kurve.sweep"] == "s" * 8000
    assert not any(tag.startswith("kurve.sweeps.") for tag in tags)  # no name for a tag
    monkeypatch.setenv("KURVE_SWEEP_ID", "zoo")
    assert KurveRunContext().tags()["kurve.sweeps.zoo"] == "a1b2"
