"""What a person sees in MLflow's pages, through a real browser."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from kurve.export import write_files
from kurve.observations import plain
from kurve.tracking import TimedPoint, now_ms
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.browser import chromium, shot
from tests.mlflow_plugins.measured import measured
from tests.mlflow_plugins.servers import Server
from tests.tracking_samples import HOSTILE, run_info

if TYPE_CHECKING:
    from playwright.sync_api import Page


SIZE = {"width": 2200, "height": 1300}


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as browser:
        opened = browser.new_page(viewport=SIZE)
        opened.set_default_timeout(60_000)
        yield opened


@pytest.fixture(scope="module")
def runs(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[MlflowTracker]:
    """Base and tuned model on one benchmark, one with a hostile name and texts, and one on another benchmark."""
    folder = tmp_path_factory.mktemp("files")
    found: list[MlflowTracker] = []
    for key, name, result in (
        ("aaaa", "base on gsm8k", measured([0, 1, 2, 4, 8, 0, 3, 1], nats=0.6, text=HOSTILE)),
        ("bbbb", "grpo on gsm8k", measured([0, 4, 6, 8, 8, 0, 0, 5], nats=0.2)),
        ("cccc", HOSTILE, measured([1] * 8, text=HOSTILE)),
        ("dddd", "base on math500", measured([0, 4, 6], benchmark="math500", nats=None)),
    ):
        tracker = MlflowTracker(uri=server.uri, experiment="browser")
        base = {"kurve.base_run_id": found[0].run_id, "kurve.role": "tuned"} if key in ("bbbb", "cccc") else {}
        tags = {"evil": HOSTILE, "kurve.benchmark": "gsm8k", "kurve.model": name, "kurve.role": "base"} | base
        tracker.start(run_info(key, name=name, params={"evil": HOSTILE}, tags=tags))
        noted = dataclasses.replace(result, notes=(HOSTILE,), model=plain(name))
        tracker.log_report(noted, write_files(noted, folder / key))
        tracker.finish("FINISHED")
        found.append(tracker)
    told = MlflowTracker(uri=server.uri)
    told.attach(found[1].run_id)
    told.log_points([TimedPoint("gsm8k/delta_se", 0.31, 0, now_ms())])
    told.log_tags({"kurve.verdict.gsm8k": f"gain at k = 1 to 4, {HOSTILE}"})
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
    assert {"gsm8k/pass_at_k", "gsm8k/pass_at_1", "gsm8k/delta_se"} <= set(text.split("\n"))
    assert "math500/delta_se" not in text  # which no run has: its card stays hidden
    assert page.evaluate("window.attacked") is None
    steps = page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')]
            .filter(p => p.layout && p.layout.xaxis && p.layout.xaxis.type === 'log')[0]
            .data.filter(d => d.x && d.x.length > 5)[0].x.slice(0, 5)"""
    )
    assert [int(step) for step in steps] == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_the_view_of_a_sweep_shows_its_runs_alone(page: Page, runs: list[MlflowTracker], server: Server) -> None:
    for run, job in zip(runs[:2], "ab", strict=True):
        told = MlflowTracker(uri=server.uri)
        told.attach(run.run_id)
        told.log_tags({"kurve.sweeps.two": job * 12})
    tracker = MlflowTracker(uri=server.uri, experiment="browser")
    info = run_info("eeee", name="sweep two", params={}, tags={"kurve.kind": "sweep", "kurve.sweep": "two"})
    tracker.start(dataclasses.replace(info, dataset_name=""))
    tracker.finish("FINISHED")
    assert "Curves of the sweep's runs" in tracker.hint
    page.goto(tracker.view_url)
    page.get_by_text("2 matching runs").first.wait_for()
    page.wait_for_function(
        """() => [...document.querySelectorAll('.js-plotly-plot')]
            .some(p => p.layout && p.layout.xaxis && p.layout.xaxis.type === 'log' && p.data.length >= 2)"""
    )
    page.wait_for_timeout(2000)
    shot(page, "sweep-view")
    text = page.inner_text("body")
    assert "base on gsm8k" in text
    assert "base on math500" not in text
    page.goto(tracker.url)
    link = page.get_by_text("pass@k of its runs").first
    link.wait_for()
    assert link.get_attribute("href").endswith("viewStateShareKey=kurve-sweep-two&compareRunsMode=CHART")


@pytest.mark.slow
def test_the_saved_view_lays_the_histograms_of_runs_side_by_side(page: Page, runs: list[MlflowTracker]) -> None:
    page.set_viewport_size({"width": 2200, "height": 2400})  # cards below the fold load nothing
    page.goto(runs[0].view_url)
    for key in ("accuracy", "perplexity"):
        for run in runs[:3]:
            image = page.locator(f"img[src*='gsm8k~{key}'][src*='{run.run_id}']").first
            image.wait_for()
            page.wait_for_function("image => image.complete && image.naturalWidth > 100", arg=image.element_handle())
    shot(page, "saved-view-images")
    page.set_viewport_size(SIZE)


def test_evaluation_runs_pairs_base_and_tuned_problem_by_problem(page: Page, runs: list[MlflowTracker]) -> None:
    base, tuned = runs[0], runs[1]
    address = tuned.url.partition("/runs/")[0]
    page.goto(f"{address}/evaluation-runs?selectedRunUuid={tuned.run_id}&compareToRunUuid={base.run_id}")
    page.get_by_text("8 of 8").wait_for()
    for words in ("pass_at_1", "solved_at_8", "0.48", "+0.19"):  # means of the tuned model, and what it gained
        page.get_by_text(words).first.wait_for()
    shot(page, "evaluation-runs")
    rows = page.locator("text=/wrong: |right: /")
    assert rows.count() == 16
    assert page.evaluate("window.attacked") is None


def test_the_compare_page_is_linked_in_the_description_and_the_verdict_is_told(
    page: Page, runs: list[MlflowTracker]
) -> None:
    base, tuned = runs[0], runs[1]
    page.goto(tuned.url)
    link = page.get_by_text("Compared with its base").first
    link.wait_for()
    assert "Against its base: gain at k = 1 to 4" in page.inner_text("body")
    assert page.evaluate("window.attacked") is None
    address = link.evaluate("link => link.href")
    assert address == tuned.url.partition("#")[0] + address.partition("/")[2].rpartition("/")[2]
    page.goto(address)
    page.get_by_text("What changed").first.wait_for()
    page.get_by_text("grpo on gsm8k").first.wait_for()
    assert f"runs={base.run_id}%2C{tuned.run_id}" in page.url.replace(",", "%2C")


@pytest.mark.slow
def test_the_run_page_lists_the_artifacts_and_shows_text_as_text(page: Page, runs: list[MlflowTracker]) -> None:
    page.goto(runs[2].url)
    page.wait_for_selector("text=evil")
    page.wait_for_timeout(1500)
    shot(page, "run-overview")
    assert "<script>" in page.inner_text("body")
    link = page.get_by_text("pass@k of all runs in this experiment").first
    assert link.get_attribute("href").endswith("/runs?viewStateShareKey=kurve&compareRunsMode=CHART")
    page.goto(f"{runs[2].url}/artifacts")
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
