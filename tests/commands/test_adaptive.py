"""`kurve evaluate sampling.adaptive=...` as a user types it, with a scripted sampler in place of a model."""

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kurve.counts_file import read_counts_file
from kurve.export import read_counts
from kurve.metrics.adaptive import counted_prefix, unbiased_tally
from kurve.store import SampleStore, VerdictStore
from kurve.store.listing import list_verdicts
from kurve.types import StoppingRule, Tally
from tests.commands.test_evaluate import BASE as SAMPLED
from tests.commands.test_evaluate import GSM8K_ROWS, counts
from tests.conftest import RunKurve, started

BASE = (*SAMPLED, "verifier=scripted")
JUDGED = "verifier=scripted"
RULE = StoppingRule(8, 3, 64)
ADAPTIVE = ("num_samples=64", "sampling.adaptive={target: pass_at_k, k: 32, least: 8, successes: 3}")


@pytest.fixture(autouse=True)
def problems(tmp_path: Path) -> Path:
    """Four problems; the scripted sampler finds three answers with p = 1/3 and never the fourth."""
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in GSM8K_ROWS), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of a report take longer than all else here, and are tested where they are made."""
    monkeypatch.setattr("kurve.export.save", lambda *_: [])


def store_of(folder: Path) -> Path:
    [spec] = (folder / "outputs" / "samples").glob("*/spec.json")
    return spec.parent


def drawn(folder: Path) -> Counter[str]:
    """Stored samples of each problem."""
    with SampleStore.open_folder(store_of(folder)) as store:
        return Counter(store.counts())


def expected_counts(folder: Path, rule: StoppingRule = RULE) -> Tally:
    """What the stored verdicts, in the order of their indices, make of the rule: computed apart from the command."""
    with SampleStore.open_folder(store_of(folder)) as store:
        [verifier] = list_verdicts(store.folder)
        outcomes: dict[str, dict[int, bool]] = {one: {} for one in store.counts()}
        with VerdictStore.open(store, verifier, read_only=True) as verdicts:
            for verdict in verdicts.verdicts():
                outcomes[verdict.problem_id][verdict.index] = verdict.outcome == "correct"
    results = [[of[index] for index in range(len(of))] for of in outcomes.values()]
    seen = [one[: counted_prefix(one, rule).length] for one in results]
    n, c = np.array([len(one) for one in seen]), np.array([sum(one) for one in seen])
    return unbiased_tally(Tally(tuple(outcomes), n, c, np.zeros_like(n)), rule)


def same(one: Tally, other: Tally) -> bool:
    order = [other.problem_ids.index(problem_id) for problem_id in one.problem_ids]
    parts = ("num_samples", "num_correct", "reach")
    return all(np.array_equal(getattr(one, part), getattr(other, part)[order]) for part in parts)


def newest_report(folder: Path) -> Path:
    found = (folder / "outputs" / "runs").glob("*/*/report/report.json")
    return max(found, key=lambda path: path.stat().st_mtime).parent


def test_solved_problems_stop_early_and_the_report_says_so(kurve_here: RunKurve, tmp_path: Path) -> None:
    done = kurve_here("evaluate", *BASE, *ADAPTIVE, "tracker=dir")
    assert done.returncode == 0, done.stderr
    numbers = sorted(drawn(tmp_path).values())
    assert numbers[-1] == 64
    assert all(8 <= one < 40 for one in numbers[:3])
    report = newest_report(tmp_path)
    tally = read_counts(report / "counts.parquet")
    assert same(tally, expected_counts(tmp_path))
    assert same(read_counts_file(report / "counts.jsonl"), tally)
    assert sorted(tally.reach.tolist()) == [64] * 4
    assert "largest_k" in pq.read_table(report / "counts.parquet").column_names
    summary = json.loads((report / "report.json").read_text())
    assert summary["adaptive"] == {"least": 8, "successes": 3, "most": 64}
    assert summary["scalars"]["pass_at_64"] == pytest.approx(0.75)
    assert json.loads((report / "curve.json").read_text())["k"][-1] == 64
    assert "leave out the correct sample that stopped" in done.stdout


def test_a_second_start_and_a_report_find_the_same_numbers_and_draw_nothing(
    kurve_here: RunKurve, tmp_path: Path
) -> None:
    assert kurve_here("evaluate", *BASE, *ADAPTIVE, "tracker=dir").returncode == 0
    before, first = drawn(tmp_path), (newest_report(tmp_path) / "counts.jsonl").read_bytes()
    again = kurve_here("evaluate", *BASE, *ADAPTIVE, "tracker=dir", "sampler.fail_after=0")
    assert again.returncode == 0, again.stderr
    assert "logged before" in again.stdout
    assert drawn(tmp_path) == before
    reported = kurve_here("report", JUDGED, f"samples={store_of(tmp_path).name}", "tracker=dir")
    assert reported.returncode == 0, reported.stderr
    assert "logged before" in reported.stdout
    assert (newest_report(tmp_path) / "counts.jsonl").read_bytes() == first
    fewer = kurve_here("report", JUDGED, f"samples={store_of(tmp_path).name}", "tracker=none", "num_samples=16")
    assert fewer.returncode == 0, fewer.stderr
    assert same(
        read_counts(newest_report(tmp_path) / "counts.parquet"), expected_counts(tmp_path, StoppingRule(8, 3, 16))
    )


def test_a_comparison_of_the_store_takes_the_unbiased_counts(kurve_here: RunKurve, tmp_path: Path) -> None:
    assert kurve_here("evaluate", *BASE, *ADAPTIVE, "tracker=none").returncode == 0
    store, report = store_of(tmp_path), newest_report(tmp_path)
    done = kurve_here("compare", f"base={store}", f"tuned={report}", "tracker=none", "output=out.json")
    assert done.returncode == 0, done.stderr
    [pair] = json.loads((tmp_path / "out.json").read_text())["pairs"]
    assert pair["ks"][-1] == 64
    assert set(pair["delta"]) == {0.0}
    tally = expected_counts(tmp_path)
    assert pair["base_pass_at_k"][0] == pytest.approx(float(np.mean(tally.num_correct / tally.num_samples)))
    assert pair["coverage"]["split_half"]["base"] is None


def test_kill_9_and_a_new_start_come_to_the_end_of_an_undisturbed_drawing(kurve_here: RunKurve, tmp_path: Path) -> None:
    arguments = ("evaluate", *BASE, *ADAPTIVE, "tracker=none", "sampler.seconds=0.02")
    running = started(arguments, tmp_path)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.glob("outputs/samples/*/samples-*")):
        time.sleep(0.02)
    time.sleep(0.6)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert 0 < sum(drawn(tmp_path).values()) < 100
    assert kurve_here("evaluate", *BASE, *ADAPTIVE, "tracker=none").returncode == 0
    resumed = (newest_report(tmp_path) / "counts.jsonl").read_bytes()
    (tmp_path / "outputs" / "samples").rename(tmp_path / "outputs" / "killed")
    assert kurve_here("evaluate", *BASE, *ADAPTIVE, "tracker=none").returncode == 0
    assert (newest_report(tmp_path) / "counts.jsonl").read_bytes() == resumed


def test_a_store_drawn_to_the_end_before_counts_only_what_the_rule_takes(kurve_here: RunKurve, tmp_path: Path) -> None:
    assert kurve_here("sample", *SAMPLED, "num_samples=64").returncode == 0
    done = kurve_here("evaluate", *BASE, *ADAPTIVE, "tracker=none", "sampler.fail_after=0")
    assert done.returncode == 0, done.stderr
    assert max(int(str(row["n"])) for row in counts(tmp_path)) == 64
    assert same(read_counts(newest_report(tmp_path) / "counts.parquet"), expected_counts(tmp_path))


@pytest.mark.slow
def test_after_a_fixed_number_only_what_every_problem_has_counts(kurve_here: RunKurve, tmp_path: Path) -> None:
    """The store's numbers still depend on outcomes: a report or comparison without the rule must not take them all."""
    assert kurve_here("evaluate", *BASE, *ADAPTIVE, "tracker=none").returncode == 0
    assert kurve_here("evaluate", *BASE, "num_samples=10", "tracker=none").returncode == 0
    fewest = min(drawn(tmp_path).values())
    assert fewest < 64
    assert kurve_here("report", JUDGED, f"samples={store_of(tmp_path).name}", "tracker=none").returncode == 0
    assert [row["n"] for row in counts(tmp_path)] == [fewest] * 4
    store = store_of(tmp_path)
    assert kurve_here("compare", f"base={store}", f"tuned={store}", "tracker=none", "output=o.json").returncode == 0
    assert json.loads((tmp_path / "o.json").read_text())["pairs"][0]["ks"][-1] == fewest


def test_failed_judgements_count_neither_way_and_are_judged_again(kurve_here: RunKurve, tmp_path: Path) -> None:
    """Every answer 2 fails: the problem whose answer it is has no success, and two others fewer failures."""
    failing = kurve_here("evaluate", *BASE, *ADAPTIVE, "tracker=none", "verifier.fails_on='2'")
    assert failing.returncode == 0, failing.stderr
    tally = read_counts(newest_report(tmp_path) / "counts.parquet")
    assert tally.num_errors.min() > 0
    by_id = drawn(tmp_path)
    assert sorted(by_id.values())[-2:] == [64, 64]
    for problem_id, n, c, errors, reach in zip(
        tally.problem_ids, tally.num_samples, tally.num_correct, tally.num_errors, tally.reach, strict=True
    ):
        assert n + errors + (c == 2) <= by_id[problem_id]
        assert reach == 64 - errors
    assert kurve_here("evaluate", *BASE, *ADAPTIVE, "tracker=none", "sampler.fail_after=0").returncode == 0
    healed = read_counts(newest_report(tmp_path) / "counts.parquet")
    assert healed.num_errors.sum() == 0
    assert same(healed, expected_counts(tmp_path))


def test_delta_se_takes_pass_at_1_of_the_tuned_model_alone(kurve_here: RunKurve, tmp_path: Path) -> None:
    words = (*BASE, "num_samples=64", "tracker=none", "sampling.adaptive={target: delta_se, least: 8}")
    assert kurve_here("evaluate", *words, "tags.role=tuned", "seed=1").returncode == 0
    assert set(drawn(tmp_path).values()) == {8}
    tuned = newest_report(tmp_path)
    assert kurve_here("evaluate", *words, "tags.role=base", "model.path=unused/other").returncode == 0
    base = newest_report(tmp_path)
    done = kurve_here("compare", f"base={base}", f"tuned={tuned}", "tracker=none", "output=out.json")
    assert done.returncode == 0, done.stderr
    [pair] = json.loads((tmp_path / "out.json").read_text())["pairs"]
    assert (pair["ks"][-1], pair["delta_se"]["k"]) == (8, 64)
    pass_at_1 = np.mean([row["c"] / row["n"] for row in map(json.loads, (tuned / "counts.jsonl").open())])
    assert pair["delta_se"]["value"] == pytest.approx(0.75 - pass_at_1)


def test_another_verifier_that_has_not_seen_enough_is_refused(kurve_here: RunKurve, tmp_path: Path) -> None:
    assert kurve_here("evaluate", *BASE, *ADAPTIVE, "tracker=none").returncode == 0
    rows = [{**row, "answer": "#### 9"} for row in GSM8K_ROWS]  # nothing is right any more
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = store_of(tmp_path).name
    refused = kurve_here(
        "report",
        JUDGED,
        f"samples={store}",
        "tracker=none",
        "benchmark=gsm8k",
        f"benchmark.path={tmp_path / 'other.jsonl'}",
    )
    assert refused.returncode == 2
    assert "3 of 4 problems" in refused.stderr
    assert "draws what is missing" in refused.stderr


def test_greedy_decoding_and_commands_without_a_judge_are_refused(kurve_here: RunKurve, tmp_path: Path) -> None:
    greedy = kurve_here("evaluate", *BASE, "num_samples=64", "sampling=greedy", "sampling.adaptive=pass_at_k")
    assert (greedy.returncode, "draws the same sample" in " ".join(greedy.stderr.split())) == (2, True)
    unknown = kurve_here("evaluate", *BASE, "num_samples=64", "sampling.adaptive={target: pass_at_k, succeses: 3}")
    assert (unknown.returncode, "did you mean successes?" in unknown.stderr) == (2, True)
    unjudged = kurve_here("sample", *SAMPLED, "num_samples=64", "sampling.adaptive=pass_at_k")
    assert (unjudged.returncode, "use kurve evaluate" in " ".join(unjudged.stderr.split())) == (2, True)
    assert not (tmp_path / "outputs" / "samples").exists()


def test_merging_what_was_drawn_adaptively_is_refused(kurve_here: RunKurve, tmp_path: Path) -> None:
    assert kurve_here("evaluate", *BASE, *ADAPTIVE, "tracker=none").returncode == 0
    assert kurve_here("sample", *SAMPLED, "num_samples=8", "seed=1").returncode == 0
    stores = ",".join(path.parent.name for path in (tmp_path / "outputs" / "samples").glob("*/spec.json"))
    refused = kurve_here("merge", f"samples=[{stores}]")
    assert refused.returncode == 2
    assert "drawn adaptively" in refused.stderr
