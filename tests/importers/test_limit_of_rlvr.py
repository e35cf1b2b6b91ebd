import json
from pathlib import Path

import pytest

from kurve.errors import DataError
from kurve.importers import limit_of_rlvr
from tests.importers.reading_here import COINS, DATA, EGGS, PEARS, C, W, read, taken_for

FOLDER = "limit_of_rlvr/tiny_sums"
ROW = {"idx": 0, "question": "3 + 4?", "gt": "7", "code": ["So 7", "So 8"], "pred": ["7", "8"], "score": [True, False]}


def test_every_code_is_a_sample_and_shards_are_read_together() -> None:
    samples, _ = read(FOLDER)
    assert taken_for(FOLDER) == "limit_of_rlvr"
    assert [one.question for one in samples[::4]] == [PEARS, EGGS, COINS]
    assert [one.outcome for one in samples] == [C, W, C, W] * 3
    assert [one.finish_reason for one in samples[:4]] == ["stop", "stop", "stop", "length"]
    assert (samples[0].text, samples[0].answer, samples[0].gold) == (r"So \boxed{7}", "7", "7")
    assert {one.problem_id for one in samples} == {""}  # idx is a row position


def test_folder_and_name_say_benchmark_and_temperature() -> None:
    facts = limit_of_rlvr.facts(DATA / FOLDER / "test_qwen-boxed_-1_seed1_t0.6_s2_e-1.jsonl")
    assert (facts.benchmark, facts.temperature, facts.model) == ("tiny_sums", 0.6, "")


def test_codes_without_scores_have_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({key: ROW[key] for key in ROW if key != "score"}) + "\n")
    assert [one.outcome for one in read(tmp_path / "a.jsonl")[0]] == [None, None]


def test_lists_of_unlike_length_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({**ROW, "score": [True]}) + "\n")
    with pytest.raises(DataError, match=r"line 1: score has 1 values; expected a list of 2, one for each code"):
        read(tmp_path / "a.jsonl")
