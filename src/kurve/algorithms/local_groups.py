"""For algorithms whose processes each need all responses to a prompt."""

from collections.abc import Mapping
from typing import Any

from kurve.algorithms.arguments import prompts_a_generation
from kurve.errors import ConfigError


def check_local_groups(args: Mapping[str, Any], processes: int, *, algorithm: str) -> None:
    """Refuse batches in which a group of responses lies on two processes, for sizes that `check_batch` has passed.

    Raises:
        ConfigError: how many prompts there are for how many processes, and what to change.
    """
    prompts = prompts_a_generation(args, processes)
    if prompts % processes:
        raise ConfigError(
            f"{algorithm} keeps the responses to one prompt on one process, but a generation holds {prompts} prompts "
            f"for {processes} processes; raise gradient_accumulation_steps or per_device_train_batch_size, or lower "
            "num_generations, until per_device_train_batch_size * steps_per_generation is a multiple of num_generations"
        )
