"""The settings that a store was drawn with, and the fingerprint that addresses it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from kurve.errors import StoreError
from kurve.store.disk import disk_error, write_atomically
from kurve.types import SamplingSpec

_FORMAT = 1
_FLOATS = ("temperature", "top_p", "min_p")  # 1 and 1.0 are one setting
_INTS = ("top_k", "max_tokens")


def fingerprint(spec: SamplingSpec) -> str:
    """12 hex digits of the SHA-256 of the spec's canonical JSON: sorted keys, no spaces, ASCII."""
    canonical = json.dumps(_plain(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:12]


def write_spec(folder: Path, spec: SamplingSpec) -> None:
    """Write `spec.json`.

    Raises:
        StoreError: it cannot be written.
    """
    document = {"format": _FORMAT, "fingerprint": fingerprint(spec), "spec": _plain(spec)}
    path = folder / "spec.json"
    try:
        write_atomically(path, json.dumps(document, indent=2).encode("ascii") + b"\n")
    except OSError as error:
        raise disk_error(error, path, "write") from error


def read_spec(folder: Path) -> SamplingSpec:
    """The spec of a store's folder.

    Raises:
        StoreError: no store there, or `spec.json` is damaged or does not belong to the folder's name.
    """
    path = folder / "spec.json"
    try:
        document = json.loads(path.read_bytes())
        stored, version = document["spec"], document["format"]
    except FileNotFoundError as error:
        raise StoreError(
            f"{folder} is not a sample store: it has no spec.json; `kurve list samples` shows them"
        ) from error
    except OSError as error:
        raise disk_error(error, path, "read") from error
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path} is damaged ({error}); delete it and open the store with its settings once more (for example by "
            "the same `kurve evaluate` command), which writes it again"
        ) from error
    if version != _FORMAT:
        raise StoreError(f"{path} has format {version}, this version of kurve reads {_FORMAT}; update kurve")
    return _from_plain(path, stored)


def check_address(folder: Path, spec: SamplingSpec) -> None:
    """Refuse a folder whose name is not the fingerprint of the spec in it.

    Raises:
        StoreError: the folder was renamed or its `spec.json` edited.
    """
    address = fingerprint(spec)
    if folder.name != address:
        raise StoreError(
            f"{folder / 'spec.json'} has the fingerprint {address}, but the folder is named {folder.name}: it was "
            f"renamed, or its spec edited; undo the edit, or rename the folder to {address}"
        )


def check_same(folder: Path, given: SamplingSpec, stored: SamplingSpec) -> None:
    """Refuse a folder that was drawn with other settings.

    Raises:
        StoreError: the differing fields, given against stored.
    """
    differing = differences(given, stored)
    if differing:
        listed = "; ".join(f"{name}: given {mine!r}, stored {theirs!r}" for name, (mine, theirs) in differing.items())
        raise StoreError(
            f"{folder / 'spec.json'} was written with other settings ({listed}); it was edited after sampling: undo "
            "the edit, or move the folder away to sample anew"
        )


def differences(one: SamplingSpec, other: SamplingSpec) -> dict[str, tuple[object, object]]:
    """The fields in which two specs differ, with both values."""
    mine, theirs = _plain(one), _plain(other)
    return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


def _plain(spec: SamplingSpec) -> dict[str, object]:
    values = asdict(spec)
    values |= {name: float(values[name]) for name in _FLOATS if values[name] is not None}
    values |= {name: int(values[name]) for name in _INTS if values[name] is not None}
    return values | {"stop": None if spec.stop is None else list(spec.stop), "seed": str(spec.seed)}


def _from_plain(path: Path, stored: Mapping[str, object]) -> SamplingSpec:
    known = {field.name for field in fields(SamplingSpec)}
    odd = known.symmetric_difference(stored)
    stop = stored.get("stop")
    if odd or not isinstance(stop, list | None):
        raise StoreError(f"{path} has unexpected or missing fields ({', '.join(sorted(odd)) or 'stop'}); restore it")
    spec = SamplingSpec(**{**stored, "stop": None if stop is None else tuple(stop)})  # type: ignore[arg-type]  # _plain refuses what is no number
    try:
        _plain(spec)
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); restore it") from error
    return spec
