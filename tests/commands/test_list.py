"""`kurve list`: what can be chosen, and what is stored."""

import json
from pathlib import Path

from tests.conftest import RunKurve


def test_a_group_is_listed_with_what_each_option_is(kurve: RunKurve) -> None:
    done = kurve("list", "benchmark")
    assert done.returncode == 0, done.stderr
    for name in ("gsm8k", "math500", "aime24", "arithmetic"):
        assert name in done.stdout
    assert "GSM8K test split" in done.stdout


def test_without_a_group_the_groups_are_named(kurve: RunKurve) -> None:
    done = kurve("list")
    assert done.returncode == 0
    assert "benchmark" in done.stdout
    assert "samples" in done.stdout


def test_an_unknown_group_names_the_nearest(kurve: RunKurve) -> None:
    done = kurve("list", "benchmrk")
    assert done.returncode == 2
    assert "did you mean 'benchmark'" in done.stderr


def test_stored_samples_are_listed_and_a_damaged_store_says_so(kurve: RunKurve, tmp_path: Path) -> None:
    row = {"question": "How much is [bold]1 + 1?", "answer": "#### 2"}
    (tmp_path / "problems.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    base = (
        "model=local",
        "model.path='[red]mine'",
        "sampler=scripted",
        "benchmark=gsm8k",
        "benchmark.path=problems.jsonl",
    )
    assert kurve("sample", *base, "num_samples=4").returncode == 0
    listed = kurve("list", "samples")
    assert listed.returncode == 0, listed.stderr
    assert "[red]mine" in listed.stdout
    assert "gsm8k" in listed.stdout
    [spec] = tmp_path.glob("outputs/samples/*/spec.json")
    spec.write_text("{", encoding="utf-8")
    listed = kurve("list", "samples", str(tmp_path / "outputs" / "samples"))
    assert listed.returncode == 0, listed.stderr
    assert spec.parent.name in listed.stdout
    assert "spec.json" in listed.stdout
