"""What stores there are under a folder."""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from kurve.errors import StoreError
from kurve.store.disk import disk_error
from kurve.store.lock import holder
from kurve.store.samples import LOCK, SampleStore
from kurve.store.shards import num_at_work
from kurve.store.verdicts import VerdictStore
from kurve.types import SamplingSpec

_ADDRESS = re.compile(r"[0-9a-f]{12}")
_VERDICTS = re.compile(r"verdicts-([A-Za-z0-9_.]+)-\d{4,}\.jsonl(?:\.zst)?")


@dataclass(frozen=True, slots=True)
class VerdictInfo:
    """The verdicts of one verifier in a store."""

    verifier: str  # its fingerprint
    verdicts: int  # on samples that are stored, ERROR included


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """One store, for people. Where `error` is not empty the store is damaged and the counts are 0."""

    fingerprint: str
    path: Path
    spec: SamplingSpec | None = None
    problems: int = 0
    samples: int = 0
    min_samples: int = 0  # of the problem that has the fewest
    max_samples: int = 0
    bytes: int = 0  # on disk
    verdicts: tuple[VerdictInfo, ...] = ()
    held_by: str = ""  # who is writing samples, in words
    error: str = ""


def list_stores(root: Path) -> list[StoreInfo]:
    """The stores directly under `root`, by fingerprint; an empty list if there is no such folder. No text is read.

    Raises:
        StoreError: `root` cannot be read.
    """
    root = Path(root).absolute()
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and _is_store(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise disk_error(error, root, "list") from error
    return [_info(folder) for folder in folders]


def list_verdicts(folder: Path) -> list[str]:
    """The names of the sets of verdicts that a store's folder holds."""
    return sorted({match[1] for path in folder.iterdir() if (match := _VERDICTS.fullmatch(path.name))})


def _is_store(folder: Path) -> bool:
    if folder.name.startswith("."):
        return False  # a merge under way
    return _ADDRESS.fullmatch(folder.name) is not None or (folder / "spec.json").exists()


def _info(folder: Path) -> StoreInfo:
    try:
        size = _size(folder)
        at_work = num_at_work(folder)
        held_by = holder(folder / LOCK) or (f"{at_work} shards at work" if at_work else "")
        with SampleStore.open_folder(folder) as store:
            counts = store.counts().values()
            return StoreInfo(
                folder.name,
                folder,
                store.spec,
                problems=len(counts),
                samples=sum(counts),
                min_samples=min(counts, default=0),
                max_samples=max(counts, default=0),
                bytes=size,
                verdicts=_verdicts(store),
                held_by=held_by,
            )
    except (StoreError, OSError) as error:
        return StoreInfo(folder.name, folder, error=str(error))


def _size(folder: Path) -> int:
    """Bytes of the folder's files; one that a writer removes meanwhile counts as nothing."""
    total = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _verdicts(store: SampleStore) -> tuple[VerdictInfo, ...]:
    return tuple(
        VerdictInfo(verifier, VerdictStore.open(store, verifier, read_only=True).count())
        for verifier in list_verdicts(store.folder)
    )
