import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from kurve.demonstrations import Demonstrations, from_file, from_store
from kurve.errors import ConfigError, DataError
from kurve.prompts import Template
from kurve.store import SampleStore, VerdictStore
from kurve.types import Message, Outcome, Prompt, Sample, Verdict
from tests.store.support import SPEC

TEMPLATE = Template(name="t", text="Q: {question}\nA:")
CHAT = Template(name="c", text="{question}", chat=True, system="Be brief.")
CORRECT, WRONG = Outcome.CORRECT, Outcome.WRONG


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def teacher(
    root: Path,
    answers: Mapping[str, list[tuple[str, Outcome]]],
    *,
    verifier: str = "v1",
    finish: str = "stop",
    questions: bool = True,
) -> Path:
    """A sample store with these responses and verdicts by problem; its prompts are another template's."""
    with SampleStore.open(root, SPEC) as store:
        asked = {problem: f"What is {problem}?" for problem in answers} if questions else {}
        store.record_prompts([Prompt(problem, text=f"teacher's prompt for {problem}") for problem in answers], asked)
        with VerdictStore.open(store, verifier) as verdicts:
            for problem, responses in answers.items():
                for index, (text, outcome) in enumerate(responses):
                    store.append(Sample(problem, index, text, finish, 3))
                    verdicts.append(Verdict(problem, index, outcome))
        return store.folder


def responses(found: Demonstrations) -> list[tuple[str, str]]:
    return [(one.prompt.problem_id, one.response) for one in found.items]


def test_a_question_is_put_into_the_template_and_a_prompt_is_sent_as_it_is(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "1+1?"}]
    path = write_rows(
        tmp_path / "d.jsonl",
        [
            {"question": " How much? ", "prompt": "P", "response": "R\n"},
            {"question": "2", "prompt": messages, "response": "S"},
        ],
    )
    asked = from_file(path=path, template=TEMPLATE)
    assert [one.prompt.text for one in asked.items] == ["Q: How much?\nA:", "Q: 2\nA:"]
    assert [one.response for one in asked.items] == ["R\n", "S"]
    sent = from_file(path=path, template=TEMPLATE, question=None, prompt="prompt")
    assert sent.items[0].prompt.text == "P"
    assert sent.items[1].prompt.messages == (Message("user", "1+1?"),)
    assert (asked.verbatim, sent.verbatim) == (False, True)
    assert asked.digest != sent.digest
    assert asked.digest == from_file(path=path, template=TEMPLATE).digest


def test_parquet_is_read_like_jsonl(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"question": "a", "response": "1"}, {"question": "b", "response": "2"}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "d.parquet")
    found = from_file(path=str(tmp_path / "d.parquet"), template=TEMPLATE)
    assert found.items == from_file(path=write_rows(tmp_path / "d.jsonl", rows), template=TEMPLATE).items


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "a"}, "no column 'response'"),
        ({"question": "", "response": "x"}, "not empty"),
        ({"question": "a", "response": 3}, "response must be text"),
        ({"question": "a", "response": "  "}, "response must be text"),
        ({"qestion": "a", "response": "x"}, "did you mean 'qestion'"),
    ],
)
def test_a_malformed_row_is_refused_with_its_line(tmp_path: Path, row: Mapping[str, object], words: str) -> None:
    path = write_rows(tmp_path / "d.jsonl", [{"question": "fine", "response": "fine"}, row])
    with pytest.raises(DataError, match=r"line 2") as caught:
        from_file(path=path, template=TEMPLATE)
    assert words in str(caught.value)


def test_exactly_one_of_question_and_prompt_is_named(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "d.jsonl", [{"question": "a", "prompt": "b", "response": "x"}])
    for columns in ({"prompt": "prompt"}, {"question": None}):
        with pytest.raises(ConfigError, match=r"data\.prompt"):
            from_file(path=path, template=TEMPLATE, **columns)


def test_only_correct_samples_are_learned_each_text_once(tmp_path: Path) -> None:
    folder = teacher(
        tmp_path, {"b": [("two", CORRECT), ("2", WRONG), ("two", CORRECT), ("II", CORRECT)], "a": [("1", WRONG)]}
    )
    found = from_store(samples=folder, template=TEMPLATE)
    assert responses(found) == [("b", "two"), ("b", "II")]
    assert found.questions == (("b", "What is b?"),)
    assert found.teacher == SPEC.model


def test_the_student_is_asked_with_its_own_template(tmp_path: Path) -> None:
    folder = teacher(tmp_path, {"a": [("1", CORRECT)]})
    [one] = from_store(samples=folder, template=CHAT).items
    assert one.prompt.messages == (Message("system", "Be brief."), Message("user", "What is a?"))


def test_at_most_so_many_distinct_responses_a_problem_chosen_by_the_seed(tmp_path: Path) -> None:
    many = [(f"answer {i // 2}", CORRECT) for i in range(40)]
    folder = teacher(tmp_path, {"a": many, "b": many, "c": many[:4]})
    found = from_store(samples=folder, template=TEMPLATE, per_problem=5, seed=1)
    by_problem = {p: [r for q, r in responses(found) if q == p] for p in "abc"}
    assert [len(set(kept)) for kept in by_problem.values()] == [5, 5, 2]
    assert by_problem["a"] != by_problem["b"]
    again = from_store(samples=folder, template=TEMPLATE, per_problem=5, seed=1)
    other = from_store(samples=folder, template=TEMPLATE, per_problem=5, seed=2)
    assert again.items == found.items
    assert other.items != found.items


def test_the_choice_for_a_problem_does_not_depend_on_the_other_problems(tmp_path: Path) -> None:
    many = [(f"answer {i}", CORRECT) for i in range(40)]
    alone = from_store(samples=teacher(tmp_path / "1", {"a": many}), template=TEMPLATE, per_problem=3)
    both = from_store(samples=teacher(tmp_path / "2", {"a": many, "A": many}), template=TEMPLATE, per_problem=3)
    assert [r for p, r in responses(both) if p == "a"] == [r for _, r in responses(alone)]


def test_a_response_cut_at_max_tokens_is_not_learned(tmp_path: Path) -> None:
    folder = teacher(tmp_path, {"a": [("1", CORRECT)]}, finish="length")
    with pytest.raises(ConfigError, match="none of them is correct and complete"):
        from_store(samples=folder, template=TEMPLATE)


def test_a_teacher_without_correct_samples_is_refused(tmp_path: Path) -> None:
    folder = teacher(tmp_path, {"a": [("1", WRONG), ("2", Outcome.ERROR)]})
    with pytest.raises(ConfigError, match=r"2 judged samples and none of them is correct"):
        from_store(samples=folder, template=TEMPLATE)


def test_a_store_without_verdicts_is_sent_to_verify(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store:
        store.append(Sample("a", 0, "1", "stop", 1))
    with pytest.raises(ConfigError, match=f"kurve verify samples={store.folder.name}"):
        from_store(samples=store.folder, template=TEMPLATE)


def test_of_several_sets_of_verdicts_one_is_chosen(tmp_path: Path) -> None:
    folder = teacher(tmp_path, {"a": [("1", CORRECT), ("2", WRONG)]}, verifier="math.1")
    with SampleStore.open_folder(folder) as store, VerdictStore.open(store, "rule.2") as verdicts:
        verdicts.append(Verdict("a", 1, CORRECT))
    with pytest.raises(ConfigError, match=r"data\.verifier=math\.1 or rule\.2"):
        from_store(samples=folder, template=TEMPLATE)
    assert responses(from_store(samples=folder, template=TEMPLATE, verifier="rule")) == [("a", "2")]
    assert responses(from_store(samples=folder, template=TEMPLATE, verifier="math.1")) == [("a", "1")]
    with pytest.raises(ConfigError, match=r"did you mean rule\.2"):
        from_store(samples=folder, template=TEMPLATE, verifier="rule.3")


def test_a_store_that_does_not_say_what_was_asked_is_refused(tmp_path: Path) -> None:
    folder = teacher(tmp_path, {"a": [("1", CORRECT)]}, questions=False)
    with pytest.raises(DataError, match="does not say what problem 'a' asks"):
        from_store(samples=folder, template=TEMPLATE)


@pytest.mark.parametrize("per_problem", [0, -1, True])
def test_a_cap_that_is_none_is_refused(tmp_path: Path, per_problem: int) -> None:
    with pytest.raises(ConfigError, match="per_problem"):
        from_store(samples=tmp_path, template=TEMPLATE, per_problem=per_problem)


def test_the_digest_depends_on_prompts_and_responses(tmp_path: Path) -> None:
    found = from_store(samples=teacher(tmp_path, {"a": [("1", CORRECT)]}), template=TEMPLATE)
    other = dataclasses.replace(found.items[0], response="2")
    assert dataclasses.replace(found, items=(other,)).digest != found.digest
    assert dataclasses.replace(found, name="x", source="y").digest == found.digest
