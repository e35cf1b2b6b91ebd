"""One process's part of a training: hand the plan to the algorithm."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from kurve.algorithms import Job, Log
from kurve.benchmarks.rows import Benchmark
from kurve.commands.build import build, plain
from kurve.commands.overlap import load_benchmark
from kurve.commands.sampling_plan import whole
from kurve.commands.training_plan import TrainingPlan
from kurve.types import Decoding
from kurve.verifiers import Verifier


def run_job(
    cfg: DictConfig, plan: TrainingPlan, folder: Path, checkpoint: Path | None, *, log: Log, callbacks: tuple[Any, ...]
) -> None:
    """Train to the end and leave the result in `folder / "model"`.

    Raises:
        ConfigError: TRL or the algorithm refuses a value.
        TrainingError: the model cannot be loaded, trained or saved.
        VerifierError: the verifier cannot be started.
    """
    from kurve.algorithms.trainers.device import leave_out_vllm

    held_out = held_out_benchmark(cfg)
    verifier: Verifier | None = plan.verifier
    if verifier is None and held_out is not None:
        verifier = build(cfg.verifier, "verifier")
    with verifier or nullcontext():
        if held_out is not None and verifier is not None:
            callbacks = (*callbacks, _measure(cfg, plan, held_out, verifier, log=log))
        job = Job(
            model=plan.model,
            problems=plan.problems,
            prompts=plan.prompts,
            demonstrations=plan.demonstrations.items if plan.demonstrations else (),
            verifier=verifier,
            args=plan.args,
            lora=plan.lora,
            seed=plan.seed,
            folder=folder,
            log=log,
            callbacks=callbacks,
        )
        leave_out_vllm(plan.all_args)
        plan.algorithm.train(job, checkpoint)


def held_out_benchmark(cfg: DictConfig) -> Benchmark | None:
    """The problems on which pass@k is measured during training, if any.

    Raises:
        ConfigError: there is no such benchmark or setting.
    """
    chosen = cfg.holdout.benchmark
    if chosen is None:
        return None
    return load_benchmark(plain(chosen) if OmegaConf.is_config(chosen) else chosen, "holdout.benchmark")


def _measure(cfg: DictConfig, plan: TrainingPlan, benchmark: Benchmark, verifier: Verifier, *, log: Log) -> Any:
    """The callback that measures pass@k on the held-out problems; with it come torch and transformers."""
    from kurve.algorithms.trainers.callback import HeldOut

    settings = cfg.holdout
    return HeldOut(
        model=plan.model,
        problems=benchmark.problems,
        prompts=[plan.template.render(problem) for problem in benchmark.problems],
        verifier=verifier,
        decoding=Decoding(
            temperature=float(settings.temperature),
            top_p=float(settings.top_p),
            max_tokens=whole(settings.max_tokens, "holdout.max_tokens", least=1),
            stop=tuple(plan.template.stop),
        ),
        log=log,
        num_samples=whole(settings.num_samples, "holdout.num_samples", least=1),
        every=whole(settings.every, "holdout.every", least=1),
        batch_size=whole(settings.batch_size, "holdout.batch_size", least=1),
        seed=plan.seed,
    )
