"""Jobs on a Ray cluster that exists: one node on this machine, with two GPUs that it is told of."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.test_evaluate import BASE, problems  # noqa: F401 a fixture
from tests.commands.test_sweep import all_records
from tests.conftest import RunKurve, command_environment
from tests.mlflow_plugins.servers import free_port

pytest.importorskip("ray", reason="Ray is not installed")

# By itself Ray would keep a token in the user's home.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a cluster of one node."""
    folder, port = tmp_path_factory.mktemp("ray"), free_port()
    sockets = Path(tempfile.mkdtemp(prefix="ray-"))  # their paths must be short
    words = [
        "start",
        "--head",
        "--block",
        f"--port={port}",
        "--num-cpus=2",
        "--num-gpus=2",
        "--include-dashboard=false",
    ]
    with (folder / "ray.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), *words, "--node-ip-address=127.0.0.1"],
            cwd=folder,
            env={**command_environment(), **TOKEN, "RAY_TMPDIR": str(sockets)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not listens(port) or "--block" not in (folder / "ray.log").read_text():
            assert process.poll() is None, (folder / "ray.log").read_text()
            assert time.monotonic() < deadline, (folder / "ray.log").read_text()
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(sockets, ignore_errors=True)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_each_job_on_a_cluster_that_exists_has_a_gpu_of_its_own(
    address: str,
    problems: Path,  # noqa: F811
    kurve: RunKurve,
    tmp_path: Path,
) -> None:
    done = kurve(
        "evaluate", *BASE, f"benchmark.path={problems}", "num_samples=4", "sampler.seconds=0.5", "tracker=dir",
        "sweep_name=three", "seed=0,1", "cluster=ray", f"hydra.launcher.ray.init.address='{address}'",
        "hydra.launcher.ray.remote.num_gpus=1", "+tags.gpu=${oc.env:CUDA_VISIBLE_DEVICES,none}", **TOKEN,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [one["status"] for one in all_records(tmp_path)] == ["FINISHED"] * 2
    tags = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "tracking").glob("*/tags.json")]
    assert sorted(one["kurve.gpu"] for one in tags if "kurve.gpu" in one) == ["0", "1"]
