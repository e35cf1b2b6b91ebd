"""Updates on fixed responses by as many processes as launched this, for `test_trl.py`: python two_processes.py FOLDER.

Response i of the batch is the same whichever process holds it, so the weights afterwards must be the same as well.
"""

import functools
import os
import sys
from pathlib import Path
from typing import Any

from kurve.algorithms.advantages import global_batch, greedy_baseline, group_normalised, leave_one_out
from kurve.algorithms.dapo import Dapo
from kurve.algorithms.ppo import Ppo
from kurve.algorithms.remax import Remax
from kurve.algorithms.rlvr import Rlvr
from kurve.types import Outcome
from tests.algorithms.scripted_training import RuleVerifier, SometimesFailing, make_job, respond

DAPO = functools.partial(Dapo, advantage=group_normalised, args={"loss_type": "dapo"})
ALGORITHMS = {  # groups of 4: two processes share the second of three groups
    "grpo": Rlvr(advantage=group_normalised, args={"loss_type": "grpo"}),
    "dapo_loss": Rlvr(advantage=functools.partial(group_normalised, scale="batch"), args={"loss_type": "dapo"}),
    "rloo": Rlvr(advantage=leave_one_out, args={"loss_type": "dr_grpo"}),
    "reinforce_pp": Rlvr(advantage=global_batch, args={"loss_type": "dapo"}),
    "kl_in_reward": Rlvr(advantage=global_batch, args={"loss_type": "dapo", "beta": 0.1}, kl_in_reward=True),
    "ppo": Ppo(args={"loss_type": "dapo"}, critic_learning_rate=0.1),
}
WHOLE_GROUPS = {  # these need all responses to a prompt on one process: two of four groups
    "remax": Remax(advantage=greedy_baseline, args={"loss_type": "dr_grpo"}),
    "dapo": DAPO(max_rounds=1),
}
ROUNDS = "dapo_in_rounds"  # draws prompts until each process has its groups, so which they are depends on the processes


def main(folder: Path) -> None:
    """Train with each algorithm and save weights and log of the main process."""
    import torch

    from kurve.algorithms.trainers.device import leave_out_vllm

    leave_out_vllm({"use_cpu": True})
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    results = {}
    for name, algorithm in {**ALGORITHMS, **WHOLE_GROUPS, ROUNDS: DAPO()}.items():
        trainer, points = _trained(name, algorithm, folder, processes)
        if trainer.accelerator.is_main_process:
            results[name] = (_weights(trainer), points)
    if results:
        torch.save(results, folder / f"result-{processes}.pt")


def _trained(name: str, algorithm: Rlvr, folder: Path, processes: int) -> tuple[Any, list[Any]]:
    import torch

    unsolvable = {problem.id: Outcome.WRONG for problem in make_job(folder).problems[:8]}
    job = make_job(
        folder,
        verifier=RuleVerifier(unsolvable) if name == ROUNDS else SometimesFailing(),
        per_device_train_batch_size=(12 if name in ALGORITHMS else 16) // processes,
        max_completion_length=12,
        max_steps=2,
        learning_rate=0.1,
        optim="sgd",
    )
    algorithm.check(job.args, processes=processes)
    trainer = algorithm.make_trainer(job)
    trainer.rollout_func = respond
    if name == "kl_in_reward":  # else the model is its own reference and the penalty 0
        torch.manual_seed(0)
        for weight in trainer.ref_model.parameters():
            weight.data += 0.02 * torch.randn_like(weight)
    trainer.train()
    return trainer, job.log.points  # type: ignore[attr-defined]  # a Record


def _weights(trainer: Any) -> dict[str, Any]:
    """Those of the policy and, where there is one, of the critic."""
    found = dict(trainer.accelerator.unwrap_model(trainer.model).state_dict())
    if hasattr(trainer, "critic"):
        found |= {f"critic.{name}": weight.detach() for name, weight in trainer.critic.trained().items()}
    return {name: weight.clone() for name, weight in found.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
