"""The page's files under `/kurve` and its JSON endpoints under `/ajax-api/2.0/kurve`.

All are GET and change nothing. MLflow refuses cross-site requests to `/ajax-api` by itself.
"""

import json
from collections.abc import Callable, Mapping
from functools import wraps
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, redirect, request
from mlflow.exceptions import MlflowException
from mlflow.server.handlers import _add_static_prefix

from mlflow_plugins.kurve.compare import problems, samples
from mlflow_plugins.kurve.compare.artifacts import active_run, missing, run_file
from mlflow_plugins.kurve.compare.asked import asked_choice, asked_number, asked_runs, asked_text
from mlflow_plugins.kurve.compare.evaluated import MOST_JSON, evaluated, read_json
from mlflow_plugins.kurve.compare.statistics import comparison_json, curve_json, perplexity_json
from mlflow_plugins.kurve.link import SCRIPT, STYLE

PAGE, API = "/kurve", "/ajax-api/2.0/kurve"
FILES = {
    "page.css": "text/css",
    **{f"{name}.js": "text/javascript" for name in ("main", "ask", "state", "elements", "choose", "axes", "curves")},
    **{f"{name}.js": "text/javascript" for name in ("bars", "findings", "kinds", "problems", "samples")},
    SCRIPT: "text/javascript",
    STYLE: "text/css",
}
ENDPOINTS = ("curves", "comparison", "problems", "samples", "sample", "perplexity")
UNPAIRED = ("refuse", "drop")

_FAR = 10_000_000  # an offset or index beyond every problem and sample
# Nothing but the page's own files: no inline script or style, no other host, no form, no frame around it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def blueprint() -> Blueprint:
    """The routes, with the server's static prefix."""
    made = Blueprint("kurve", __name__)
    page = _add_static_prefix(PAGE)
    made.add_url_rule(page, "page", _page)
    made.add_url_rule(f"{page}/", "slash", _without_slash)
    for name in FILES:
        made.add_url_rule(f"{page}/{name}", f"file-{name.replace('.', '-')}", _file(name))
    for name, view in _VIEWS.items():
        made.add_url_rule(_add_static_prefix(f"{API}/{name}"), name, _answered(view))
    return made


def page_paths() -> list[str]:
    """Paths that show nothing of any run, with the server's static prefix."""
    page = _add_static_prefix(PAGE)
    return [page, f"{page}/", *(f"{page}/{name}" for name in FILES)]


def data_paths() -> list[str]:
    """Paths that show something of every run in `runs`, with the server's static prefix."""
    return [_add_static_prefix(f"{API}/{name}") for name in ENDPOINTS]


def _page() -> Response:
    return _secured(Response(_content("index.html"), mimetype="text/html"), "no-cache")


def _without_slash() -> Any:
    """The page's links are relative, for proxies that serve MLflow under a path of their own."""
    query = f"?{request.query_string.decode('ascii', 'replace')}" if request.query_string else ""
    return redirect(f"../{PAGE.strip('/')}{query}", code=308)


def _file(name: str) -> Callable[[], Response]:
    def view() -> Response:
        response = _secured(Response(_content(name), mimetype=FILES[name]), "no-cache")
        response.add_etag()
        response.make_conditional(request)
        return response

    return view


def _content(name: str) -> bytes:
    return (files("mlflow_plugins.kurve.compare") / "page" / name).read_bytes()


def _secured(response: Response, cache: str) -> Response:
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cache-Control"] = cache
    return response


def _answered(view: Callable[[Mapping[str, str]], Mapping[str, Any]]) -> Callable[[], Response]:
    """JSON, errors in MLflow's own form; what was read of a run is kept by no cache."""

    @wraps(view)
    def answer() -> Response:
        try:
            body, status = json.dumps(view(request.args), allow_nan=False, separators=(",", ":")), 200
        except MlflowException as error:
            body, status = error.serialize_as_json(), error.get_http_status_code()
        return _secured(Response(body, status=status, mimetype="application/json"), "no-store")

    return answer


def _curves(arguments: Mapping[str, str]) -> Mapping[str, Any]:
    """Each run's curve, or why it has none: one bad run does not hide the others."""
    found = []
    for run_id in asked_runs(arguments):
        try:
            found.append(curve_json(evaluated(run_id)))
        except MlflowException as error:
            found.append({"run_id": run_id, "error": error.message})
    return {"curves": found}


def _comparison(arguments: Mapping[str, str]) -> Mapping[str, Any]:
    base, tuned = map(evaluated, asked_runs(arguments, 2, 2))
    return comparison_json(base, tuned, asked_choice(arguments, "unpaired", UNPAIRED))


def _problems(arguments: Mapping[str, str]) -> Mapping[str, Any]:
    base, tuned = map(evaluated, asked_runs(arguments, 2, 2))
    wanted = problems.Wanted(
        search=asked_text(arguments, "search"),
        coverage=asked_choice(arguments, "set", problems.SETS),
        stratum=asked_text(arguments, "stratum"),
        sort=asked_choice(arguments, "sort", problems.SORTS),
        offset=asked_number(arguments, "offset", 0, _FAR),
        limit=asked_number(arguments, "limit", 50, problems.MOST_ROWS),
    )
    return problems.problems_json(base, tuned, asked_choice(arguments, "unpaired", UNPAIRED), wanted)


def _samples(arguments: Mapping[str, str]) -> Mapping[str, Any]:
    [run_id] = asked_runs(arguments, 1, 1)
    return samples.samples_json(
        run_id,
        arguments.get("problem", ""),
        outcome=asked_choice(arguments, "outcome", samples.OUTCOMES),
        offset=asked_number(arguments, "offset", 0, _FAR),
        limit=asked_number(arguments, "limit", 10, samples.MOST_SAMPLES),
    )


def _sample(arguments: Mapping[str, str]) -> Mapping[str, Any]:
    [run_id] = asked_runs(arguments, 1, 1)
    return samples.sample_json(run_id, arguments.get("problem", ""), asked_number(arguments, "index", 0, _FAR * 10))


def _perplexity(arguments: Mapping[str, str]) -> Mapping[str, Any]:
    """Of a run of `kurve score`."""
    [run_id] = asked_runs(arguments, 1, 1)
    file = run_file(active_run(run_id), "perplexity/perplexity.json", MOST_JSON)
    found = perplexity_json(read_json(file)) if file else None
    if found is None:
        raise missing(f"the run {run_id} keeps no perplexities; it is no run of `kurve score`")
    return found


_VIEWS: Mapping[str, Callable[[Mapping[str, str]], Mapping[str, Any]]] = dict(
    zip(ENDPOINTS, (_curves, _comparison, _problems, _samples, _sample, _perplexity), strict=True)
)
