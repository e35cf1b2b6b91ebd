"""The link to the compare page in MLflow's own pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import flask
import pytest
from mlflow import MlflowClient
from werkzeug.test import TestResponse

from kurve.errors import ConfigError
from mlflow_plugins.kurve.link import offer
from tests.browser import chromium, shot
from tests.mlflow_plugins.servers import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

INDEX = "<html><body><p>MLflow</p></body></html>"


@pytest.fixture
def app(tmp_path: Path) -> flask.Flask:
    """A server's app as far as the link sees it: a view that sends index.html."""
    (tmp_path / "index.html").write_text(INDEX)
    made = flask.Flask("server", static_folder=str(tmp_path))
    made.add_url_rule("/ml/", "serve", lambda: flask.send_from_directory(tmp_path, "index.html"))
    return made


def page(app: flask.Flask, **headers: str) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return app.test_client().get("/ml/", headers=named)


@pytest.mark.parametrize("value", [None, "", "0", "false"])
def test_without_the_switch_the_page_is_mlflows_own(
    app: flask.Flask, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("KURVE_UI_LINK", value)
    offer(app)
    assert page(app).text == INDEX


def test_with_it_two_tags_are_added_once(app: flask.Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURVE_UI_LINK", "1")
    offer(app)
    offer(app)
    served = page(app)
    added = re.fullmatch(r"<html><body><p>MLflow</p>(.+)</body></html>", served.text)
    assert added is not None
    assert re.findall(r'(?:src|href)="([^"]+)"', added[1]) == ["kurve/link.css", "kurve/link.js"]
    assert served.mimetype == "text/html"


def test_a_browser_that_has_the_page_without_the_link_gets_it_and_later_nothing_twice(
    app: flask.Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = page(app)
    monkeypatch.setenv("KURVE_UI_LINK", "1")
    offer(app)
    fresh = page(app, If_None_Match=stock.headers["ETag"], If_Modified_Since=stock.headers["Last-Modified"])
    assert fresh.status_code == 200
    assert "kurve/link.js" in fresh.text
    assert page(app, If_None_Match=fresh.headers["ETag"]).status_code == 304


@pytest.mark.parametrize("index", ["<html>another form of page", ""])
def test_a_page_that_has_no_place_for_it_is_served_as_it_is(
    app: flask.Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, index: str
) -> None:
    monkeypatch.setenv("KURVE_UI_LINK", "1")
    offer(app)
    (tmp_path / "index.html").write_text(index)
    assert page(app).text == index
    (tmp_path / "index.html").unlink()
    assert page(app).status_code == 404  # MLflow's own word for it


def test_a_server_without_that_view_is_left_alone_and_a_wrong_switch_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURVE_UI_LINK", "true")
    offer(flask.Flask("other"))
    monkeypatch.setenv("KURVE_UI_LINK", "please")
    with pytest.raises(ConfigError, match="KURVE_UI_LINK is 'please'; expected 1"):
        offer(flask.Flask("other"))


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server with the link and a prefix, and the id of its second experiment."""
    options = ("--app-name", "kurve", "--static-prefix", "/ml")
    server = Server(tmp_path_factory.mktemp("linked"), *options, environment={"KURVE_UI_LINK": "1"})
    server.start()
    root = f"{server.uri}/ml"
    yield root, str(MlflowClient(root).create_experiment("linked"))
    server.stop()


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    with chromium() as browser:
        opened = browser.new_page(viewport={"width": 1400, "height": 900})
        opened.set_default_timeout(60_000)
        yield opened


def contrast(page: Page, selector: str) -> float:
    """WCAG contrast of an element's text on its own background."""
    return float(
        page.evaluate(
            """(selector) => {
                const style = getComputedStyle(document.querySelector(selector));
                const light = (color) => {
                    const [r, g, b] = color.match(/\\d+/g).map(Number)
                        .map((one) => one / 255 <= 0.03928 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4);
                    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
                };
                const [dark, bright] = [light(style.color), light(style.backgroundColor)].sort((a, b) => a - b);
                return (bright + 0.05) / (dark + 0.05);
            }""",
            selector,
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_the_link_follows_the_experiment_and_is_the_first_stop_of_the_keyboard(
    browser_page: Page, linked: tuple[str, str], dark: bool
) -> None:
    root, experiment = linked
    page = browser_page
    page.goto(f"{root}/")
    page.evaluate("dark => localStorage.setItem('_mlflow_dark_mode_toggle_enabled', String(dark))", dark)
    page.goto("about:blank")
    page.goto(f"{root}/#/experiments/0/runs")
    page.wait_for_selector("#kurve-link")
    page.wait_for_selector("text=Default")
    # By MLflow's own router, which tells nobody that the address has changed.
    page.evaluate("id => window.history.pushState(null, '', `#/experiments/${id}/runs`)", experiment)
    page.wait_for_timeout(1000)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "kurve-link"
    assert page.locator("#kurve-link").get_attribute("href") == f"{root}/kurve?experiment={experiment}"
    assert contrast(page, "#kurve-link") > 7
    shot(page, f"stock-link-{'dark' if dark else 'light'}")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:text('Compare pass@k')")
    assert page.url.startswith(f"{root}/kurve?experiment={experiment}")
    page.wait_for_selector("#experiment option:checked:text('linked')", state="attached")


@pytest.mark.slow
def test_the_link_is_there_where_no_experiment_is_shown(browser_page: Page, linked: tuple[str, str]) -> None:
    root, _ = linked
    browser_page.goto(f"{root}/#/models")
    browser_page.wait_for_selector("#kurve-link")
    assert browser_page.locator("#kurve-link").get_attribute("href") == f"{root}/kurve"
