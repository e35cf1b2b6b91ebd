"""On-policy distillation: the student responds, the teacher says how likely it finds each token."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kurve.algorithms import Job
from kurve.algorithms.arguments import check_arguments
from kurve.algorithms.rlvr import check_enough
from kurve.algorithms.supervised import check_sizes
from kurve.errors import ConfigError
from kurve.types import Model

_EMPTY: Mapping[str, Any] = {}
_TEACHERS = ("teacher_model_name_or_path", "teacher_model_revision")


class OnPolicyDistillation:
    """Trains on the student's own responses with TRL's DistillationTrainer; no verifier is asked.

    The loss is the generalised Jensen-Shannon divergence of the two next-token distributions, averaged over the
    tokens of the responses; `beta` = 1 makes it the reverse KL, sum p_student log(p_student / p_teacher). Agarwal et
    al. 2024 (arXiv:2306.13649), equations 1 and 3.

    Args:
        teacher: the model to learn from; it must have the student's vocabulary.
        args: arguments of trl.DistillationConfig that this algorithm needs; they win over the shared ones.
    """

    learns_from = "prompts"

    def __init__(self, *, teacher: Model, args: Mapping[str, Any] = _EMPTY) -> None:
        if teacher.lora:
            raise ConfigError(f"teacher.lora={teacher.lora}: a teacher is loaded whole; merge the adapter first")
        self.teacher = teacher
        self.args = dict(args)

    def check(self, args: Mapping[str, Any], *, processes: int) -> None:
        """Refuse unknown arguments, sizes that are none, and a second way of naming the teacher."""
        check_arguments("DistillationConfig", args, "training")
        check_arguments("DistillationConfig", self.args)
        settings = self.settings(args)
        check_sizes(settings)
        for key in _TEACHERS:
            if settings.get(key):
                raise ConfigError(f"training.{key} is decided by teacher=...; leave it out")

    def settings(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that TRL gets: the shared `args` and, over them, the algorithm's own."""
        return {**args, **self.args}

    def train(self, job: Job, checkpoint: Path | None) -> None:
        """Train on responses to `job.prompts` and leave the model in `job.folder / "model"`; see `Algorithm.train`."""
        from kurve.algorithms.trainers import distill, weights

        base = weights.local_folder(job.model)
        trainer = distill.make_trainer(job, self.settings(job.args), base, teacher=self.teacher)
        weights.run(trainer, checkpoint)
        weights.save_result(trainer, job, base)


def check_prompts(num_prompts: int, settings: Mapping[str, Any], processes: int) -> None:
    """Refuse fewer prompts than one optimizer step takes: TRL drops the incomplete batch and would never train.

    Raises:
        ConfigError: both numbers, and what to change.
    """
    each = int(settings.get("per_device_train_batch_size") or 8) * int(settings.get("gradient_accumulation_steps") or 1)
    check_enough(num_prompts, each * processes)
