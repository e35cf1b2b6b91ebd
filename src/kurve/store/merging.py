"""Join stores that were filled apart: shards of one seed, or several seeds of one setting."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kurve.errors import StoreError
from kurve.store.carrying import Places, carry
from kurve.store.disk import disk_error, sync_folder
from kurve.store.lock import WriterLock, holder
from kurve.store.records import Record, StoredPrompt, read_sample, sample_record
from kurve.store.samples import LOCK, SampleStore
from kurve.store.spec import differences, fingerprint
from kurve.types import SamplingSpec


@dataclass(frozen=True, slots=True)
class MergeResult:
    """Where the joined samples are, with the verdicts, reviews and scores of each."""

    folder: Path
    spec: SamplingSpec
    samples: int
    problems: int
    duplicates: int  # samples that several sources held identically
    created: bool  # False: the target already held exactly this


@dataclass(frozen=True, slots=True)
class _Group:
    """The sources of one seed."""

    seed: str
    stores: Sequence[SampleStore]
    places: Places  # -1 where a sample is absent


def merge(sources: Sequence[Path], target_root: Path) -> MergeResult:
    """The union of the stores in the folders `sources`, as a new store under `target_root`.

    Sources of one seed are shards: a sample is known by (problem, index) and must be the same wherever it occurs
    (compared by the CRC-32 of its line). Different seeds follow one another: each problem's samples are numbered on,
    seed by seed in ascending order, and the merged seed is 'a+b'. The order of `sources` does not matter.

    Raises:
        StoreError: the sources' settings differ in more than the seed, they hold different samples or prompts under
            one key, one is damaged or being written, or the target exists with other samples. The target is then
            as it was.
    """
    folders = sorted({Path(source).resolve() for source in sources})
    if not folders:
        raise StoreError("merge needs at least one store; give the folders that hold a spec.json")
    with ExitStack() as stack:
        stores = [stack.enter_context(_finished(folder)) for folder in folders]
        _check_specs(stores)
        _check_prompts(stores)
        groups = _groups(stores)
        spec = replace(stores[0].spec, seed="+".join(group.seed for group in groups))
        target = Path(target_root).absolute() / fingerprint(spec)
        distinct = sum(int((places >= 0).sum()) for group in groups for places in group.places.values())
        problems = {problem_id for group in groups for problem_id in group.places}
        duplicates = sum(store.count() for store in stores) - distinct
        created = not target.exists()
        if created:
            _write(target, spec, stores, groups)
        else:
            _check_target(target, groups, distinct)
            with SampleStore.open_folder(target) as there:
                carry(there, _with_places(groups))
    return MergeResult(target, spec, distinct, len(problems), duplicates, created)


def _finished(folder: Path) -> SampleStore:
    writer = holder(folder / LOCK)
    if writer:
        raise StoreError(f"{folder} is still being written by {writer}; merge it when that has finished")
    return SampleStore.open_folder(folder)


def _check_specs(stores: Sequence[SampleStore]) -> None:
    first = stores[0]
    for store in stores[1:]:
        differing = differences(first.spec, store.spec)
        differing.pop("seed", None)
        if differing:
            listed = "; ".join(f"{name}: {one!r} and {other!r}" for name, (one, other) in differing.items())
            raise StoreError(
                f"{first.folder} and {store.folder} were drawn with other settings ({listed}); only stores that "
                "differ in nothing but the seed can be merged"
            )


def _check_prompts(stores: Sequence[SampleStore]) -> None:
    digests: dict[str, tuple[str, Path]] = {}
    for store in stores:
        for prompt in store.prompts():
            digest, folder = digests.setdefault(prompt.problem_id, (prompt.digest, store.folder))
            if digest != prompt.digest:
                raise StoreError(
                    f"problem {prompt.problem_id!r} was sampled with different prompts in {folder} and {store.folder}: "
                    "their datasets differ under the same ids; they cannot be merged"
                )


def _groups(stores: Sequence[SampleStore]) -> list[_Group]:
    by_seed: dict[str, list[SampleStore]] = {}
    for store in stores:
        by_seed.setdefault(store.spec.seed, []).append(store)
    seeds = sorted(by_seed, key=lambda seed: [_seed_order(part) for part in seed.split("+")])
    parts = [part for seed in seeds for part in seed.split("+")]
    twice = sorted({part for part in parts if parts.count(part) > 1})
    if twice:
        raise StoreError(
            f"seed {', '.join(twice)} is in several of the merged seeds {', '.join(seeds)}, so its samples would count "
            "twice; merge the original stores of each seed instead"
        )
    offsets: dict[str, int] = {}
    return [_group(seed, by_seed[seed], offsets, renumber=len(seeds) > 1) for seed in seeds]


def _seed_order(part: str) -> tuple[bool, int, str]:
    number = part.lstrip("-")
    is_number = number.isascii() and number.isdigit() and len(number) < 100
    return not is_number, int(part) if is_number and part.count("-") <= 1 else 0, part


def _group(seed: str, stores: Sequence[SampleStore], offsets: dict[str, int], *, renumber: bool) -> _Group:
    places = {}
    for problem_id in sorted({problem_id for store in stores for problem_id in store.counts()}):
        held = _union(stores, problem_id)
        offset = offsets.get(problem_id, 0)
        numbers = np.cumsum(held) - 1 + offset if renumber else np.arange(len(held))
        places[problem_id] = np.where(held, numbers, -1)
        offsets[problem_id] = offset + int(held.sum())
    return _Group(seed, stores, places)


def _union(stores: Sequence[SampleStore], problem_id: str) -> NDArray[np.bool_]:
    """Which indices any of the stores holds, [indices]; refuses two different samples under one."""
    columns = [store.marks(problem_id) for store in stores]
    marks = np.zeros(max(len(tags) for _, tags in columns), dtype=np.uint32)
    held = np.zeros(len(marks), dtype=np.bool_)
    for store, (mine, tags) in zip(stores, columns, strict=True):
        here = tags > 0
        clash = np.flatnonzero(here & held[: len(tags)] & (marks[: len(tags)] != mine))
        if len(clash):
            named = ", ".join(str(index) for index in clash[:5].tolist())
            others = ", ".join(str(other.folder) for other in stores if other is not store)
            raise StoreError(
                f"{store.folder} holds other samples of problem {problem_id!r} than {others} under the same seed and "
                f"index ({len(clash)} of them: {named}, ...); they cannot both be right: drop one store, or draw one "
                "of them again with another seed"
            )
        marks[: len(tags)][here] = mine[here]
        held[: len(tags)] |= here
    return held


def _moved(groups: Sequence[_Group]) -> Iterator[Record]:
    """Every sample under its new index, once; one that keeps its index as it is, without a look at its text."""
    for group in groups:
        left = {problem_id: places.copy() for problem_id, places in group.places.items()}
        for store in group.stores:
            for record in store.records(partial(_is_left, left)):
                place = int(left[record.problem_id][record.sample_index])
                left[record.problem_id][record.sample_index] = -1
                if place == record.sample_index:
                    yield record
                else:
                    yield sample_record(replace(read_sample(record.line), index=place))


def _is_left(left: Mapping[str, NDArray[np.int64]], problem_id: str, index: int, *_ignored: int) -> bool:
    return bool(left[problem_id][index] >= 0)


def _write(target: Path, spec: SamplingSpec, stores: Sequence[SampleStore], groups: Sequence[_Group]) -> None:
    half = target.with_name(f".merge-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, target.parent, "create") from error
    lock = WriterLock(target.with_name(f".merge-{target.name}.lock"))
    try:
        shutil.rmtree(half, ignore_errors=True)  # of a merge that was killed: the lock says nobody is at it
        with SampleStore.create(half, spec) as merged:
            merged.copy_prompts(_prompts(stores))
            if len(groups) == 1:  # indices stay
                for store in stores:
                    merged.take(store)
            else:
                merged.append_records(_moved(groups))
            carry(merged, _with_places(groups))
        half.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise disk_error(error, target, "create") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
        lock.path.unlink(missing_ok=True)
        lock.release()


def _with_places(groups: Sequence[_Group]) -> list[tuple[SampleStore, Places]]:
    return [(store, group.places) for group in groups for store in group.stores]


def _prompts(stores: Sequence[SampleStore]) -> Iterator[StoredPrompt]:
    for store in stores:
        yield from store.prompts()


def _check_target(target: Path, groups: Sequence[_Group], distinct: int) -> None:
    """Refuse a target that holds anything but the union."""
    with SampleStore.open_folder(target) as there:
        same = there.count() == distinct and all(
            there.mark(record.problem_id, record.sample_index) == record.mark for record in _moved(groups)
        )
    if not same:
        raise StoreError(
            f"{target} already exists and holds other samples than the union of the sources; add it to the sources and "
            "choose another target, or move it away"
        )
