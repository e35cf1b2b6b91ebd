"""Traces of problems, and what they rely on of MLflow that it does not document."""

import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Trace
from mlflow.entities.trace_info import TraceInfo
from mlflow.tracing.client import TracingClient

from kurve.errors import ConfigError, TrackingError
from kurve.types import Report, Tally
from mlflow_plugins.kurve.traces import AUTO_PROBLEMS, are_wanted
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.mlflow_plugins.measured import measured
from tests.mlflow_plugins.servers import Server
from tests.tracking_samples import HOSTILE, report, run_info


def logged(uri: str, experiment: str, result: Report, *, key: str = "aaaa") -> MlflowTracker:
    tracker = MlflowTracker(uri=uri, experiment=experiment)
    tracker.start(run_info(key))
    tracker.log_report(result, [])
    tracker.finish("FINISHED")
    return tracker


def traces(uri: str, tracker: MlflowTracker, *, spans: bool = True) -> list[Trace]:
    client = MlflowClient(uri)
    place = [client.get_run(tracker.run_id).info.experiment_id]
    return list(client.search_traces(locations=place, run_id=tracker.run_id, max_results=500, include_spans=spans))


def feedback(trace: Trace) -> Mapping[str, object]:
    assert all(
        one.metadata is not None and one.metadata["mlflow.assessment.sourceRunId"] for one in trace.info.assessments
    )
    return {one.name: one.feedback.value for one in trace.info.assessments}


def by_problem(found: list[Trace]) -> dict[str, Trace]:
    return {json.loads(trace.info.request_preview)["problem_id"]: trace for trace in found}


@pytest.mark.parametrize("place", ["server", "file"])
def test_a_problem_has_one_trace_with_its_feedback_however_often_it_is_sent(
    server: Server, tmp_path: Path, place: str
) -> None:
    uri = server.uri if place == "server" else f"sqlite:///{tmp_path}/mlflow.db"
    base = logged(uri, "traced", measured([0, 2, 8]))
    tuned = logged(uri, "traced", measured([4, 0, 8]), key="bbbb")
    again = MlflowTracker(uri=uri)
    again.attach(tuned.run_id)
    again.log_report(measured([4, 0, 8]), [])
    before, after = by_problem(traces(uri, base)), by_problem(traces(uri, tuned))
    assert [len(traces(uri, one)) for one in (base, tuned)] == [3, 3]
    assert {name: feedback(one) for name, one in after.items()} == {
        "p0": {"pass_at_1": 0.5, "solved_at_8": True},
        "p1": {"pass_at_1": 0.0, "solved_at_8": False},
        "p2": {"pass_at_1": 1.0, "solved_at_8": True},
    }
    # What MLflow pairs by: the same bytes in both runs.
    assert {one.info.request_preview for one in before.values()} == {one.info.request_preview for one in after.values()}
    assert (before["p0"].info.response_preview, after["p0"].info.response_preview) == (
        "wrong: The answer is 4.",
        "right: The answer is 4.",
    )
    [span] = after["p1"].data.spans
    assert (span.inputs["problem_id"], span.outputs) == ("p1", "wrong: The answer is 4.")
    assert MlflowClient(uri).get_run(tuned.run_id).data.tags["mlflow.runType"] == "genai_evaluate"


def test_a_correct_response_is_shown_where_there_is_one_and_hostile_text_stays_text(server: Server) -> None:
    tracker = logged(server.uri, "hostile-traces", measured([0, 1], text=HOSTILE * 20))
    found = by_problem(traces(server.uri, tracker))
    response = found["p1"].info.response_preview
    assert response.startswith("right: <script>")
    assert len(response) < 520
    assert "\x00" not in response
    assert found["p0"].info.response_preview.startswith("wrong: ")


def test_what_was_cut_off_is_completed_and_nothing_is_there_twice(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = measured([number % 9 for number in range(60)])
    tracker = MlflowTracker(uri=server.uri, experiment="cut", retries=0)
    tracker.start(run_info())
    whole, sent = TracingClient.start_trace, []

    def fails_later(self: TracingClient, info: TraceInfo) -> TraceInfo:
        sent.append(info.trace_id)
        if len(sent) > 20:
            time.sleep(0.2)  # an unreachable server takes longer still
            raise ConnectionError("gone")
        return whole(self, info)

    monkeypatch.setattr(TracingClient, "start_trace", fails_later)
    with pytest.raises(TrackingError, match="send traces"):
        tracker.log_report(result, [])
    assert len(sent) < 30  # those that waited were given up

    def counted(self: TracingClient, info: TraceInfo) -> TraceInfo:
        sent.append(info.trace_id)
        return whole(self, info)

    monkeypatch.setattr(TracingClient, "start_trace", counted)
    sent.clear()
    tracker.log_report(result, [])
    assert 60 - 20 <= len(sent) < 60
    found = traces(server.uri, tracker)
    assert len(found) == len(by_problem(found)) == 60
    assert all(len(one.info.assessments) == 2 and len(one.data.spans) == 1 for one in found)
    sent.clear()
    tracker.log_report(result, [])
    assert sent == []


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_of_traces_is_reported_and_the_rest_is_sent_later(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = MlflowTracker(uri=server.uri, experiment="dies-in-traces", retries=0)
    tracker.start(run_info())
    whole, sent = TracingClient.start_trace, []

    def stops_the_server(self: TracingClient, info: TraceInfo) -> TraceInfo:
        sent.append(info.trace_id)
        if len(sent) == 5:
            server.stop()
        return whole(self, info)

    with monkeypatch.context() as patched:
        patched.setattr(TracingClient, "start_trace", stops_the_server)
        try:
            with pytest.raises(TrackingError, match="start the server"):
                tracker.log_report(measured([1] * 12), [])
        finally:
            server.start()
    tracker.log_report(measured([1] * 12), [])
    tracker.finish("FINISHED")
    assert len(by_problem(traces(server.uri, tracker))) == len(traces(server.uri, tracker)) == 12


def test_mlflows_own_state_stays_and_no_thread_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # what the user's own code would log to
    before = (mlflow.get_tracking_uri(), dict(os.environ), {thread.name for thread in threading.enumerate()})
    logged(server.uri, "untouched", measured([1, 2]))
    assert mlflow.active_run() is None
    assert mlflow.get_current_active_span() is None
    after = (mlflow.get_tracking_uri(), dict(os.environ), {thread.name for thread in threading.enumerate()})
    assert after == before


def test_more_problems_than_two_thousand_are_traced_only_when_asked_for() -> None:
    def of(number: int) -> Report:
        ones = np.ones(number, dtype=np.int64)
        whole = report(4)
        tally = Tally(tuple(map(str, range(number))), ones, ones, 0 * ones)
        return Report(whole.benchmark, whole.spec, whole.verifier, tally, {})

    small, large = of(AUTO_PROBLEMS), of(AUTO_PROBLEMS + 1)
    assert [are_wanted("auto", one) for one in (small, large)] == [True, False]
    assert [are_wanted("all", one) for one in (small, large)] == [True, True]
    assert [are_wanted("none", one) for one in (small, large)] == [False, False]
    with pytest.raises(ConfigError, match=r"tracker\.traces is 'some'; expected auto, all, none"):
        MlflowTracker(traces="some")  # type: ignore[arg-type]  # a mistake


def test_traces_can_be_switched_off(server: Server) -> None:
    tracker = MlflowTracker(uri=server.uri, experiment="untraced", traces="none")
    tracker.start(run_info())
    tracker.log_report(measured([1, 2]), [])
    assert traces(server.uri, tracker) == []
    assert "mlflow.runType" not in MlflowClient(server.uri).get_run(tracker.run_id).data.tags


@pytest.mark.slow
def test_a_server_without_mlflows_span_endpoint_keeps_traces_and_feedback(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    running = Server(tmp_path, "--gunicorn-opts", "--workers 1")
    running.start()
    try:
        found = traces(running.uri, logged(running.uri, "flask", measured([1, 0])), spans=False)
        assert {feedback(one)["solved_at_8"] for one in found} == {False, True}
    finally:
        running.stop()
