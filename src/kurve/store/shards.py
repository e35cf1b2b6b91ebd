"""A store that several processes fill: each appends to a shard of its own, which the store takes over when it is whole.

    <fingerprint>/shards/<number>-of-<shards>-<digest>/   a shard at work or left behind: a store without prompts
    <fingerprint>/shards.lock                             held while one begins or is taken over; the next one waits

A shard's process holds the lock of its folder, and begins and is taken over under the store's own lock. So nothing is
drawn twice: a process that draws alone refuses to start beside shards at work, as they do beside it, and whoever starts
next takes over what killed ones left. A kill at any moment leaves each sample in one of the folders, or in both.
"""

import contextlib
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kurve.errors import StoreError
from kurve.store.disk import disk_error, sync_folder
from kurve.store.lock import WriterLock, holder
from kurve.store.samples import LOCK, SampleStore
from kurve.store.slices import Shard, cells, cells_name, missing

FOLDER = "shards"
TURN = "shards.lock"
DRAWS = "draws.jsonl"  # beside samples: one line a draw, how fast it was

_NAME = re.compile(r"\d{4,}-(of-\d+-[0-9a-f]{8})")
_MERGED = ".merged-"  # in front of the name of a shard that is being removed


@contextlib.contextmanager
def turn(folder: Path) -> Iterator[None]:
    """The right to begin a shard of the store in `folder`, or to have it taken over; waits for those who have it.

    Raises:
        StoreError: the folder cannot be made or locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder, "create") from error
    lock = WriterLock(folder / TURN, patience=math.inf)
    try:
        yield
    finally:
        lock.release()


def begin(store: SampleStore, shard: Shard) -> SampleStore | None:
    """The folder that a shard's process appends to, with what an earlier one left there; None if nothing is left to do.

    Args:
        store: the common one, open for writing, in a `turn`, its leftovers taken but for those of these shards.
        shard: which.

    Raises:
        StoreError: the shard is at work, or its folder damaged.
    """
    own = store.folder / FOLDER / f"{shard.number:04d}-{cells_name(shard)}"
    if not own.exists() and not missing(cells(shard), [store]):
        return None
    return SampleStore.create(own, store.spec)


def take_leftovers(store: SampleStore, *, but: str = "") -> None:
    """Take over all shards that nobody works on any more, so that nothing that they drew is drawn again.

    Args:
        store: open for writing.
        but: name of a way to deal out samples (`cells_name`) whose shards are left alone, at work or not.

    Raises:
        StoreError: somebody works on one, or as `take_over`.
    """
    for folder in _folders(store.folder):
        name = _NAME.fullmatch(folder.name)
        if name is None or name[1] == but:
            continue
        if writer := holder(folder / LOCK):
            raise StoreError(
                f"{store.folder} is being drawn in shards: {folder.name} by {writer}; wait until they have finished "
                "or stop them, then start again: what they drew is kept"
            )
        with SampleStore.create(folder, store.spec) as left:
            take_over(store, left)


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[list[SampleStore]]:
    """The shards that the store in `folder` has not taken over yet, at work or not, open for reading.

    Raises:
        StoreError: one is damaged.
    """
    with contextlib.ExitStack() as stack:
        found = []
        for path in sorted((folder / FOLDER).glob("*/spec.json")):
            if not _NAME.fullmatch(path.parent.name):
                continue
            try:
                found.append(stack.enter_context(SampleStore.open_folder(path.parent, any_name=True)))
            except StoreError:
                if path.exists():  # not taken over meanwhile
                    raise
        yield found


def num_at_work(folder: Path) -> int:
    """How many shards of the store in `folder` somebody is drawing.

    Raises:
        StoreError: the folder cannot be read.
    """
    names = folder.glob(f"{FOLDER}/*/{LOCK}")
    return sum(bool(holder(path)) for path in names if _NAME.fullmatch(path.parent.name))


def take_over(store: SampleStore, shard: SampleStore) -> int:
    """Put the samples of a shard into the store, as a set union, then remove the shard's folder.

    Args:
        store: the common one, open for writing.
        shard: open for writing; it is closed.

    Returns:
        How many samples the store did not have before.

    Raises:
        StoreError: both hold different samples under one (problem, index); no space, or a failing disk. The shard is
            then as it was.
    """
    _refuse_conflicts(store, shard)
    taken = store.take(shard)
    store.sync()
    shard.close()
    try:
        _append_lines(shard.folder / DRAWS, store.folder / DRAWS)
        _remove(shard.folder)
    except OSError as error:
        raise disk_error(error, shard.folder, "remove") from error
    return taken


def _folders(store: Path) -> list[Path]:
    """The shards in the folder of a store, without those that were being removed when a process ended: these go now."""
    root = store / FOLDER
    try:
        found = sorted(root.iterdir()) if root.is_dir() else []
    except OSError as error:
        raise disk_error(error, root, "list") from error
    for folder in found:
        if folder.name.startswith(_MERGED):
            shutil.rmtree(folder, ignore_errors=True)
    return [folder for folder in found if not folder.name.startswith(_MERGED)]


def _refuse_conflicts(store: SampleStore, shard: SampleStore) -> None:
    for problem_id in shard.counts():
        (mine, held), (theirs, there) = store.marks(problem_id), shard.marks(problem_id)
        both = min(len(held), len(there))
        clash = np.flatnonzero((held[:both] > 0) & (there[:both] > 0) & (mine[:both] != theirs[:both]))
        if len(clash):
            named = ", ".join(map(str, clash[:5].tolist()))
            raise StoreError(
                f"{shard.folder} holds other samples of problem {problem_id!r} than {store.folder} under the same seed "
                f"and index ({len(clash)} of them: {named}); they cannot both be right: remove the former, then "
                "start again: what the store lacks is drawn again"
            )


def _append_lines(source: Path, target: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        lines = source.read_bytes()
        with target.open("ab") as file:
            file.write(lines)


def _remove(folder: Path) -> None:
    """Remove a folder: whole or gone under its name, whenever the process ends."""
    gone = folder.with_name(_MERGED + folder.name)
    folder.rename(gone)
    sync_folder(gone.parent)
    shutil.rmtree(gone, ignore_errors=True)  # what could not be removed now goes with the next start
    with contextlib.suppress(OSError):  # others are at work in it
        gone.parent.rmdir()
