"""Seeded rows on CPU: the same distribution as vLLM's own sampler, one uniform number a row."""

from collections import Counter
from typing import Any

import pytest
import torch

from kurve.samplers import vllm_plugin
from kurve.samplers.vllm_plugin import SWITCH, draw_rows, log_probabilities


def generators(count: int, first: int = 0) -> dict[int, Any]:
    return {row: torch.Generator().manual_seed(first + row) for row in range(count)}


def test_tokens_are_drawn_as_often_as_their_probability_says() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    rows = 20_000
    drawn = Counter(draw_rows(probabilities.log().expand(rows, 4), generators(rows)).tolist())
    for token, probability in enumerate(probabilities.tolist()):
        deviation = (probability * (1 - probability) / rows) ** 0.5
        assert drawn[token] / rows == pytest.approx(probability, abs=4 * deviation)


def test_a_row_depends_on_its_own_seed_alone() -> None:
    logits = torch.randn(8, 1000, generator=torch.Generator().manual_seed(0))
    together = draw_rows(logits, generators(8))
    alone = [int(draw_rows(logits[row : row + 1], {0: torch.Generator().manual_seed(row)})) for row in range(8)]
    assert together.tolist() == alone


def test_truncated_tokens_are_never_drawn() -> None:
    logits = torch.full((5_000, 50), -torch.inf)
    logits[:, [7, 49]] = 0.0
    assert set(draw_rows(logits, generators(5_000)).tolist()) == {7, 49}


def test_a_vocabulary_of_many_blocks_is_drawn_as_its_probabilities_say() -> None:
    """Chi-square over 700 tokens in 3 blocks, the last one not full."""
    logits = torch.randn(700, generator=torch.Generator().manual_seed(1))
    rows = 100_000
    drawn = torch.bincount(draw_rows(logits.expand(rows, 700), generators(rows)), minlength=700)
    expected = logits.double().softmax(-1) * rows
    statistic = float(((drawn - expected) ** 2 / expected).sum())
    assert abs(statistic - 699) < 4 * (2 * 699) ** 0.5


def test_log_probabilities_of_half_precision_are_those_of_vllm() -> None:
    from vllm.v1.sample.sampler import Sampler

    logits = torch.randn(16, 5_000, generator=torch.Generator().manual_seed(0)).bfloat16() * 5
    assert torch.allclose(log_probabilities(logits), Sampler.compute_logprobs(logits), atol=1e-5)


def test_without_the_switch_vllm_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

    before = TopKTopPSampler.forward_cpu
    monkeypatch.delenv(SWITCH, raising=False)
    vllm_plugin.register()
    assert TopKTopPSampler.forward_cpu is before


def test_with_the_switch_seeded_rows_go_our_way_and_others_vllms(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler
    from vllm.v1.sample.sampler import Sampler

    before = TopKTopPSampler.forward_cpu
    monkeypatch.setattr(TopKTopPSampler, "forward_cpu", before)
    monkeypatch.setattr(Sampler, "compute_logprobs", staticmethod(Sampler.compute_logprobs))
    monkeypatch.setenv(SWITCH, "1")
    vllm_plugin.register()
    vllm_plugin.register()  # vLLM may load a plugin several times
    assert TopKTopPSampler.forward_cpu.__wrapped__ is before
    sampler = TopKTopPSampler.__new__(TopKTopPSampler)
    sampler.logprobs_mode = "raw_logprobs"
    logits = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    tokens, returned = sampler.forward_cpu(logits.clone(), generators(4), None, None)
    assert tokens.tolist() == draw_rows(logits, generators(4)).tolist()
    assert returned is None


def test_vllm_finds_the_plugin_by_its_entry_point() -> None:
    from importlib.metadata import entry_points

    [entry] = [entry for entry in entry_points(group="vllm.general_plugins") if entry.name == "kurve"]
    assert entry.load() is vllm_plugin.register
