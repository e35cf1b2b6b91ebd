import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from kurve.export import read_counts
from kurve.store import SampleStore, VerdictStore
from tests.conftest import RunKurve, command_environment, command_line
from tests.importers.reading_here import DATA

SUMS = DATA / "lm_eval/tiny__scripted/samples_tiny_sums_2026-11-26T18-00-39.593112.jsonl"
NEMO = DATA / "nemo_skills/eval-results/tiny_sums"


def rows(path: Path, *given: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    return path


def row(number: int = 0, **changes: object) -> dict[str, object]:
    return {"id": "a", "question": "3 + 4?", "answer": "7", "text": f"try {number}", "correct": True, **changes}


def stores(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "outputs" / "samples").glob("*"))


def counts(tmp_path: Path, run: int = -1) -> list[tuple[str, int, int]]:
    reports = sorted((tmp_path / "outputs" / "runs").glob("*/*/report/counts.parquet"), key=os.path.getmtime)
    tally = read_counts(reports[run])
    return list(zip(tally.problem_ids, tally.num_samples.tolist(), tally.num_correct.tolist(), strict=True))


def test_a_folder_of_seeds_becomes_one_store_with_the_tools_verdicts_and_a_run(
    kurve_here: RunKurve, tmp_path: Path
) -> None:
    words = (f"path={NEMO}", "model.name=grpo", "tracker=dir", "sampling.temperature=0.6")
    done = kurve_here("import", *words)
    assert done.returncode == 0, done.stderr
    assert "format   nemo_skills (4 files, first output-rs0.jsonl): 12 samples of 3 problems" in done.stdout
    assert "verdicts nemo_skills.symbolic_correct, as in the files" in done.stdout
    assert "unknown  top_p, top_k, min_p, max_tokens" in done.stdout
    assert sorted(counts(tmp_path)) == [("sums-0", 4, 3), ("sums-1", 4, 3), ("sums-2", 4, 2)]
    [folder] = stores(tmp_path)
    with SampleStore.open_folder(folder) as store:
        assert (store.spec.temperature, store.spec.top_p, store.spec.engine) == (0.6, None, "nemo_skills")
        assert store.count() == 12
    again = kurve_here("import", *words)
    assert "(logged before)" in again.stdout
    assert stores(tmp_path) == [folder]


def test_mlflow_shows_what_was_imported_as_it_shows_our_own_evaluations(kurve_here: RunKurve, tmp_path: Path) -> None:
    done = kurve_here("import", f"path={SUMS}", "model.name=base", "tracker=mlflow")
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name("kurve").experiment_id])
    [dataset] = run.inputs.dataset_inputs
    name = dataset.dataset.name
    assert {f"{name}/pass_at_1", f"{name}/pass_at_k", f"{name}/truncation_rate"} <= run.data.metrics.keys()
    assert any("accuracy" in one.path for one in client.list_artifacts(run.info.run_id, "images"))
    traces = client.search_traces(locations=[run.info.experiment_id], run_id=run.info.run_id)
    assert len(traces) == run.data.metrics[f"{name}/num_problems"]
    assert {one.name for trace in traces for one in trace.info.assessments} >= {"pass_at_1"}
    assert {"mlflow.sharedViewState.kurve", "mlflow.note.content"} <= client.get_experiment(
        run.info.experiment_id
    ).tags.keys()


@pytest.mark.slow
def test_report_verify_and_compare_work_on_what_was_imported(kurve_here: RunKurve, tmp_path: Path) -> None:
    assert kurve_here("import", f"path={NEMO}", "model.name=grpo", "tracker=none").returncode == 0
    [folder] = stores(tmp_path)
    reported = kurve_here("report", f"samples={folder.name}", "tracker=none")
    assert "grpo on tiny_sums" in reported.stdout, reported.stderr
    assert counts(tmp_path) == counts(tmp_path, run=0)
    compared = kurve_here("compare", f"base={folder.name}", f"tuned={folder}", "tracker=none", "output=out.json")
    assert compared.returncode == 0, compared.stderr
    moved = folder.rename(tmp_path / folder.name)
    verified = kurve_here("verify", f"samples={moved}")
    assert "correct" in verified.stdout, verified.stderr
    ours = kurve_here("report", f"samples={moved}", "verifier=math", "tracker=none")
    assert "verifier disagreement" in ours.stdout, ours.stderr  # by our verifier, which has a second grader
    assert sorted(counts(tmp_path)) == sorted(counts(tmp_path, run=0))  # and it agrees with the tool's verdicts


def test_samples_without_a_verdict_are_judged_against_the_files_own_answers(
    kurve_here: RunKurve, tmp_path: Path
) -> None:
    path = rows(tmp_path / "r.jsonl", *(row(text=rf"\boxed{{{n}}}", correct=None) for n in (7, 8)), row(2))
    done = kurve_here("import", f"path={path}", "model.name=base", "tracker=none")
    assert "by our verifier: the files have none on 2 samples" in done.stdout, done.stderr
    assert counts(tmp_path) == [("a", 3, 1)]  # `try 2` too is judged by ours


def test_a_benchmarks_problems_get_its_ids_and_ragged_n_is_kept(kurve_here: RunKurve, tmp_path: Path) -> None:
    from kurve.benchmarks.arithmetic import load

    first, second, *_ = load().problems
    asked = [f"Question: {problem.question}\nAnswer:" for problem in (first, second, first)]
    given = [{"question": one, "text": f"{n}", "correct": n == 0} for n, one in enumerate(asked)]
    path = rows(tmp_path / "r.jsonl", *given, {"question": "Who?", "text": "me", "correct": False})
    words = (f"path={path}", "model.name=base", "tracker=none", "benchmark=arithmetic")
    refused = kurve_here("import", *words)
    assert refused.returncode == 2
    assert "r.jsonl, line 4: arithmetic has no such problem, and so for 1 samples" in refused.stderr
    assert not stores(tmp_path)
    done = kurve_here("import", *words, "unmatched=drop")
    assert "left out 1 rows: not a problem of the benchmark" in done.stdout, done.stderr
    assert counts(tmp_path) == [(first.id, 2, 1), (second.id, 1, 0)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "kurve import needs path=<file"),
        (("path=nothing.jsonl",), "path=nothing.jsonl does not exist"),
        ((f"path={NEMO}",), "does not say which model the samples are of; name it: model.name=..."),
        ((f"path={SUMS.parent}",), "differ in benchmark: 'tiny_choices' and 'tiny_sums'"),
        ((f"path={SUMS}", "grader=loose"), "no verdict by grader=loose"),
        ((f"path={SUMS}", "format=lmeval"), "format=lmeval is not known; did you mean lm_eval?"),
        ((f"path={SUMS}", "sampling.temperature=-1"), "sampling.temperature is -1; it must be a number from 0 to 100"),
        ((f"path={SUMS}", "sampling.max_tokens=0"), "sampling.max_tokens is 0"),
        ((f"path={SUMS}", "unmatched=no"), "unmatched is 'no'; expected refuse or drop"),
        ((f"path={SUMS}", "columns.text=3"), "columns.text is 3; expected the name of a column"),
        ((f"path={SUMS}", "columns.txt=a"), "there is no setting 'columns.txt'; did you mean columns.text?"),
        (("path=damaged.jsonl", "model.name=m"), "damaged.jsonl, line 2: not valid JSON"),
        (("path=open.jsonl", "model.name=m"), "open.jsonl, line 2: no verdict on this sample (1 have none)"),
    ],
)
def test_what_cannot_be_imported_is_refused_and_nothing_is_stored(
    kurve_here: RunKurve, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    (tmp_path / "damaged.jsonl").write_text(json.dumps(row()) + '\n{"id": ')
    rows(tmp_path / "open.jsonl", row(), row(1, id="b", question="1 + 1?", answer=None, correct=None))
    refused = kurve_here("import", *words, "tracker=none")
    assert refused.returncode == 2
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not stores(tmp_path)


def test_hostile_text_holes_in_the_indices_and_missing_references_are_kept_as_they_are(
    kurve_here: RunKurve, tmp_path: Path
) -> None:
    text = "[red]<script>alert(1)</script>\u202e\x1b[31m $\\frac$"
    odd: dict[str, object] = {"text": text, "question": text, "id": text, "answer": None}
    path = rows(tmp_path / "r.jsonl", row() | odd | {"index": 0}, row() | odd | {"index": 5, "correct": False})
    done = kurve_here("import", f"path={path}", "model.name='[bold]m'", "tracker=none")
    assert "[bold]m on r" in done.stdout, done.stderr
    [folder] = stores(tmp_path)
    with SampleStore.open_folder(folder) as store:
        assert [(sample.index, sample.text) for sample in store.samples()] == [(0, text), (5, text)]
    assert kurve_here("report", f"samples={folder}", "tracker=none").returncode == 0
    assert [(n, c) for _, n, c in counts(tmp_path)] == [(2, 1)]
    refused = kurve_here("verify", f"samples={folder}")
    assert refused.returncode == 2
    assert "1 problems have no reference answer to judge by" in refused.stderr


@pytest.mark.slow
def test_two_imports_are_merged_and_judged(kurve_here: RunKurve, tmp_path: Path) -> None:
    for name, answers in (("one", (7, 8)), ("two", (7,))):
        path = rows(tmp_path / f"{name}.jsonl", *(row(text=rf"\boxed{{{n}}}") for n in answers))
        words = (f"path={path}", "model.name=base", "benchmark_name=sums", "tracker=none")
        assert kurve_here("import", *words).returncode == 0
    merged = kurve_here("merge", f"samples=[{','.join(path.name for path in stores(tmp_path))}]")
    assert merged.returncode == 0, merged.stderr
    folder = merged.stdout.split()[1]
    reported = kurve_here("report", f"samples={folder}", "tracker=none")
    assert reported.returncode == 0, reported.stderr
    assert counts(tmp_path) == [("a", 3, 2)]


@pytest.mark.slow
def test_a_killed_import_goes_on_and_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    path = rows(tmp_path / "r.jsonl", *(row(n, id=f"p{n % 50}", text=f"{n} " * 200) for n in range(60_000)))
    words = command_line(("import", f"path={path}", "model.name=base", "tracker=none"))
    process = subprocess.Popen(words, cwd=tmp_path, env=command_environment(), stderr=subprocess.DEVNULL)
    while not (found := list(tmp_path.glob("outputs/samples/*/samples-*"))) or not found[0].stat().st_size:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    [folder] = stores(tmp_path)
    assert not (folder / "evaluation.yaml").exists()
    assert subprocess.run(words, cwd=tmp_path, env=command_environment(), check=False).returncode == 0
    with SampleStore.open_folder(folder) as store, VerdictStore.open(store, "rows", read_only=True) as verdicts:
        assert (store.count(), verdicts.count()) == (60_000, 60_000)
    assert sys.executable in words[0]
