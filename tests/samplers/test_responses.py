from dataclasses import replace
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from kurve.samplers.responses import ResponseTokenizer, tokenizer_difference, tokenizer_of
from kurve.samplers.tokens import PromptTokenizer
from kurve.types import Message, Model, Prompt, Sample
from tests.samplers.tiny import make_tiny_model
from tests.store.support import SPEC

SYSTEM = Message("user", "What is 2 + 3 ?")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def tokens(folder: Path) -> PromptTokenizer:
    return PromptTokenizer(Model("tiny", str(folder)))


def drawn(text: str, reason: str = "stop", num_tokens: int = 0) -> Sample:
    return Sample("p", 0, text, reason, num_tokens)


def test_a_sample_that_stopped_ends_by_the_end_token_and_one_that_was_cut_does_not(tokens: PromptTokenizer) -> None:
    ids = tuple(tokens.tokenizer("The answer is 5 .")["input_ids"][1:])
    end = tokens.tokenizer.eos_token_id
    found = ResponseTokenizer(tokens).encode(
        [drawn("The answer is 5 ."), drawn("The answer is 5 .", "length"), drawn(""), drawn("", "length")]
    )
    assert found == [(*ids, end), ids, (end,), ()]


def test_a_stop_string_is_scored_where_only_it_makes_as_many_tokens_as_were_drawn(tokens: PromptTokenizer) -> None:
    plain, stop = "What is 2", "</answer>"
    longer = tuple(tokens.tokenizer(plain + stop, add_special_tokens=False)["input_ids"])
    alone = tuple(tokens.tokenizer(plain, add_special_tokens=False)["input_ids"])
    responses = ResponseTokenizer(tokens, stops=["###", stop])
    counts = [len(longer), len(alone) + 1, 99]
    found = responses.encode([drawn(plain, num_tokens=count) for count in counts])
    assert found == [longer, (*alone, tokens.tokenizer.eos_token_id), alone]


def test_a_lone_surrogate_is_scored_as_the_character_that_stands_for_it(tokens: PromptTokenizer) -> None:
    responses = ResponseTokenizer(tokens)
    assert responses.encode([drawn("a\ud800")]) == responses.encode([drawn("a\ufffd")])


def test_a_tokenizer_that_puts_a_space_before_texts_does_not_put_one_after_the_prompt(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {"<s>": 0, "</s>": 1, "<unk>": 2, "\u2581": 3, "a": 4, "\u2581a": 5, "b": 6, "\n": 7}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[("\u2581", "a")], unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    raw.decoder = decoders.Metaspace(prepend_scheme="always")
    tokens = PromptTokenizer(Model("tiny", str(folder)))
    tokens.tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")
    assert tokens.tokenizer("ab")["input_ids"] == [5, 6]
    assert ResponseTokenizer(tokens).encode([drawn("ab", "length"), drawn(" ab", "length")]) == [(4, 6), (5, 6)]


def test_the_same_tokenizer_is_found_to_read_the_same_and_another_one_is_told_apart(
    folder: Path, tokens: PromptTokenizer, tmp_path: Path
) -> None:
    spec = replace(SPEC, model=str(folder), model_revision="", stop=())
    samples, prompts = [drawn("The answer is 5 .")], [Prompt("p", text="What is 2 + 3 ?")]
    drawing = tokenizer_of(spec)
    assert drawing is not None
    assert tokenizer_difference(tokens, drawing, spec=spec, prompts=prompts, samples=samples) == ""
    other = PromptTokenizer(Model("tiny", str(folder)))
    other.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}!{% endfor %}"
    chat = [Prompt("p", messages=(SYSTEM,))]
    assert "template" in tokenizer_difference(tokens, other, spec=spec, prompts=chat, samples=samples)
    other.tokenizer.add_tokens(["answer"])
    assert "other tokens" in tokenizer_difference(tokens, other, spec=spec, prompts=prompts, samples=samples)
    other = PromptTokenizer(Model("tiny", str(folder)))
    other.tokenizer.add_special_tokens({"eos_token": "<done>"})
    assert "<done>" in tokenizer_difference(tokens, other, spec=spec, prompts=prompts, samples=samples)


def test_without_the_drawing_tokenizer_the_numbers_of_tokens_must_agree(tokens: PromptTokenizer) -> None:
    spec = replace(SPEC, model="nobody/no-such-model", stop=())
    assert tokenizer_of(spec) is None
    assert tokenizer_of(replace(SPEC, model="/no/such/folder")) is None
    [ids] = ResponseTokenizer(tokens).encode([drawn("The answer is 5 .")])
    right, wrong = drawn("The answer is 5 .", num_tokens=len(ids)), drawn("The answer is 5 .", num_tokens=3)
    unknown = drawn("The answer is 5 .")

    def found(*samples: Sample) -> str:
        return tokenizer_difference(tokens, None, spec=spec, prompts=[], samples=samples)

    assert found(*[right] * 9, wrong) == ""
    assert "2 of 10" in found(*[right] * 8, wrong, wrong, unknown)
    assert found(unknown) == ""
