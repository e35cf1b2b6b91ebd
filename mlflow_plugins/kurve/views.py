"""The saved chart view of an experiment: pass@k over log k for all its runs, bars of numbers, and images side by side.

MLflow has no API for it. A view is one experiment tag, `mlflow.sharedViewState.<id>`, whose value is JSON with the
name and the deflated state of the page. The format is private, so it is written only for the versions it was
looked at with, and a browser test keeps watch. Ours has the id `kurve`, and `kurve-sweep-<name>` for the runs of a
sweep; views that people saved are not touched.
"""

import base64
import binascii
import json
import logging
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from mlflow_plugins.kurve.describe import SWEEPS
from mlflow_plugins.kurve.firsts import write_shared

VIEW = "kurve"  # id of the experiment's view
_TAG = "mlflow.sharedViewState."
VIEW_TAG = f"{_TAG}{VIEW}"
MAX_VIEW_TAG = 20_000  # characters of an experiment tag
OLDEST, NEWEST = (3, 15), (3, 18)  # minor versions of the server whose format is known

_PREFIX = "deflate;"
_MAX_STATE = 1_000_000  # bytes; a larger one was not written by this module
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Charts:
    """What a benchmark shows beside its curves."""

    benchmark: str  # prefix of its metrics
    bars: Sequence[str]  # metrics to draw as bars, with the prefix; one that no run has stays hidden until one does
    images: Sequence[str] = ()  # keys of images to lay side by side


def view_url(browser: str, experiment_id: str, view: str = VIEW) -> str:
    """Where a person sees the view."""
    return f"{browser}/#/experiments/{quote(experiment_id)}/runs?viewStateShareKey={quote(view)}&compareRunsMode=CHART"


def sweep_view(sweep: str) -> str:
    """Id of the view of a sweep's runs."""
    return f"{VIEW}-sweep-{sweep}"


def save_sweep_view(client: MlflowClient, experiment_id: str, sweep: str) -> bool:
    """Give a sweep a view of its own runs, with the charts of the experiment's view; what it has stays as it is.

    Args:
        client: of the server or database.
        experiment_id: whose view.
        sweep: its name.

    Returns:
        Whether it is there; False for unknown server versions, and where it does not fit into a tag.
    """
    if not OLDEST <= server_version(client) <= NEWEST:
        return False
    tags = client.get_experiment(experiment_id).tags
    key = f"{_TAG}{sweep_view(sweep)}"
    state, charts = read_view(tags.get(key)), read_view(tags.get(VIEW_TAG))
    for part in ("compareRunCharts", "compareRunSections"):
        known = {_id(entry) for entry in state[part]}
        state[part] += [entry for entry in charts[part] if _id(entry) not in known]
    state["searchFilter"] = f"tags.`{SWEEPS}{sweep}` LIKE '%'"
    value = write_view(state, f"sweep {sweep} (kurve)")
    if len(value) > MAX_VIEW_TAG:
        _log.warning("no chart view of the sweep %s: the experiment's has too many charts", sweep)
        return False
    if read_view(tags.get(key)) != state:
        client.set_experiment_tag(experiment_id, key, value)
    return True


def save_view(client: MlflowClient, experiment_id: str, charts: Charts) -> bool:
    """Add a benchmark's charts to the experiment's view; what is there already, and its edits, stay.

    Args:
        client: of the server or database.
        experiment_id: whose view.
        charts: of the benchmark.

    Returns:
        Whether the view holds the benchmark now; False for unknown server versions and a full view.
    """
    version = server_version(client)
    if not OLDEST <= version <= NEWEST:
        _log.info("no saved chart view: its format is not known for MLflow %s", ".".join(map(str, version)))
        return False
    for _ in range(3):  # another run may write its own benchmark between our reading and writing
        before = client.get_experiment(experiment_id).tags.get(VIEW_TAG)
        state = read_view(before)
        if not add_benchmark(state, charts):
            return True
        value = write_view(state)
        if len(value) > MAX_VIEW_TAG:
            _log.warning("the saved chart view is full; it stays without charts of %s", charts.benchmark)
            return False
        write_shared(partial(client.set_experiment_tag, experiment_id, VIEW_TAG, value))
    return True


def server_version(client: MlflowClient) -> tuple[int, int]:
    """Major and minor version of the server, or of this MLflow for a database; (0, 0) if it does not tell."""
    version = str(mlflow.__version__)
    if client.tracking_uri.startswith(("http://", "https://")):
        try:
            answer = http_request(get_default_host_creds(client.tracking_uri), "/version", "GET")
        except MlflowException:
            return 0, 0
        version = answer.text if answer.status_code == 200 else ""
    parts = version.strip().split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit() else (0, 0)


def read_view(value: str | None) -> dict[str, Any]:
    """The page state in the tag's value; a new one when there is none or it cannot be read."""
    try:
        blob = json.loads(value or "")["state"]
        unpacked = zlib.decompressobj().decompress(base64.b64decode(blob.removeprefix(_PREFIX)), _MAX_STATE)
        state = json.loads(unpacked)
        if isinstance(state["compareRunCharts"], list) and isinstance(state["compareRunSections"], list):
            return dict(state)
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error, binascii.Error):
        pass
    return _empty()


def write_view(state: dict[str, Any], name: str = "pass@k (kurve)") -> str:
    """The tag's value for a page state, and what the list of views calls it."""
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    view = {"name": name, "createdAt": time.time_ns() // 1_000_000, "state": _PREFIX + packed}
    return json.dumps(view)


def add_benchmark(state: dict[str, Any], wanted: Charts) -> bool:
    """Append the charts that are not in the state yet, a chart that a person deleted included; whether any was."""
    benchmark = wanted.benchmark
    # MLflow puts a chart of every other metric into a section named like their prefix, which would bury ours.
    name = f"{benchmark}: pass@k"
    section, curve = _section_id(name), f"{benchmark}/pass_at_k"
    charts = [
        _line(section, [curve]),
        *(_bar(section, key) for key in wanted.bars),
        _line(section, [curve, f"{curve}_low", f"{curve}_high"]),
        # MLflow adds a chart for each metric without one, unless the view says that it was removed.
        *(_line(section, [f"{curve}_{edge}"]) | {"deleted": True} for edge in ("low", "high")),
    ]
    added = _add(state, charts, name, {"columns": 2, "cardHeight": 420})
    return _add_images(state, benchmark, wanted.images) or added


def _add_images(state: dict[str, Any], benchmark: str, keys: Sequence[str]) -> bool:
    """One card across the page, with a row a key and a column a run: cards of half the page have room for one run."""
    if not keys:
        return False
    name = f"{benchmark}: histograms"
    card = _card(_section_id(name), "IMAGE", [name])
    images = {"metricKey": keys[0], "imageKeys": list(keys), "step": 0, "showRunParams": False}
    known = next((one for one in state["compareRunCharts"] if _id(one) == card["uuid"]), None)
    if known is None:
        return _add(state, [card | images], name, {"columns": 1, "cardHeight": 560})
    missing = [key for key in keys if key not in known.get("imageKeys", ())]  # no run before had log-probabilities
    known["imageKeys"] = [*known.get("imageKeys", ()), *missing]
    return bool(missing)


def _add(state: dict[str, Any], charts: Sequence[dict[str, Any]], section: str, layout: Mapping[str, Any]) -> bool:
    known = {_id(chart) for chart in state["compareRunCharts"]}
    new = [chart for chart in charts if chart["uuid"] not in known]
    state["compareRunCharts"] += new
    if new and all(_id(entry) != _section_id(section) for entry in state["compareRunSections"]):
        made = {"uuid": _section_id(section), "name": section, "display": True, "isReordered": True}
        state["compareRunSections"].append({**made, **layout})
    return bool(new)


def _id(entry: object) -> object:
    return entry.get("uuid") if isinstance(entry, dict) else None


def _section_id(name: str) -> str:
    """Readable, since a digest could not be compressed, and the tag has room for 20,000 characters only."""
    return f"kurve/{name}"


def _empty() -> dict[str, Any]:
    return {
        "selectedColumns": ["attributes.`Source`", "attributes.`Dataset`"],
        "compareRunCharts": [],
        "compareRunSections": [],
        "runsHiddenMode": "SHOW_ALL",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "groupBy": None,
        "groupsExpanded": {},
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _card(section: str, kind: str, keys: Sequence[str]) -> dict[str, Any]:
    return {
        "uuid": str(uuid5(NAMESPACE_URL, f"kurve/{kind}/{'+'.join(keys)}")),
        "type": kind,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 20,
        "metricKey": keys[0],
    }


def _line(section: str, keys: Sequence[str]) -> dict[str, Any]:
    return _card(section, "LINE", keys) | {
        "selectedMetricKeys": list(keys),
        "lineSmoothness": 0,
        "xAxisScaleType": "log",
        "scaleType": "linear",
        "xAxisKey": "step",
        "range": {},
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "selectedXAxisMetricKey": "",
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": False,
    }


def _bar(section: str, key: str) -> dict[str, Any]:
    return _card(section, "BAR", [key])
