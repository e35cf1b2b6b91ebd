"""Seeded rows on CPU: the same distribution as vLLM's own sampler, one uniform number a row."""

from collections import Counter
from typing import Any

import pytest
import torch

from kurve.samplers import vllm_plugin
from kurve.samplers.vllm_plugin import SWITCH, draw_rows


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


def test_without_the_switch_vllm_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

    before = TopKTopPSampler.forward_cpu
    monkeypatch.delenv(SWITCH, raising=False)
    vllm_plugin.register()
    assert TopKTopPSampler.forward_cpu is before


def test_with_the_switch_seeded_rows_go_our_way_and_others_vllms(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

    before = TopKTopPSampler.forward_cpu
    monkeypatch.setattr(TopKTopPSampler, "forward_cpu", before)
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
