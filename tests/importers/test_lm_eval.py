import json
from pathlib import Path

import pytest

from kurve.errors import DataError
from kurve.importers import lm_eval
from kurve.importers.imported import Options
from kurve.importers.reading import Meter
from tests.importers.reading_here import COINS, DATA, EGGS, PEARS, C, N, W, read, taken_for

FOLDER = "lm_eval/tiny__scripted"
DATE = "2026-11-26T18-00-39.593112"
SUMS, MANY, CHOICES = (f"{FOLDER}/samples_tiny_{task}_{DATE}.jsonl" for task in ("sums", "sums_all", "choices"))


def old_row(**changes: object) -> dict[str, object]:
    """A row as 0.4.0 to 0.4.2 wrote it: no filter, arguments in lists."""
    row = {"doc_id": 0, "doc": {"problem": "1 + 1?"}, "target": "2", "arguments": [["Q: 1 + 1?", {"until": ["Q:"]}]]}
    return {**row, "resps": [["It is 2"]], "filtered_resps": ["2"], "exact_match": 1.0, **changes}


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_each_response_is_a_sample_with_the_verdict_of_the_first_filter() -> None:
    samples, left_out = read(SUMS)
    assert taken_for(SUMS) == "lm_eval"
    assert [one.question for one in samples] == [PEARS, EGGS, COINS]
    assert [one.gold for one in samples] == ["7", "42", "9"]
    assert [one.text for one in samples] == ["3 + 4 = 7\n#### 7", "I think 42.", "The answer is #### 9"]
    assert [one.outcome for one in samples] == [C, N, C]
    assert {one.grader for one in samples} == {"strict-match/exact_match"}
    assert samples[0].prompt == f"Question: {PEARS}\nAnswer:"
    assert {one.problem_id for one in samples} == {""}  # doc_id is a row position
    assert [one.reason for one in left_out] == ["filter flexible-extract"] * 3


@pytest.mark.parametrize("grader", ["flexible-extract", "flexible-extract/exact_match"])
def test_another_filter_can_be_taken(grader: str) -> None:
    samples, left_out = read(SUMS, grader=grader)
    assert [one.outcome for one in samples] == [C, W, C]  # its pattern takes the full stop of '42.'
    assert {one.grader for one in samples} == {"flexible-extract/exact_match"}
    assert len(left_out) == 3


def test_a_filter_that_the_file_has_not_is_refused_with_those_it_has() -> None:
    with pytest.raises(DataError, match=r"no verdict by grader=loose; there is flexible-extract/exact_match, strict-"):
        read(SUMS, grader="loose")


def test_a_metric_of_several_responses_is_no_verdict_on_each() -> None:
    samples, _ = read(MANY)
    assert len(samples) == 12
    assert {one.outcome for one in samples} == {None}
    assert [one.text for one in samples[:4]] == ["no idea", "#### 8", "7 boxes: #### 42", "#### 9"]


def test_of_multiple_choice_the_likeliest_option_is_the_response() -> None:
    samples, _ = read(CHOICES)
    assert [(one.text, one.gold, one.outcome) for one in samples] == [("red", "cold", W), ("five", "four", W)]
    assert all(one.logprob_sum is not None and one.logprob_sum < 0 for one in samples)
    assert {one.grader for one in samples} == {"acc"}
    assert {one.graders for one in samples} == {("acc", "acc_norm")}
    assert [one.outcome for one in read(CHOICES, grader="acc_norm")[0]].count(C) == 1


def test_the_results_beside_the_samples_say_model_and_settings() -> None:
    facts = lm_eval.facts(DATA / SUMS)
    assert (facts.model, facts.benchmark) == ("tiny/scripted", "tiny_sums")
    assert (facts.temperature, facts.top_p, facts.max_tokens) == (0.6, 0.95, 64)
    assert (facts.top_k, facts.min_p) == (None, None)
    assert facts.stop == ("Question:",)


def test_without_the_results_the_folder_and_the_first_row_say_them(tmp_path: Path) -> None:
    alone = tmp_path / "org__model" / Path(SUMS).name
    alone.parent.mkdir()
    alone.write_bytes((DATA / SUMS).read_bytes())
    facts = lm_eval.facts(alone)
    assert (facts.model, facts.temperature) == ("org/model", 0.6)


def test_greedy_decoding_is_temperature_0(tmp_path: Path) -> None:
    row = old_row(arguments=[["Q", {"do_sample": False, "temperature": 0.7}]])
    assert lm_eval.facts(written(tmp_path / "a.jsonl", row)).temperature == 0.0


def test_files_of_before_0_4_3_are_read_by_their_first_filter(tmp_path: Path) -> None:
    path = written(tmp_path / "old.jsonl", old_row(), old_row(exact_match=0.0, filtered_resps=["[invalid]"]))
    samples, left_out = read(path)
    assert [(one.text, one.outcome, one.question, one.prompt) for one in samples] == [
        ("It is 2", C, "1 + 1?", "Q: 1 + 1?")
    ]
    assert [one.reason for one in left_out] == ["another filter on the same responses"]


def test_an_array_of_rows_is_read_as_rows(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text(json.dumps([old_row(), old_row(doc_id=1, doc={"problem": "2 + 2?"})], indent=2))
    assert [one.question for one in read(path)[0]] == ["1 + 1?", "2 + 2?"]


def test_a_verdict_on_each_of_several_responses_is_taken(tmp_path: Path) -> None:
    row = old_row(resps=[["2", "3"]], filtered_resps=[["2", "3"]], exact_match=[1, 0])
    assert [one.outcome for one in read(written(tmp_path / "a.jsonl", row))[0]] == [C, W]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exact_match": 0.5}, r"line 2: exact_match is 0.5; expected the verdict on one sample"),
        ({"resps": "text"}, r"line 2: resps is 'text'; expected lists of responses"),
        ({"resps": [[]]}, r"line 2: resps is \[\[\]\]"),
        ({"doc": "text"}, r"line 2: doc is 'text'; expected an object"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = written(tmp_path / "a.jsonl", old_row(), old_row(doc_id=1, **changes))
    with pytest.raises(DataError, match=message):
        list(lm_eval.read(path, Options(), Meter()))
