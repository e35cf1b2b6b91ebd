"""The guess filter and the other measurements at the command line."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.commands.test_compare import counts
from tests.commands.test_evaluate import BASE, GSM8K_ROWS
from tests.conftest import RunKurve


def newest_report(folder: Path) -> Path:
    return max(folder.glob("outputs/runs/*/*/report/report.json"), key=lambda path: path.stat().st_mtime).parent


@pytest.fixture
def ids(tmp_path: Path, kurve_here: RunKurve) -> list[str]:
    """Problems of GSM8K's format, evaluated with 8 samples each: their ids."""
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GSM8K_ROWS), encoding="utf-8")
    done = kurve_here("evaluate", *BASE, "num_samples=8", "tracker=none", "benchmark.answer_space=10")
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["id"] for line in (newest_report(tmp_path) / "counts.jsonl").read_text().splitlines()]


def test_a_report_shows_votes_chance_and_what_unsolved_means(
    kurve_here: RunKurve, tmp_path: Path, ids: list[str]
) -> None:
    report = newest_report(tmp_path)
    summary = json.loads((report / "report.json").read_text())
    scalars = summary["scalars"]
    assert scalars["chance_pass_at_8"] == pytest.approx(1 - 0.9**8)
    assert scalars["num_possible_answers"] == 10
    assert scalars["support_threshold"] == pytest.approx(1 - 0.05 ** (1 / 8))
    assert 0 < scalars["maj_at_8_low"] < scalars["maj_at_8"] <= 1
    assert set(summary["curves"]) >= {"maj_at_k", "chance_pass_at_k", "chance_adjusted_pass_at_k"}
    assert len(json.loads((report / "answers.json").read_text())["data"]) == 4
    store = next((tmp_path / "outputs" / "samples").glob("*/spec.json")).parent
    shown = kurve_here("report", f"samples={store}", "tracker=dir")
    text = " ".join(shown.stdout.split())
    for part in (
        "one answer of k: maj@8",
        "guessing among 10 answers: pass@1 10.0%",
        "unsolved at n = 8 means p < 31 %",
    ):
        assert part in text, text
    [run] = [path.parent for path in tmp_path.rglob("run.json")]
    keys = {json.loads(line)["key"] for line in (run / "metrics.jsonl").read_text().splitlines()}
    assert {"gsm8k/maj_at_k_low", "gsm8k/maj_at_8", "gsm8k/chance_adjusted_pass_at_8"} <= keys


def test_guessed_problems_leave_the_report_and_are_listed(kurve_here: RunKurve, tmp_path: Path, ids: list[str]) -> None:
    store = next((tmp_path / "outputs" / "samples").glob("*/spec.json")).parent
    counts(tmp_path / "direct.jsonl", {ids[0]: 2, ids[1]: 0, ids[2]: 30, ids[3]: 0, "another": 1}, n=100)
    words = ["report", f"samples={store}", "tracker=dir", "report.guess_filter=direct.jsonl"]
    done = kurve_here(*words)
    assert done.returncode == 0, done.stderr
    assert "Guess filter: 1 of 4 problems are left out, hit by fewer than 5 %" in done.stdout
    report = newest_report(tmp_path)
    scalars = json.loads((report / "report.json").read_text())["scalars"]
    assert (scalars["num_problems"], scalars["num_guessable"]) == (3, 1)
    [row] = json.loads((report / "guessable.json").read_text())["data"]
    assert row[:4] == [ids[0], 100, 2, 0.02]
    assert "Ann has" in row[4]
    [run] = [path.parent for path in tmp_path.rglob("run.json")]
    tags = json.loads((run / "tags.json").read_text())
    assert tags["kurve.guess_filter_removed"] == "1"
    assert tags["kurve.guess_filter"].endswith("direct.jsonl")
    assert "logged before" in kurve_here(*words).stdout
    assert (
        "logged before" not in kurve_here(*words, "report.guess_threshold=0.5").stdout
    )  # ids[2] goes too: another key
    assert json.loads((newest_report(tmp_path) / "report.json").read_text())["scalars"]["num_problems"] == 2


def test_an_evaluation_takes_a_report_s_folder_and_refuses_before_it_samples(
    kurve_here: RunKurve, tmp_path: Path, ids: list[str]
) -> None:
    direct = newest_report(tmp_path)  # of these very problems: most are answered more often than 5 %
    done = kurve_here("evaluate", *BASE, "num_samples=8", "tracker=none", f"report.guess_filter={direct}")
    assert done.returncode == 0, done.stderr
    assert "Guess filter: 0 of 4 problems are left out" in done.stdout
    counts(tmp_path / "few.jsonl", {ids[0]: 2}, n=100)
    counts(tmp_path / "all.jsonl", dict.fromkeys(ids, 1), n=100)
    for given, said in {
        "few.jsonl": "3 of the 4 problems measured here; evaluate the same problems with prompt=direct",
        "all.jsonl": "marks all 4 problems as guessed",
        "none.jsonl": "report.guess_filter=none.jsonl does not exist",
    }.items():
        refused = kurve_here(
            "evaluate", *BASE, "seed=5", "num_samples=8", "tracker=none", f"report.guess_filter={given}"
        )
        assert refused.returncode == 2
        assert said in " ".join(refused.stderr.split())
    assert len(list((tmp_path / "outputs" / "samples").iterdir())) == 1  # none of them opened a store


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
