import json
from pathlib import Path

import pytest

from kurve.errors import DataError
from kurve.importers import nemo_skills
from tests.importers.reading_here import DATA, EGGS, C, N, W, read, taken_for

FOLDER = "nemo_skills/eval-results/tiny_sums"


def rows(path: Path, **row: object) -> Path:
    path.write_text(json.dumps({"problem": "3 + 4?", "expected_answer": 7, "generation": "It is 7", **row}) + "\n")
    return path


def test_all_seeds_of_a_folder_are_read_in_the_order_of_their_numbers() -> None:
    samples, _ = read(FOLDER)
    assert taken_for(FOLDER) == "nemo_skills"
    eggs = [one for one in samples if one.problem_id == "sums-1"]
    assert {(one.question, one.gold) for one in eggs} == {(EGGS, "42")}
    assert [one.text[:7] for one in eggs] == ["Seed 0 ", "Seed 1 ", "Seed 2 ", "Seed 10"]
    assert [one.outcome for one in eggs] == [C, W, C, C]
    assert [one.outcome for one in samples].count(N) == 1  # predicted_answer is null
    assert all(one.num_tokens == len(one.text.split()) for one in samples)
    assert nemo_skills.facts(DATA / FOLDER / "output-rs0.jsonl").benchmark == "tiny_sums"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"is_correct": True}, C),
        ({"symbolic_correct": False, "judgement": "Judgement: Yes"}, W),
        ({"judgement": "Reasoning ...\nJudgement: Yes"}, C),
        ({"judgement": "**Judgement:** No"}, W),
        ({}, None),
    ],
)
def test_verdicts_of_old_and_new_versions(tmp_path: Path, row: dict[str, object], expected: object) -> None:
    [one], _ = read(rows(tmp_path / "output-rs0.jsonl", **row))
    assert one.outcome is expected
    assert one.gold == "7"


def test_the_judge_can_be_chosen(tmp_path: Path) -> None:
    path = rows(tmp_path / "output.jsonl", symbolic_correct=False, judgement="Judgement: Yes")
    assert read(path, grader="judgement")[0][0].outcome is C
    assert read(path)[0][0].graders == ("symbolic_correct", "judgement")


def test_a_row_without_a_generation_is_refused(tmp_path: Path) -> None:
    path = rows(tmp_path / "output-rs0.jsonl")
    with path.open("a") as file:
        file.write('{"problem": "1?", "generation": null}\n')
    with pytest.raises(DataError, match=r"output-rs0.jsonl, line 2: generation is missing; expected a text"):
        read(path)
