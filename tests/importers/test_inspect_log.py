import json
import zipfile
from pathlib import Path

import pytest

from kurve.errors import DataError
from kurve.importers import inspect_log
from kurve.types import Outcome
from tests.importers.reading_here import DATA, C, N, W, read, taken_for

LOGS = ("inspect/sums.eval", "inspect/chunked.eval")


def log(path: Path, *samples: dict[str, object], status: str = "success") -> Path:
    header = {"version": 2, "status": status, "eval": {"task": "org/sums", "model": "mockllm/model"}}
    if path.suffix == ".json":
        path.write_text(json.dumps({**header, "samples": list(samples)}))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("_journal/start.json", json.dumps(header))
            for one in samples:
                archive.writestr(f"samples/{one['id']}_epoch_{one['epoch']}.json", json.dumps(one))
    return path


def sample(value: object = "C", **changes: object) -> dict[str, object]:
    choice = {"message": {"role": "assistant", "content": "It is 7"}, "stop_reason": "stop"}
    one = {"id": "a", "epoch": 1, "input": "3 + 4?", "target": "7", "output": {"choices": [choice]}}
    return {**one, "scores": {"match": {"value": value, "answer": "7"}}, **changes}


@pytest.mark.parametrize("name", LOGS)
def test_epochs_are_samples_and_scorers_are_judges(name: str) -> None:
    samples, left_out = read(name)
    assert taken_for(name) == "inspect"
    assert not left_out
    assert len(samples) == 12
    assert sorted({one.problem_id for one in samples}) == ["sum-1", "sum-2", "sum-3"]
    first = samples[0]
    assert (first.question, first.gold) == ("What is 3 + 4? End with the number.", "7")
    assert (first.text, first.num_tokens) == ("I add: 7", 3)
    assert first.graders == ("match", "includes")
    assert [one.outcome for one in samples].count(C) == 3  # 0.25 in the log's own results
    assert {one.finish_reason for one in samples} == {"stop", "length"}


def test_a_json_log_reads_as_the_zip_does() -> None:
    samples, _ = read("inspect/sums.json")
    assert [(one.problem_id, one.text) for one in samples[:2]] == [("sum-1", "I add: 7"), ("sum-2", "That makes 42")]
    assert len(samples) == 4


def test_another_scorer_can_be_taken() -> None:
    samples, _ = read("inspect/sums.eval", grader="includes")
    assert {one.grader for one in samples} == {"includes"}
    with pytest.raises(DataError, match="no verdict by grader=judge; there is match, includes"):
        read("inspect/sums.eval", grader="judge")


def test_an_automatic_number_is_no_id() -> None:
    samples, _ = read("inspect/numbered.eval")
    assert {one.problem_id for one in samples} == {""}
    assert {one.question for one in samples} == {"What is 2 + 2?", "What is 5 + 5?"}


def test_the_header_says_model_task_and_settings() -> None:
    facts = inspect_log.facts(DATA / "inspect/sums.eval")
    assert (facts.model, facts.benchmark) == ("mockllm/model", "sums")
    assert (facts.temperature, facts.top_p, facts.max_tokens, facts.top_k) == (0.6, 0.95, 64, None)


@pytest.mark.parametrize(
    ("value", "outcome"),
    [("C", C), ("I", W), ("P", W), ("N", N), (1, C), (0.0, W), (True, C), (False, W), (None, None)],
)
@pytest.mark.parametrize("suffix", [".eval", ".json"])
def test_the_values_of_scores(tmp_path: Path, suffix: str, value: object, outcome: Outcome | None) -> None:
    [one], _ = read(log(tmp_path / f"log{suffix}", sample(value)))
    assert one.outcome is outcome
    assert one.answer == "7"


def test_a_scorer_with_several_values_is_several_judges(tmp_path: Path) -> None:
    path = log(tmp_path / "log.eval", sample({"right": 1, "short": 0}))
    assert read(path, grader="match/short")[0][0].outcome is W
    assert read(path)[0][0].graders == ("match/right", "match/short")


def test_a_fractional_score_is_refused_with_its_sample(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"samples/a_epoch_1.json: the score match is 0.4; expected the verdict"):
        read(log(tmp_path / "log.eval", sample(0.4)))


def test_a_sample_on_which_the_tool_failed_is_left_out(tmp_path: Path) -> None:
    failed = sample(error={"message": "timeout"}, scores={}, output={}, id="b")
    samples, left_out = read(log(tmp_path / "log.eval", sample(), failed, status="error"))
    assert [one.problem_id for one in samples] == ["a"]
    assert [one.reason for one in left_out] == ["the tool failed on the sample"]


def test_messages_parts_and_attachments_are_put_together(tmp_path: Path) -> None:
    parts = [{"type": "reasoning", "reasoning": "3 and 4"}, {"type": "text", "text": "attachment://key"}]
    one = sample(
        input=[{"role": "system", "content": "Be brief"}, {"role": "user", "content": "3 + 4?"}],
        output={"choices": [{"message": {"content": parts}, "stop_reason": "max_tokens"}]},
        attachments={"key": "make 7"},
    )
    [read_back], _ = read(log(tmp_path / "log.json", one))
    assert (read_back.question, read_back.text, read_back.finish_reason) == ("3 + 4?", "3 and 4\nmake 7", "length")


def test_a_damaged_member_is_refused_by_its_name(tmp_path: Path) -> None:
    data = bytearray((DATA / "inspect/sums.eval").read_bytes())
    place = data.index(b"samples/sum-1_epoch_1.json") + 200
    data[place : place + 50] = bytes(50)
    (tmp_path / "log.eval").write_bytes(data)
    with pytest.raises(DataError, match=r"sum-1_epoch_1.json: damaged"):
        read(tmp_path / "log.eval")


def test_a_zip_that_is_no_log_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.eval", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match=r"neither header\.json nor _journal/start\.json"):
        inspect_log.facts(tmp_path / "other.eval")
