"""Logging to an MLflow server on loopback: a curve and traces against a call for each; what a spool costs."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric

from benchmarks import Row
from kurve.report_points import report_points
from mlflow_plugins.kurve.reports import CURVE_POINTS
from mlflow_plugins.kurve.spool.store import SpoolingRestStore, build_store
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.mlflow_plugins.measured import measured
from tests.mlflow_plugins.servers import Server
from tests.tracking_samples import report, run_info

NUM_POINTS = 1024


def run(quick: bool = False) -> list[Row]:
    """All rows; `log_metric` is timed on some of the points and scaled."""
    timed, repeats = (64, 1) if quick else (256, 3)
    with _server() as server:
        tracker = MlflowTracker(uri=server.uri, experiment="bench")
        tracker.start(run_info())
        client = MlflowClient(server.uri)
        single = _log_metric_seconds(client, tracker, timed) * NUM_POINTS / timed
        batch = _best(repeats, lambda: _log_batch_seconds(client, tracker))
        ours = _best(repeats, lambda: _report_seconds(server.uri, server.folder))
        spooled, delivered = _spooled_seconds(server.uri, tracker.run_id, timed)
        traces = [_traces_row(server.uri, number, timed=8 if quick else 50) for number in (256, 500)]
    natively = len([p for p in report_points(report(NUM_POINTS), per_curve=CURVE_POINTS)[0] if p.step])
    baseline = f"{single:.2f} s for {NUM_POINTS} log_metric calls ({timed} timed, scaled)"
    return [
        Row(
            name="logging a 1,024-point curve, against log_metric a point",
            ratio=single / ours,
            goal=30.0,
            detail=f"{baseline} / {ours:.3f} s for log_report: {natively} points natively (curve and band), "
            f"scalars, the whole curve as a file, description and saved view",
        ),
        Row(
            name="the same 1,024 points by one log_batch, against log_metric a point",
            ratio=single / batch,
            goal=None,
            detail=f"{baseline} / {batch:.3f} s for the same {NUM_POINTS} points; like for like, no file, no band",
        ),
        Row(
            name="a log_metric call with a spool, against one without",
            ratio=single / NUM_POINTS / (spooled / timed),
            goal=2.0,
            detail=f"{1000 * single / NUM_POINTS:.1f} ms / {1000 * spooled / timed:.2f} ms a call, on disk when it "
            f"returns; all {timed} at the server after {delivered:.2f} s",
        ),
        *traces,
    ]


def _traces_row(uri: str, number: int, *, timed: int) -> Row:
    single = _log_trace_seconds(uri, timed) * number / timed
    result = measured([row % 9 for row in range(number)])
    seconds = []
    for traces in ("auto", "none"):
        tracker = MlflowTracker(uri=uri, experiment="bench", new_run=True, traces=traces)
        tracker.start(run_info())
        started = time.perf_counter()
        tracker.log_report(result, [])
        seconds.append(time.perf_counter() - started)
    ours = seconds[0] - seconds[1]
    return Row(
        name=f"traces of {number} problems with their feedback, against log_trace and log_feedback one by one",
        ratio=single / ours,
        goal=None,
        detail=f"{single:.1f} s ({timed} problems timed, scaled) / {ours:.1f} s, which an evaluation takes longer by",
    )


def _log_trace_seconds(uri: str, count: int) -> float:
    """As MLflow's pages say to do it: a trace, then each of its two numbers."""
    os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"  # feedback needs a trace that is there
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("bench")
    started = time.perf_counter()
    for number in range(count):
        trace = mlflow.log_trace(request={"problem_id": f"p{number}"}, response="4")
        for name, value in (("pass_at_1", 0.5), ("solved_at_8", True)):
            mlflow.log_feedback(trace_id=trace, name=name, value=value)
    return time.perf_counter() - started


@contextmanager
def _server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="kurve-bench-") as folder:
        server = Server(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _best(repeats: int, seconds: Callable[[], float]) -> float:
    return min(seconds() for _ in range(repeats))


def _log_metric_seconds(client: MlflowClient, tracker: MlflowTracker, count: int) -> float:
    started = time.perf_counter()
    for k in range(1, count + 1):
        client.log_metric(tracker.run_id, "bench/single", k / NUM_POINTS, step=k)
    return time.perf_counter() - started


def _spooled_seconds(uri: str, run_id: str, count: int) -> tuple[float, float]:
    """Seconds of so many calls with a spool, and until the server has all of them."""
    with tempfile.TemporaryDirectory(prefix="kurve-bench-") as folder:
        store = build_store(Path(folder), uri)
        assert isinstance(store, SpoolingRestStore)
        started = time.perf_counter()
        for k in range(1, count + 1):
            store.log_metric(run_id, Metric("bench/spooled", k / NUM_POINTS, time.time_ns() // 1_000_000, k))
        called = time.perf_counter() - started
        assert store.spool.flush(60)
        delivered = time.perf_counter() - started
        store.spool.finish()
    return called, delivered


def _log_batch_seconds(client: MlflowClient, tracker: MlflowTracker) -> float:
    now = time.time_ns() // 1_000_000
    points = [Metric(f"bench/batch-{now}", k / NUM_POINTS, now, k) for k in range(1, NUM_POINTS + 1)]
    started = time.perf_counter()
    client.log_batch(tracker.run_id, metrics=points, synchronous=True)
    return time.perf_counter() - started


def _report_seconds(uri: str, folder: Path) -> float:
    """A run of its own each time: a repeated report would find its points there."""
    whole = report(NUM_POINTS)
    (curve,) = whole.curves
    file = folder / "curve.json"
    file.write_text(str({"k": curve.k.tolist(), "value": curve.value.tolist()}))
    tracker = MlflowTracker(uri=uri, experiment="bench", new_run=True)
    tracker.start(run_info())
    started = time.perf_counter()
    tracker.log_report(whole, [file])
    return time.perf_counter() - started
