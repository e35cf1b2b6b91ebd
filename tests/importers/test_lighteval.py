from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kurve.errors import DataError
from kurve.importers import lighteval
from tests.importers.reading_here import DATA, EGGS, C, W, read, taken_for

DATE = "2026-11-26T18-16-55.873879"
FOLDER = f"lighteval/details/tiny/scripted/{DATE}"
SUMS, MANY = (f"{FOLDER}/details_tiny_{task}|0_{DATE}.parquet" for task in ("sums", "many"))


def parquet(path: Path, *rows: dict[str, object]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def test_one_response_a_row_has_the_rows_metric_as_its_verdict() -> None:
    samples, _ = read(SUMS)
    assert taken_for(SUMS) == "lighteval"
    assert [one.outcome for one in samples].count(C) == 1
    assert [one.outcome for one in samples].count(W) == 2
    by_gold = {one.gold: one for one in samples}
    assert by_gold.keys() == {"7", "42", "9"}
    assert by_gold["42"].question == f"Question: {EGGS}\nAnswer:"
    assert {one.problem_id for one in samples} == {""}  # doc.id is a row position
    assert all(one.num_tokens == len(one.text) for one in samples)  # the scripted model's tokens are bytes


def test_a_metric_of_several_responses_is_no_verdict_on_each() -> None:
    samples, _ = read(MANY)
    assert len(samples) == 12
    assert {one.outcome for one in samples} == {None}


def test_task_model_and_settings_come_from_names_and_results() -> None:
    facts = lighteval.facts(DATA / SUMS)
    assert (facts.model, facts.benchmark) == ("tiny/scripted", "tiny_sums")
    assert (facts.temperature, facts.top_p, facts.max_tokens, facts.top_k) == (0.6, 0.95, 64, None)


@pytest.mark.parametrize("as_text", [False, True])
def test_details_of_before_0_10_are_read(tmp_path: Path, as_text: bool) -> None:
    old: dict[str, object] = {
        "example": "2 + 2?", "full_prompt": "Q: 2 + 2?", "gold": ["4"], "predictions": ["It's 4"],
        "cont_tokens": [[5, 6, 7]], "choices": [], "metrics": {"extractive_match": 1, "other": 0.3},
    }  # fmt: skip
    if as_text:
        old |= {key: repr(old[key]) for key in ("gold", "predictions", "cont_tokens")}
    path = parquet(tmp_path / f"details_lighteval|math_500|0|0_{DATE}.parquet", old)
    [one], _ = read(path)
    assert (one.question, one.prompt, one.gold, one.text) == ("2 + 2?", "Q: 2 + 2?", "4", "It's 4")
    assert (one.outcome, one.grader, one.num_tokens) == (C, "extractive_match", 3)
    assert lighteval.facts(path).benchmark == "math_500"


def test_of_log_likelihoods_the_likeliest_choice_is_the_response(tmp_path: Path) -> None:
    row = {
        "doc": {"query": "Hot's opposite?", "choices": [" warm", " cold"], "gold_index": 1},
        "model_response": {"text": [], "logprobs": [-3.0, -1.0]},
        "metric": {"acc": 1},
    }
    [one], _ = read(parquet(tmp_path / "details.parquet", row))
    assert (one.text, one.gold, one.outcome) == ("cold", "cold", C)


def test_a_row_without_responses_is_refused_with_its_place(tmp_path: Path) -> None:
    row = {"doc": {"query": "?"}, "model_response": {"text": [7]}, "metric": {"em": 1}}
    with pytest.raises(DataError, match=r"details.parquet, row 1: the responses are \[7\]"):
        read(parquet(tmp_path / "details.parquet", row))


def test_a_fractional_metric_is_refused_and_another_can_be_named(tmp_path: Path) -> None:
    row = {"doc": {"query": "?"}, "model_response": {"text": ["a"]}, "metric": {"em": 0.5, "qem": 1}}
    path = parquet(tmp_path / "details.parquet", row)
    with pytest.raises(DataError, match=r"em is 0.5; expected the verdict on one sample"):
        read(path)
    assert [one.outcome for one in read(path, grader="qem")[0]] == [C]
