import pytest

from kurve.errors import ConfigError
from kurve.samplers.tokens import PromptTokenizer
from kurve.types import Message, Model, Prompt
from tests.samplers.requests import decoding


@pytest.fixture(scope="module")
def tokens(tiny_model: Model) -> PromptTokenizer:
    return PromptTokenizer(tiny_model)


def test_every_prompt_has_one_beginning_token(tokens: PromptTokenizer) -> None:
    prompts = [
        Prompt("plain", text="What is"),
        Prompt("marked", text="<s>What is"),
        Prompt("chat", messages=(Message("user", "What is"),)),
    ]
    for prompt in prompts:
        assert tokens.encode(prompt).count(0) == 1
    assert tokens.encode(prompts[0]) == tokens.encode(prompts[1])


def test_chat_messages_end_where_the_assistant_begins(tokens: PromptTokenizer) -> None:
    ids = tokens.encode(Prompt("chat", messages=(Message("user", "2 + 3"),)))
    assert tokens.tokenizer.decode(ids) == "<s><user>2 + 3\n<assistant>"


def test_lone_surrogates_and_control_characters_are_encoded(tokens: PromptTokenizer) -> None:
    ids = tokens.encode(Prompt("odd", text="a\ud800b\x00\U0001f600"))
    assert tokens.tokenizer.decode(ids, skip_special_tokens=True) == "a\ufffdb\x00\U0001f600"


def test_a_context_too_short_names_the_problem_and_the_ways_out(tiny_model: Model) -> None:
    short = PromptTokenizer(Model("tiny", tiny_model.path, context=64))
    prompts = [Prompt("fits", text="What is"), Prompt("long one", text="eggs " * 20)]
    with pytest.raises(ConfigError, match=r"'long one'.*context is 64.*raise model.context.*lower sampling.max_tokens"):
        short.check_context(prompts, decoding(max_tokens=60))
    short.check_context(prompts[:1], decoding(max_tokens=40))


def test_a_context_above_the_models_own_is_refused(tiny_model: Model) -> None:
    with pytest.raises(ConfigError, match="handles 512 tokens"):
        PromptTokenizer(Model("tiny", tiny_model.path, context=4096)).check_context([], decoding())


def test_a_missing_model_is_refused(tmp_path: object) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        PromptTokenizer(Model("m", f"{tmp_path}/none"))


def test_a_hub_model_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"model\.path=nobody/nothing-at-all"):
        PromptTokenizer(Model("m", "nobody/nothing-at-all"))


def test_an_empty_prompt_is_refused_where_the_tokenizer_adds_nothing(tiny_model: Model) -> None:
    bare = PromptTokenizer(tiny_model)
    bare.tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="no chat template"):
        bare.encode(Prompt("p", messages=(Message("user", "x"),)))
