"""A user's mistake ends with exit code 2, one clear message, no traceback, and nothing drawn."""

import json
from pathlib import Path

import pytest

from tests.conftest import RunKurve


@pytest.fixture
def kurve(kurve_here: RunKurve) -> RunKurve:
    """In this process: nothing here draws or starts anything."""
    return kurve_here


ROW = {"question": "How much is 1 + 1?", "answer": "#### 2"}
MODEL = ("model=local", "model.path=unused/model", "sampler=scripted", "tracker=none", "num_samples=4")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["sampling.temperature=0"], ["sampling.temperature", "num_samples=1"]),
        (["report.ks=[1,8]"], ["pass@8", "raise num_samples to 8"]),
        (["num_samples=0"], ["num_samples", "whole number"]),
        (["num_samples=100001"], ["num_samples", "100,000"]),
        (["num_samples=many"], ["num_samples"]),
        (["sampling.temperatur=1"], ["temperatur"]),
        (["+sampling.temperatur=1"], ["temperatur", "did you mean sampling.temperature"]),
        (["sampling.top_p=2"], ["sampling.top_p"]),
        (["sampling.max_tokens=0"], ["sampling.max_tokens"]),
        (["benchmark=gsm9k"], ["gsm9k", "gsm8k"]),
        (["benchmark.limit=0"], ["limit"]),
        (["benchmark.path=absent.jsonl"], ["absent.jsonl"]),
        (["sampler=vlm"], ["vlm", "did you mean 'vllm'"]),
        (["sampler=transformers", "model.path=./no/such/folder"], ["no/such/folder"]),
        (["seed=-1"], ["seed"]),
        (["sampler.secnds=1"], ["sampler.secnds"]),
        (["sampling.stop=abc"], ["sampling.stop", "list of str"]),
        (["sampling.temperature=inf"], ["sampling.temperature"]),
        (["model.path=null"], ["model.path=", "model.from_run="]),
        (["model.path=3"], ["model.path", "str"]),
        (["verifier.second=maybe"], ["verifier.second", "bool"]),
        (["sampling=null"], ["group"]),
        (["model.lora=/no/adapter"], ["/no/adapter"]),
        (["sampler._target_=os.getcwd"], ["no sampler"]),
        (["hydra.run.dir=/proc/none"], ["/proc/none"]),
    ],
)
def test_a_bad_setting_is_refused(kurve: RunKurve, tmp_path: Path, overrides: list[str], expected: list[str]) -> None:
    (tmp_path / "problems.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    done = kurve("evaluate", *MODEL, "benchmark=gsm8k", "benchmark.path=problems.jsonl", *overrides)
    assert done.returncode == 2, done.stderr
    for words in expected:
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("outputs/samples/*/*.jsonl*"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ["problems.jsonl", "no rows"]),
        (json.dumps(ROW) + "\n{not json\n", ["problems.jsonl", "2"]),
        (json.dumps({"question": "?"}) + "\n", ["problems.jsonl", "answer"]),
        ((json.dumps(ROW) + "\n") * 2, ["problems.jsonl", "2"]),
    ],
)
def test_a_malformed_dataset_is_refused_with_file_and_line(
    kurve: RunKurve, tmp_path: Path, content: str, expected: list[str]
) -> None:
    (tmp_path / "problems.jsonl").write_text(content, encoding="utf-8")
    done = kurve("evaluate", *MODEL, "benchmark=gsm8k", "benchmark.path=problems.jsonl")
    assert done.returncode == 2, done.stderr
    for words in expected:
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_choices_are_named_with_their_options(kurve: RunKurve) -> None:
    done = kurve("evaluate", "model=local", "model.path=x")
    assert done.returncode == 2
    assert "benchmark" in done.stderr
    assert "gsm8k" in done.stderr


def test_an_unknown_command_names_the_nearest(kurve: RunKurve) -> None:
    done = kurve("evalute")
    assert done.returncode == 2
    assert "kurve evaluate" in done.stderr


@pytest.mark.parametrize("command", ["verify", "report", "merge"])
def test_a_command_without_its_store_says_how_to_find_one(kurve: RunKurve, command: str) -> None:
    done = kurve(command)
    assert done.returncode == 2
    assert "samples=" in done.stderr
    assert "kurve list samples" in done.stderr
    assert "Error executing" not in done.stderr


def test_flags_may_stand_before_and_after_overrides(kurve: RunKurve) -> None:
    done = kurve("evaluate", *MODEL, "--cfg", "job", "benchmark=arithmetic")
    assert done.returncode == 0, done.stderr
    assert "name: arithmetic" in done.stdout


def test_a_store_that_is_not_there_is_refused(kurve: RunKurve) -> None:
    done = kurve("report", "samples=0123456789ab")
    assert done.returncode == 2
    assert "kurve list samples" in done.stderr


@pytest.mark.parametrize("command", ["evaluate", "sample", "verify", "report", "merge"])
def test_help_shows_examples(kurve: RunKurve, command: str) -> None:
    done = kurve(command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"kurve {command} " in done.stdout
    assert "Powered by" not in done.stdout
