"""A vLLM plugin (entry point `vllm.general_plugins`) that makes seeds and log-probabilities cheap on CPU.

vLLM 0.31 fills a row of the vocabulary with exponential noise for each seeded request, and the whole batch before
that; and it takes the logarithm of bfloat16 logits by a path twenty times slower than the float32 one. Together these
are more than a third of a small model's time. Here a seeded row draws one uniform number and inverts the distribution
with it (as `kurve.samplers.transformers_draw`), which draws from the same distribution, and logits become float32
first, which gives the same numbers. vLLM loads its plugins into each of its processes, also of engines that have
nothing to do with kurve: without the environment variable this does nothing.
"""

import functools
import os
import sys
from collections.abc import Mapping
from typing import Any

SWITCH = "KURVE_VLLM_SEEDED_ROWS"
ACTIVE = "kurve draws the seeded rows of this engine"  # in the engine's log, once a process
_BLOCK = 256  # tokens


def register() -> None:
    """Replace the CPU sampler of this process if kurve started it."""
    if os.environ.get(SWITCH) != "1":
        return
    from vllm.v1.sample.ops import topk_topp_sampler
    from vllm.v1.sample.sampler import Sampler

    sampler: Any = topk_topp_sampler.TopKTopPSampler
    original = getattr(sampler, "forward_cpu", None)
    if original is None or hasattr(original, "__wrapped__"):  # another vLLM, or registered before
        return
    sampler.forward_cpu = _seeded_rows(original, topk_topp_sampler.apply_top_k_top_p)
    Sampler.compute_logprobs = staticmethod(log_probabilities)
    sys.stderr.write(f"INFO: {ACTIVE}\n")  # which is the engine's log; vLLM's loggers are not set up yet


def _seeded_rows(original: Any, apply_top_k_top_p: Any) -> Any:
    @functools.wraps(original)
    def forward_cpu(self: Any, logits: Any, generators: Mapping[int, Any], k: Any, p: Any) -> Any:  # noqa: PLR0917  # as vLLM calls it
        wants_processed = self.logprobs_mode in ("processed_logits", "processed_logprobs")
        if wants_processed or len(generators) != logits.shape[0]:
            return original(self, logits, generators, k, p)
        return draw_rows(apply_top_k_top_p(logits, k, p), generators), None

    return forward_cpu


def log_probabilities(logits: Any) -> Any:
    """Natural logarithm of the softmax over the last dimension, float32, of logits of any type."""
    import torch

    return logits.to(torch.float32).log_softmax(dim=-1)


def draw_rows(logits: Any, generators: Mapping[int, Any]) -> Any:
    """One token a row, drawn with the row's own generator.

    The distribution is inverted in two steps, first among blocks of the vocabulary, then inside one: a running sum in
    double precision over the whole vocabulary would take most of the time.

    Args:
        logits: after temperature and truncation, [B, V]; -inf is never drawn.
        generators: a torch.Generator for each row.

    Returns:
        Token ids, [B], int64.
    """
    import torch

    rows = torch.arange(logits.shape[0])
    weights = logits.softmax(dim=-1, dtype=torch.float32)
    blocks = torch.nn.functional.pad(weights, (0, -logits.shape[-1] % _BLOCK)).unflatten(-1, (-1, _BLOCK))
    uniform = torch.cat([torch.rand(1, generator=generators[row], dtype=torch.float64) for row in rows.tolist()])
    chosen, left = _invert(blocks.sum(dim=-1), uniform)
    inside, _ = _invert(blocks[rows, chosen], left)
    return chosen * _BLOCK + inside


def _invert(weights: Any, uniform: Any) -> tuple[Any, Any]:
    """The entry of each row in which `uniform` falls, never one of weight 0, and how far into it; both in [0, 1)."""
    import torch

    cumulative = weights.cumsum(dim=-1, dtype=torch.float64)
    total = cumulative[:, -1]
    wanted = torch.minimum(uniform * total, total.nextafter(torch.zeros_like(total))).unsqueeze(1)
    # right=True: an entry of weight 0, whose step in the sum has no width, is never taken.
    found = torch.searchsorted(cumulative, wanted, right=True)
    upper = cumulative.gather(1, found)
    lower = torch.where(found > 0, cumulative.gather(1, (found - 1).clamp(min=0)), torch.zeros_like(upper))
    return found.squeeze(1), ((wanted - lower) / (upper - lower)).squeeze(1)
