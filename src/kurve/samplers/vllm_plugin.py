"""A vLLM plugin (entry point `vllm.general_plugins`) that makes seeded sampling cheap on CPU.

vLLM 0.31 fills a row of the vocabulary with exponential noise for each seeded request, and the whole batch before that:
a quarter of the time of a small model. Here a seeded row draws one uniform number and inverts the distribution with it
(as `kurve.samplers.transformers_draw`), which draws from the same distribution. vLLM loads its plugins into each of
its processes, also of engines that have nothing to do with kurve: without the environment variable this does nothing.
"""

import functools
import os
from collections.abc import Mapping
from typing import Any

SWITCH = "KURVE_VLLM_SEEDED_ROWS"


def register() -> None:
    """Replace the CPU sampler of this process if kurve started it."""
    if os.environ.get(SWITCH) != "1":
        return
    from vllm.v1.sample.ops import topk_topp_sampler

    sampler: Any = topk_topp_sampler.TopKTopPSampler
    original = getattr(sampler, "forward_cpu", None)
    if original is None or hasattr(original, "__wrapped__"):  # another vLLM, or registered before
        return
    sampler.forward_cpu = _seeded_rows(original, topk_topp_sampler.apply_top_k_top_p)


def _seeded_rows(original: Any, apply_top_k_top_p: Any) -> Any:
    @functools.wraps(original)
    def forward_cpu(self: Any, logits: Any, generators: Mapping[int, Any], k: Any, p: Any) -> Any:
        wants_processed = self.logprobs_mode in ("processed_logits", "processed_logprobs")
        if wants_processed or len(generators) != logits.shape[0]:
            return original(self, logits, generators, k, p)
        return draw_rows(apply_top_k_top_p(logits, k, p), generators), None

    return forward_cpu


def draw_rows(logits: Any, generators: Mapping[int, Any]) -> Any:
    """One token a row, drawn with the row's own generator.

    Args:
        logits: after temperature and truncation, [B, V]; -inf is never drawn.
        generators: a torch.Generator for each row.

    Returns:
        Token ids, [B], int64.
    """
    import torch

    cumulative = logits.softmax(dim=-1, dtype=torch.float32).cumsum(dim=-1, dtype=torch.float64)
    uniform = torch.cat(
        [torch.rand(1, generator=generators[row], dtype=torch.float64) for row in range(logits.shape[0])]
    )
    # right=True: a token of probability 0, whose step in the sum has no width, is never taken.
    wanted = (uniform * cumulative[:, -1]).unsqueeze(1)
    return torch.searchsorted(cumulative, wanted, right=True).squeeze(1).clamp(max=logits.shape[-1] - 1)
