"""What a person sees in MLflow's pages, through a real browser."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from matplotlib.figure import Figure

from kurve.types import Table
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.browser import chromium, shot
from tests.mlflow_plugins.servers import Server
from tests.tracking_samples import HOSTILE, report, run_info

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as browser:
        opened = browser.new_page(viewport={"width": 1500, "height": 1300})
        opened.set_default_timeout(60_000)
        yield opened


@pytest.fixture(scope="module")
def runs(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[MlflowTracker]:
    """Two models on one benchmark, the second with a hostile name, and one on another benchmark."""
    folder = tmp_path_factory.mktemp("files")
    drawing = Figure(figsize=(3, 2))
    drawing.subplots().plot([1, 2, 4], [0.1, 0.4, 0.6])
    picture = io.BytesIO()
    drawing.savefig(picture, format="png")
    (folder / "pass_at_k.png").write_bytes(picture.getvalue())
    (folder / "curve.json").write_text('{"k": [1, 2]}')
    attack = (
        HOSTILE.encode("utf-8", "backslashreplace").decode().replace('"', "'").replace("\\", "/").replace("\x00", "")
    )
    (folder / "samples.json").write_text(f'{{"columns": ["problem", "text"], "data": [["a", "{attack}"]]}}')
    files = sorted(folder.iterdir())
    table = Table("samples", ("problem", "text"), (("a", attack),))
    found = []
    for key, name, benchmark, height in (
        ("aaaa", "base on gsm8k", "gsm8k", 0.95),
        ("bbbb", HOSTILE, "gsm8k", 0.7),
        ("cccc", "base on math500", "math500", 0.8),
    ):
        tracker = MlflowTracker(uri=server.uri, experiment="browser")
        tracker.start(run_info(key, name=name, params={"evil": HOSTILE}, tags={"evil": HOSTILE}))
        result = report(1024, benchmark=benchmark, height=height, tables=(table,), notes=(HOSTILE,))
        tracker.log_report(result, files)
        tracker.finish("FINISHED")
        found.append(tracker)
    return found


def test_the_saved_view_shows_the_curves_over_a_log_axis(page: Page, runs: list[MlflowTracker]) -> None:
    page.goto(runs[0].view_url)
    page.wait_for_selector(".js-plotly-plot .xtick text")
    page.wait_for_function(
        """() => [...document.querySelectorAll('.js-plotly-plot')]
            .some(p => p.layout && p.layout.xaxis && p.layout.xaxis.type === 'log' && p.data.length >= 2)"""
    )
    page.wait_for_timeout(2000)
    shot(page, "saved-view")
    text = page.inner_text("body")
    assert "gsm8k/pass_at_k" in text
    assert "gsm8k/pass_at_1" in text
    assert page.evaluate("window.attacked") is None
    steps = page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')]
            .filter(p => p.layout && p.layout.xaxis && p.layout.xaxis.type === 'log')[0]
            .data.filter(d => d.x && d.x.length > 50)[0].x.slice(0, 5)"""
    )
    assert [int(step) for step in steps] == [1, 2, 3, 4, 5]


def test_the_run_page_lists_the_artifacts_and_shows_text_as_text(page: Page, runs: list[MlflowTracker]) -> None:
    page.goto(runs[1].url)
    page.wait_for_selector("text=evil")
    page.wait_for_timeout(1500)
    shot(page, "run-overview")
    assert "<script>" in page.inner_text("body")
    link = page.get_by_text("pass@k of all runs in this experiment").first
    assert link.get_attribute("href").endswith("/runs?viewStateShareKey=kurve&compareRunsMode=CHART")
    page.goto(f"{runs[1].url}/artifacts")
    page.get_by_text("kurve", exact=True).first.click()
    for name in ("config.yaml", "curve.json", "pass_at_k.png", "samples.json", "versions.json"):
        page.get_by_text(name, exact=True).first.wait_for()
    page.get_by_text("pass_at_k.png", exact=True).first.click()
    page.wait_for_timeout(1500)
    shot(page, "run-artifacts")
    page.get_by_text("samples.json", exact=True).first.click()
    page.wait_for_timeout(2500)
    shot(page, "run-samples")
    assert page.evaluate("window.attacked") is None
