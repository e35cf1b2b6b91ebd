import json
from pathlib import Path

import pytest

from kurve.errors import DataError
from kurve.importers import evalplus
from kurve.types import Outcome
from tests.importers.reading_here import DATA, C, W, read, taken_for

SAMPLES = "evalplus/tiny--coder_vllm_temp_0.8.jsonl"


def results(path: Path, task: object) -> Path:
    path.write_text(json.dumps({"date": "2024-01-01 00:00", "hash": "0", "eval": {"HumanEval/0": task}}))
    return path


@pytest.mark.parametrize("name", [SAMPLES, "evalplus", SAMPLES.replace(".jsonl", "_eval_results.json")])
def test_results_are_read_once_whether_they_their_samples_or_their_folder_is_named(name: str) -> None:
    samples, _ = read(name)
    assert taken_for(name) == "evalplus"
    assert [one.problem_id for one in samples] == ["HumanEval/0"] * 3 + ["HumanEval/1"] * 3
    assert [one.outcome for one in samples] == [C, W, W, C, W, W]  # 1/3 of HumanEval+, as evalplus printed
    assert samples[0].text == "def double(x):\n    return x + x\n"


def test_the_base_tests_alone_can_decide() -> None:
    assert [one.outcome for one in read(SAMPLES, grader="base")[0]] == [C, C, W, C, W, W]  # 1/2, as evalplus printed


def test_the_name_says_model_and_temperature() -> None:
    facts = evalplus.facts(DATA / SAMPLES.replace(".jsonl", "_eval_results.json"))
    assert (facts.model, facts.temperature, facts.benchmark) == ("tiny/coder", 0.8, "humaneval")


def test_results_of_before_0_2_1_take_their_solutions_from_the_samples(tmp_path: Path) -> None:
    old = {"nfiles": 2, "base": [["pass", [True]], ["timeout", []]], "plus": [["fail", [False]], ["timeout", []]]}
    path = results(tmp_path / "s_eval_results.json", old)
    rows = [{"task_id": "HumanEval/0", "solution": f"def f(): return {number}"} for number in range(2)]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(one.text[-1], one.outcome) for one in read(path)[0]] == [("0", W), ("1", Outcome.TIMEOUT)]
    (tmp_path / "s.jsonl").unlink()
    with pytest.raises(DataError, match=r"holds no solutions, and there is no s.jsonl beside it"):
        read(path)


def test_samples_that_were_not_evaluated_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"task_id": "HumanEval/0", "solution": "pass"}\n')
    with pytest.raises(DataError, match=r"no s_eval_results.json beside it; evaluate them first: evalplus.evaluate"):
        read(tmp_path / "s.jsonl")


def test_an_unknown_status_is_refused_with_its_solution(tmp_path: Path) -> None:
    path = results(tmp_path / "s_eval_results.json", [{"solution": "pass", "base_status": "odd"}])
    with pytest.raises(DataError, match=r"HumanEval/0, solution 1: base_status is 'odd'; expected pass, fail, timeout"):
        read(path)
