"""`kurve review` with a real MLflow server."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from kurve.benchmarks.rows import Benchmark
from tests.commands.test_review import N, benchmark, download, sheet, store
from tests.conftest import RunKurve
from tests.mlflow_plugins.servers import Server

__all__ = ["benchmark", "store"]  # fixtures


def test_a_review_is_a_run_of_its_own_linked_to_the_evaluation(
    kurve_here: RunKurve, tmp_path: Path, store: Path, benchmark: Benchmark, server: Server
) -> None:
    client = MlflowClient(server.uri)
    experiment = client.create_experiment("reviews")
    evaluation = client.create_run(experiment, tags={"kurve.store": str(store)}).info.run_id
    assert kurve_here("review", f"samples={store}", "tracker=none").returncode == 0
    name = download(tmp_path, "ann", {row["sample"]: "sound" for row in sheet(tmp_path)})
    words = (
        "review",
        f"samples={evaluation}",
        f"sheet={name}",
        f"tracker.uri={server.uri}",
        "tracker.experiment=reviews",
    )
    done = kurve_here(*words, MLFLOW_DISABLE_TELEMETRY="true")
    assert done.returncode == 0, done.stderr
    [run] = client.search_runs([experiment], "tags.`kurve.kind` = 'review'")
    assert run.info.status == "FINISHED"
    assert run.data.tags["kurve.evaluation_run_id"] == evaluation
    steps = [point.step for point in client.get_metric_history(run.info.run_id, f"{benchmark.name}/cot_pass_at_k")]
    assert sorted(steps) == list(range(1, N + 1))
    assert run.data.metrics[f"{benchmark.name}/cot_pass_at_1"] == pytest.approx(23 / (4 * N))
    kept = {item.path.rpartition("/")[2] for item in client.list_artifacts(run.info.run_id, "kurve/review")}
    assert {"review.html", "review.parquet", "verdicts.parquet", "cot_pass_at_k.json", "cot_pass_at_k.png"} <= kept
