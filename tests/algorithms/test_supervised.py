import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from kurve.algorithms import Job
from kurve.algorithms.supervised import Supervised
from kurve.errors import ConfigError
from kurve.samplers.tokens import PromptTokenizer
from kurve.types import Decoding, Demonstration, Message, Model, Prompt
from tests.algorithms.kept_log import KeptLog, series
from tests.samplers.tiny import make_tiny_model

ARGS: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "per_device_train_batch_size": 8,
    "max_steps": 40,
    "learning_rate": 5e-3,
    "logging_steps": 1,
    "save_strategy": "no",
}
PROMPTS = ("What is 2 + 3 ?", "How many eggs has Janet ?")
RESPONSES = ("The answer is 5 .", "16 eggs each .")
RAW = [Demonstration(Prompt(f"p{i}", text=p), r) for i, (p, r) in enumerate(zip(PROMPTS, RESPONSES, strict=True))]
CHAT = [
    Demonstration(Prompt(f"p{i}", messages=(Message("user", p),)), r)
    for i, (p, r) in enumerate(zip(PROMPTS, RESPONSES, strict=True))
]


@pytest.fixture(scope="module")
def initial(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model("tiny", str(make_tiny_model(tmp_path_factory.mktemp("initial"), context=64)), dtype="float32")


def make_job(model: Model, folder: Path, demonstrations: list[Demonstration], **args: Any) -> Job:
    return Job(model, (), (), demonstrations * 8, None, {**ARGS, **args}, None, 0, folder, KeptLog())


def tokens(model: Model) -> tuple[PromptTokenizer, Any]:
    encoder = PromptTokenizer(model)
    return encoder, encoder.tokenizer


@pytest.mark.parametrize("demonstrations", [RAW, CHAT], ids=["text", "chat"])
def test_a_row_is_what_the_sampler_sends_then_the_response_then_the_end(
    initial: Model, demonstrations: list[Demonstration]
) -> None:
    from kurve.algorithms.trainers.supervised import token_rows

    encoder, tokenizer = tokens(initial)
    for demonstration, row in zip(demonstrations, token_rows(demonstrations, encoder, tokenizer), strict=True):
        sent = encoder.encode(demonstration.prompt)
        assert row["input_ids"][: len(sent)] == sent
        said = row["input_ids"][len(sent) :]
        assert tokenizer.decode(said[:-1]) == demonstration.response
        assert said[-1] == tokenizer.eos_token_id
        assert row["labels"] == [-100] * len(sent) + said
        assert row["input_ids"].count(tokenizer.bos_token_id) == 1


def test_the_whole_sequence_is_learned_on_demand_and_the_end_token_comes_once(initial: Model) -> None:
    from kurve.algorithms.trainers.supervised import token_rows

    encoder, tokenizer = tokens(initial)
    ended = dataclasses.replace(RAW[0], response=RAW[0].response + tokenizer.eos_token)
    [row] = token_rows([ended], encoder, tokenizer, whole_sequence=True)
    assert row["labels"] == row["input_ids"]
    assert row["input_ids"].count(tokenizer.eos_token_id) == 1


def test_a_response_gets_no_blank_from_sentencepiece() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from kurve.algorithms.trainers.supervised import response_ids

    raw = Tokenizer(models.WordLevel({"\u2581": 0, "a": 1, "5": 2, "\n": 3}, unk_token="a"))
    raw.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(prepend_scheme="first", split=False), pre_tokenizers.Split("", "isolated")
    ])  # fmt: skip
    raw.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)
    assert tokenizer("5", add_special_tokens=False)["input_ids"] == [0, 2]
    assert response_ids(["5", "a5"], tokenizer) == [[2], [1, 2]]


def test_what_was_demonstrated_is_what_the_sampler_then_draws(initial: Model, tmp_path: Path) -> None:
    from kurve.samplers.transformers import TransformersSampler
    from kurve.types import SampleRequest

    algorithm = Supervised()
    algorithm.check(ARGS, processes=1)
    job = make_job(initial, tmp_path, RAW)
    algorithm.train(job, None)
    trained = Model("trained", str(tmp_path / "model"), dtype="float32")
    sampler = TransformersSampler(model=trained, decoding=Decoding(0.0, 1.0, 16), device="cpu")
    drawn = list(sampler.sample([SampleRequest(one.prompt, (0,), 1) for one in RAW]))
    assert [sample.text for sample in drawn] == list(RESPONSES)
    assert {sample.finish_reason for sample in drawn} == {"stop"}
    losses = list(series(job, "loss").values())
    assert len(losses) == ARGS["max_steps"]
    assert losses[-1] < 0.1 * losses[0]


def test_a_training_that_goes_on_ends_as_one_that_never_stopped(initial: Model, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    algorithm = Supervised()
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2}
    algorithm.train(make_job(initial, tmp_path / "straight", RAW, **settings), None)
    resumed = make_job(initial, tmp_path / "resumed", RAW, **settings)
    algorithm.train(resumed, tmp_path / "straight" / "checkpoints" / "checkpoint-4")
    assert list(series(resumed, "loss")) == [5, 6]
    straight, again = (load_file(tmp_path / one / "model" / "model.safetensors") for one in ("straight", "resumed"))
    for name, weight in straight.items():
        torch.testing.assert_close(again[name], weight, rtol=1e-4, atol=1e-5)


def test_a_training_that_was_complete_takes_no_step_more(initial: Model, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    algorithm = Supervised()
    settings = {
        "max_steps": 3,
        "save_strategy": "steps",
        "save_steps": 3,
    }  # the epoch has 2 steps, so it ends within one
    algorithm.train(make_job(initial, tmp_path / "first", RAW, **settings), None)
    last = tmp_path / "first" / "checkpoints" / "checkpoint-3"
    again = make_job(initial, tmp_path / "again", RAW, **settings)
    algorithm.train(again, last)
    assert series(again, "loss") == {}
    saved, result = load_file(last / "model.safetensors"), load_file(tmp_path / "again" / "model" / "model.safetensors")
    for name, weight in saved.items():
        assert torch.equal(result[name], weight)


def test_demonstrations_too_long_are_left_out_and_counted(initial: Model, tmp_path: Path) -> None:
    from kurve.algorithms.trainers.supervised import make_trainer

    long = dataclasses.replace(RAW[1], response="eggs " * 80)
    job = make_job(initial, tmp_path, [RAW[0], long])
    trainer = make_trainer(job, job.args, Path(initial.path))
    assert (series(job, "demonstrations/used"), series(job, "demonstrations/left_out")) == ({0: 8.0}, {0: 8.0})
    assert len(trainer.train_dataset) == 8
    assert trainer.train_dataset[0]["input_ids"][-1] == trainer.processing_class.eos_token_id
    with pytest.raises(ConfigError, match="all 8 demonstrations are longer than 64 tokens"):
        make_trainer(make_job(initial, tmp_path, [long]), job.args, Path(initial.path))
    shorter = make_job(initial, tmp_path, [RAW[0], long], max_length=3)
    with pytest.raises(ConfigError, match="longer than 3 tokens"):
        make_trainer(shorter, shorter.args, Path(initial.path))


def test_lora_trains_an_adapter_and_leaves_a_whole_model(initial: Model, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    job = dataclasses.replace(
        make_job(initial, tmp_path, RAW, max_steps=2, save_strategy="steps", save_steps=2),
        lora={"r": 4, "target_modules": ["q_proj", "v_proj"]},
    )
    Supervised().train(job, None)
    assert json.loads((tmp_path / "checkpoints" / "checkpoint-2" / "adapter_config.json").read_text())["r"] == 4
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    first = AutoModelForCausalLM.from_pretrained(initial.path)
    changed = [name for name, weight in merged.state_dict().items() if not weight.equal(first.state_dict()[name])]
    assert changed
    assert all("q_proj" in name or "v_proj" in name for name in changed)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"learning_rat": 1}, "did you mean learning_rate"),
        ({"output_dir": "x"}, "output_dir is decided by"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size=0"),
        ({"gradient_accumulation_steps": 1.5}, "gradient_accumulation_steps=1.5"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"max_steps": -1, "num_train_epochs": 0}, "num_train_epochs=0"),
        ({"dataset_kwargs": {"skip_prepare_dataset": True}}, "dataset_kwargs"),
        ({"assistant_only_loss": True}, "assistant_only_loss"),
        ({"packing": True, "max_length": None}, "max_length"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_loading_anything(args: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Supervised().check({**ARGS, **args}, processes=1)
    with pytest.raises(ConfigError, match=words):
        Supervised(args=args).check(ARGS, processes=1)


def test_an_algorithms_own_arguments_win() -> None:
    assert Supervised(args={"max_steps": 3}).settings({"max_steps": 5, "seed": 1}) == {"max_steps": 3, "seed": 1}
