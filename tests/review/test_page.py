"""The review page in a real browser, from a file, as a reviewer uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kurve.review.files import Shown
from kurve.review.page import sheet_page
from kurve.review.readback import matched, read_sheet
from kurve.review.rows import Row, sample_id
from kurve.types import Soundness
from tests.browser import chromium, shot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ATTACK = (
    "<script>window.attacked=1</script></script><img src=x onerror=\"window.attacked=1\"><!--"
    " \u2028\u2029 {{7*7}} ${7*7} @SCRIPT@ @DATA@ \ud800 </textarea><svg/onload=window.attacked=1>"
)  # fmt: skip
SHOWN = Shown(model=False, counts=True)


def rows(number: int = 5, text: str = "Step one.\n\nSo 4.") -> list[Row]:
    return [
        Row(sample_id("f", f"p{i}", i, text), f"p{i}", i, f"Question {i}?", "4", text, "4", 100, 3, "secret-model", "f")
        for i in range(number)
    ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def opened(browser: Browser, path: Path, **settings: Any) -> Page:
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 800}, **settings)
    page = context.new_page()
    page.set_default_timeout(20_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.goto(path.absolute().as_uri())
    assert problems == []
    return page


def sheet(tmp_path: Path, given: list[Row], title: str = "Review sheet: gsm8k") -> Path:
    path = tmp_path / "review.html"
    path.write_bytes(sheet_page(given, SHOWN, title=title))
    return path


def downloaded(page: Page, tmp_path: Path, button: str) -> Path:
    with page.expect_download() as event:
        page.click(button)
    path: Path = tmp_path / event.value.suggested_filename
    event.value.save_as(path)
    return path


def test_verdicts_by_keyboard_are_downloaded_and_read_back(browser: Browser, tmp_path: Path) -> None:
    given = rows()
    page = opened(browser, sheet(tmp_path, given))
    assert page.inner_text("#count") == "0 of 5 answered"
    page.keyboard.press("1")
    page.keyboard.press("c")
    page.keyboard.type("it says 3, not j")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.keyboard.press("3")
    assert page.inner_text("#count") == "3 of 5 answered"
    assert page.inner_text("#where") == "4 / 5"
    page.click("#save")
    assert "Enter your name" in page.inner_text("#notice")
    page.keyboard.type("Ann Lee")
    path = downloaded(page, tmp_path, "#save")
    assert path.name == "verdicts-Ann-Lee.json"
    found = [
        verdict for _, verdict in matched(read_sheet(path), {r.sample: (0, (r.problem_id, r.index)) for r in given}, "")
    ]
    assert [one.soundness for one in found] == [Soundness.SOUND, Soundness.UNSOUND, Soundness.UNSURE]
    assert [one.comment for one in found] == ["", "it says 3, not j", ""]
    assert {one.judge for one in found} == {"Ann Lee"}
    table = read_sheet(downloaded(page, tmp_path, "#save-csv"))
    assert [(one.sample, one.soundness, one.comment) for one in table] == [
        (one.sample, one.soundness, one.comment) for one in read_sheet(path)
    ]
    page.context.close()


def test_verdicts_stay_in_the_browser_and_move_to_another_one_with_the_download(
    browser: Browser, tmp_path: Path
) -> None:
    path = sheet(tmp_path, rows())
    page = opened(browser, path)
    page.fill("#judge", "ann")
    page.keyboard.press("Escape")
    for key in ("1", "2", "j", "1"):
        page.keyboard.press(key)
    kept = downloaded(page, tmp_path, "#save")
    page.reload()
    assert page.inner_text("#count") == "3 of 5 answered"
    assert page.inner_text("#where") == "3 / 5"
    assert page.input_value("#judge") == "ann"
    page.context.close()
    other = opened(browser, path)
    assert other.inner_text("#count") == "0 of 5 answered"
    other.set_input_files("#load", str(kept))
    other.get_by_text("3 verdicts loaded.").wait_for()
    assert other.inner_text("#count") == "3 of 5 answered"
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"format": "kurve-review-1", "verdicts": [{"sample": "s0", "verdict": "sound"}]}))
    other.set_input_files("#load", str(wrong))
    other.get_by_text("it belongs to another sheet").wait_for()
    other.context.close()


def test_the_filter_shows_what_is_unanswered_and_the_mouse_works_too(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, sheet(tmp_path, rows(3)))
    page.click("text=unsound")
    page.keyboard.press("ArrowRight")  # not the next radio button
    assert page.inner_text("#where") == "2 / 3"
    page.select_option("#filter", "open")
    page.locator("#filter").blur()
    page.keyboard.press("k")
    assert page.inner_text("#where") == "2 / 3"
    page.keyboard.press("1")
    page.keyboard.press("1")
    assert page.inner_text("#count") == "3 of 3 answered"
    assert page.is_visible("#empty")
    page.select_option("#filter", "all")
    page.locator("#filter").blur()
    page.keyboard.press("u")
    assert "All samples are answered" in page.inner_text("#notice")
    page.keyboard.press("0")
    assert page.inner_text("#count") == "2 of 3 answered"
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_of_models_are_shown_and_never_run(browser: Browser, tmp_path: Path, scheme: str) -> None:
    row = Row(sample_id("f", ATTACK, 0, ATTACK), ATTACK, 0, ATTACK, ATTACK, ATTACK, ATTACK, 100, 3, ATTACK, "f")
    path = tmp_path / "review.html"
    path.write_bytes(sheet_page([row, *rows(1)], Shown(model=True, counts=True), title=ATTACK))
    assert path.read_text(encoding="ascii").count("</script>") == 2
    page = opened(browser, path, color_scheme=scheme)
    for place in ("#question", "#reference", "#answer", "#response", "#title", "#facts"):
        assert "<script>window.attacked=1</script></script><img src=x" in page.inner_text(place)
        assert page.locator(f"{place} img, {place} script, {place} svg").count() == 0
    page.fill("#comment", ATTACK.replace("\ud800", ""))
    page.reload()
    page.wait_for_timeout(200)
    assert page.evaluate("window.attacked") is None
    shot(page, f"review-{scheme}")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shot(page, f"review-{scheme}-narrow")
    page.context.close()


def test_a_blind_page_does_not_hold_the_models_name() -> None:
    assert b"secret-model" not in sheet_page(rows(), SHOWN, title="t")
    assert b"secret-model" in sheet_page(rows(), Shown(model=True, counts=True), title="t")


def test_the_page_asks_for_nothing_outside_itself() -> None:
    page = sheet_page(rows(), SHOWN, title="t").decode()
    assert "default-src 'none'" in page
    assert "http:" not in page
    assert "https:" not in page
