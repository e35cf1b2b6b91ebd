"""What the page shows besides the curves: kinds of problems, and perplexities that `kurve score` measured."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient

from mlflow_plugins.kurve.compare.statistics import perplexity_json
from tests.browser import chromium, shot
from tests.mlflow_plugins.compare.evaluations import ATTACK, log_evaluation, log_perplexities
from tests.mlflow_plugins.servers import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

KINDS = ("algebra", ATTACK, "number theory")
BASE = tuple(place % 6 for place in range(30))
TUNED = tuple(min(16, place % 6 + (8 if place % 3 == 0 else 1)) for place in range(30))
OTHER = tuple(15 - place % 9 for place in range(30))

FILE = {
    "unit": "token",
    "edges": [0.0, 0.5, 1.0],
    "distributions": [{"name": "base under base", "drawn_by": "base", "histogram": [3, 1]}],
}


def test_a_file_of_perplexities_becomes_names_bins_and_counts() -> None:
    assert perplexity_json(FILE) == {
        "unit": "token",
        "distributions": [{"name": "base under base", "drawn_by": "base", "edges": [0.0, 0.5, 1.0], "counts": [3, 1]}],
    }


@pytest.mark.parametrize(
    "damaged",
    [None, [], {}, {"distributions": []}, {"distributions": [1]}, FILE | {"edges": [0, 1]}, FILE | {"edges": "abc"}],
)
def test_a_damaged_file_of_perplexities_is_none(damaged: object) -> None:
    assert perplexity_json(damaged) is None


@dataclass(frozen=True)
class Shown:
    address: str
    base: str
    tuned: str
    other: str


@pytest.fixture(scope="module")
def shown(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Three models on problems of three kinds; the perplexities name them in another order than the page does."""
    folder, name = tmp_path_factory.mktemp("kinds"), "kinds"
    kinds = [KINDS[place % 3] for place in range(30)]

    def log(model: str, correct: tuple[int, ...], **tags: str) -> str:
        return log_evaluation(
            server.uri, folder / model, name=model, correct=correct, strata=kinds, experiment=name, tags=tags
        )

    base = log("base", BASE)
    tuned, other = (
        log(model, correct, **{"kurve.base_run_id": base}) for model, correct in (("grpo", TUNED), ("sft", OTHER))
    )
    log_perplexities(server.uri, folder / "scores", {"base": base, "sft": other, "grpo": tuned}, experiment=name)
    experiment = MlflowClient(server.uri).get_experiment_by_name(name).experiment_id
    words = urllib.parse.urlencode({"experiment": experiment, "runs": f"{base},{tuned},{other}"})
    return Shown(f"{server.uri}/kurve?{words}", base, tuned, other)


@pytest.fixture(scope="module")
def page(shown: Shown) -> Iterator[Page]:
    with chromium() as browser:
        opened = browser.new_page(viewport={"width": 1400, "height": 2400}, color_scheme="light")
        opened.set_default_timeout(60_000)
        opened.goto(shown.address)
        opened.wait_for_selector("#perplexity svg")
        opened.wait_for_selector("table.strata tbody tr")
        yield opened


def expect(locator: Any) -> Any:
    from playwright.sync_api import expect as patient

    return patient(locator)


@pytest.mark.slow
def test_each_kind_says_what_changed_and_shows_its_problems(page: Page, shown: Shown) -> None:
    page.goto(shown.address)
    rows = page.locator("table.strata tbody tr")
    expect(rows).to_have_count(3)
    text = page.inner_text("#kinds")
    assert "▲ +50.0" in text  # algebra: eight of sixteen more on each problem
    assert ATTACK in text
    assert page.locator("#kinds b, #kinds img").count() == 0
    page.locator("[data-key=kind-algebra]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("table.problems tbody tr")).to_have_count(10)
    assert "stratum=algebra" in page.url
    expect(page.locator("[data-key=kind-algebra]")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("document.activeElement.dataset.key") == "kind-algebra"
    page.keyboard.press("Enter")
    expect(page.locator("table.problems tbody tr")).to_have_count(30)
    page.locator("[data-key=tuned]").select_option(shown.other)
    expect(rows.first).to_contain_text("▲")
    assert "sft pass@1" in page.inner_text("#kinds thead")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_perplexities_have_the_colours_of_their_models_and_no_empty_ends(page: Page, shown: Shown, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(shown.address)
    page.wait_for_selector("#perplexity path.curve")
    page.wait_for_selector("#curves path.curve")
    page.wait_for_timeout(500)
    shot(page, f"compare-perplexity-{scheme}")
    assert page.locator("#perplexity path.curve").count() == 3

    def looks(place: str) -> dict[str, str]:
        entries = page.locator(f"{place} .readout .entry")
        found = {}
        for entry in entries.all():
            mark = entry.locator("line").get_attribute("class").replace("curve ", "")
            found[entry.locator(".name").inner_text().removesuffix(" under base")] = mark
        return found

    assert looks("#perplexity") == looks("#curves")
    page.locator("#perplexity .chart").focus()
    for key, place in (("Home", "first"), ("End", "last")):
        page.keyboard.press(key)
        values = page.locator("#perplexity .readout .value").all_inner_texts()
        assert values == ["0.0 % (0 samples)"] * 3, place
        page.keyboard.press("ArrowRight" if key == "Home" else "ArrowLeft")
        assert page.locator("#perplexity .readout .value").all_inner_texts() != values, place
    assert "to" in page.inner_text("#perplexity .readout strong")
