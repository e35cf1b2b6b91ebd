"""One trace a problem, with feedback, so that MLflow's "Evaluation runs" pairs base and tuned problem by problem.

MLflow pairs traces of two runs by equal requests, and shows feedback whose metadata names the run. All ids follow from
run and problem, so that a trace that is sent twice is there once. A trace costs a server on SQLite some 33 ms, whatever
sends it; it is told with its feedback in one request, and spans, which its own page shows, follow many at once.
"""

import base64
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run, Span
from mlflow.entities.assessment import Feedback
from mlflow.entities.assessment_source import AssessmentSource, AssessmentSourceType
from mlflow.entities.trace_info import TraceInfo
from mlflow.entities.trace_location import TraceLocation
from mlflow.entities.trace_state import TraceState
from mlflow.exceptions import MlflowException
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import AssessmentMetadataKey, SpanAttributeKey, TraceMetadataKey, TraceTagKey

from kurve.observations import plain
from kurve.types import Outcome, Report

AUTO_PROBLEMS = 2_000  # more are traced only when asked for: these take a minute of the server
RUN_TYPE = {"mlflow.runType": "genai_evaluate"}  # which "Evaluation runs" lists
SETTINGS = ("auto", "all", "none")

_BATCH = 50  # traces between two looks at the lock of a database
_THREADS = 4  # of a server's requests; more do not make it faster
_PAGE = 500
_TEXT = 500  # characters of a response, and of an id
_NOT_SERVED = (404, 405, 501)  # what a server without MLflow's span endpoint answers, as one under gunicorn

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where traces go."""

    uri: str
    turn: Callable[[], AbstractContextManager[None]]  # held while talking; others get theirs in between
    is_server: bool  # which takes several requests at once


@dataclass(frozen=True, slots=True)
class _Problem:
    """What one trace says."""

    trace_id: str
    span_id: str
    request: str  # JSON, the same bytes for the same problem in every run
    response: str
    feedback: dict[str, float | bool]


def are_wanted(setting: str, report: Report) -> bool:
    """Whether the report's problems are traced: `all`, `none`, or `auto`, up to 2,000."""
    return setting == "all" or (setting == "auto" and len(report.tally.problem_ids) <= AUTO_PROBLEMS)


def send_traces(where: Destination, run: Run, report: Report) -> None:
    """Send the traces that the run does not have, then mark it as an evaluation with traces.

    Raises:
        whatever `where.turn` makes of a destination that fails; calling it again sends the rest.
    """
    client = TracingClient(where.uri)
    with where.turn():
        known = _known(client, run)
    problems = list(_problems(run, report))
    spans_are_taken = True
    for start in range(0, len(problems), _BATCH):
        batch = problems[start : start + _BATCH]
        with where.turn():
            new = [_info(one, run) for one in batch if known.get(one.trace_id) != one.feedback]
            _start(client, new, threads=_THREADS if where.is_server else 1)
            # Those that are known may have been cut off before their spans.
            spans_are_taken = spans_are_taken and _log_spans(client, run, [_span(one, run) for one in batch])
    with where.turn():
        for key, value in RUN_TYPE.items():
            MlflowClient(where.uri).set_tag(run.info.run_id, key, value)


def _known(client: TracingClient, run: Run) -> dict[str, dict[str, object]]:
    """Feedback of each trace that the run has, by the trace's id."""
    found: dict[str, dict[str, object]] = {}
    token = None
    while True:
        page = client.search_traces(
            locations=[run.info.experiment_id],
            run_id=run.info.run_id,
            max_results=_PAGE,
            page_token=token,
            include_spans=False,
        )
        for trace in page:
            given = [one for one in trace.info.assessments if one.feedback is not None]
            found[trace.info.trace_id] = {one.name: one.feedback.value for one in given}
        token = page.token
        if not token:
            return found


def _problems(run: Run, report: Report) -> Iterator[_Problem]:
    tally = report.tally
    solved_at = f"solved_at_{int(tally.reach.max())}"
    # Adaptive sampling leaves the correct sample that stopped a problem out of both counts.
    solved = (tally.num_correct > 0) | (tally.reach > tally.num_samples)
    shares = tally.num_correct / np.maximum(tally.num_samples, 1)
    questions, responses = _questions(report), _responses(report)
    for problem_id, share, is_solved in zip(tally.problem_ids, shares.tolist(), solved.tolist(), strict=True):
        digest = _digest(run.info.run_id, problem_id)
        request = {"problem_id": plain(problem_id[:_TEXT]), "question": questions.get(problem_id, "")}
        yield _Problem(
            trace_id=f"tr-{digest[:32]}",
            span_id=digest[32:48],
            request=json.dumps(request),
            response=responses.get(problem_id, ""),
            feedback={"pass_at_1": share, solved_at: is_solved},
        )


def _questions(report: Report) -> dict[str, str]:
    """The beginning of each question; empty where the report has no table of problems."""
    return {problem_id: question for problem_id, question in _rows(report, "problems", ("id", "question"))}  # noqa: C416 (rows of two, which a type cannot say)


def _responses(report: Report) -> dict[str, str]:
    """A correct response to each problem among the previewed ones, else the first, shortened."""
    found: dict[str, tuple[bool, str]] = {}
    for problem_id, outcome, words in _rows(report, "samples", ("problem", "outcome", "text")):
        right = outcome == Outcome.CORRECT.value
        if problem_id not in found or (right and not found[problem_id][0]):
            found[problem_id] = (right, words if len(words) <= _TEXT else f"{words[:_TEXT]} …")
    return {problem_id: words for problem_id, (_, words) in found.items()}


def _rows(report: Report, table: str, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for one in report.tables:
        if one.name == table and set(columns) <= set(one.columns):
            places = [one.columns.index(column) for column in columns]
            yield from (tuple(str(row[place]) for place in places) for row in one.rows)


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "backslashreplace")).hexdigest()


def _info(problem: _Problem, run: Run) -> TraceInfo:
    return TraceInfo(
        trace_id=problem.trace_id,
        trace_location=TraceLocation.from_experiment_id(run.info.experiment_id),
        request_time=run.info.start_time,
        execution_duration=0,
        state=TraceState.OK,
        request_preview=problem.request,
        response_preview=problem.response,
        trace_metadata={TraceMetadataKey.SOURCE_RUN: run.info.run_id},
        tags={TraceTagKey.TRACE_NAME: "problem"},
        assessments=[_assessment(problem, name, value, run) for name, value in problem.feedback.items()],
    )


def _assessment(problem: _Problem, name: str, value: float | bool, run: Run) -> Feedback:
    made = Feedback(
        name=name,
        value=value,
        source=AssessmentSource(AssessmentSourceType.CODE, "kurve"),
        trace_id=problem.trace_id,
        metadata={AssessmentMetadataKey.SOURCE_RUN_ID: run.info.run_id},  # without it the column stays hidden
        create_time_ms=run.info.start_time,
        last_update_time_ms=run.info.start_time,
    )
    made.assessment_id = f"a-{_digest(problem.trace_id, name)[:32]}"
    return made


def _span(problem: _Problem, run: Run) -> Span:
    """The trace's only span, with request and response, in the form in which MLflow stores one."""
    trace_id = bytes.fromhex(problem.trace_id.removeprefix("tr-"))
    return Span.from_dict({
        "trace_id": base64.b64encode(trace_id).decode(),
        "span_id": base64.b64encode(bytes.fromhex(problem.span_id)).decode(),
        "parent_span_id": None,
        "name": "problem",
        "start_time_unix_nano": run.info.start_time * 1_000_000,
        "end_time_unix_nano": run.info.start_time * 1_000_000,
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {
            SpanAttributeKey.REQUEST_ID: json.dumps(problem.trace_id),
            SpanAttributeKey.SPAN_TYPE: json.dumps("UNKNOWN"),
            SpanAttributeKey.INPUTS: problem.request,
            SpanAttributeKey.OUTPUTS: json.dumps(problem.response),
        },
        "events": [],
    })  # fmt: skip


def _start(client: TracingClient, traces: Sequence[TraceInfo], *, threads: int) -> None:
    """Send the traces, several at once; after the first failure no more."""
    with ThreadPoolExecutor(threads, thread_name_prefix="kurve-traces") as pool:
        try:
            requests = [pool.submit(client.start_trace, one) for one in traces]
            done, _ = wait(requests, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(cancel_futures=True)  # none is left unless one failed, or a person stopped us
    for request in done:
        request.result()


def _log_spans(client: TracingClient, run: Run, spans: list[Span]) -> bool:
    """Send spans; False for a server that takes none, where traces are compared all the same."""
    try:
        client.log_spans(run.info.experiment_id, spans)
    except NotImplementedError as error:
        _log.info("traces stay without spans: %s", error)
        return False
    except MlflowException as error:
        if error.get_http_status_code() not in _NOT_SERVED:
            raise
        _log.info("traces stay without spans: the server does not take them (%s)", error)
        return False
    return True
