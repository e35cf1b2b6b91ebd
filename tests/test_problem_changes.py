"""What changed on each single problem."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from kurve.comparison import as_json, compare
from kurve.problem_changes import COLUMNS, problem_changes, write_problem_changes
from kurve.types import Tally

IDS = ("plain", '=cmd|"x",1', "new\nline", "\ud800", "last")


def counts(c: list[int], n: list[int] | None = None, ids: tuple[str, ...] = IDS) -> Tally:
    return Tally(ids, np.array(n or [16] * len(ids)), np.array(c), np.zeros(len(ids), dtype=np.int64))


def test_rows_are_paired_by_id_with_accuracies_and_exact_tests() -> None:
    base = counts([0, 8, 16, 3, 1], [16, 16, 16, 8, 32])
    tuned = counts([2, 0, 16, 8, 9], ids=IDS[::-1])  # another order
    found = problem_changes(compare(base, tuned, rng=np.random.default_rng(0)))
    assert found["id"] == list(IDS)
    assert found["c"] == [9, 8, 16, 0, 2]
    assert found["base_accuracy"] == [0, 0.5, 1, 0.375, 1 / 32]
    assert found["difference"] == pytest.approx([9 / 16, 0, 0, -0.375, 2 / 16 - 1 / 32])
    expected = [stats.fisher_exact([[0, 16], [9, 7]]).pvalue, 1.0, 1.0, stats.fisher_exact([[3, 5], [0, 16]]).pvalue]
    assert found["fisher_p"][:4] == pytest.approx(expected)
    assert found["fisher_q"] == pytest.approx(stats.false_discovery_control(found["fisher_p"]))


def test_no_exact_test_is_claimed_where_the_number_of_samples_followed_the_outcomes() -> None:
    base = counts([0, 8, 16, 3, 1])
    adaptive = replace(counts([1, 2, 2, 2, 2]), largest_k=np.array([16, 64, 64, 64, 64]))
    found = problem_changes(compare(base, adaptive, rng=np.random.default_rng(0)))
    assert np.isnan(found["fisher_p"]).all()
    assert np.isnan(found["fisher_q"]).all()
    assert found["c"] == [1, 2, 2, 2, 2]


def test_both_files_hold_all_models_and_hostile_ids(tmp_path: Path) -> None:
    base = counts([0, 8, 16, 3, 1])
    pairs = [
        compare(base, counts([1, 2, 3, 4, 5]), rng=np.random.default_rng(0), names=("base", name))
        for name in ("grpo", "\udcffodd")
    ]
    files = write_problem_changes(pairs, tmp_path, "problems")
    assert [path.name for path in files] == ["problems.parquet", "problems.csv"]
    table = pq.read_table(files[0]).to_pydict()
    assert tuple(table) == COLUMNS
    assert len(table["id"]) == 10
    with files[1].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == table["id"]
    assert [float(row["fisher_p"]) for row in rows] == table["fisher_p"]
    assert rows[1]["id"] == IDS[1]
    before = [path.read_bytes() for path in files]
    write_problem_changes(pairs, tmp_path, "problems")
    assert [path.read_bytes() for path in files] == before


def test_the_numbers_say_what_unsolved_means_and_both_histograms() -> None:
    base = counts([0, 8, 16, 3, 1])
    tuned = counts([0, 64, 1, 2, 3], [64, 64, 64, 64, 64])
    found = as_json(compare(base, tuned, rng=np.random.default_rng(0)))
    support = found["coverage"]["support_threshold"]  # type: ignore[index]  # plain values
    assert support["base"] == {"n": 16, "value": pytest.approx(1 - 0.05 ** (1 / 16))}
    assert support["tuned"] == {"n": 64, "value": pytest.approx(1 - 0.05 ** (1 / 64))}
    histogram = found["accuracy_histogram"]
    assert histogram["base"] == [1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]  # type: ignore[index]  # plain values
    assert sum(histogram["tuned"]) == 5  # type: ignore[index]  # plain values
