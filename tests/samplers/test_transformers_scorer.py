import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from kurve.countdown_model import initial
from kurve.errors import ConfigError, SamplingError
from kurve.samplers import transformers_score
from kurve.samplers.responses import ResponseTokenizer
from kurve.samplers.transformers import TransformersSampler
from kurve.samplers.transformers_score import LogprobSums
from kurve.samplers.transformers_scorer import TransformersScorer, batches
from kurve.types import Decoding, Model, Prompt, SampleRequest, Score, ScoreRequest
from tests.samplers.tiny import make_tiny_adapter, make_tiny_model

PROMPTS = [Prompt("a", text="What is 2 + 3 ?"), Prompt("b", text="Janet has 16 eggs . The answer is")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")
    return Model("tiny", str(folder), dtype="float32")


@pytest.fixture(scope="module")
def requests(model: Model) -> list[ScoreRequest]:
    tokens = TransformersScorer(model=model).tokens
    found = []
    for number, prompt in enumerate(PROMPTS):
        ids = tuple(tokens.encode(prompt))
        found += [ScoreRequest(prompt.problem_id, i, ids, tuple(range(5 + number, 5 + number + i))) for i in range(9)]
    return found


def exact(model: Model, request: ScoreRequest) -> float:
    """By one plain forward pass over one row."""
    network = TransformersScorer(model=model)._load()._network
    ids = torch.tensor([[*request.prompt_ids, *request.response_ids]])
    with torch.inference_mode():
        logprobs = network(ids).logits[0].double().log_softmax(-1)
    start = len(request.prompt_ids)
    return float(sum(logprobs[place - 1, ids[0, place]] for place in range(start, ids.shape[1])))


@pytest.mark.parametrize("batch_tokens", [1, 40, 8192])
def test_scores_are_those_of_one_response_at_a_time(
    model: Model, requests: list[ScoreRequest], batch_tokens: int
) -> None:
    found = {
        (s.problem_id, s.index): s for s in TransformersScorer(model=model, batch_tokens=batch_tokens).score(requests)
    }
    assert len(found) == len(requests)
    for request in requests[::4]:
        score = found[request.problem_id, request.index]
        assert score.num_tokens == len(request.response_ids)
        assert score.logprob_sum == pytest.approx(exact(model, request), abs=1e-4)
    assert found["a", 0] == Score("a", 0, 0.0, 0)


def test_samples_at_temperature_1_are_scored_as_the_sampler_stored_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KURVE_CACHE", str(tmp_path))
    model = initial()  # its tokens are words, so a text says which ones were drawn, special ones left out
    prompts = [Prompt("a", text="3 , 5 , 8 -> 16 :"), Prompt("b", text="1 , 2 -> 3 :")]
    sampler = TransformersSampler(model=model, decoding=Decoding(1.0, 1.0, 40), entropy=False)
    samples = list(sampler.sample([SampleRequest(prompt, tuple(range(60)), 7) for prompt in prompts]))
    scorer = TransformersScorer(model=model)
    known = {prompt.problem_id: tuple(scorer.tokens.encode(prompt)) for prompt in prompts}
    ids = ResponseTokenizer(scorer.tokens).encode(samples)
    given = [ScoreRequest(s.problem_id, s.index, known[s.problem_id], one) for s, one in zip(samples, ids, strict=True)]
    found = {(s.problem_id, s.index): s for s in scorer.score(given)}
    same = [found[s.problem_id, s.index].num_tokens == s.num_tokens for s in samples]
    assert sum(same) / len(same) > 0.3
    assert {s.finish_reason for s, kept in zip(samples, same, strict=True) if kept} == {"stop", "length"}
    for sample, kept in zip(samples, same, strict=True):
        if kept:
            assert found[sample.problem_id, sample.index].logprob_sum == pytest.approx(sample.logprob_sum, abs=1e-3)


def test_equal_responses_are_computed_once(model: Model, requests: list[ScoreRequest]) -> None:
    seen = 0
    scorer = TransformersScorer(model=model)
    plain = scorer._sums

    def counting(sums: LogprobSums, batch: Any) -> list[float]:
        nonlocal seen
        seen += len(batch)
        return plain(sums, batch)

    scorer._sums = counting  # type: ignore[method-assign]
    twice = [*requests, *(dataclasses.replace(one, index=one.index + 100) for one in requests)]
    found = {(s.problem_id, s.index): s.logprob_sum for s in scorer.score(twice)}
    assert seen == len(requests) - 2
    assert all(found[one.problem_id, one.index] == found[one.problem_id, one.index + 100] for one in requests)


def test_an_adapter_changes_the_scores(model: Model, requests: list[ScoreRequest], tmp_path: Path) -> None:
    tuned = dataclasses.replace(model, lora=str(make_tiny_adapter(model, tmp_path / "lora")))
    plain, changed = (list(TransformersScorer(model=one).score(requests[5:6])) for one in (model, tuned))
    assert plain[0].logprob_sum != pytest.approx(changed[0].logprob_sum, abs=1e-2)


@pytest.mark.parametrize("cap", [None, 0.5])
def test_a_network_that_caps_its_logits_is_scored_by_its_own_forward_pass(
    cap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    network = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=50, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, head_dim=16, final_logit_softcapping=cap, initializer_range=0.5,
        )
    ).eval()  # fmt: skip
    monkeypatch.setattr(transformers_score, "_LOGITS", 100)  # two rows a piece
    sums = LogprobSums(network)
    [found] = sums([([3, 4, 5], [6, 7, 8, 9, 10])])
    assert sums._direct == (cap is None)
    with torch.inference_mode():
        logprobs = network(torch.tensor([[3, 4, 5, 6, 7, 8, 9, 10]])).logits[0].log_softmax(-1)
    assert found == pytest.approx(sum(float(logprobs[i - 1, i + 3]) for i in range(3, 8)), abs=1e-4)


def test_batches_hold_like_lengths_within_the_tokens_and_the_longest_comes_first() -> None:
    pairs = [((0,) * 3, (1,) * length) for length in (1, 50, 2, 9, 8, 30, 3)]
    made = list(batches(pairs, 40))
    assert [len(one[1]) for batch in made for one in batch] == [50, 30, 9, 8, 3, 2, 1]
    assert all(len(batch) == 1 or len(batch) * (3 + len(batch[0][1])) <= 40 for batch in made)
    assert [len(batch) for batch in made] == [1, 1, 3, 2]


def test_requests_are_taken_as_they_are_needed(model: Model, requests: list[ScoreRequest]) -> None:
    taken = 0

    def endless() -> Iterator[ScoreRequest]:
        nonlocal taken
        while True:
            taken += 1
            yield requests[3]

    stream = TransformersScorer(model=model).score(endless())
    next(stream)
    assert taken <= 5_000


def test_bad_settings_and_broken_weights_are_refused(
    model: Model, requests: list[ScoreRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"scorer\.batch_tokens=0"):
        TransformersScorer(model=model, batch_tokens=0)
    scorer = TransformersScorer(model=model)
    monkeypatch.setattr(scorer, "_sums", lambda *_: [math.nan])
    with pytest.raises(SamplingError, match="float32"):
        list(scorer.score(requests[3:4]))
    with pytest.raises(SamplingError, match="failed while scoring"):
        list(TransformersScorer(model=model).score([ScoreRequest("a", 0, (1,), (10_000,))]))
