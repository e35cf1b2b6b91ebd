"""The compare page over two runs of a million samples each: first paint, a page of samples, memory of the server."""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mlflow import MlflowClient

from benchmarks import Row
from kurve.samples_file import NAME
from tests.browser import chromium, installed
from tests.mlflow_plugins.compare.evaluations import log_evaluation
from tests.mlflow_plugins.servers import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

_PROBLEMS, _SAMPLES, _ROWS = 1_000, 1_000, 50  # rows of a page of the table of problems
_PAINT, _PAGE = 1.0, 0.3  # seconds
_REPEATS = 7
_TEXT = 4_000_000  # characters of random words, of which each response is a part
# From the click to the frame that shows what was asked for.
_CLICK = """([key, value, shown]) => new Promise((resolve) => {
  const place = document.querySelector("#samples .body");
  const began = performance.now();
  const done = () => requestAnimationFrame(() => setTimeout(() => resolve((performance.now() - began) / 1000)));
  new MutationObserver((_, watch) => { if (place.dataset.shown === shown) { watch.disconnect(); done(); } })
    .observe(place, { attributes: true });
  const control = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key);
  if (value === null) return control.click();
  control.value = value;
  control.dispatchEvent(new Event("change"));
})"""
# Before the page's own script: when both curves were there.
_WATCH = """new MutationObserver((_, watch) => {
  if (document.querySelectorAll("#curves path.curve").length < 2) return;
  watch.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.drawnAfter = performance.now() / 1000; }));
}).observe(document, { childList: true, subtree: true });"""
_NOTEBOOK = """
import sys, time
import pyarrow.dataset  # what read_table imports for its filters
from pyarrow.parquet import read_table
from benchmarks.processes import peak_bytes
before, started = peak_bytes(), time.perf_counter()
found = read_table(sys.argv[1], filters=[("id", "==", sys.argv[2]), ("outcome", "==", "wrong")])
assert found.slice(0, 10).to_pylist()
print(time.perf_counter() - started, peak_bytes() - before)
"""
_PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"


def run(quick: bool = False) -> list[Row]:
    """Five rows; `quick` keeps a tenth of the samples and repeats less. None where there is no Chromium."""
    if installed() is None:
        sys.stderr.write("bench page: left out, there is no chromium; make system-deps installs one\n")
        return []
    samples, repeats = (_SAMPLES // 10, 3) if quick else (_SAMPLES, _REPEATS)
    with tempfile.TemporaryDirectory(prefix="kurve-bench-") as folder:
        server = Server(Path(folder), "--app-name", "kurve")
        with _running(server):
            base, tuned = _evaluations(server, Path(folder), samples)
        with _running(server), chromium() as browser:  # started anew, so that nothing is read before
            at_first = server.memory
            page = browser.new_page(viewport={"width": 1500, "height": 1200})
            page.set_default_timeout(60_000)
            page.add_init_script(_WATCH)
            address = f"{server.uri}/kurve?experiment={_experiment(server)}"
            paints = [_painted(page, address) for _ in range(1 + repeats)]
            pages = _pages_of_samples(page, f"{address}&runs={base},{tuned}", repeats)
            grown = server.memory - at_first
        [file] = (Path(folder) / "files").glob(f"*/{tuned}/artifacts/kurve/{NAME}")
        notebook = min(_read_whole(file) for _ in range(3))
    what = f"compare page of 2 x {_PROBLEMS * samples:,} samples"
    return [*_paint_rows(what, paints), *_sample_rows(what, pages, notebook, grown)]


@contextmanager
def _running(server: Server) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.stop()


def _evaluations(server: Server, folder: Path, samples: int) -> tuple[str, str]:
    """Ids of two runs on the same problems, the second with the first as its base; texts of 200 to 400 characters."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(5_000)])
    text = " ".join(words[rng.integers(len(words), size=_TEXT // 8)])

    def response(problem: str, index: int) -> str:
        place = (int(problem[1:]) * 104_729 + index * 7_919) % (len(text) - 400)
        return text[place : place + 200 + index % 200]

    rates = rng.beta(0.5, 2.0, _PROBLEMS)
    found: list[str] = []
    for name, p in (("base", rates), ("tuned", np.clip(1.3 * rates, 0, 1))):
        tags = {"kurve.role": name} | ({"kurve.base_run_id": found[0]} if found else {})
        correct = rng.binomial(samples, p).tolist()
        found.append(
            log_evaluation(
                server.uri, folder / name, name=name, correct=correct, n=samples, response=response, tags=tags
            )
        )
        (folder / name / NAME).unlink()  # the server has it
    return found[0], found[1]


def _experiment(server: Server) -> str:
    return str(MlflowClient(server.uri).get_experiment_by_name("compare").experiment_id)


def _painted(page: "Page", address: str) -> tuple[float, float]:
    """Seconds from the request until something is painted, and until both curves are."""
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("table.problems tbody tr")
    page.wait_for_load_state("networkidle")
    return page.evaluate(_PAINTED), page.evaluate("window.drawnAfter")


def _pages_of_samples(page: "Page", address: str, repeats: int) -> list[float]:
    """Seconds from the click to the samples of base and tuned: problems all over the file, opened, filtered, paged."""
    found = []
    for place in np.linspace(0, _PROBLEMS - 1, repeats, dtype=int).tolist():
        page.goto(f"{address}&page={place // _ROWS}")
        page.wait_for_selector(f"tr[data-problem=p{place}]")
        page.wait_for_load_state("networkidle")
        for key, value, shown in (
            (f"problem-p{place}", None, f"p{place}//0"),
            ("samples-after", None, f"p{place}//10"),
            ("outcome", "wrong", f"p{place}/wrong/0"),
        ):
            found.append(float(page.evaluate(_CLICK, [key, value, shown])))
    return found


def _read_whole(file: Path) -> tuple[float, int]:
    """Seconds and bytes that a notebook takes for the same ten samples of one run, its imports left out."""
    words = [sys.executable, "-c", _NOTEBOOK, str(file), f"p{_PROBLEMS // 2}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    seconds, grown = done.stdout.split()
    return float(seconds), int(grown)


def _paint_rows(what: str, paints: list[tuple[float, float]]) -> list[Row]:
    cold, *warm = paints
    rows = []
    for which, name in enumerate(("first paint", "curves of both models drawn")):
        seconds = [one[which] for one in warm]
        median = statistics.median(seconds)
        detail = (
            f"median {_ms(median)} of {len(seconds)}, the slowest {_ms(max(seconds))}; the first after the server's "
            f"start {_ms(cold[which])}"
        )
        rows.append(Row(f"{what}, {name}, as a part of 1 s", median / _PAINT, 1.0, detail, at_most=True))
    return rows


def _sample_rows(what: str, pages: list[float], notebook: tuple[float, int], grown: int) -> list[Row]:
    first, *others = pages
    median, slowest = statistics.median(others), max(others)
    from_click = (
        f"the slowest of {len(others)} (opened, next, filtered), from the click until base and tuned are shown: "
        f"{_ms(slowest)}, median {_ms(median)}; the first after the server's start {_ms(first)}"
    )
    reading, held = notebook
    memory = (
        f"one worker grew by {grown / 2**20:.0f} MiB, for both runs and all parts of the page; the notebook by "
        f"{held / 2**20:.0f} MiB for one run"
    )
    return [
        Row(f"{what}, a page of samples, as a part of 300 ms", slowest / _PAGE, 1.0, from_click, at_most=True),
        Row(
            "the same page, against pyarrow's read_table with filters, as in a notebook",
            reading / median,
            None,
            f"{reading:.2f} s for ten samples of one run",
        ),
        Row("memory of the server for all of it, against the same notebook", held / grown, None, memory),
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
