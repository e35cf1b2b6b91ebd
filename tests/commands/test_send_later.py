"""A tracking server that dies while samples are drawn costs nothing: the command says how to send them later."""

import json
import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.conftest import RunKurve, command_environment, command_line
from tests.mlflow_plugins.servers import Server


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_gets_the_run_later_and_once(kurve: RunKurve, tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    (tmp_path / "server").mkdir()
    server.start()
    try:
        base = ("evaluate", "model=local", "model.path=unused/model", "sampler=scripted", "benchmark=arithmetic")
        settings = ("benchmark.limit=3", "num_samples=30", "sampler.seconds=0.05", f"tracker.uri={server.uri}")
        running = subprocess.Popen(
            command_line((*base, *settings)),
            cwd=tmp_path,
            env=command_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("outputs/samples/*/samples-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        server.stop()
        _, stderr = running.communicate(timeout=240)
        assert running.returncode == 2
        assert "Traceback" not in stderr
        [command] = re.findall(r"^\s+kurve (report .*)$", stderr, re.MULTILINE)
        server.start()
        sent = kurve(*shlex.split(command))
        assert sent.returncode == 0, sent.stderr
        client = MlflowClient(server.uri)
        experiment = client.get_experiment_by_name("kurve")
        assert experiment is not None
        [run] = client.search_runs([experiment.experiment_id])
        assert run.info.status == "FINISHED"
        assert len(client.get_metric_history(run.info.run_id, "arithmetic/pass_at_k")) == 30
        again = kurve(*shlex.split(command))
        assert "logged before" in again.stdout
    finally:
        server.stop()
    [counts] = tmp_path.glob("outputs/runs/*/*evaluate*/report/counts.jsonl")
    rows = [json.loads(line) for line in counts.read_text(encoding="utf-8").splitlines()]
    assert [row["n"] for row in rows] == [30] * 3
