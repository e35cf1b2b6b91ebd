"""`kurve sample`: draw what is missing and store it."""

import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from kurve.commands import provenance
from kurve.commands.build import build
from kurve.commands.made import tell
from kurve.commands.matching import KEY, at_matched_temperature, keep
from kurve.commands.models import with_name
from kurve.commands.pilots import FOLDER as PILOTS
from kurve.commands.sampling_plan import Plan, make_plan
from kurve.commands.sharding import KEYS, Drawn, draw_shard, lacking, shard_of, with_num_shards
from kurve.commands.stages import draw
from kurve.commands.stopping import record_design
from kurve.commands.stored import EVALUATION
from kurve.errors import ConfigError, StoreError
from kurve.matched_temperature import MatchedTemperature
from kurve.progress import Progress
from kurve.samplers import Sampler
from kurve.store import SampleStore, Shard, fingerprint
from kurve.store.shards import take_leftovers, turn
from kurve.store.slices import cells_name
from kurve.strata import keep_strata
from kurve.tracking import NullTracker
from kurve.types import StoppingRule


def main(cfg: DictConfig) -> None:
    """Sample one model on one benchmark, without judging.

    Raises:
        KurveError: a user's mistake or a failure, in words; what was sampled is stored.
    """
    plan, shard = _planned(cfg)
    cfg = with_name(cfg, plan.model)
    log = Path(HydraConfig.get().runtime.output_dir) / "engine.log"
    with stop_on_sigterm():
        with _one_at_a_time(cfg, shard):
            cfg, plan, matched = at_matched_temperature(cfg, plan, NullTracker(), log=log)
        sampler = checked_sampler(cfg, plan, log=log, lacking_in=lacking(shard) if shard else None)
        if shard is None:
            drawn = _draw_all(cfg, plan, sampler, matched)
        else:
            opened = partial(_open_matched, cfg, plan, matched, beside=shard)
            drawn = draw_shard(plan, shard, sampler, root=Path(cfg.paths.samples), open_store=opened)
    _show(drawn, shard)
    facts = {"samples": str(drawn.samples), "new_samples": str(drawn.new)}
    tell("sample", drawn.folder, paths={}, **facts, model=plan.model.name, benchmark=plan.benchmark.name)


def check(cfg: DictConfig) -> None:
    """Refuse what cannot work without an engine or a model at hand; see `sweeping`.

    Raises:
        KurveError: a user's mistake, in words.
    """
    plan, _ = _planned(cfg)
    build(cfg.sampler, "sampler", model=plan.model, decoding=plan.decoding, log=None)


complete_points = with_num_shards  # what the jobs of a sweep need not be told; see `sweeping`


def _planned(cfg: DictConfig) -> tuple[Plan, Shard | None]:
    """What is drawn in all, and which part of it here."""
    if cfg.sampling.get("adaptive") is not None:
        raise ConfigError(
            f"sampling.adaptive={cfg.sampling.adaptive} stops problems by how their samples fare, and kurve sample "
            "does not judge them; use kurve evaluate, or leave it out"
        )
    plan = make_plan(cfg)
    return plan, shard_of(cfg, plan)


def _one_at_a_time(cfg: DictConfig, shard: Shard | None) -> AbstractContextManager[None]:
    """Shards look for a common temperature one after another: the first one's record serves the others."""
    if shard is None or cfg.sampling.get(KEY) is None:
        return nullcontext()
    return turn(Path(cfg.paths.samples) / PILOTS)


def _open_matched(
    cfg: DictConfig, plan: Plan, matched: MatchedTemperature | None, *, beside: Shard | None = None
) -> SampleStore:
    store = open_store(cfg, plan, beside=beside)
    try:
        keep(store.folder, matched)
    except BaseException:
        store.close()
        raise
    return store


def _draw_all(cfg: DictConfig, plan: Plan, sampler: Sampler, matched: MatchedTemperature | None) -> Drawn:
    """Draw what the store lacks."""
    with _open_matched(cfg, plan, matched) as store:
        missing = store.missing(plan.ids, plan.num_samples)
        counts = {problem_id: len(indices) for problem_id, indices in missing.items()}
        with Progress(missing=counts, num_problems=len(plan.ids)) as progress:
            if missing:
                draw(plan, store, sampler, missing, progress=progress)
            progress.stage("done")
    return Drawn(store.folder, len(plan.ids) * plan.num_samples, sum(counts.values()), complete=1)


def _show(drawn: Drawn, shard: Shard | None) -> None:
    """Where the samples are, and what to do with them."""
    console = Console(highlight=False)
    if shard is not None:
        standing = f"{drawn.complete} of {shard.num_shards} shards are merged"
        console.print(Text(f"shard    {shard.number}: {drawn.samples:,} samples; {standing}"), soft_wrap=True)
    console.print(Text(f"samples  {drawn.folder}"), soft_wrap=True)
    if shard is None or drawn.complete == shard.num_shards:
        console.print(Text(f"next:    kurve verify samples={drawn.folder.name}"), soft_wrap=True)


def open_store(
    cfg: DictConfig, plan: Plan, rule: StoppingRule | None = None, *, beside: Shard | None = None
) -> SampleStore:
    """The plan's store, locked for writing, with its prompts on record and the config and stopping rule beside them.

    What was drawn in shards and not taken over is, but for the shards `beside` which this one is opened.

    Raises:
        StoreError: in use, also by shards, unwritable, or drawn from other questions under the same ids.
    """
    store = SampleStore.open(Path(cfg.paths.samples), plan.spec)
    try:
        store.record_prompts(plan.prompts, {problem.id: problem.question for problem in plan.benchmark.problems})
        take_leftovers(store, but=cells_name(beside) if beside else "")
        record_design(store.folder, rule)
        write_evaluation(store.folder, provenance.as_yaml(from_anywhere(_of_all(provenance.recorded(cfg)))))
        keep_strata(store.folder, plan.benchmark.strata_by_id)
    except BaseException:
        store.close()
        raise
    return store


def _of_all(config: dict[str, Any]) -> dict[str, Any]:
    """The config of all shards."""
    return config | {key: None for key in KEYS if key in config}


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
