"""`kurve review` as a user types it, on stores with known verdicts."""

import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kurve.benchmarks.rows import Benchmark
from kurve.commands.build import build
from kurve.commands.stopping import record_design
from kurve.metrics.passk import pass_at_k
from kurve.store import ReviewStore, SampleStore, VerdictStore, list_judges
from kurve.types import Outcome, Prompt, Sample, StoppingRule, Verdict
from tests.commands.test_evaluate import GSM8K_ROWS
from tests.composing import composed
from tests.conftest import RunKurve, started
from tests.review.judging import judge_server
from tests.store.support import SPEC

N = 50
SOLVED = (1, 2, 20, 0)  # correct samples of each problem; the first two are below 5 %
GSM8K = ("benchmark=gsm8k", "benchmark.path=problems.jsonl")


def make_store(root: Path, benchmark: Benchmark, *, seed: str = "0", solved: tuple[int, ...] = SOLVED) -> Path:
    spec = replace(SPEC, benchmark=benchmark.name, seed=seed, model=f"org/model-{seed}")
    with SampleStore.open(root, spec) as store:
        store.record_prompts(
            [Prompt(one.id, text=one.question) for one in benchmark.problems],
            {one.id: one.question for one in benchmark.problems},
        )
        verdicts = []
        for one, c in zip(benchmark.problems, solved, strict=True):
            for index in range(N):
                store.append(Sample(one.id, index, f"{seed}: attempt {index} <b>at</b> {one.id}", "stop", 5))
                outcome = Outcome.CORRECT if index < c else Outcome.WRONG
                verdicts.append(Verdict(one.id, index, outcome, one.reference.raw if index < c else "no"))
        with VerdictStore.open(store, "v1.aaaaaa") as log:
            log.append_many(verdicts)
    return store.folder


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in GSM8K_ROWS), encoding="utf-8")
    cfg = composed("review", "samples=x", "benchmark=gsm8k", f"benchmark.path={path}")
    found: Benchmark = build(cfg.benchmark, "benchmark")
    return found


@pytest.fixture
def store(tmp_path: Path, benchmark: Benchmark) -> Path:
    return make_store(tmp_path / "outputs" / "samples", benchmark)


def newest(folder: Path, name: str) -> Path:
    return max((folder / "outputs" / "runs").glob(f"*/*/review/**/{name}"), key=lambda path: path.stat().st_mtime_ns)


def sheet(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(newest(folder, "review.parquet")).to_pylist()
    return rows


def download(folder: Path, judge: str, verdicts: Mapping[str, str]) -> str:
    entries = [{"sample": sample, "verdict": word} for sample, word in verdicts.items()]
    path = folder / f"{judge}.json"
    path.write_text(json.dumps({"format": "kurve-review-1", "judge": judge, "verdicts": entries}))
    return path.name


def test_the_sheet_holds_the_correct_samples_of_the_hardest_solved_problems(
    kurve_here: RunKurve, tmp_path: Path, store: Path, benchmark: Benchmark
) -> None:
    done = kurve_here("review", f"samples={store.name}", "tracker=dir", *GSM8K)
    assert done.returncode == 0, done.stderr
    assert "3 correct samples of 2 problems (accuracy in (0, 5 %))" in done.stdout
    rows = sheet(tmp_path)
    first, second, *_ = benchmark.problems
    assert sorted((row["problem_id"], row["index"]) for row in rows) == sorted(
        [(first.id, 0), (second.id, 0), (second.id, 1)]
    )
    assert {row["reference"] for row in rows} == {first.reference.raw, second.reference.raw}
    assert all((row["num_samples"], row["accuracy"]) == (N, row["num_correct"] / N) for row in rows)
    page = newest(tmp_path, "review.html").read_text()
    assert "model-0" not in page
    assert "\\u003cb\\u003eat\\u003c/b\\u003e" in page
    [run] = (tmp_path / "outputs" / "tracking").glob("review-sheet*/")
    assert {path.name for path in run.rglob("review.*")} == {"review.html", "review.parquet", "review.csv"}


def test_verdicts_read_back_give_cot_pass_at_k_with_its_bounds(
    kurve_here: RunKurve, tmp_path: Path, store: Path, benchmark: Benchmark
) -> None:
    assert kurve_here("review", f"samples={store}", "tracker=none").returncode == 0
    first, second, *_ = benchmark.problems
    by_place = {(row["problem_id"], row["index"]): row["sample"] for row in sheet(tmp_path)}
    given = {by_place[first.id, 0]: "sound", by_place[second.id, 0]: "unsound", by_place[second.id, 1]: "sound"}
    name = download(tmp_path, "ann", given)
    done = kurve_here("review", f"samples={store}", f"sheet={name}", "tracker=dir")
    assert done.returncode == 0, done.stderr
    assert "3 new verdicts stored" in done.stdout
    assert "2 sound, 1 unsound by majority of 1 judges, 0 without a ruling" in done.stdout
    assert "the 20 correct samples of other problems count as sound" in done.stdout
    document = json.loads(newest(tmp_path, "cot_pass_at_k.json").read_text())
    curves = document["rules"]["majority"]["curves"]
    exact = pass_at_k([N] * 4, [1, 1, 20, 0])
    assert curves["cot_pass_at_k"]["value"] == pytest.approx(exact)
    assert curves["pass_at_k"]["value"] == pytest.approx(pass_at_k([N] * 4, SOLVED))
    assert curves["cot_pass_at_k_least"]["value"] == pytest.approx(pass_at_k([N] * 4, [1, 1, 0, 0]))
    assert curves["cot_pass_at_k_reviewed"]["value"] == pytest.approx(pass_at_k([N] * 2, [1, 1]))
    again = kurve_here("review", f"samples={store}", f"sheet={name}", "tracker=dir")
    assert "0 new verdicts stored" in again.stdout
    assert len(list((tmp_path / "outputs" / "tracking").glob("review-of*/"))) == 1


@pytest.mark.slow
def test_base_and_tuned_are_mixed_blind_and_each_gets_its_own_verdicts(
    kurve_here: RunKurve, tmp_path: Path, store: Path, benchmark: Benchmark
) -> None:
    tuned = make_store(tmp_path / "outputs" / "samples", benchmark, seed="1", solved=(2, 0, 50, 0))
    assert kurve_here("review", f"samples={store},{tuned.name}", "tracker=none").returncode == 0
    rows = sheet(tmp_path)
    assert len(rows) == 5
    assert {row["num_correct"] for row in rows} == {None}
    name = download(tmp_path, "ann", {row["sample"]: "sound" for row in rows})
    done = kurve_here("review", f"samples={tuned},{store}", f"sheet={name}", "tracker=dir")
    assert done.returncode == 0, done.stderr
    kept = []
    for folder in (store, tuned):
        samples = SampleStore.open_folder(folder)
        assert list_judges(samples) == ["ann"]
        kept.append(len(ReviewStore.open(samples, "ann", read_only=True).verdicts()))
    assert kept == [3, 2]
    assert done.stdout.count("CoT-pass@1 ") == 2
    assert len(list((tmp_path / "outputs" / "tracking").glob("review-of*/"))) == 2


@pytest.mark.slow
def test_two_judges_are_compared_and_a_changed_mind_needs_revise(
    kurve_here: RunKurve, tmp_path: Path, store: Path
) -> None:
    assert kurve_here("review", f"samples={store}", "tracker=none").returncode == 0
    samples = [row["sample"] for row in sheet(tmp_path)]
    ann = download(tmp_path, "ann", dict.fromkeys(samples, "sound"))
    bob = download(tmp_path, "bob", dict(zip(samples, ("sound", "unsound", "unsure"), strict=True)))
    done = kurve_here("review", f"samples={store}", f"sheet={ann},{bob}", "rule=all", "tracker=none")
    assert done.returncode == 0, done.stderr
    assert "agreement of ann and bob: 33% on 3 samples" in done.stdout
    assert "by all of 2 judges" in done.stdout
    assert "by any: CoT-pass@1" in done.stdout
    changed = download(tmp_path, "ann", {samples[0]: "unsound"})
    refused = kurve_here("review", f"samples={store}", f"sheet={changed}", "tracker=none")
    assert refused.returncode == 2
    assert "revise=true" in refused.stderr
    revised = kurve_here("review", f"samples={store}", f"sheet={changed}", "revise=true", "judges=ann", "tracker=none")
    assert "1 new verdicts stored" in revised.stdout
    assert "2 sound, 1 unsound by majority of 1 judges" in revised.stdout


def test_a_judge_is_asked_what_it_has_not_said_and_its_failures_are_counted_apart(
    kurve_here: RunKurve, tmp_path: Path, store: Path, benchmark: Benchmark
) -> None:
    pytest.importorskip("openai", reason="the openai package is not installed")
    second = benchmark.problems[1]

    def answer(body: dict[str, Any]) -> str | int | dict[str, Any]:
        text = body["messages"][1]["content"]
        return 400 if f"attempt 1 <b>at</b> {second.id}" in text else "It holds.\nVERDICT: SOUND"

    with judge_server(answer) as server:
        words = ["review", f"samples={store}", "judge=openai", f"judge.base_url={server.url}", "judge.model=judge-7b"]
        words += ["judge.repeats=2", "judge.retries=0", "tracker=none"]
        done = kurve_here(*words)
        assert done.returncode == 0, done.stderr
        assert len(server.bodies) == 6
        assert "2 sound, 0 unsound by majority of 2 judges, 1 without a ruling" in done.stdout
        assert "2 verdicts failed and count as none" in done.stdout
        server.bodies.clear()
        assert kurve_here(*words).returncode == 0
        assert len(server.bodies) == 2  # the failed ones alone
    samples = SampleStore.open_folder(store)
    assert [name.partition("@")[0] for name in list_judges(samples)] == ["judge-7b"] * 2


@pytest.mark.slow  # the store's own test kills faster
def test_killing_a_review_costs_the_verdicts_under_way_only(tmp_path: Path, store: Path) -> None:
    pytest.importorskip("openai", reason="the openai package is not installed")

    def answer(body: dict[str, Any]) -> str | int | dict[str, Any]:
        if len(server.bodies) > 4:
            time.sleep(30)
        return "VERDICT: SOUND"

    with judge_server(answer) as server:
        words = ("review", f"samples={store}", "judge=openai", f"judge.base_url={server.url}", "judge.model=judge-7b")
        running = started((*words, "judge.repeats=3", "judge.concurrency=1", "tracker=none"), tmp_path)
        deadline = time.monotonic() + 60
        while len(server.bodies) <= 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    samples = SampleStore.open_folder(store)
    stored = sum(len(ReviewStore.open(samples, one, read_only=True).verdicts()) for one in list_judges(samples))
    assert stored == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["accuracy.below=0.01"], "accuracies 2.00% to 40.00%; widen the range"),
        (["accuracy.below=low"], "must be fractions"),
        (["per_problem=0"], "per_problem is 0; it must be a whole number, 1 or more"),
        (["judges=eve"], "names none of those who judged"),
        (["judge=openai", "judge.model=m", "judge.base_url=http://127.0.0.1:9/v1"], "correct judge.base_url"),
    ],
)
def test_what_cannot_be_reviewed_is_refused_and_leaves_the_store_alone(
    kurve_here: RunKurve, store: Path, words: list[str], message: str
) -> None:
    before = sorted(path.name for path in store.iterdir())
    done = kurve_here("review", f"samples={store}", "tracker=none", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in store.iterdir()) == before


def test_a_store_whose_samples_follow_their_outcomes_is_not_reviewed(kurve_here: RunKurve, store: Path) -> None:
    record_design(store, StoppingRule(2, 2, 64))
    done = kurve_here("review", f"samples={store}", "tracker=none")
    assert done.returncode == 2
    assert "was sampled adaptively" in done.stderr


def test_a_sheet_of_another_store_is_refused_whole(
    kurve_here: RunKurve, tmp_path: Path, store: Path, benchmark: Benchmark
) -> None:
    other = make_store(tmp_path / "elsewhere", benchmark, seed="7")
    assert kurve_here("review", f"samples={store},{other}", "tracker=none").returncode == 0
    name = download(tmp_path, "ann", {row["sample"]: "sound" for row in sheet(tmp_path)})
    done = kurve_here("review", f"samples={store}", f"sheet={name}", "tracker=none")
    assert done.returncode == 2
    assert "is not in" in done.stderr
    assert list_judges(SampleStore.open_folder(store)) == []
    twice = kurve_here("review", f"samples={store},{store.name}", "tracker=none")
    assert "names a store twice" in twice.stderr
