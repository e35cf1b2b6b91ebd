"""Refuses to let a protected alias name a version that no gate let pass, whoever asks and by whatever client.

Every route of the server that sets an alias is one function of MLflow's; it is replaced by one that looks first. What
runs before a request is handled, such as authentication, has run by then, in whatever order the app was put together.
The evidence is read and judged anew for each request (`kurve.gate_report.verify`), so that what was altered since
counts. Whatever goes wrong on the way is a refusal.

It does not stop who writes to the database or the artifact store directly, servers that are started without it, nor who
may log runs and makes evaluations up. `docs/promoting.md` says more.
"""

import logging
import os
import unicodedata
from collections.abc import Callable, Mapping
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flask import Flask
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.protos.model_registry_pb2 import SetRegisteredModelAlias
from mlflow.server import handlers

from kurve.errors import GateError, KurveError, TrackingError
from kurve.gate_report import GATE_FOLDER, GATE_KIND, GATE_REPORT, sha256, verify
from kurve.gate_settings import Gate, read_gate
from mlflow_plugins.kurve.describe import FOLDER, KIND_TAG
from mlflow_plugins.kurve.versions import REFUSED, read_decision, registered

PROTECTED_VARIABLE, GATE_VARIABLE = "KURVE_PROTECTED_ALIASES", "KURVE_GATE"
_PROTECTED = "champion"
_GATE = "default"
_MARK = "kurve.guard"  # in the app's extensions
_MOST_BYTES = 1 << 24  # of a gate report

_log = logging.getLogger(__name__)


def protect(flask_app: Flask) -> None:
    """Guard the protected aliases; a second call changes nothing.

    KURVE_PROTECTED_ALIASES names them, with commas between them (champion). KURVE_GATE is the gate that is the least a
    report may rest on: the name of one of kurve's own, or the path of a YAML file (default).

    Raises:
        ConfigError: KURVE_GATE names no gate.
        RuntimeError: the server has no route that sets an alias, so nothing would be guarded.
    """
    if _MARK in flask_app.extensions:
        return
    protected = frozenset(map(_folded, filter(None, os.environ.get(PROTECTED_VARIABLE, "").split(","))))
    floor = _floor(os.environ.get(GATE_VARIABLE, "").strip() or _GATE)
    setter = handlers.get_handler(SetRegisteredModelAlias)
    endpoints = [name for name, view in flask_app.view_functions.items() if view is setter]
    if not endpoints:
        raise RuntimeError("this MLflow sets aliases in a way that kurve does not know; its guard cannot work")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # the evidence of each request
    guarded = _guarded(setter, protected or frozenset({_PROTECTED}), floor)
    for name in endpoints:
        flask_app.view_functions[name] = guarded
    flask_app.extensions[_MARK] = floor


def _guarded(setter: Callable[[], Any], protected: frozenset[str], floor: Gate) -> Callable[[], Any]:
    def set_registered_model_alias() -> Any:
        # MLflow's own parser, so that both see the same model, alias and version.
        asked = handlers._get_request_message(SetRegisteredModelAlias())
        if _folded(asked.alias) in protected:
            _check(str(asked.name), str(asked.alias), str(asked.version), floor)
        return setter()

    guarded: Callable[[], Any] = handlers.catch_mlflow_exception(set_registered_model_alias)
    return guarded


def _check(name: str, alias: str, version: str, floor: Gate) -> None:
    """Refuse unless a gate let the version pass for the alias and still would."""
    try:
        _verify(name, alias, version, floor)
    except GateError as error:
        reason = str(error)
    except (KurveError, MlflowException) as error:
        reason = f"its evidence cannot be checked: {error}"
    except Exception as error:  # noqa: BLE001 fail closed: what nobody thought of must not open the gate
        _log.exception("checking %s version %s for the alias %s", name, version, alias)
        reason = f"its evidence cannot be checked ({type(error).__name__}); the server's log says more"
    else:
        return
    raise MlflowException(
        f"{REFUSED} the alias {alias!r} for {name} version {version}: {reason}. A protected alias needs a gate that "
        f"was passed: kurve promote model={name} version={version} alias={alias}",
        error_code=PERMISSION_DENIED,
    )


def _verify(name: str, alias: str, number: str, floor: Gate) -> None:
    version = registered(handlers._get_model_registry_store().get_model_version(name, number))
    decision = read_decision(version.tags, alias)
    if not decision:
        raise GateError("no gate has judged it for this alias")
    if decision.get("outcome") != "passed":
        raise GateError(f"the gate {decision.get('gate')!r} said {decision.get('outcome')}")
    runs = _ServerRuns()
    run_id = decision.get("run_id", "")
    if runs.tags(run_id).get(KIND_TAG) != GATE_KIND:
        raise GateError(f"the run {run_id} is not that of a gate")
    with TemporaryDirectory(prefix="kurve-") as folder:
        path = runs.fetch(run_id, f"{GATE_FOLDER}/{GATE_REPORT}", Path(folder))
        if path.stat().st_size > _MOST_BYTES:
            raise GateError("its gate report is larger than any gate writes")
        content = path.read_bytes()
    if sha256(content) != decision.get("sha256"):
        raise GateError(f"its gate report was altered since: that of the run {run_id} has another sha256")
    verify(content, version, alias, floor=floor, runs=runs)


class _ServerRuns:
    """Runs as the server holds them, whoever may see them; a deleted one does not count."""

    def tags(self, run_id: str) -> Mapping[str, str]:
        return {str(key): str(value) for key, value in self._run(run_id).data.tags.items()}

    def fetch(self, run_id: str, file: str, folder: Path) -> Path:
        uri = self._run(run_id).info.artifact_uri
        path = f"{FOLDER}/{file}"
        # As MLflow's own route for artifacts finds them.
        if handlers._is_servable_proxied_run_artifact_root(uri):
            repository = handlers._get_artifact_repo_mlflow_artifacts()
            path = handlers._get_proxied_run_artifact_destination_path(uri, path)
            path = handlers._get_workspace_scoped_repo_path_if_enabled(path)
        else:
            repository = handlers._get_artifact_repository_for_uri(uri)
        try:
            return Path(repository.download_artifacts(path, dst_path=str(folder)))
        except OSError as error:
            raise TrackingError(f"the run {run_id} has no file {FOLDER}/{file}") from error

    def _run(self, run_id: str) -> Any:
        run = handlers._get_tracking_store().get_run(run_id)
        if run.info.lifecycle_stage != "active":
            raise TrackingError(f"the run {run_id} was deleted")
        return run


def _floor(name: str) -> Gate:
    own = files("kurve.conf") / "gate" / f"{name}.yaml"
    if "/" not in name and own.is_file():
        with as_file(own) as path:
            return read_gate(path)
    return read_gate(Path(name))


def _folded(alias: str) -> str:
    """One form for names that some database takes for the same."""
    return unicodedata.normalize("NFKC", alias).strip().casefold()
