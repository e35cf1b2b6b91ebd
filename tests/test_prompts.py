"""Templates render literally, refuse what cannot work, and say what their sources say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kurve.errors import ConfigError
from kurve.prompts import Template
from kurve.types import Answer, Message, Problem

CONF = Path(__file__).resolve().parents[1] / "conf" / "prompt"
PROBLEM = Problem(id="p", question="What is {x} in {question}, \\frac{1}{2}?", reference=Answer(("1",), "1"))


def configured(name: str) -> Template:
    node: dict[str, Any] = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert node.pop("_target_") == "kurve.prompts.Template"
    return Template(**node)


def test_the_question_replaces_the_slot_literally() -> None:
    prompt = Template(name="t", text="{not a slot} %s {question} {}").render(PROBLEM)
    assert prompt.text == "{not a slot} %s " + PROBLEM.question + " {}"
    assert (prompt.problem_id, prompt.messages) == ("p", ())


def test_a_chat_template_renders_messages() -> None:
    prompt = Template(name="t", text="Q: {question}", chat=True, system="Be brief.").render(PROBLEM)
    assert prompt.messages == (Message("system", "Be brief."), Message("user", "Q: " + PROBLEM.question))
    assert prompt.text == ""


def test_images_of_a_problem_are_kept() -> None:
    problem = replace(PROBLEM, images=("a.png",))
    assert Template(name="t", text="{question}").render(problem).images == ("a.png",)
    assert Template(name="t", text="{question}", chat=True).render(problem).images == ("a.png",)


@pytest.mark.parametrize("text", ["", "no slot", "{question} {question}", "{ question }"])
def test_a_template_needs_exactly_one_slot(text: str) -> None:
    with pytest.raises(ConfigError, match="exactly once"):
        Template(name="t", text=text)


def test_a_system_message_needs_a_chat_and_no_slot() -> None:
    with pytest.raises(ConfigError, match=r"prompt\.chat=true"):
        Template(name="t", text="{question}", system="x")
    with pytest.raises(ConfigError, match=r"only prompt\.text may"):
        Template(name="t", text="{question}", chat=True, system="{question}")


def test_a_template_needs_a_name() -> None:
    with pytest.raises(ConfigError, match=r"prompt\.name"):
        Template(name="", text="{question}")


@pytest.mark.parametrize("stop", ["user", "assistant", "The answer", "\n\n", "_end", "_start", " so ", "42", "π"])
def test_a_stop_string_of_plain_words_is_refused(stop: str) -> None:
    with pytest.raises(ConfigError, match="ordinary reasoning"):
        Template(name="t", text="{question}", stop=["<|im_end|>", stop])


@pytest.mark.parametrize("stop", ["", None, 5])
def test_a_stop_string_that_is_no_text_is_refused(stop: Any) -> None:
    with pytest.raises(ConfigError, match="not empty"):
        Template(name="t", text="{question}", stop=[stop])


@pytest.mark.parametrize("stop", ["</answer>", None, 5])
def test_stop_strings_come_as_a_list(stop: Any) -> None:
    with pytest.raises(ConfigError, match="expected a list"):
        Template(name="t", text="{question}", stop=stop)


@pytest.mark.parametrize("key", ["name", "text", "system"])
def test_what_is_no_text_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"prompt.{key} is 5; expected text"):
        Template(**{"name": "t", "text": "{question}", "chat": True, key: 5})  # type: ignore[arg-type]  # on purpose


def test_stop_strings_become_a_tuple() -> None:
    template = Template(name="t", text="{question}", stop=["</a>", "<|b|>"])
    assert template.stop == ("</a>", "<|b|>")
    assert hash(template) == hash(replace(template))


def test_the_digest_changes_with_all_that_changes_the_prompt_and_nothing_else() -> None:
    base = Template(name="t", text="{question}", chat=True)
    same = replace(base, name="u", source="elsewhere", stop=("</a>",))
    others = [replace(base, text="{question} "), replace(base, chat=False), replace(base, system="x")]
    assert same.digest == base.digest
    assert len({base.digest, *(other.digest for other in others)}) == 4
    assert len(base.digest) == 64


def test_the_digest_is_stable() -> None:
    expected = "318788863e5f06abf3c8e6cff33f5f7ce73e2858f15dbd87673c7b3612434c24"
    assert Template(name="t", text="{question}").digest == expected


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configured_template_is_named_after_its_file_and_has_a_source(path: Path) -> None:
    template = configured(path.stem)
    assert template.name == path.stem
    assert template.source
    assert path.read_text().startswith("# ")


def test_qwen_boxed_is_the_prompt_of_the_qwen_math_evaluation() -> None:
    template = configured("qwen_boxed")
    assert template.render(replace(PROBLEM, question="1+1?")).text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n1+1?\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert template.stop == ("<|im_end|>", "<|endoftext|>")


def test_qwen_math_is_the_prompt_oat_zero_was_trained_with() -> None:
    assert configured("qwen_math").render(replace(PROBLEM, question="1+1?")).text == (
        "<|im_start|>system\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
        "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_abel_is_the_zero_shot_prompt_of_simplerl_zoo() -> None:
    template = configured("abel")
    assert template.render(replace(PROBLEM, question="1+1?")).text == (
        "Question:\n1+1?\nAnswer:\nLet's think step by step.\n"
    )
    assert template.stop == ("\nQuestion:\n",)


def test_r1_opens_the_models_thinking_and_stops_after_its_answer() -> None:
    template = configured("r1")
    text = template.render(replace(PROBLEM, question="1+1?")).text
    assert text.startswith("A conversation between User and Assistant. The User asks a question, and the Assistant ")
    assert text.endswith("<answer> answer here </answer>.\nUser: 1+1?\nAssistant: <think>")
    assert "  " not in text
    assert template.stop == ("</answer>",)


def test_chat_and_raw_leave_the_end_to_the_model() -> None:
    chat, raw = configured("chat"), configured("raw")
    assert chat.render(PROBLEM).messages[0].content.endswith("put your final answer within \\boxed{}.")
    assert raw.render(PROBLEM).text == PROBLEM.question
    assert chat.stop == raw.stop == ()
