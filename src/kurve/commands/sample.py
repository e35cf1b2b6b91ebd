"""`kurve sample`: draw what is missing and store it."""

import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.matching import at_matched_temperature, keep
from kurve.commands.models import with_name
from kurve.commands.sampling_plan import Plan, make_plan
from kurve.commands.stages import draw
from kurve.commands.stopping import record_design
from kurve.commands.stored import EVALUATION
from kurve.errors import ConfigError, StoreError
from kurve.progress import Progress
from kurve.samplers import Sampler
from kurve.store import SampleStore, fingerprint
from kurve.strata import keep_strata
from kurve.tracking import NullTracker
from kurve.types import StoppingRule


def main(cfg: DictConfig) -> None:
    """Sample one model on one benchmark, without judging.

    Raises:
        KurveError: a user's mistake or a failure, in words; what was sampled is stored.
    """
    plan = _planned(cfg)
    cfg = with_name(cfg, plan.model)
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    with ExitStack() as stack:
        stack.enter_context(stop_on_sigterm())
        cfg, plan, matched = at_matched_temperature(cfg, plan, NullTracker(), log=run_dir / "engine.log")
        sampler = checked_sampler(cfg, plan, log=run_dir / "engine.log")
        store = stack.enter_context(open_store(cfg, plan))
        keep(store.folder, matched)
        missing = store.missing(plan.ids, plan.num_samples)
        with Progress(missing={k: len(v) for k, v in missing.items()}, num_problems=len(plan.ids)) as progress:
            if missing:
                draw(plan, store, sampler, missing, progress=progress)
            progress.stage("done")
        console = Console(highlight=False)
        console.print(Text(f"samples  {store.folder}"), soft_wrap=True)
        console.print(Text(f"next:    kurve verify samples={store.folder.name}"), soft_wrap=True)


def check(cfg: DictConfig) -> None:
    """Refuse what cannot work without an engine or a model at hand; see `sweeping`.

    Raises:
        KurveError: a user's mistake, in words.
    """
    plan = _planned(cfg)
    build(cfg.sampler, "sampler", model=plan.model, decoding=plan.decoding, log=None)


def _planned(cfg: DictConfig) -> Plan:
    if cfg.sampling.get("adaptive") is not None:
        raise ConfigError(
            f"sampling.adaptive={cfg.sampling.adaptive} stops problems by how their samples fare, and kurve sample "
            "does not judge them; use kurve evaluate, or leave it out"
        )
    return make_plan(cfg)


def open_store(cfg: DictConfig, plan: Plan, rule: StoppingRule | None = None) -> SampleStore:
    """The plan's store, locked for writing, with its prompts on record and the config and stopping rule beside them.

    Raises:
        StoreError: in use, unwritable, or drawn from other questions under the same ids.
    """
    store = SampleStore.open(Path(cfg.paths.samples), plan.spec)
    try:
        store.record_prompts(plan.prompts, {problem.id: problem.question for problem in plan.benchmark.problems})
        record_design(store.folder, rule)
        write_evaluation(store.folder, provenance.as_yaml(from_anywhere(provenance.recorded(cfg))))
        keep_strata(store.folder, plan.benchmark.strata_by_id)
    except BaseException:
        store.close()
        raise
    return store


def from_anywhere(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the benchmark's local file by its whole path: `kurve report` may run in another folder."""
    benchmark = config.get("benchmark")
    if not benchmark or not benchmark.get("path"):
        return config
    return config | {"benchmark": benchmark | {"path": str(Path(benchmark["path"]).expanduser().absolute())}}


def checked_sampler(
    cfg: DictConfig, plan: Plan, *, log: Path, lacking_in: Callable[[SampleStore], Collection[str]] | None = None
) -> Sampler:
    """The sampler, checked against the prompts that still lack samples; the store is only looked at.

    A complete store needs no check, so that a second start takes seconds and the model may be gone. `lacking_in` gives
    the ids of the problems to be drawn; by default those with fewer than the plan's samples.

    Raises:
        ConfigError: the sampler cannot draw these prompts.
        StoreError: the store is damaged or holds other settings.
    """
    sampler: Sampler = build(cfg.sampler, "sampler", model=plan.model, decoding=plan.decoding, log=log)
    root = Path(cfg.paths.samples)
    lacking = set(plan.ids)
    if (root / fingerprint(plan.spec) / "spec.json").is_file():
        with SampleStore.open(root, plan.spec, read_only=True) as store:
            lacking = set(lacking_in(store) if lacking_in else store.missing(plan.ids, plan.num_samples))
    if lacking:
        sampler.check([prompt for prompt in plan.prompts if prompt.problem_id in lacking])
    return sampler


def write_evaluation(folder: Path, config_yaml: str) -> None:
    """Keep the config beside the samples, whole or not at all: `verify` and `report` start from it.

    Raises:
        StoreError: the folder cannot be written.
    """
    partial = folder / f".{EVALUATION}.{os.getpid()}"
    try:
        partial.write_text(config_yaml, encoding="utf-8")
        partial.replace(folder / EVALUATION)
    except OSError as error:
        raise StoreError(
            f"cannot write {folder / EVALUATION}: {error.strerror}; make room or name another folder: paths.samples=..."
        ) from error


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: leave as for Ctrl-C, so that engines stop and the run is closed as KILLED."""


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exception, unless a launcher has put its own handler there."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    if ours:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
