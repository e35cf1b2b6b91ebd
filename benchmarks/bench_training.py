"""A step of GRPO through kurve against stock `trl.GRPOTrainer`: the same model, problems, settings, seed and judge.

Both sides train in this process and take turns. Seed and weights are the same, so they draw the same responses: step i
of one side does the work of step i of the other, and ratios are taken step by step. Ours comes with its journal, whose
thread sends all numbers to files meanwhile; stock judges by calling the same verifier and keeps nothing.
"""

import gc
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from transformers import PrinterCallback, TrainerCallback

from benchmarks import Row
from kurve.algorithms import Job
from kurve.algorithms.advantages import group_normalised
from kurve.algorithms.rlvr import Rlvr
from kurve.algorithms.trainers import weights
from kurve.benchmarks import countdown
from kurve.countdown_model import initial
from kurve.dir_tracker import DirTracker
from kurve.journal import Journal
from kurve.types import Outcome, Prompt, Sample
from kurve.verifiers.countdown import CountdownVerifier
from tests.journals import started

GOAL = 1.03
_CONF = Path(__file__).resolve().parent.parent / "conf" / "training" / "rlvr_cpu.yaml"
_ROUNDS, _STEPS = 5, 8
_WARM = 2  # first steps of a training that are not counted
_MAX_TOKENS = 24
Turn = tuple[list[float], int]  # seconds of each counted step, and tokens of prompts and responses


def run(quick: bool = False) -> list[Row]:
    """One row; `quick` takes one turn a side, with fewer and smaller steps."""
    rounds, steps, responses = (1, 4, 128) if quick else (_ROUNDS, _STEPS, 512)
    settings: dict[str, Any] = {
        **OmegaConf.to_container(OmegaConf.load(_CONF)),  # type: ignore[dict-item]  # a mapping of strings
        "per_device_train_batch_size": responses,
        "max_completion_length": _MAX_TOKENS,
        "max_steps": steps,
        "learning_rate": 1e-6,  # the weights stay the same on both sides, and with them the responses
        "save_strategy": "no",
    }
    turns: dict[str, list[Turn]] = {"kurve": [], "stock": []}
    for turn in range(rounds):
        for side in ("stock", "kurve") if turn % 2 == 0 else ("kurve", "stock"):
            with tempfile.TemporaryDirectory(prefix="kurve-bench-") as folder:
                turns[side].append({"kurve": _kurve, "stock": _stock}[side](Path(folder), settings))
            gc.collect()
    ours, stock = ([second for seconds, _ in turns[side] for second in seconds] for side in ("kurve", "stock"))
    tokens = {side: sum(count for _, count in turns[side]) for side in turns}
    detail = (
        f"{statistics.median(ours):.2f} against {statistics.median(stock):.2f} s, median ratio of {len(ours)} pairs of "
        f"steps; {tokens['kurve']:,} against {tokens['stock']:,} tokens"
    )
    ratio = statistics.median(one / other for one, other in zip(ours, stock, strict=True))
    name = f"a step of GRPO, {responses} responses, against stock trl.GRPOTrainer"
    return [Row(name=name, ratio=ratio, goal=GOAL, detail=detail, at_most=True)]


class _Clock(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.moments.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """From the end of a step to the end of the next, logging included."""
        ends = self.moments[_WARM - 1 :]
        return [after - before for before, after in itertools.pairwise(ends)]


def _job(folder: Path, settings: Mapping[str, Any], log: Any, clock: _Clock) -> Job:
    problems = countdown.load(split="train", num_problems=64).problems
    prompts = [Prompt(problem.id, problem.question) for problem in problems]
    verifier = CountdownVerifier()
    return Job(initial(), problems, prompts, (), verifier, settings, None, 0, folder, log, callbacks=(clock,))


def _kurve(folder: Path, settings: Mapping[str, Any]) -> Turn:
    clock = _Clock()
    with Journal(folder, started(DirTracker(folder / "runs"))) as journal:
        job = _job(folder, settings, journal, clock)
        trainer = Rlvr(advantage=group_normalised, args={"loss_type": "grpo"}).make_trainer(job)
        return _trained(trainer, clock)


def _stock(folder: Path, settings: Mapping[str, Any]) -> Turn:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    clock = _Clock()
    job = _job(folder, settings, None, clock)
    args = {**settings, "loss_type": "grpo", "log_completions": False, "model_init_kwargs": {"dtype": "float32"}}
    trainer = GRPOTrainer(
        model=job.model.path,
        args=GRPOConfig(**args, output_dir=str(folder), report_to=[], seed=job.seed),
        reward_funcs=_reward(job),
        train_dataset=Dataset.from_list([{"prompt": p.text, "problem_id": p.problem_id} for p in job.prompts]),
        processing_class=weights.load_tokenizer(Path(job.model.path)),
        callbacks=[clock],
    )
    return _trained(trainer, clock)


def _reward(job: Job) -> Callable[..., list[float]]:
    """1 for a correct response, as a user of TRL would write it with our verifier."""
    problems = {problem.id: problem for problem in job.problems}
    verifier = job.verifier
    assert verifier is not None

    def reward(completions: list[str], problem_id: list[str], **_: Any) -> list[float]:
        rows = enumerate(zip(problem_id, completions, strict=True))
        items = [(problems[name], Sample(name, index, text, "stop", 0)) for index, (name, text) in rows]
        return [float(verdict.outcome is Outcome.CORRECT) for verdict in verifier.verify(items)]

    return reward


def _trained(trainer: Any, clock: _Clock) -> Turn:
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock.seconds, int(trainer.state.num_input_tokens_seen)
