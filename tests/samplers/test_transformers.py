import math
import statistics
from collections import Counter

import pytest

from kurve.errors import ConfigError
from kurve.samplers.transformers import TransformersSampler
from kurve.store import Shard
from kurve.store.slices import cells
from kurve.types import Decoding, Model, Prompt, Sample, SampleRequest
from tests.samplers.requests import PROMPTS, decoding, requests


def by_key(samples: list[Sample]) -> dict[tuple[str, int], Sample]:
    return {(s.problem_id, s.index): s for s in samples}


def sampler(model: Model, drawn: Decoding, batch_size: int = 64) -> TransformersSampler:
    return TransformersSampler(model=model, decoding=drawn, batch_size=batch_size, device="cpu")


def test_a_sample_depends_on_its_seed_and_not_on_its_batch(tiny_model: Model) -> None:
    whole = by_key(list(sampler(tiny_model, decoding()).sample(requests(12))))
    parts = by_key(list(sampler(tiny_model, decoding(), 5).sample(requests(3, first=7))))
    assert len(whole) == 36
    assert {key: s.text for key, s in parts.items()} == {key: whole[key].text for key in parts}
    assert {s.seed for s in parts.values()} == {1000 * i + j for i in range(3) for j in (7, 8, 9)}


def test_shards_draw_the_texts_that_one_process_draws(tiny_model: Model) -> None:
    seeds = {prompt.problem_id: 1000 * i for i, prompt in enumerate(PROMPTS)}
    whole = by_key(list(sampler(tiny_model, decoding()).sample(requests(5))))
    drawn: list[Sample] = []
    for number in range(4):
        held = cells(Shard(tuple(seeds), 5, 4, number))
        asked = [
            SampleRequest(p, tuple(held[p.problem_id]), seeds[p.problem_id]) for p in PROMPTS if p.problem_id in held
        ]
        drawn += sampler(tiny_model, decoding()).sample(asked)
    assert [(one.problem_id, one.index, one.seed, one.text) for one in drawn] == [
        (one.problem_id, one.index, one.seed, one.text) for one in whole.values()
    ]


def test_logprob_and_entropy_are_those_of_a_forward_pass(tiny_model: Model) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(tiny_model.path, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model.path)
    drawn = Decoding(temperature=0.7, top_p=0.9, max_tokens=1, top_k=50)
    prompt = tokenizer(PROMPTS[0].text, return_tensors="pt").input_ids
    logprobs = network(prompt).logits[0, -1].log_softmax(-1)
    entropy = float(-(logprobs.exp() * logprobs).sum().detach())
    for sample in sampler(tiny_model, drawn).sample(requests(8, prompts=PROMPTS[:2])):
        if sample.problem_id == "eggs":
            assert sample.entropy_mean == pytest.approx(entropy, rel=1e-4)
            assert min(abs(float(value) - (sample.logprob_sum or 0)) for value in logprobs.detach()) < 1e-4


def test_tokens_are_drawn_with_their_probabilities(tiny_model: Model) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(tiny_model.path, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model.path)
    logits = network(tokenizer(PROMPTS[0].text, return_tensors="pt").input_ids).logits[0, -1]
    top = (logits / 0.1).topk(3)
    kept = top.values.softmax(-1).tolist()
    drawn = Decoding(temperature=0.1, top_p=1.0, max_tokens=1, top_k=3)
    n = 3000
    samples = list(sampler(tiny_model, drawn, 1000).sample(requests(n, prompts=PROMPTS[:1])))
    counts = Counter(round(s.logprob_sum or 0, 3) for s in samples)
    wanted = [round(float(value), 3) for value in logits.log_softmax(-1)[top.indices]]
    assert set(counts) <= {w + d for w in wanted for d in (0, 0.001, -0.001)} | set(wanted)
    for probability, logprob in zip(kept, wanted, strict=True):
        seen = sum(c for value, c in counts.items() if abs(value - logprob) < 0.0015) / n
        assert abs(seen - probability) < 5 * math.sqrt(probability * (1 - probability) / n) + 1e-9


def test_a_prompt_that_rows_share_is_read_once(tiny_model: Model) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from kurve.samplers.transformers_draw import draw

    network = AutoModelForCausalLM.from_pretrained(tiny_model.path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model.path)
    read: list[tuple[int, ...]] = []
    network.base_model.register_forward_pre_hook(
        lambda _, __, named: read.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    prompts = [tokenizer(prompt.text).input_ids for prompt in PROMPTS[:2]]
    width = max(map(len, prompts))
    rows = [(prompts[i % 2], i) for i in range(6)]
    together = draw(network, tokenizer, decoding(max_tokens=4), rows, with_entropy=True)
    assert read[:2] == [(2, width - 1), (6, 1)]
    read.clear()
    alone = [draw(network, tokenizer, decoding(max_tokens=4), [row], with_entropy=True)[0] for row in rows]
    assert read[0] == (1, len(prompts[0]))
    assert [one.text for one in together] == [one.text for one in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.logprob_sum == pytest.approx(other.logprob_sum, rel=1e-5)
        assert one.entropy_mean == pytest.approx(other.entropy_mean, rel=1e-5)


def test_temperature_zero_is_greedy(tiny_model: Model) -> None:
    texts = {s.text for s in sampler(tiny_model, decoding(temperature=0)).sample(requests(4, prompts=PROMPTS[:1]))}
    assert len(texts) == 1


def test_a_stop_string_ends_the_text_before_it(tiny_model: Model) -> None:
    stopped = by_key(list(sampler(tiny_model, decoding(stop=("e", " 2"))).sample(requests(40))))
    free = by_key(list(sampler(tiny_model, decoding()).sample(requests(40))))
    assert any(s.finish_reason == "stop" for s in stopped.values())
    for key, sample in stopped.items():
        cuts = [place for stop in ("e", " 2") if (place := free[key].text.find(stop)) >= 0]
        assert sample.text == (free[key].text[: min(cuts)] if cuts else free[key].text)
        assert sample.num_tokens <= free[key].num_tokens


def test_a_response_cut_at_max_tokens_says_length(tiny_model: Model) -> None:
    samples = list(sampler(tiny_model, decoding(max_tokens=3)).sample(requests(20)))
    assert all(s.num_tokens <= 3 for s in samples)
    assert all((s.finish_reason == "length") <= (s.num_tokens == 3) for s in samples)


def test_a_batch_size_of_zero_is_refused(tiny_model: Model) -> None:
    with pytest.raises(ConfigError, match="batch_size=0"):
        sampler(tiny_model, decoding(), 0)


def test_an_empty_prompt_with_images_is_refused(tiny_model: Model) -> None:
    with pytest.raises(ConfigError, match="has images"):
        sampler(tiny_model, decoding()).check([Prompt("p", text="x", images=("a.png",))])


def test_a_pilot_tells_the_distribution_that_it_draws_from(tiny_model: Model) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(tiny_model.path, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model.path)
    drawn = Decoding(temperature=0.7, top_p=1.0, max_tokens=1, top_k=5)
    logits = network(tokenizer(PROMPTS[0].text, return_tensors="pt").input_ids).logits[0, -1].detach()
    with sampler(tiny_model, drawn).pilot() as pilot:
        for temperature in (0.3, 1.0):
            logprobs = (logits / temperature).topk(5).values.log_softmax(-1)
            for sample in pilot.sample(requests(8, prompts=PROMPTS[:1]), temperature):
                assert sample.entropy_mean == pytest.approx(float(-(logprobs.exp() * logprobs).sum()), rel=1e-3)
                assert min(abs(float(value) - (sample.logprob_sum or 0)) for value in logprobs) < 1e-3


def test_a_pilot_draws_what_the_sampler_draws_and_loads_the_weights_once(
    tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = decoding(max_tokens=6)
    expected = {key: one.text for key, one in by_key(list(sampler(tiny_model, drawn).sample(requests(4)))).items()}
    loaded: list[object] = []
    load = TransformersSampler._load

    def counted(self: TransformersSampler) -> object:
        loaded.append(self)
        return load(self)

    monkeypatch.setattr(TransformersSampler, "_load", counted)
    with sampler(tiny_model, drawn).pilot() as pilot:
        hot = by_key(list(pilot.sample(requests(4), 5.0)))
        same = by_key(list(pilot.sample(requests(4), drawn.temperature)))
    assert len(loaded) == 1
    assert {key: one.text for key, one in same.items()} == expected
    assert {key: one.text for key, one in hot.items()} != expected


def test_minus_the_log_probability_of_what_is_drawn_has_the_entropy_as_its_mean(tiny_model: Model) -> None:
    drawn = Decoding(temperature=1.0, top_p=0.9, max_tokens=5)
    with sampler(tiny_model, drawn, 512).pilot() as pilot:
        samples = list(pilot.sample(requests(1500, prompts=PROMPTS[:1]), 0.2))
    excess = [-(s.logprob_sum or 0.0) - (s.entropy_mean or 0.0) * s.num_tokens for s in samples]
    error = statistics.stdev(excess) / math.sqrt(len(excess))
    assert abs(statistics.fmean(excess)) < 4 * error
