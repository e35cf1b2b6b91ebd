"""What keeps the page quick over many samples; how quick it is: benchmarks/bench_page.py."""

import json
import random
import urllib.parse
import urllib.request

import pytest
from mlflow import MlflowClient

from tests.browser import chromium
from tests.mlflow_plugins.compare.evaluations import log_evaluation
from tests.mlflow_plugins.servers import Server

PROBLEMS, N = 100, 600
LETTERS = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=2_000_000))


def response(problem: str, index: int) -> str:
    """300 letters that no sample nearby has, so that zstd cannot make the file small."""
    place = (int(problem[1:]) * N + index) * 307 % (len(LETTERS) - 300)
    return LETTERS[place : place + 300]


@pytest.fixture(scope="module")
def large(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Ids of two runs of 60,000 samples each."""
    folder = tmp_path_factory.mktemp("large")

    def logged(name: str, **tags: str) -> str:
        correct = [N // 3] * PROBLEMS
        return log_evaluation(
            server.uri, folder / name, name=name, correct=correct, n=N, response=response, experiment="large", tags=tags
        )

    base = logged("base")
    return base, logged("tuned", **{"kurve.base_run_id": base})


def samples(server: Server, run: str, problem: str, **more: str) -> list[dict[str, object]]:
    words = urllib.parse.urlencode({"runs": run, "problem": problem, **more})
    with urllib.request.urlopen(f"{server.uri}/ajax-api/2.0/kurve/samples?{words}") as answer:
        return list(json.loads(answer.read())["samples"])


@pytest.mark.slow
def test_a_page_of_samples_costs_a_small_part_of_the_file_wherever_it_is(
    server: Server, large: tuple[str, str]
) -> None:
    run, _ = large
    [file] = (server.folder / "files").glob(f"*/{run}/artifacts/kurve/samples.parquet")
    samples(server, run, "p0")  # modules, and the footer, which is read once
    for problem in ("p1", f"p{PROBLEMS // 2}", f"p{PROBLEMS - 1}"):
        before = server.bytes_read
        found = samples(server, run, problem, outcome="wrong", offset=str(N // 3))
        assert [one["text"] for one in found] == [response(problem, 2 * N // 3 + i) for i in range(10)]
        assert server.bytes_read - before < file.stat().st_size / 20


@pytest.mark.slow
def test_the_first_view_asks_for_no_sample(server: Server, large: tuple[str, str]) -> None:
    experiment = MlflowClient(server.uri).get_experiment_by_name("large").experiment_id
    with chromium() as browser:
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(urllib.parse.urlsplit(request.url).path.rpartition("/")[2]))
        page.goto(f"{server.uri}/kurve?experiment={experiment}")
        page.wait_for_selector("#curves path.curve >> nth=1", state="attached")
        page.wait_for_selector("table.problems tbody tr")
        assert {"curves", "comparison", "problems"} <= set(asked)
        assert "samples" not in asked
        page.locator("[data-key=problem-p7]").click()
        page.wait_for_selector("[data-shown='p7//0']")
        assert asked.count("samples") == len(large)
