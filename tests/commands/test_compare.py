import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from kurve.export import write_files
from mlflow_plugins.kurve.tracker import MlflowTracker
from tests.commands.test_evaluate import BASE, GSM8K_ROWS
from tests.conftest import RunKurve
from tests.mlflow_plugins.measured import measured
from tests.tracking_samples import run_info

KEYS = {
    "ks", "base_pass_at_k", "tuned_pass_at_k", "delta", "delta_se_of_mean", "delta_lower", "delta_upper",
    "critical_value", "gain_ks", "loss_ks", "verdict", "crossover", "delta_se", "coverage", "num_problems", "alpha",
    "seed",
}  # fmt: skip


def counts(path: Path, correct: Mapping[str, int], n: int = 64) -> Path:
    path.write_text("".join(json.dumps({"id": key, "n": n, "c": c}) + "\n" for key, c in correct.items()))
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A tuned model that is surer and solves less: 120 problems of 64 samples."""
    rng = np.random.default_rng(0)
    base = {f"p{i}": int(rng.integers(1, 12)) if i % 10 else 0 for i in range(120)}
    tuned = {key: 0 if int(key[1:]) % 3 == 0 else min(64, 4 * c) for key, c in base.items()}
    return counts(tmp_path / "base.jsonl", base), counts(tmp_path / "grpo.jsonl", tuned)


def test_two_counts_files_give_verdicts_and_all_numbers(
    kurve: RunKurve, tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    done = kurve("compare", "base=base.jsonl", "tuned=grpo.jsonl", "tracker=none", "output=out.json")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    [found] = document["pairs"]
    assert found.keys() >= KEYS
    assert found["base"] == "base"
    assert found["tuned"] == "grpo"
    assert found["num_problems"] == 120
    assert found["ks"] == list(range(1, 65))
    assert found["verdict"]["overall"] == "MIXED"
    assert found["gain_ks"][0] == 1
    assert found["loss_ks"][-1] == 64
    assert found["crossover"].keys() == {"point", "confidence_set", "bootstrap_interval", "probability_of_crossing"}
    assert found["delta_se"]["k"] == 64
    assert len(found["coverage"]["base_only"]) == 36
    assert found["coverage"]["tuned_only"] == []
    assert found["coverage"]["mcnemar_p"] == pytest.approx(2 / 2**36)
    assert found["coverage"]["split_half"]["base"]["n"] == 32
    assert "only by base: 36" in done.stdout
    assert "gain up to k" in done.stdout
    assert len(list(tmp_path.glob("outputs/runs/*/*/comparison/comparison.png"))) == 1


def test_the_same_call_gives_the_same_bytes_and_the_numbers_of_the_library(
    kurve_here: RunKurve, tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    from kurve.comparison import as_json, compare
    from kurve.counts_file import read_counts_file

    for name in ("one.json", "two.json"):
        assert (
            kurve_here("compare", "base=base.jsonl", "tuned=grpo.jsonl", "tracker=none", f"output={name}").returncode
            == 0
        )
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    base, tuned = map(read_counts_file, pair)
    expected = as_json(compare(base, tuned, rng=np.random.default_rng(0), names=("base", "grpo")), seed=0)
    assert json.loads((tmp_path / "one.json").read_text())["pairs"] == [json.loads(json.dumps(expected))]


def test_several_models_are_tracked_in_one_run_with_what_was_found(
    kurve_here: RunKurve, tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    counts(tmp_path / "same.jsonl", {f"p{i}": 3 for i in range(120)})
    words = ["compare", "base=base.jsonl", "tuned=grpo.jsonl,same.jsonl", "names=[before,after,flat]", "tracker=dir"]
    assert kurve_here(*words).returncode == 0
    done = kurve_here(*words)
    assert done.returncode == 0, done.stderr
    [run] = [path.parent for path in tmp_path.rglob("run.json")]
    tags = json.loads((run / "tags.json").read_text())
    assert tags["kurve.kind"] == "comparison"
    assert tags["kurve.tuned"] == "after, flat"
    assert "gain at k = 1" in tags["kurve.verdict.after"]
    assert (run / "artifacts" / "comparison" / "comparison.json").is_file()
    keys = {json.loads(line)["key"] for line in (run / "points.jsonl").read_text().splitlines()}
    assert {"comparison/after/delta_se", "comparison/flat/delta_pass_at_1_low"} <= keys


def test_seeds_of_one_configuration_have_an_interval_of_their_own(kurve_here: RunKurve, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = {f"p{i}": int(rng.integers(0, 8)) for i in range(60)}
    counts(tmp_path / "base.jsonl", base)
    for seed in range(3):
        counts(
            tmp_path / f"s{seed}.jsonl", {key: c + 4 + 3 * seed + int(rng.integers(0, 3)) for key, c in base.items()}
        )
    words = ["compare", "base=base.jsonl", "tuned=s0.jsonl,s1.jsonl,s2.jsonl", "tracker=none", "output=out.json"]
    done = kurve_here(*words, "seeds=true")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    one, headline = document["seeds"]
    assert (one["k"], one["num_seeds"], headline["k"]) == (1, 3, 64)
    assert one["delta"]["value"] == pytest.approx(np.mean([pair["delta"][0] for pair in document["pairs"]]))
    assert one["seed_spread"] == pytest.approx(3 / 64, rel=0.3)
    own = document["pairs"][0]["pass_at_1"]["delta"]
    assert one["delta"]["upper"] - one["delta"]["lower"] > 3 * (own["upper"] - own["lower"])  # seeds differ
    assert "3 seeds as one configuration, pass@1:" in done.stdout
    few = kurve_here(*words[:2], "tuned=s0.jsonl,s1.jsonl", "tracker=none", "seeds=true")
    assert few.returncode == 2
    assert "needs at least 3 tuned models" in " ".join(few.stderr.split())


def test_too_little_data_is_not_established_and_is_told_what_would_settle_it(
    kurve_here: RunKurve, tmp_path: Path
) -> None:
    counts(tmp_path / "a.jsonl", {"p1": 1, "p2": 3, "p3": 0, "p4": 5}, n=8)
    counts(tmp_path / "b.jsonl", {"p1": 2, "p2": 2, "p3": 1, "p4": 5}, n=8)
    done = kurve_here("compare", "base=a.jsonl", "tuned=b.jsonl", "tracker=none", "output=out.json")
    assert done.returncode == 0, done.stderr
    [found] = json.loads((tmp_path / "out.json").read_text())["pairs"]
    assert found["verdict"]["overall"] == "NOT_ESTABLISHED"
    assert found["settling"][0]["problems"] > 4
    text = " ".join(done.stdout.split())
    assert "b, pass@1: not established. 4 problems find a true change of" in text
    assert f"needs {found['settling'][0]['problems']:,.0f} problems" in text


def test_problems_that_do_not_pair_are_refused_or_dropped_and_listed(kurve_here: RunKurve, tmp_path: Path) -> None:
    counts(tmp_path / "a.jsonl", {f"p{i}": i for i in range(12)})
    counts(tmp_path / "b.jsonl", {f"p{i}": i for i in range(11, 1, -1)} | {"extra": 1})
    refused = kurve_here("compare", "base=a.jsonl", "tuned=b.jsonl", "tracker=none", "output=out.json")
    assert refused.returncode == 2
    for word in ("only a has p0, p1", "only b has extra", "unpaired=drop"):
        assert word in " ".join(refused.stderr.split())
    assert not (tmp_path / "out.json").exists()
    done = kurve_here("compare", "base=a.jsonl", "tuned=b.jsonl", "unpaired=drop", "tracker=none", "output=out.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["pairs"][0]["num_problems"] == 10
    assert "left out, not in every model: p0, p1, extra" in done.stdout


def test_stores_reports_and_runs_are_compared_by_their_counts_and_the_run_names_both(
    kurve_here: RunKurve, tmp_path: Path
) -> None:
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GSM8K_ROWS))
    for seed in (1, 2):
        assert kurve_here("evaluate", *BASE, "num_samples=8", f"seed={seed}").returncode == 0
    stores = sorted(path.parent.name for path in tmp_path.glob("outputs/samples/*/spec.json"))
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    by_store = {run.data.tags["kurve.fingerprint"]: run.info.run_id for run in runs}
    base, tuned = stores
    report = next(path for path in tmp_path.glob("outputs/runs/*/*/report"))
    for number, words in enumerate(
        ([f"base={base}", f"tuned={by_store[tuned]}"], [f"base={by_store[base]}", f"tuned=outputs/samples/{tuned}"])
    ):
        done = kurve_here("compare", *words, f"output={number}.json")
        assert done.returncode == 0, done.stderr
    one, other = (json.loads((tmp_path / f"{number}.json").read_text())["pairs"][0] for number in (0, 1))
    assert one["delta"] == other["delta"]
    assert one["num_problems"] == 4
    [run] = client.search_runs(
        [one.experiment_id for one in client.search_experiments()],
        f"tags.`kurve.kind` = 'comparison' and tags.`kurve.tuned_run_ids` = '{by_store[tuned]}'",
    )
    assert "kurve.base_run_id" not in run.data.tags  # a store has no run
    assert run.info.status == "FINISHED"
    assert client.list_artifacts(run.info.run_id, "kurve/comparison")
    assert kurve_here("compare", f"base={report}", f"tuned={by_store[tuned]}", "tracker=mlflow").returncode == 0
    told = client.get_run(by_store[tuned]).data
    assert not {"kurve.base_run_id", "gsm8k/delta_se"} & {*told.tags, *told.metrics}  # no base with a run yet
    lost = kurve_here("compare", f"base={base}", "tuned=0123456789abcdef0123456789abcdef")
    assert lost.returncode == 2
    assert "0123456789abcdef" in lost.stderr


def test_the_tuned_run_is_told_what_changed_against_its_base_and_of_no_other_base(
    kurve_here: RunKurve, tmp_path: Path
) -> None:
    uri, runs = f"sqlite:///{tmp_path}/mlflow.db", []
    for name, correct in (("tuned", [8, 0, 4, 8]), ("base", [1, 2, 3, 0]), ("other", [0, 0, 1, 8])):
        tracker = MlflowTracker(uri=uri, traces="none")
        tracker.start(run_info(name, tags={"kurve.model": name, "kurve.benchmark": "gsm8k"}))
        made = measured(correct)
        tracker.log_report(made, write_files(made, tmp_path / name))
        tracker.finish("FINISHED")
        runs.append(tracker.run_id)
    client, (tuned, base, other) = MlflowClient(uri), runs
    numbers = {"gsm8k/delta_se", "gsm8k/delta_se_low", "gsm8k/delta_se_high", "gsm8k/delta_pass_at_1"}
    assert kurve_here("compare", f"base={base}", f"tuned={tuned}", "unpaired=drop").returncode == 0
    told = client.get_run(tuned).data
    assert told.tags["kurve.base_run_id"] == base
    assert told.metrics.keys() >= numbers
    assert "gsm8k/crossover_k" not in told.metrics
    assert [point.step for point in client.get_metric_history(tuned, "gsm8k/delta_se")] == [0]
    note = told.tags["mlflow.note.content"]
    assert f"**Against its base:** {told.tags['kurve.verdict.gsm8k']} (gsm8k). [Compare page](kurve?" in note
    assert f"runs={base},{tuned}" in note
    assert kurve_here("compare", f"base={other}", f"tuned={tuned}").returncode == 0
    after = client.get_run(tuned).data
    assert (after.tags, after.metrics) == (told.tags, told.metrics)
    assert not numbers & client.get_run(base).data.metrics.keys()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tuned=b.jsonl"], ["kurve compare needs base=<model>"]),
        (["base=nothing.jsonl", "tuned=b.jsonl"], ["base=nothing.jsonl does not exist", "models:/<name>@<alias>"]),
        (["base=0123456789ab", "tuned=b.jsonl"], ["base=0123456789ab", "keeps no runs", "a counts file"]),
        (["base=models:/m@champion", "tuned=b.jsonl"], ["models:/m@champion", "tracker=mlflow"]),
        (["base=b.jsonl", "tuned=b.jsonl,"], ["tuned is empty"]),
        (["base=b.jsonl", "tuned=folder"], ["folder holds neither counts.parquet nor samples"]),
        (["base=b.jsonl", "tuned=other.txt"], ["other.txt is a file of another kind"]),
        (["base=b.jsonl", "tuned=broken.jsonl"], ["broken.jsonl, line 1", "expected id, n (samples) and c"]),
        (["base=b.jsonl", "tuned=b.jsonl", "unpaired=maybe"], ["unpaired is 'maybe'"]),
        (["base=b.jsonl", "tuned=b.jsonl", "names=[one]"], ["one name for each of the 2 models"]),
        (["base=b.jsonl", "tuned=b.jsonl", "compare.confidence=1.5"], ["compare.confidence is 1.5"]),
        (["base=b.jsonl", "tuned=b.jsonl", "output=no/where.json"], ["no/where.json", "no such folder"]),
    ],
)
def test_a_mistake_is_refused_with_what_was_expected(
    kurve_here: RunKurve, tmp_path: Path, words: list[str], expected: list[str]
) -> None:
    counts(tmp_path / "b.jsonl", {"p": 1, "q": 2})
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.txt").write_text("x")
    (tmp_path / "broken.jsonl").write_text('{"question": "?"}\n')
    done = kurve_here("compare", *words, "tracker=none")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    for word in expected:
        assert word in said, said


def test_strata_are_compared_each_by_itself_and_shown_as_they_are_written(
    kurve_here: RunKurve, tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    plain_bytes = kurve_here("compare", "base=base.jsonl", "tuned=grpo.jsonl", "tracker=none", "output=plain.json")
    assert "own interval, not adjusted" not in plain_bytes.stdout
    rows = [json.loads(line) for line in (tmp_path / "base.jsonl").read_text().splitlines()]
    for row in rows:  # the tuned model solves nothing of every third problem
        number = int(row["id"][1:])
        row["stratum"] = "few" if number < 3 else "[red]lost" if number % 3 == 0 else "kept"
    (tmp_path / "base.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = kurve_here("compare", "base=base.jsonl", "tuned=grpo.jsonl", "tracker=none", "output=out.json")
    assert done.returncode == 0, done.stderr
    [found] = json.loads((tmp_path / "out.json").read_text())["pairs"]
    strata = {one["stratum"]: one for one in found.pop("strata")}
    assert [(name, one["num_problems"]) for name, one in strata.items()] == [
        ("kept", 78),
        ("[red]lost", 39),
        ("few", 3),
    ]
    assert strata["kept"]["pass_at_1"]["verdict"] == "GAIN"
    assert strata["[red]lost"]["verdict"] == "loss at k = 1, loss at k = 64"
    assert strata["few"]["verdict"] == "not established at k = 1, not established at k = 64"
    assert strata["few"]["delta_se"]["lower"] is None
    assert [found] == json.loads((tmp_path / "plain.json").read_text())["pairs"]
    assert "[red]lost" in done.stdout
    assert "none for fewer than 5 problems" in done.stdout


def test_a_store_and_its_report_know_the_strata_of_their_benchmark(kurve_here: RunKurve, tmp_path: Path) -> None:
    rows = [
        {"problem": f"What is {i} + 1?", "answer": str(i + 1), "unique_id": f"m{i}", "subject": kind}
        for i, kind in enumerate(["Algebra", "Geometry", "Algebra"])
    ]
    (tmp_path / "math.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("benchmark=math500", "benchmark.path=math.jsonl", "model.path=unused/model", "sampler=scripted")
    evaluated = kurve_here("evaluate", *words, "num_samples=4", "tracker=none")
    assert evaluated.returncode == 0, evaluated.stderr
    [spec] = tmp_path.glob("outputs/samples/*/spec.json")
    [report] = tmp_path.glob("outputs/runs/*/*/report")
    done = kurve_here("compare", f"base={spec.parent}", f"tuned={report}", "tracker=none", "output=out.json")
    assert done.returncode == 0, done.stderr
    [found] = json.loads((tmp_path / "out.json").read_text())["pairs"]
    assert [(one["stratum"], one["num_problems"]) for one in found["strata"]] == [("Algebra", 2), ("Geometry", 1)]
