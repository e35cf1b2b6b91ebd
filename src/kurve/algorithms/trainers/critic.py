"""The value network of PPO."""

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kurve.errors import TrainingError

FILE = "critic.safetensors"  # in a checkpoint


class Critic(nn.Module):  # type: ignore[misc]  # torch's types are not read
    """Predicts at each token of a response the reward that is to come: a copy of the policy with one output.

    Weights that the policy does not train (the base of a LoRA adapter) are shared with it, not copied. The output
    starts at 0, so that the first batch has no baseline rather than a random one.

    Args:
        policy: a causal language model of transformers, also with peft's adapters.
    """

    def __init__(self, policy: Any) -> None:
        super().__init__()
        whole = policy.get_base_model() if hasattr(policy, "peft_config") else policy
        frozen = {id(weight): weight for weight in whole.parameters() if not weight.requires_grad}
        self.backbone = copy.deepcopy(whole.base_model, frozen)
        width = whole.config.get_text_config().hidden_size
        self.head = nn.Linear(width, 1, device=next(whole.parameters()).device, dtype=torch.float32)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, tokens: int) -> torch.Tensor:
        """The value before each of the last `tokens` tokens was drawn, [b, tokens], in units of the reward.

        Args:
            input_ids: prompt, then response, [b, length].
            attention_mask: 0 at padding, [b, length].
            tokens: how many tokens at the end are the response.
        """
        found = self.backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        before = found.last_hidden_state[:, -tokens - 1 : -1]
        with torch.autocast(before.device.type, enabled=False):
            values: torch.Tensor = self.head(before.float()).squeeze(-1)
        return values

    def trained(self) -> dict[str, torch.Tensor]:
        """The weights that training changes, by name."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    def save(self, folder: Path) -> None:
        """Write the trained weights to `folder`."""
        save_file({name: weight.detach().contiguous() for name, weight in self.trained().items()}, folder / FILE)

    def load(self, folder: Path) -> None:
        """Take the weights that `save` wrote.

        Raises:
            TrainingError: the folder has none, or those of another network.
        """
        if not (folder / FILE).is_file():
            raise TrainingError(f"{folder} has no {FILE}: it is no checkpoint of algorithm=ppo")
        stored, own = load_file(folder / FILE), self.trained()
        if {name: tensor.shape for name, tensor in stored.items()} != {name: w.shape for name, w in own.items()}:
            raise TrainingError(f"{folder / FILE} is of another model or adapter; resume with the settings of its run")
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(stored[name])
