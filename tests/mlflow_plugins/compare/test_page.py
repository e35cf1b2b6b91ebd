"""The compare page on a real server: its endpoints, and what a person sees of it in a real browser."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mlflow import MlflowClient

from kurve.comparison import as_json, compare
from kurve.errors import ConfigError
from kurve.types import Tally
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.browser import chromium, shot
from tests.conftest import RunKurve
from tests.mlflow_plugins.compare.evaluations import ATTACK, log_evaluation
from tests.mlflow_plugins.servers import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

N = 16
BASE = (1, 2, 0, 3, 0, 1, 16, 0, 2, 1, 0, 4)
TUNED = (9, 12, 0, 0, 5, 0, 16, 0, 11, 8, 0, 15)
IDS = (ATTACK, *(f"p{place}" for place in range(1, len(BASE))))


@dataclass(frozen=True)
class Runs:
    server: Server
    experiment: str
    base: str
    tuned: str
    other: str  # on other problems, with a preview only


@pytest.fixture(scope="module")
def runs(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    base = log_evaluation(server.uri, folder / "base", name="base", correct=BASE, ids=IDS, tags={"kurve.role": "base"})
    tuned = log_evaluation(
        server.uri,
        folder / "tuned",
        name=ATTACK,
        correct=TUNED,
        ids=IDS,
        text=ATTACK,
        tags={"kurve.role": ATTACK, "kurve.base_run_id": base, "evil": ATTACK},
    )
    other = log_evaluation(server.uri, folder / "other", name="other", correct=(3, 0), ids=("p1", "q"), samples=False)
    experiment = MlflowClient(server.uri).get_experiment_by_name("compare")
    return Runs(server, str(experiment.experiment_id), base, tuned, other)


def expect(locator: Any) -> Any:
    """Playwright's patient assertion; its other one needs `eval`, which the page's policy forbids."""
    from playwright.sync_api import expect as patient

    return patient(locator)


def get(on: Runs, endpoint: str, **parameters: str) -> Any:
    words = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{on.server.uri}/ajax-api/2.0/kurve/{endpoint}?{words}") as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        return json.loads(answer.read())


def refused(on: Runs, endpoint: str, **parameters: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as error:
        get(on, endpoint, **parameters)
    return error.value.code, json.loads(error.value.read())["message"]


def tally(correct: tuple[int, ...]) -> Tally:
    counts = np.array(correct, dtype=np.int64)
    return Tally(IDS, np.full(len(IDS), N), counts, np.zeros_like(counts))


def test_the_numbers_are_those_of_kurve_compare(runs: Runs) -> None:
    names = ("base", ATTACK)
    expected = as_json(compare(tally(BASE), tally(TUNED), rng=np.random.default_rng(0), names=names), seed=0)
    found = get(runs, "comparison", runs=f"{runs.base},{runs.tuned}")
    assert {key: found[key] for key in expected} == json.loads(json.dumps(expected))


def test_a_curve_that_cannot_be_read_does_not_hide_the_others(runs: Runs) -> None:
    bad, good = get(runs, "curves", runs=f"missing,{runs.base}")["curves"]
    assert "missing" in bad["error"]
    assert good["name"] == "base"
    assert good["value"][0] == pytest.approx(sum(BASE) / N / len(BASE))
    assert sum(good["accuracy"]) == len(BASE)
    assert good["high_variance_from"] == N / 2


def test_models_on_other_problems_are_compared_where_they_meet_if_asked(runs: Runs) -> None:
    status, message = refused(runs, "comparison", runs=f"{runs.base},{runs.other}")
    assert status == 400
    assert "same problems" in message
    found = get(runs, "comparison", runs=f"{runs.base},{runs.other}", unpaired="drop")
    assert found["num_problems"] == 1
    assert found["left_out"]["number"] == len(IDS)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"set": "tuned_only"}, ["p4"]),
        ({"set": "base_only"}, ["p3", "p5"]),
        ({"set": "neither", "sort": "-id"}, ["p7", "p2", "p10"]),
        ({"search": "P1"}, ["p1", "p10", "p11"]),
        ({"search": "what is p1", "sort": "-accuracy", "limit": "1", "offset": "1"}, ["p1"]),
        ({"sort": "difference", "limit": "2"}, ["p3", "p5"]),
        ({"search": "no such problem"}, []),
        ({"offset": "99"}, []),
    ],
)
def test_problems_are_searched_filtered_sorted_and_cut_on_the_server(
    runs: Runs, parameters: dict[str, str], expected: list[str]
) -> None:
    found = get(runs, "problems", runs=f"{runs.base},{runs.tuned}", **parameters)
    assert [row["id"] for row in found["rows"]] == expected


def test_samples_come_in_pages_by_outcome(runs: Runs) -> None:
    found = get(runs, "samples", runs=runs.tuned, problem="p4", outcome="wrong", offset="2", limit="3")
    assert found["source"] == "all"
    assert found["total"] == N - 5
    assert found["outcomes"] == {"correct": 5, "wrong": N - 5}
    assert [one["index"] for one in found["samples"]] == [7, 8, 9]
    assert found["samples"][0]["text"] == f"{ATTACK} p4 7"
    assert get(runs, "sample", runs=runs.tuned, problem="p4", index="7")["answer"] == f"{ATTACK} 7"


def test_a_run_without_all_samples_shows_its_preview(runs: Runs) -> None:
    found = get(runs, "samples", runs=runs.other, problem="q", limit="1", offset="1")
    assert (found["source"], found["total"], found["samples"][0]["index"]) == ("preview", 2, 1)
    assert get(runs, "sample", runs=runs.other, problem="q", index="1")["text"] == "the answer q 1"


@pytest.mark.parametrize(
    ("endpoint", "parameters", "status"),
    [
        ("curves", {}, 400),
        ("curves", {"runs": ",".join(f"r{place}" for place in range(21))}, 400),
        ("curves", {"runs": "../../etc/passwd"}, 400),
        ("comparison", {"runs": "a"}, 400),
        ("comparison", {"runs": "a,a"}, 400),
        ("samples", {"runs": "missing"}, 404),
        ("perplexity", {"runs": "missing"}, 404),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    runs: Runs, endpoint: str, parameters: dict[str, str], status: int
) -> None:
    assert refused(runs, endpoint, **parameters)[0] == status


@pytest.mark.parametrize(
    "parameters", [{"sort": "DROP TABLE"}, {"limit": "-1"}, {"limit": "501"}, {"offset": "1e3"}, {"search": "x" * 501}]
)
def test_arguments_that_are_none_are_refused(runs: Runs, parameters: dict[str, str]) -> None:
    assert refused(runs, "problems", runs=f"{runs.base},{runs.tuned}", **parameters)[0] == 400


def test_runs_without_counts_or_deleted_are_told(runs: Runs) -> None:
    client = MlflowClient(runs.server.uri)
    empty = client.create_run(runs.experiment).info.run_id
    assert "keeps no counts.parquet" in get(runs, "curves", runs=empty)["curves"][0]["error"]
    status, message = refused(runs, "perplexity", runs=empty)
    assert (status, "kurve score" in message) == (404, True)
    client.delete_run(empty)
    assert "deleted" in get(runs, "curves", runs=empty)["curves"][0]["error"]


def test_damaged_files_are_told_without_a_path_of_the_server(runs: Runs, tmp_path: Path) -> None:
    client = MlflowClient(runs.server.uri)
    bad = client.create_run(runs.experiment).info.run_id
    for name in ("counts.parquet", "samples.parquet", "report.json"):
        (tmp_path / name).write_text("{damaged")
        client.log_artifact(bad, str(tmp_path / name), "kurve")
    for message in (
        get(runs, "curves", runs=bad)["curves"][0]["error"],
        refused(runs, "samples", runs=bad, problem="p1")[1],
    ):
        assert "again" in message
        assert str(runs.server.folder) not in message


@pytest.fixture(scope="module")
def page(runs: Runs) -> Iterator[Page]:
    with chromium() as browser:
        opened = browser.new_page(viewport={"width": 1500, "height": 1200}, color_scheme="light")
        opened.set_default_timeout(20_000)
        # The first requests of a server load modules; what is measured is the page.
        opened.goto(f"{runs.server.uri}/kurve?experiment={runs.experiment}&runs={runs.base},{runs.tuned}")
        opened.wait_for_selector("table.problems tbody tr")
        yield opened


def test_the_page_paints_within_a_second_and_shows_everything_it_was_asked_for(page: Page, runs: Runs) -> None:
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(f"{runs.server.uri}/kurve?experiment={runs.experiment}")
    page.wait_for_selector("table.problems tbody tr")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert paint < 1000
    assert page.locator("#curves path.curve").count() == 2
    assert page.locator("#difference path.band").count() == 1
    assert page.locator("#curves rect.unsure").count() == 1
    assert "gain" in page.inner_text("#findings")
    assert [page.inner_text(f"[data-set={name}] .big") for name in ("both", "base_only", "tuned_only", "neither")] == [
        "6", "2", "1", "3",
    ]  # fmt: skip
    assert page.locator("table.problems tbody tr").count() == len(IDS)
    assert not trouble
    shot(page, "compare-page")


def test_nothing_that_a_model_or_a_user_wrote_acts_in_the_page(page: Page, runs: Runs) -> None:
    page.goto(
        f"{runs.server.uri}/kurve?experiment={runs.experiment}&runs={runs.base},{runs.tuned}&search={ATTACK[:40]}"
    )
    page.locator("table.problems tbody tr button.link").first.click()
    page.wait_for_selector(".sample")
    assert ATTACK in page.inner_text(".pane:nth-child(2) .text >> nth=0")
    assert ATTACK in page.inner_text("#findings")
    assert ATTACK in page.inner_text("#runs")
    assert page.locator("main script, main img, main b").count() == 0
    assert page.evaluate("window.attacked") is None
    shot(page, "compare-hostile")


def test_inline_code_would_not_run_even_if_it_came_into_the_page(page: Page, runs: Runs) -> None:
    page.goto(f"{runs.server.uri}/kurve?experiment={runs.experiment}")
    page.evaluate("""() => {
        const script = document.createElement('script');
        script.textContent = 'window.attacked = 1';
        document.body.append(script);
        document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.attacked=1">');
    }""")
    page.wait_for_timeout(200)
    assert page.evaluate("window.attacked") is None


def test_a_view_is_its_address_and_the_back_button_undoes_a_step(page: Page, runs: Runs) -> None:
    page.goto(f"{runs.server.uri}/kurve?experiment={runs.experiment}&runs={runs.base},{runs.tuned}")
    page.locator("[data-set=base_only]").click()
    expect(page.locator("table.problems tbody tr")).to_have_count(2)
    page.locator("[data-key=sort-id]").click()
    page.locator("[data-key=problem-p5]").click()
    page.wait_for_selector(".sample")
    page.locator("[data-key=outcome]").select_option("wrong")
    page.wait_for_selector("[data-shown='p5/wrong/0']")
    page.locator("[data-key=samples-after]").click()
    page.wait_for_selector("[data-shown='p5/wrong/10']")
    address = page.url
    texts = page.locator(".sample .text").all_inner_texts()
    assert len(texts) == 11  # 5 of the base's 15 wrong samples, 6 of the tuned model's 16
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("[data-shown='p5/wrong/10']")
    assert page.locator(".sample .text").all_inner_texts() == texts
    assert page.locator("table.problems tbody tr").count() == 2
    page.goto(f"{runs.server.uri}/kurve?experiment={runs.experiment}&runs={runs.base},{runs.tuned}")
    page.wait_for_selector("[data-set=neither]")
    page.locator("[data-set=neither]").click()
    expect(page.locator("table.problems tbody tr")).to_have_count(3)
    page.go_back()
    expect(page.locator("table.problems tbody tr")).to_have_count(12)


def test_the_keyboard_alone_reads_the_chart_sorts_and_opens_a_problem(page: Page, runs: Runs) -> None:
    page.goto(f"{runs.server.uri}/kurve?experiment={runs.experiment}&runs={runs.base},{runs.tuned}")
    page.wait_for_selector("#curves .chart")
    page.locator("#curves .chart").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    said = page.locator("#curves .chart").get_attribute("aria-valuetext")
    assert said is not None
    assert said.startswith("k = 2, base ")
    page.locator("[data-key=sort-difference]").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("th[aria-sort=ascending]")
    assert page.evaluate("document.activeElement.dataset.key") == "sort-difference"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.key") == "problem-p3"
    page.keyboard.press("Enter")
    page.wait_for_selector(".sample")
    assert page.evaluate("document.activeElement.id") == "samples"


def test_a_second_tuned_model_and_another_base_are_a_click_away(page: Page, runs: Runs) -> None:
    page.goto(f"{runs.server.uri}/kurve?experiment={runs.experiment}&runs={runs.base},{runs.tuned}")
    page.wait_for_selector(".verdicts li")
    page.locator(f"[data-key=show-{runs.other}]").check()
    page.wait_for_selector("#unpaired button")
    page.locator("#unpaired button").click()
    expect(page.locator(".verdicts li")).to_have_count(2)
    page.locator(f"[data-key=base-{runs.tuned}]").check()
    expect(page.locator(".verdicts li").first).to_contain_text("against <script>")
    page.locator("[data-key=tuned]").select_option(runs.other)
    expect(page.locator("table.problems tbody tr")).to_have_count(1)


def test_a_page_of_samples_comes_at_once(page: Page, runs: Runs) -> None:
    page.goto(f"{runs.server.uri}/kurve?experiment={runs.experiment}&runs={runs.base},{runs.tuned}&problem=p6")
    page.wait_for_selector("[data-shown='p6//0']")
    start = time.perf_counter()
    page.locator("[data-key=samples-after]").click()
    page.wait_for_selector("[data-shown='p6//10']")
    assert time.perf_counter() - start < 3  # of a busy machine; alone and on a million samples: benchmarks


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1500), ("dark", 390)])
def test_the_page_fits_dark_and_narrow_screens(page: Page, runs: Runs, scheme: Any, width: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 1200})
    page.goto(f"{runs.server.uri}/kurve?experiment={runs.experiment}&runs={runs.base},{runs.tuned}&problem=p4")
    page.wait_for_selector(".sample")
    shot(page, f"compare-{scheme}-{width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    back, front = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert back == "rgb(15, 20, 25)"
    assert front == "rgb(230, 233, 237)"


@pytest.mark.parametrize("kept", ["auto", pytest.param("preview", marks=pytest.mark.slow)])
def test_an_evaluation_keeps_the_samples_that_the_page_shows(
    kurve_here: RunKurve, runs: Runs, tmp_path: Path, kept: str
) -> None:
    words = ("evaluate", "model=local", "model.path=unused/model", "sampler=scripted", "benchmark=arithmetic")
    settings = ("benchmark.limit=2", "num_samples=5", f"tracker.uri={runs.server.uri}", f"tracker.experiment={kept}")
    done = kurve_here(*words, *settings, f"tracker.samples={kept}", MLFLOW_DISABLE_TELEMETRY="true")
    assert done.returncode == 0, done.stderr
    client = MlflowClient(runs.server.uri)
    [run] = client.search_runs([client.get_experiment_by_name(kept).experiment_id])
    names = {item.path.rpartition("/")[2] for item in client.list_artifacts(run.info.run_id, "kurve")}
    assert ("samples.parquet" in names) == (kept == "auto")
    [report] = tmp_path.glob("outputs/runs/*/*evaluate*/report")
    assert not list(report.glob("**/samples.parquet"))  # the store has them
    counts = [json.loads(line) for line in (report / "counts.jsonl").read_text(encoding="utf-8").splitlines()]
    found = get(runs, "samples", runs=run.info.run_id, problem=counts[0]["id"], limit="9")
    assert found["source"] == ("all" if kept == "auto" else "preview")
    assert [one["index"] for one in found["samples"]] == list(range(5))
    assert found["outcomes"].get("correct", 0) == counts[0]["c"]


def test_another_word_for_the_samples_is_refused() -> None:
    with pytest.raises(ConfigError, match="samples"):
        MlflowTracker(samples="some")  # type: ignore[arg-type]  # what a person may write
