"""The server behind the compare page, by every way to start it. Each test starts a server of its own."""

import json
from pathlib import Path

import pytest

from mlflow_plugins.kurve.compare.routes import FILES
from tests.mlflow_plugins.compare.evaluations import log_evaluation
from tests.mlflow_plugins.servers import ask, serving

pytestmark = pytest.mark.slow  # a server takes ten seconds of CPU to start

API = "/ajax-api/2.0/kurve"
LINK = {"KURVE_UI_LINK": "1"}


def shows_the_page_and_everything_else(root: str, runs: str) -> None:
    """The page, its files, its endpoints, and MLflow's own pages and REST."""
    page = ask(f"{root}/kurve")
    assert page.status == 200
    policy = {key.lower(): value for key, value in page.headers.items()}["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert all(ask(f"{root}/kurve/{name}").status == 200 for name in FILES)
    assert ask(f"{root}/kurve/?a=b").body == page.body  # redirected
    assert ask(f"{root}/kurve/../app.py").status == ask(f"{root}/kurve/index.html").status == 404
    assert json.loads(ask(f"{root}{API}/curves?runs={runs}").body)["curves"][0]["name"] == "model"
    assert json.loads(ask(f"{root}{API}/samples?runs={runs}&problem=p0").body)["total"] == 16
    stock = ask(f"{root}/")
    assert stock.status == 200
    assert b'src="kurve/link.js"' in stock.body
    search = f"{root}/ajax-api/2.0/mlflow/experiments/search"
    assert ask(search, method="POST", body={"max_results": 5}).status == 200


def test_under_uvicorn_behind_its_host_check(tmp_path: Path) -> None:
    with serving(tmp_path, "--app-name", "kurve", environment=LINK) as server:
        run = log_evaluation(server.uri, tmp_path / "report", name="model", correct=(1, 2))
        shows_the_page_and_everything_else(server.uri, run)
        assert ask(f"{server.uri}/kurve", host="evil.example").status == 403
        assert ask(f"{server.uri}{API}/curves?runs={run}", host="evil.example").status == 403


def test_under_gunicorn_with_a_static_prefix(tmp_path: Path) -> None:
    options = ("--app-name", "kurve", "--gunicorn-opts", "--log-level info", "--static-prefix", "/ml")
    with serving(tmp_path, *options, environment=LINK) as server:
        run = log_evaluation(f"{server.uri}/ml", tmp_path / "report", name="model", correct=(1, 2))
        shows_the_page_and_everything_else(f"{server.uri}/ml", run)
        assert ask(f"{server.uri}/kurve").status == 404
        assert ask(f"{server.uri}{API}/curves?runs={run}").status == 404
