"""The guess filter and the other measurements at the command line."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kurve.benchmarks.cells import content_id
from tests.commands.test_compare import counts
from tests.commands.test_evaluate import BASE, GSM8K_ROWS
from tests.conftest import RunKurve, command_environment, command_line


def first_report(folder: Path) -> Path:
    """The report of the evaluation itself."""
    return min(folder.glob("outputs/runs/*/*/report/report.json"), key=lambda path: path.stat().st_mtime).parent


def newest_report(folder: Path) -> Path:
    return max(folder.glob("outputs/runs/*/*/report/report.json"), key=lambda path: path.stat().st_mtime).parent


IDS = [content_id(str(row["question"])) for row in GSM8K_ROWS]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which four problems were evaluated with 8 samples each, the last one left out as guessed."""
    folder = tmp_path_factory.mktemp("guessing") / "place"
    folder.mkdir()
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GSM8K_ROWS), encoding="utf-8")
    counts(folder / "direct.jsonl", {IDS[0]: 0, IDS[1]: 0, IDS[2]: 30, IDS[3]: 2, "another": 1}, n=100)
    words = ("evaluate", *BASE, "num_samples=8", "benchmark.answer_space=10", "report.guess_filter=direct.jsonl")
    done = subprocess.run(
        command_line([*words, "tracker=dir"]),
        cwd=folder,
        env={**command_environment(), "KURVE_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout, encoding="utf-8")
    return folder


@pytest.fixture
def here(evaluated: Path, tmp_path: Path) -> Path:
    """A copy of that folder, where `kurve_here` runs."""
    return shutil.copytree(evaluated, tmp_path, dirs_exist_ok=True)


def store_of(folder: Path) -> Path:
    return next((folder / "outputs" / "samples").glob("*/spec.json")).parent


def test_an_evaluation_ends_with_votes_chance_and_what_was_left_out(evaluated: Path) -> None:
    text = " ".join((evaluated / "stdout").read_text(encoding="utf-8").split())
    for part in (
        "one answer of k: maj@8",
        "answers a problem:",
        "guessing among 10 answers: pass@1 10.0%",
        "unsolved at n = 8 means p < 31 % with 95 % confidence",
        f"Guess filter: 1 of 4 problems are left out, hit by fewer than 5 % of the direct answers of {evaluated}",
        f"but by some: {IDS[3]}.",
    ):
        assert part in text, text
    report = newest_report(evaluated)
    summary = json.loads((report / "report.json").read_text())
    scalars = summary["scalars"]
    assert (scalars["num_problems"], scalars["num_guessable"]) == (3, 1)
    assert scalars["chance_pass_at_8"] == pytest.approx(1 - 0.9**8)
    assert scalars["support_threshold"] == pytest.approx(1 - 0.05 ** (1 / 8))
    assert 0 < scalars["maj_at_8_low"] < scalars["maj_at_8"] <= 1
    assert set(summary["curves"]) >= {"maj_at_k", "chance_pass_at_k", "chance_adjusted_pass_at_k"}
    assert [row[0] for row in json.loads((report / "answers.json").read_text())["data"]] == IDS[:3]
    [row] = json.loads((report / "guessable.json").read_text())["data"]
    assert row[:4] == [IDS[3], 100, 2, 0.02]
    assert row[4] == GSM8K_ROWS[3]["question"]
    assert len(list((store_of(evaluated)).glob("samples-*"))) > 0
    [run] = [path.parent for path in evaluated.rglob("run.json")]
    tags = json.loads((run / "tags.json").read_text())
    assert tags["kurve.guess_filter_removed"] == "1"
    assert tags["kurve.guess_filter"] == str(evaluated / "direct.jsonl")
    keys = {json.loads(line)["key"] for line in (run / "metrics.jsonl").read_text().splitlines()}
    assert {"gsm8k/maj_at_k_low", "gsm8k/maj_at_8", "gsm8k/chance_adjusted_pass_at_8"} <= keys


@pytest.mark.slow
def test_what_is_left_out_decides_whether_a_report_is_the_same(kurve_here: RunKurve, here: Path) -> None:
    words = ["report", f"samples={store_of(here)}", "tracker=dir"]
    (here / "renamed.jsonl").write_bytes((here / "direct.jsonl").read_bytes())
    once = kurve_here(*words, "report.guess_filter=direct.jsonl")
    assert once.returncode == 0, once.stderr
    assert "logged before" in kurve_here(*words, "report.guess_filter=renamed.jsonl").stdout
    more = kurve_here(*words, "report.guess_filter=renamed.jsonl", "report.guess_threshold=0.5")  # the third goes too
    assert "logged before" not in more.stdout
    assert json.loads((newest_report(here) / "report.json").read_text())["scalars"]["num_problems"] == 2


@pytest.mark.slow
def test_a_filter_may_be_a_store_or_a_report_of_the_same_problems(kurve_here: RunKurve, here: Path) -> None:
    store = store_of(here)
    for given in (store, store.name):
        done = kurve_here("report", f"samples={store}", "tracker=none", f"report.guess_filter={given}")
        assert done.returncode == 0, done.stderr
        assert "Guess filter: 0 of 4 problems are left out" in " ".join(done.stdout.split())
    lacking = kurve_here("report", f"samples={store}", "tracker=none", f"report.guess_filter={first_report(here)}")
    assert lacking.returncode == 2  # the report of three problems says nothing of the fourth
    assert f"no direct answers to {IDS[3]}, 1 of the 4 problems" in " ".join(lacking.stderr.split())


def test_a_filter_that_cannot_be_used_is_refused_before_anything_is_sampled(kurve_here: RunKurve, here: Path) -> None:
    counts(here / "few.jsonl", {IDS[0]: 2}, n=100)
    counts(here / "all.jsonl", dict.fromkeys(IDS, 1), n=100)
    for given, said in {
        "few.jsonl": "3 of the 4 problems measured here; evaluate the same problems with prompt=direct",
        "all.jsonl": "marks all 4 problems as guessed",
        "none.jsonl": "report.guess_filter=none.jsonl does not exist",
    }.items():
        words = ("evaluate", *BASE, "seed=5", "num_samples=8", "tracker=none", f"report.guess_filter={given}")
        refused = kurve_here(*words)
        assert refused.returncode == 2
        assert said in " ".join(refused.stderr.split())
    assert len(list((here / "outputs" / "samples").iterdir())) == 1  # none of them opened a store


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("report.extrapolate=[8]", "is measured with n = 8"),
        ("report.extrapolate=[801]", "more than 100 times n = 8"),
        ("report.extrapolate=[16]", "needs at least 20 problems, got 4"),
        ("report.guess_threshold=2", "report.guess_threshold must lie above 0"),
        ("benchmark.answer_space=1", "benchmark.answer_space is 1"),
        ("report.sample_metrics.majority.subsets=0", "report.sample_metrics.majority"),
    ],
)
def test_settings_that_cannot_be_measured_are_refused_early(
    kurve_here: RunKurve, tmp_path: Path, setting: str, said: str
) -> None:
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GSM8K_ROWS), encoding="utf-8")
    refused = kurve_here("evaluate", *BASE, "num_samples=8", "tracker=none", setting)
    assert refused.returncode == 2, refused.stdout
    assert said in " ".join(refused.stderr.split())
    assert not (tmp_path / "outputs" / "samples").exists()


def test_a_comparison_leaves_guessed_problems_out_of_all_models(kurve_here: RunKurve, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    correct = {f"p{i}": int(rng.integers(0, 20)) for i in range(40)}
    counts(tmp_path / "base.jsonl", correct)
    counts(tmp_path / "grpo.jsonl", {key: min(64, 2 * c) for key, c in correct.items()})
    counts(tmp_path / "direct.jsonl", {key: 1 if int(key[1:]) < 10 else 0 for key in correct})
    words = ["compare", "base=base.jsonl", "tuned=grpo.jsonl", "tracker=dir", "guess_filter=direct.jsonl"]
    done = kurve_here(*words, "output=out.json")
    assert done.returncode == 0, done.stderr
    assert "Guess filter: 10 of 40 problems are left out" in " ".join(done.stdout.split())
    assert "Unsolved at n = 64 means p < 4.6 % with 95 % confidence." in " ".join(done.stdout.split())
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["pairs"][0]["num_problems"] == 30
    assert document["guess_filter"]["removed"][0] == {"id": "p0", "n": 64, "c": 1}
    [run] = [path.parent for path in tmp_path.rglob("run.json")]
    assert json.loads((run / "tags.json").read_text())["kurve.guess_filter_removed"] == "10"
    assert pq.read_table(run / "artifacts" / "comparison" / "problems.parquet").num_rows == 30
    few = kurve_here("compare", "base=base.jsonl", "tuned=grpo.jsonl", "tracker=none", "guess_filter=none/such.jsonl")
    assert few.returncode == 2
    wrong = kurve_here(*words, "guess_threshold=0")
    assert "guess_threshold is 0; expected a fraction" in " ".join(wrong.stderr.split())
