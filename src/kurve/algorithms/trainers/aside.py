"""Respond without mixing what TRL measures into the metrics of the step."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from trl import GRPOTrainer

Measured = dict[str, list[float]]  # TRL's metrics by name, one entry a call


@contextmanager
def metrics_aside(trainer: GRPOTrainer) -> Iterator[Measured]:
    """What TRL measures inside the block, kept out of the step's metrics."""
    mode = "train" if trainer.model.training else "eval"
    of_the_step = trainer._metrics[mode]
    measured: Measured = defaultdict(list)
    trainer._metrics[mode] = measured
    try:
        yield measured
    finally:
        trainer._metrics[mode] = of_the_step
