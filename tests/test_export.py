"""A report as files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kurve.errors import DataError
from kurve.export import read_counts, write_files
from kurve.metrics.coverage import accuracy_histogram
from kurve.metrics.passk import pass_at_k
from kurve.report import ReportSettings, build_report
from kurve.store import fingerprint
from kurve.types import Curve, Outcome, Problem, Report, Sample, Tally, Verdict
from tests.reports import SPEC, problems, samples, verdicts

NAMES = {
    "curve.json",
    "counts.parquet",
    "counts.jsonl",
    "samples.json",
    "problems.json",
    "disagreements.json",
    "report.json",
    "pass_at_k.png",
    "pass_at_k.svg",
    "accuracy.image.png",
    "accuracy.png",
    "accuracy.svg",
}


def small(items: list[Problem] | None = None) -> Report:
    chosen = items or problems(2)
    outcomes = [[Outcome.CORRECT, Outcome.WRONG, Outcome.ERROR], [Outcome.WRONG] * 3]
    judged = [replace(verdict, problem_id=chosen[int(verdict.problem_id[1:])].id) for verdict in verdicts(outcomes)]
    return build_report(
        benchmark="toy",
        spec=SPEC,
        verifier="v1",
        problems=chosen,
        samples=samples(2, 3) if items is None else [Sample(p.id, 0, "\ud800\x00", "stop", 1) for p in chosen],
        verdicts=judged,
        settings=ReportSettings(3),
    )


def long(n: int) -> Report:
    tally = Tally(("a", "b"), np.array([n, n]), np.array([1, n // 3]), np.array([0, 0]))
    k = np.array([1, 2, n])
    value = np.array([0.2, 0.3, 1.0])
    curve = Curve("pass_at_k", k, value, value / 2, value, 2 * k > n, 0.95)
    return Report("toy", SPEC, "v1", tally, {}, (curve,), (accuracy_histogram(tally),))


def read(folder: Path, name: str) -> dict[str, object]:
    content = json.loads((folder / name).read_text(encoding="ascii"))
    assert isinstance(content, dict)
    return content


def test_all_files_are_written_and_named(tmp_path: Path) -> None:
    files = write_files(small(), tmp_path / "a" / "b")
    assert {file.name for file in files} == NAMES
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == NAMES


def test_the_whole_curve_is_there_with_its_band(tmp_path: Path) -> None:
    write_files(long(1_000), tmp_path)
    curve = read(tmp_path, "curve.json")
    assert curve["k"] == list(range(1, 1_001))
    assert curve["value"] == pass_at_k([1_000, 1_000], [1, 333]).tolist()
    assert curve["band"] == {
        "confidence": 0.95,
        "k": [1, 2, 1_000],
        "low": [0.1, 0.15, 0.5],
        "high": [0.2, 0.3, 1.0],
        "high_variance": [False, False, True],
    }


def test_a_very_long_curve_is_thinned_and_says_so(tmp_path: Path) -> None:
    write_files(long(20_000), tmp_path)
    curve = read(tmp_path, "curve.json")
    assert curve["k"] == [1, 2, 20_000]
    assert "log-spaced" in str(curve["note"])


def test_counts_are_readable_by_other_tools(tmp_path: Path) -> None:
    write_files(small(), tmp_path)
    lines = (tmp_path / "counts.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"id": "p0", "c": 1, "n": 2}, {"id": "p1", "c": 0, "n": 3}]
    assert pq.read_table(tmp_path / "counts.parquet").to_pydict() == {
        "id": ["p0", "p1"],
        "n": [2, 3],
        "c": [1, 0],
        "errors": [1, 0],
    }


def test_tables_have_columns_and_data_as_mlflow_reads_them(tmp_path: Path) -> None:
    write_files(small(), tmp_path)
    shown = read(tmp_path, "samples.json")
    assert set(shown) == {"columns", "data"}
    columns, data = shown["columns"], shown["data"]
    assert isinstance(columns, list)
    assert isinstance(data, list)
    assert all(len(row) == len(columns) for row in data)
    assert len(data) == 6


def test_the_summary_holds_scalars_notes_settings_and_fingerprints(tmp_path: Path) -> None:
    report = small()
    write_files(replace(report, scalars={**report.scalars, "broken": float("nan")}), tmp_path)
    summary = read(tmp_path, "report.json")
    assert summary["fingerprint"] == fingerprint(SPEC)
    assert summary["verifier"] == "v1"
    assert summary["notes"] == list(report.notes)
    scalars = summary["scalars"]
    assert isinstance(scalars, dict)
    assert scalars["pass_at_1"] == 0.25
    assert scalars["broken"] is None


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    first, again = write_files(small(), tmp_path / "a"), write_files(small(), tmp_path / "b")
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in again]


def test_ids_and_texts_that_are_no_unicode_are_written(tmp_path: Path) -> None:
    base = problems(2)
    odd = [replace(base[0], id="\ud800/../\x00", question="\udfff" * 9), replace(base[1], id='"\n')]
    write_files(small(odd), tmp_path)
    assert len((tmp_path / "counts.jsonl").read_text().splitlines()) == 2
    assert len(pq.read_table(tmp_path / "counts.parquet")) == 2


def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose another folder"):
        write_files(small(), tmp_path / "file" / "sub")


def test_verdicts_alone_make_all_files(tmp_path: Path) -> None:
    report = build_report(
        benchmark="toy",
        spec=SPEC,
        verifier="v1",
        problems=problems(1),
        samples=[],
        verdicts=[Verdict("p0", 0, Outcome.CORRECT, "1")],
        settings=ReportSettings(1),
    )
    assert {file.name for file in write_files(report, tmp_path)} == NAMES


def test_counts_carry_the_strata_of_a_benchmark_that_has_them(tmp_path: Path) -> None:
    report = small()
    tally = replace(report.tally, strata=("algebra", ""))
    write_files(replace(report, tally=tally), tmp_path)
    assert read_counts(tmp_path / "counts.parquet").strata == ("algebra", "")
    lines = [json.loads(line) for line in (tmp_path / "counts.jsonl").read_text().splitlines()]
    assert [line.get("stratum") for line in lines] == ["algebra", None]
    write_files(report, tmp_path)
    assert read_counts(tmp_path / "counts.parquet").strata == ()
