"""`kurve figure`: from references to files, a run, and refusals that say what a figure needs."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kurve.commands.figure_kinds import KINDS
from kurve.dir_tracker import DirTracker
from kurve.export import write_files
from kurve.metrics.coverage import accuracy_histogram
from kurve.tracking import RunInfo
from tests.commands.test_compare import counts
from tests.conftest import RunKurve
from tests.tracking_samples import report

QUICK = ("tracker=none", "compare.draws=100")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """base, grpo and rloo on 12 problems of 8 samples."""
    rng = np.random.default_rng(0)
    base = {f"p{place}": int(rng.integers(0, 6)) for place in range(12)}
    counts(tmp_path / "base.jsonl", base, n=8)
    for name, lift in (("grpo", 2), ("rloo", 1)):
        counts(tmp_path / f"{name}.jsonl", {key: min(8, c + lift) for key, c in base.items()}, n=8)
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_names_are_listed_alone_and_by_kurve_list(kurve_here: RunKurve) -> None:
    alone = kurve_here("list", "figure")
    assert alone.returncode == 0
    for kind in KINDS:
        assert kind.name in alone.stdout
    assert "fig2" in alone.stdout
    from kurve import cli

    assert cli.run(["figure"]) == 0


def test_a_figure_is_written_in_three_formats_with_its_numbers_and_again_the_same(
    kurve_here: RunKurve, files: Path
) -> None:
    for folder in ("one", "two"):
        done = kurve_here("figure", "fig2", "runs=base.jsonl,grpo.jsonl", f"output={folder}", *QUICK)
        assert done.returncode == 0, done.stderr
    assert "grpo against base" in done.stdout
    names = {path.name for path in (files / "one").iterdir()}
    assert names == {"curves.png", "curves.svg", "curves.pdf", "curves.csv", "curves.json"}
    for name in names:
        assert (files / "one" / name).read_bytes() == (files / "two" / name).read_bytes()
    last = [row for row in rows(files / "one" / "curves.csv") if row["k"] == "8" and row["quantity"] == "pass_at_k"]
    solved = sum(json.loads(line)["c"] > 0 for line in (files / "base.jsonl").read_text().splitlines())
    assert float(last[0]["value"]) == pytest.approx(solved / 12)
    about = json.loads((files / "one" / "curves.json").read_text())
    assert [one["source"] for one in about["sources"]] == [str(files / "base.jsonl"), str(files / "grpo.jsonl")]
    assert about["settings"]["draws"] == 100


def test_one_file_of_one_format_can_be_asked_for(kurve_here: RunKurve, files: Path) -> None:
    done = kurve_here("figure", "scatter", "runs=base.jsonl,grpo.jsonl", "output=fig.pdf", "title=a, b = $c", *QUICK)
    assert done.returncode == 0, done.stderr
    assert (files / "fig.pdf").read_bytes().startswith(b"%PDF")


def scored(folder: Path, unit: str, distributions: dict[str, list[float]]) -> Path:
    """A folder as `kurve score` leaves it, with the log-perplexities of each distribution."""
    folder.mkdir()
    (folder / "perplexity.json").write_text(json.dumps({"unit": unit}))
    pairs = [(name, value) for name, values in distributions.items() for value in values]
    names, values = zip(*pairs, strict=True)
    pq.write_table(pa.table({"distribution": names, "log_perplexity": values}), folder / "perplexity.parquet")
    return folder


def test_perplexities_of_several_runs_share_a_figure_each_distribution_once(
    kurve_here: RunKurve, tmp_path: Path
) -> None:
    scored(tmp_path / "a", "token", {"base under base": [0.0, 0.1, 0.2], "grpo under base": [0.3, 0.4, 0.5]})
    scored(tmp_path / "b", "token", {"base under base": [9.0], "teacher under base": [0.6]})
    done = kurve_here("figure", "fig6", "runs=a,b", "output=out", *QUICK)
    assert done.returncode == 0, done.stderr
    found = {row["distribution"]: row for row in rows(tmp_path / "out" / "perplexity.csv")}
    assert list(found) == ["base under base", "grpo under base", "teacher under base"]
    assert float(found["base under base"]["perplexity_quantile_0.5"]) == pytest.approx(np.exp(0.1))
    assert found["grpo under base"]["num_samples"] == "3"
    about = json.loads((tmp_path / "out" / "perplexity.json").read_text())
    assert [one["source"] for one in about["sources"]] == [str(tmp_path / "a"), str(tmp_path / "b")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runs=a,bytes"], "token in a, byte in bytes"),
        (["runs=a", "names=[one]"], "names has 1 values; expected one for each of the distributions (x under x, y"),
        (["runs=nothing"], "Expected runs or folders of kurve score"),
        (["runs=damaged"], "holds no perplexities"),
    ],
)
def test_what_a_figure_of_perplexities_cannot_be_made_of_is_refused(
    kurve_here: RunKurve, tmp_path: Path, words: list[str], message: str
) -> None:
    scored(tmp_path / "a", "token", {"x under x": [0.1], "y under x": [0.2]})
    scored(tmp_path / "bytes", "byte", {"x under x": [0.1]})
    (scored(tmp_path / "damaged", "token", {"x": [0.1]}) / "perplexity.parquet").write_bytes(b"PAR1")
    done = kurve_here("figure", "perplexity", *words, *QUICK)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_what_counts_files_do_not_say_is_given_one_value_a_run(kurve_here: RunKurve, files: Path) -> None:
    runs = "runs=base.jsonl,grpo.jsonl,base.jsonl,rloo.jsonl"
    given = ["names=[base,RL,base,RL]", "benchmarks=[aime24,aime24,math500,math500]", "temperatures=[1,1,0.6,0.6]"]
    done = kurve_here("figure", "temperature", runs, *given, "output=out", *QUICK)
    assert done.returncode == 0, done.stderr
    found = rows(files / "out" / "temperature.csv")
    assert {(row["benchmark"], row["model"], row["compared_with"]) for row in found} == {
        ("aime24", "base, T = 1", ""), ("aime24", "RL, T = 1", "base, T = 1"),
        ("math500", "base, T = 0.6", ""), ("math500", "RL, T = 0.6", "base, T = 0.6"),
    }  # fmt: skip


@pytest.mark.slow
def test_a_base_is_named_by_its_model_by_a_run_among_them_or_by_a_further_one(
    kurve_here: RunKurve, files: Path
) -> None:
    for base, runs in (
        ("rloo", "grpo.jsonl,rloo.jsonl"), ("rloo.jsonl", "grpo.jsonl,rloo.jsonl"), ("rloo.jsonl", "grpo.jsonl"),
    ):  # fmt: skip
        done = kurve_here("figure", "scatter", f"runs={runs}", f"base={base}", *QUICK)
        assert done.returncode == 0, done.stderr
        assert "grpo against rloo" in done.stdout


def test_steps_are_read_from_names_or_given(kurve_here: RunKurve, files: Path) -> None:
    for words in (["names=[start,grpo@50,grpo@100]"], ["steps=[0,50,100]", "names=[start,grpo,grpo]"]):
        done = kurve_here("figure", "fig1", "runs=base.jsonl,rloo.jsonl,grpo.jsonl", *words, "output=out", *QUICK)
        assert done.returncode == 0, done.stderr
        found = rows(files / "out" / "steps.csv")
        assert [row["step"] for row in found if row["quantity"] == "pass_at_k"] == ["0", "50", "100"] * 2


def test_settings_are_drawn_against_the_first_after_a_named_base(kurve_here: RunKurve, files: Path) -> None:
    words = ["runs=base.jsonl,grpo.jsonl,rloo.jsonl", "names=[base,grpo,KL]", "base=base", "output=out"]
    assert kurve_here("figure", "fig15", *words, *QUICK).returncode == 0
    found = rows(files / "out" / "kl_and_rollouts.csv")
    assert {row["compared_with"] for row in found if row["quantity"] == "difference"} == {"grpo"}


def evaluated(tracker: DirTracker, folder: Path, name: str, **tags: str) -> str:
    """A finished evaluation's run with the report of a made-up model."""
    own = {"kurve.model": name, "kurve.benchmark": "gsm8k", **{f"kurve.{key}": value for key, value in tags.items()}}
    key = f"{name}-{tags.get('attempt', '0')}".ljust(32, "0")
    tracker.start(RunInfo(key, name, {}, own, "", {}))
    made = report(4)
    made = replace(made, histograms=(accuracy_histogram(made.tally),))
    tracker.log_report(made, write_files(made, folder / key))
    tracker.finish("FINISHED")
    return tracker.run_id


@pytest.mark.slow
def test_a_study_s_evaluations_are_found_by_its_tag_paired_by_their_runs_and_the_figure_is_a_run(
    kurve_here: RunKurve, tmp_path: Path
) -> None:
    tracker = DirTracker(tmp_path / "outputs" / "tracking")
    base = evaluated(tracker, tmp_path, "before", study="s1", fingerprint="f1", role="base")
    evaluated(tracker, tmp_path, "old", study="s1", fingerprint="f2", base_run_id=base)
    newer = evaluated(tracker, tmp_path, "tuned", study="s1", fingerprint="f2", base_run_id=base, attempt="1")
    evaluated(tracker, tmp_path, "other", study="s2", fingerprint="f3")
    for seen in ("", "(logged before)"):
        done = kurve_here("figure", "curves", "runs=study:s1", "tracker=dir", "compare.draws=100")
        assert done.returncode == 0, done.stderr
        assert "gsm8k: tuned against before" in done.stdout
        assert "old" not in done.stdout
        assert seen in done.stdout
    [run] = [path.parent for path in tmp_path.rglob("tags.json") if "figure" in path.parent.name]
    tags = json.loads((run / "tags.json").read_text())
    assert tags["kurve.source_run_ids"] == f"{base}, {newer}"
    assert tags["kurve.base_run_id"] == base
    assert (run / "artifacts" / "figure" / "curves.pdf").is_file()
    alone = kurve_here("figure", "scatter", f"runs={newer}", "tracker=dir", "compare.draws=100")
    assert alone.returncode == 0, alone.stderr  # the base that the run names is fetched
    assert "tuned against before" in alone.stdout
    temperatures = kurve_here("figure", "fig16", f"runs={base},{newer}", "tracker=dir", "compare.draws=100")
    assert temperatures.returncode == 0, temperatures.stderr  # each run's report says its own


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["curvs", "runs=b.jsonl"], ["no figure 'curvs'", "did you mean 'curves'?"]),
        (["runs=b.jsonl"], ["needs the name of a figure", "curves", "kurve list figure"]),
        (["fig2"], ["needs runs=", "study:"]),
        (["fig2", "runs=none.jsonl"], ["runs=none.jsonl does not exist"]),
        (["fig2", "runs=b.jsonl,"], ["runs is empty"]),
        (["fig2", "runs=study:x"], ["runs=study:x", "tracker=none keeps no runs"]),
        (["fig2", "runs=study:"], ["needs the study's name"]),
        (["scatter", "runs=b.jsonl"], ["a base and at least one model", "nothing is compared with b"]),
        (["coverage", "runs=b.jsonl"], ["a base and at least one model"]),
        (["fig8", "runs=b.jsonl"], ["need a base", "The figure needs a base and the models trained from it"]),
        (["fig1", "runs=b.jsonl,c.jsonl"], ["c has none", "steps=[0,150,300]"]),
        (["fig16", "runs=b.jsonl,c.jsonl"], ["the temperature of b, c is not known", "temperatures=[...]"]),
        (["fig15", "runs=b.jsonl"], ["there is one setting only", "two trainings"]),
        (["fig2", "runs=b.jsonl,d.jsonl"], ["only b has q", "unpaired=drop"]),
        (["fig2", "runs=b.jsonl", "names=[a,b]"], ["names has 2 values", "each of the 1 runs (b)"]),
        (["fig1", "runs=b.jsonl", "steps=[-1]"], ["steps has -1", "whole steps from 0"]),
        (["fig2", "runs=b.jsonl", "temperatures=[warm]"], ["temperatures has 'warm'"]),
        (["fig2", "runs=b.jsonl", "group_by=model"], ["group_by is 'model'", "benchmark or pair or null"]),
        (["fig2", "runs=b.jsonl", "differences=some"], ["differences is 'some'"]),
        (["fig2", "runs=b.jsonl", "k=0"], ["k"]),
        (["fig2", "runs=b.jsonl", "output=b.jsonl"], ["output=b.jsonl is neither a folder nor a file of png"]),
        (["fig2", "runs=b.jsonl", "output=no/where.pdf"], ["no/where.pdf", "there is no folder"]),
        (["fig2", "runs=b.jsonl", "compare.confidence=2.0"], ["compare.confidence is 2.0"]),
        (["fig2", "runs=b.jsonl", "wrong=1"], ["there is no setting 'wrong'"]),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_what_was_expected(
    kurve_here: RunKurve, tmp_path: Path, words: list[str], expected: list[str]
) -> None:
    for name in ("b", "c"):
        counts(tmp_path / f"{name}.jsonl", {"p": 1, "q": 2}, n=4)
    counts(tmp_path / "d.jsonl", {"p": 1}, n=4)
    done = kurve_here("figure", *words, "tracker=none")
    assert done.returncode == 2, done.stdout
    said = " ".join(done.stderr.split())
    for word in expected:
        assert word in said, said
    assert not list(tmp_path.rglob("*.png"))
