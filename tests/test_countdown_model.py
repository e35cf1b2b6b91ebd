"""The initial model of the embedded study: the same everywhere, and every engine draws from it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kurve.benchmarks.countdown import load, solved
from kurve.countdown_model import END, UNKNOWN, WORDS, initial
from kurve.errors import ConfigError
from kurve.samplers import Sampler
from kurve.samplers.checkpoints import local_digest
from kurve.samplers.tokens import PromptTokenizer
from kurve.samplers.transformers import TransformersSampler
from kurve.samplers.vllm import VllmSampler
from kurve.types import Decoding, Model, Outcome, Prompt, Sample, SampleRequest
from kurve.verifiers.countdown import CountdownVerifier

PROBLEMS = load(split="train", num_problems=6).problems
LESSONS = {one.prompt.text: one.response for one in solved(num_problems=6)}  # of the same problems
DECODING = Decoding(temperature=1.0, top_p=1.0, max_tokens=24)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KURVE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def model(cache: Path) -> Model:
    return initial()


@pytest.fixture(scope="module")
def tokenizer(model: Model) -> Any:  # a PreTrainedTokenizerFast
    return PromptTokenizer(model).tokenizer


@pytest.fixture(scope="module")
def taught(model: Model, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model after it has learnt LESSONS by heart, token ids of question and response one after the other."""
    import torch

    network = network_of(model)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    rows = [ids(tokenizer, question) + ids(tokenizer, f"{chain} {END}") for question, chain in LESSONS.items()]
    batch = torch.tensor(rows)
    for _ in range(120):
        network(batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("taught")
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Model("taught", str(folder), dtype="float32", context=model.context)


def network_of(model: Model) -> Any:  # a LlamaForCausalLM
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(model.path, dtype=torch.float32)


def ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text)["input_ids"]
    return found


def draw(sampler: Sampler) -> list[Sample]:
    """Eight samples of each problem."""
    prompts = [Prompt(problem.id, problem.question) for problem in PROBLEMS]
    sampler.check(prompts)
    return list(sampler.sample(SampleRequest(p, tuple(range(8)), 100 * place) for place, p in enumerate(prompts)))


def check_what_was_learnt(samples: Sequence[Sample], model: Model, tokenizer: Any) -> None:
    """Nearly all samples are the lesson, and their log-probabilities are those of a forward pass of ours."""
    import torch

    problems = {problem.id: problem for problem in PROBLEMS}
    assert len(samples) == 8 * len(problems)
    verdicts = CountdownVerifier().verify([(problems[sample.problem_id], sample) for sample in samples])
    assert sum(verdict.outcome is Outcome.CORRECT for verdict in verdicts) >= 0.9 * len(samples)
    network = network_of(model)
    for problem in PROBLEMS:
        sample = next(s for s in samples if s.problem_id == problem.id and s.text.strip() == LESSONS[problem.question])
        question, answer = ids(tokenizer, problem.question), ids(tokenizer, f"{sample.text} {END}")
        assert (sample.finish_reason, sample.num_tokens) == ("stop", len(answer))
        with torch.no_grad():
            logprobs = network(torch.tensor([question + answer])).logits[0, len(question) - 1 : -1].log_softmax(-1)
        expected = float(logprobs[torch.arange(len(answer)), answer].sum())
        assert sample.logprob_sum == pytest.approx(expected, abs=1e-3)


def test_the_same_settings_make_the_same_files_in_any_cache(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KURVE_CACHE", str(tmp_path))
    other = initial(name="another name")
    assert Path(other.path).is_relative_to(tmp_path)
    assert other.revision == model.revision
    assert local_digest(Path(other.path)) == local_digest(Path(model.path))


def test_it_is_made_once(model: Model) -> None:
    weights = Path(model.path) / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert initial() == model
    assert weights.stat().st_mtime_ns == before
    assert [path.name for path in weights.parent.parent.glob(f"*{model.revision}*")] == [weights.parent.name]


@pytest.mark.parametrize("settings", [{"layers": 1}, {"heads": 1}, {"feed_forward": 64}, {"context": 32}, {"seed": 1}])
def test_other_settings_make_another_model(settings: dict[str, int], model: Model) -> None:
    other = initial(**settings)  # type: ignore[arg-type]  # none of them is the name
    assert other.revision != model.revision
    assert local_digest(Path(other.path)) != local_digest(Path(model.path))
    assert other.context == settings.get("context", 64)


def test_the_shape_is_what_the_settings_say(model: Model) -> None:
    network = network_of(initial(layers=2, heads=4, feed_forward=96))
    attention, inner, norms = 4 * 128 * 128, 3 * 128 * 96, 2 * 128
    assert network.num_parameters() == len(WORDS) * 128 + 2 * (attention + inner + norms) + 128
    assert model.dtype == "float32"


def test_making_it_leaves_the_callers_random_numbers_alone() -> None:
    import torch

    before = torch.random.get_rng_state()
    initial(layers=1, seed=77)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.slow
def test_of_two_made_at_once_both_end_with_the_same_whole_model(tmp_path: Path) -> None:
    code = "from kurve.countdown_model import initial; print(initial().path)"
    env = {**os.environ, "KURVE_CACHE": str(tmp_path)}
    both = [subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) for _ in "ab"]
    said = [process.communicate(timeout=300)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1]
    assert [path for path in Path(said[0]).parent.iterdir() if path.is_dir()] == [Path(said[0])]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in Path(said[0]).iterdir()}


def test_a_folder_that_something_else_left_half_done_is_not_taken_for_the_model(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KURVE_CACHE", str(tmp_path))
    half = tmp_path / "models" / Path(model.path).name
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ConfigError, match=r"cannot be written to .*set KURVE_CACHE"):
        initial()
    (half / "model.safetensors").unlink()
    assert local_digest(Path(initial().path)) == local_digest(Path(model.path))


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("KURVE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"cannot be written to .*set KURVE_CACHE"):
        initial()


@pytest.mark.parametrize("settings", [{"layers": 0}, {"heads": True}, {"feed_forward": 1.5}, {"seed": -1}])
def test_settings_that_are_no_size_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=rf"model\.{next(iter(settings))} is "):
        initial(**settings)  # type: ignore[arg-type]  # none of them is the name


def test_questions_and_chains_come_back_from_their_tokens(tokenizer: Any) -> None:
    for one in solved(num_problems=300, per_problem=3):
        question, chain = one.prompt.text, one.response
        asked, answered = ids(tokenizer, question), ids(tokenizer, chain)
        assert len(asked) == len(question.split())
        assert tokenizer.convert_tokens_to_ids(UNKNOWN) not in asked + answered
        assert tokenizer.decode(asked) == question
        assert tokenizer.decode([*answered, *ids(tokenizer, END)], skip_special_tokens=True) == chain


def test_a_response_has_the_same_tokens_alone_and_after_its_question(tokenizer: Any) -> None:
    """Training joins the texts or their tokens, a sampler goes on after the question's tokens."""
    for question, chain in LESSONS.items():
        apart = ids(tokenizer, question) + ids(tokenizer, chain)
        assert ids(tokenizer, f"{question}{chain}") == ids(tokenizer, f"{question} {chain}") == apart


def test_every_word_is_a_token_and_what_is_no_word_is_unknown(tokenizer: Any) -> None:
    assert tokenizer.convert_tokens_to_ids(list(WORDS)) == list(range(len(WORDS)))
    assert [ids(tokenizer, word) for word in WORDS] == [[place] for place in range(len(WORDS))]
    assert ids(tokenizer, "100 x 0") == [WORDS.index(UNKNOWN)] * 3


def test_a_prompt_too_long_for_the_context_is_refused() -> None:
    sampler = TransformersSampler(model=initial(layers=1, context=24), decoding=DECODING)
    with pytest.raises(ConfigError, match=r"the context is 24"):
        draw(sampler)


def test_transformers_draws_from_the_untrained_model(model: Model) -> None:
    samples = draw(TransformersSampler(model=model, decoding=DECODING, device="cpu"))
    assert {sample.finish_reason for sample in samples} == {"stop", "length"}
    assert len({sample.text for sample in samples}) > 40


def test_transformers_draws_what_the_model_was_taught(taught: Model, tokenizer: Any) -> None:
    check_what_was_learnt(draw(TransformersSampler(model=taught, decoding=DECODING, device="cpu")), taught, tokenizer)


@pytest.mark.slow
def test_vllm_draws_what_the_model_was_taught(taught: Model, tokenizer: Any, tmp_path: Path) -> None:
    pytest.importorskip("vllm.version", reason="vLLM is not installed")
    sampler = VllmSampler(model=taught, decoding=DECODING, log=tmp_path / "engine.log", cpu_kvcache_gb=1)
    check_what_was_learnt(draw(sampler), taught, tokenizer)
