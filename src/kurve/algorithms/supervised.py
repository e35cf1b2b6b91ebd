"""Supervised training: imitate demonstrations. Plain SFT, and distillation from a teacher's verified samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kurve.algorithms import Job
from kurve.algorithms.arguments import check_arguments
from kurve.errors import ConfigError

_EMPTY: Mapping[str, Any] = {}


class Supervised:
    """Trains on the demonstrations' responses with TRL's SFTTrainer; the loss is their tokens' negative log-likelihood.

    A row is the prompt's tokens as the samplers send them, the response's, and the end token. The loss counts the
    response and the end token only, unless `completion_only_loss` is false. Distillation in the sense of Yue et al.
    2025 (arXiv:2504.13837, section 4.3) is this on a stronger model's correct samples.

    Args:
        args: arguments of trl.SFTConfig that this algorithm needs; they win over the shared ones of `training`.
    """

    learns_from = "demonstrations"

    def __init__(self, *, args: Mapping[str, Any] = _EMPTY) -> None:
        self.args = dict(args)

    def check(self, args: Mapping[str, Any], *, processes: int) -> None:
        """Refuse unknown arguments, sizes that are none, and preparation of rows that are prepared here."""
        check_arguments("SFTConfig", args, "training")
        check_arguments("SFTConfig", self.args)
        settings = self.settings(args)
        check_sizes(settings)
        for key in ("dataset_kwargs", "chat_template_path", "assistant_only_loss"):
            if settings.get(key):
                raise ConfigError(
                    f"training.{key} has no effect: kurve turns demonstrations into tokens itself, as the samplers do; "
                    "leave it out"
                )
        if settings.get("packing") and not settings.get("max_length"):
            raise ConfigError("training.packing fills blocks of training.max_length tokens; give max_length a number")

    def settings(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that TRL gets: the shared `args` and, over them, the algorithm's own."""
        return {**args, **self.args}

    def train(self, job: Job, checkpoint: Path | None) -> None:
        """Train on `job.demonstrations` and leave the model in `job.folder / "model"`; see `Algorithm.train`."""
        from kurve.algorithms.trainers import supervised, weights

        base = weights.local_folder(job.model)
        trainer = supervised.make_trainer(job, self.settings(job.args), base)
        weights.run(trainer, checkpoint)
        weights.save_result(trainer, job, base)


def check_sizes(settings: Mapping[str, Any], where: str = "training") -> None:
    """Refuse batch sizes and a length of training that are no positive numbers.

    Raises:
        ConfigError: the setting, what it is and what is expected.
    """
    for key in ("per_device_train_batch_size", "gradient_accumulation_steps"):
        value = settings.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{where}.{key}={value!r}; expected a whole number of at least 1")
    steps, epochs = settings.get("max_steps", -1), settings.get("num_train_epochs", 3.0)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps == 0:
        raise ConfigError(f"{where}.max_steps={steps!r}; expected a whole number of at least 1, or -1 for whole epochs")
    if isinstance(epochs, bool) or not isinstance(epochs, int | float) or (steps < 0 and epochs <= 0):
        raise ConfigError(f"{where}.num_train_epochs={epochs!r}; expected a number above 0")
