"""`kurve sample shard=...`: one of several processes that fill a store together, whatever starts them."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from kurve.commands.sampling_plan import Plan, whole
from kurve.commands.stages import draw
from kurve.errors import ConfigError
from kurve.progress import Progress
from kurve.samplers import Sampler
from kurve.store import SampleStore, Shard, fingerprint
from kurve.store.shards import begin, take_over, turn
from kurve.store.slices import cells, missing, num_complete

KEYS = ("shard", "num_shards")
_HOW = "all of them by kurve sample -m 'shard=range(0,{0})', one by shard=<0 to {1}> num_shards={0}"


@dataclass(frozen=True, slots=True)
class Drawn:
    """What came of a shard."""

    folder: Path  # of the store that all shards fill
    samples: int  # of the shard
    new: int  # of them drawn by this process
    complete: int  # shards that the store has as a whole


def shard_of(cfg: DictConfig, plan: Plan) -> Shard | None:
    """The shard that the config asks for; None if it asks for all samples.

    Raises:
        ConfigError: one of `shard` and `num_shards` without the other, no whole numbers, or more shards than samples.
    """
    if cfg.shard is None and cfg.num_shards is None:
        return None
    if cfg.num_shards is None:
        raise ConfigError(
            f"shard is {cfg.shard} and num_shards is not set; give num_shards=<how many there are>, which only a sweep "
            "over all of them needs not be told: kurve sample -m 'shard=range(0,4)'"
        )
    total = len(plan.ids) * plan.num_samples
    parts = whole(cfg.num_shards, "num_shards", least=1)
    if parts > total:
        raise ConfigError(
            f"num_shards is {parts} and there are {total} samples to draw ({len(plan.ids)} problems x "
            f"{plan.num_samples}); take num_shards={total} or fewer"
        )
    if cfg.shard is None:
        raise ConfigError(f"num_shards is {parts} and shard is not set; {_HOW.format(parts, parts - 1)}")
    number = whole(cfg.shard, "shard", least=0, most=parts - 1)
    return Shard(plan.ids, plan.num_samples, parts, number)


def with_num_shards(config: DictConfig, points: Sequence[Sequence[str]]) -> list[list[str]]:
    """The jobs of a sweep, each told how many shards there are: as many as the sweep has, if it has all of them.

    Args:
        config: what the jobs share.
        points: the overrides of each job.

    Raises:
        ConfigError: the sweep leaves shards out, and `num_shards` is not given.
    """
    given = [dict(override.split("=", 1) for override in point if "=" in override) for point in points]
    numbers = {one["shard"] for one in given if "shard" in one}
    if len(numbers) < 2 or config.num_shards is not None or any("num_shards" in one for one in given):
        return [list(point) for point in points]
    if numbers != set(map(str, range(len(numbers)))):
        shown = ", ".join(sorted(numbers, key=lambda one: (len(one), one)))
        raise ConfigError(
            f"the shards of this sweep are {shown}, not all from 0 on; give "
            "num_shards=<how many there are>, or sweep over all of them: 'shard=range(0,<how many>)'"
        )
    return [[*point, f"num_shards={len(numbers)}"] for point in points]


def lacking(shard: Shard) -> Callable[[SampleStore], dict[str, tuple[int, ...]]]:
    """What a store lacks of a shard."""
    return lambda store: missing(cells(shard), [store])


def draw_shard(
    plan: Plan, shard: Shard, sampler: Sampler, *, root: Path, open_store: Callable[[], SampleStore]
) -> Drawn:
    """Draw what a shard lacks into a folder of its own, and have the store take it over.

    Args:
        plan: of all samples.
        shard: which of them are drawn here.
        sampler: checked.
        root: of the stores.
        open_store: opens the store that all shards fill, for writing.

    Raises:
        SamplingError: the engine failed; what was stored before stays.
        StoreError: somebody else draws these samples, or a folder cannot be read or written; what was drawn is kept.
    """
    folder, wanted = root / fingerprint(plan.spec), cells(shard)
    size = sum(map(len, wanted.values()))
    with turn(folder), open_store() as store:
        own = begin(store, shard)
        if own is None:
            return Drawn(folder, size, 0, num_complete(store, shard))
        todo = missing(wanted, [store, own])
    new = sum(map(len, todo.values()))
    with closing(own), Progress(missing={k: len(v) for k, v in todo.items()}, num_problems=len(wanted)) as progress:
        if todo:
            draw(plan, own, sampler, todo, progress=progress)
        progress.stage("merging, or waiting for others that do")
        with turn(folder), open_store() as store:
            take_over(store, own)
            complete = num_complete(store, shard)
        progress.stage("merged")
    return Drawn(folder, size, new, complete)
