"""The checkpoints of a training: which of them are whole, told without loading one.

A process that is killed while it saves leaves a torn checkpoint. transformers writes weights, optimizer, scheduler and
random states first and `trainer_state.json` last; every file of numbers knows its own length. So a checkpoint is whole
when its state names its step and no file of it is cut short. That bytes in the middle are right is not checked.
"""

import json
import logging
import re
import struct
import zipfile
from pathlib import Path

STATE = "trainer_state.json"
_NAME = re.compile(r"checkpoint-(\d+)")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "pytorch_model_fsdp_*")
_TORCH = {".pt", ".pth", ".bin"}  # written by torch.save: zip archives, whose index stands at the end
_MOST_HEADER = 100_000_000  # bytes; the limit that safetensors itself sets
_log = logging.getLogger(__name__)


def steps_in(folder: Path) -> dict[int, Path]:
    """The whole checkpoints in `folder` by step, ascending; models that can be sampled."""
    found = {}
    for path in folder.glob("checkpoint-*") if folder.is_dir() else ():
        if (match := _NAME.fullmatch(path.name)) and not whats_missing(path):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint's name says; 0 if it says none."""
    match = _NAME.fullmatch(checkpoint.name)
    return int(match[1]) if match else 0


def last_resumable(folder: Path, processes: int = 1) -> Path | None:
    """The newest checkpoint from which training can go on; torn ones and those without optimizer are passed over.

    Args:
        folder: of the checkpoints.
        processes: that train together; the first writes `trainer_state.json`, maybe before others save their own state.
    """
    numbered = [(step_of(path), path) for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name)]
    for _, path in sorted(numbered, reverse=True):
        reason = whats_missing(path) or _why_not_resumable(path, processes)
        if not reason:
            return path
        _log.warning("%s is passed over: %s", path, reason)
    return None


def whats_missing(checkpoint: Path) -> str:
    """Why a checkpoint is not whole, in words; empty if it is."""
    match = _NAME.fullmatch(checkpoint.name)
    try:
        state = json.loads((checkpoint / STATE).read_bytes())
        step = state["global_step"]
    except (OSError, ValueError, TypeError, KeyError):
        return f"{STATE} is missing or cut short"
    if match and step != int(match[1]):
        return f"{STATE} is of step {step}"
    if not any(next(checkpoint.glob(pattern), None) for pattern in _WEIGHTS):
        return "it holds no weights"
    return damage(checkpoint)


def damage(folder: Path) -> str:
    """Which file of a model's or a checkpoint's folder is cut short or missing, in words; empty if none is."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if not _is_whole(file):
            return f"{file.relative_to(folder)} is cut short"
    return _missing_shards(folder)


def _missing_shards(checkpoint: Path) -> str:
    for index in checkpoint.glob("*.index.json"):
        try:
            named = set(json.loads(index.read_bytes())["weight_map"].values())
        except (ValueError, TypeError, KeyError, AttributeError):
            return f"{index.name} is cut short"
        absent = sorted(name for name in named if not (checkpoint / name).is_file())
        if absent:
            return f"{absent[0]} is missing"
    return ""


def _is_whole(file: Path) -> bool:
    if file.suffix == ".safetensors":
        return _is_whole_safetensors(file)
    if file.suffix in _TORCH:
        return zipfile.is_zipfile(file)
    return True


def _is_whole_safetensors(file: Path) -> bool:
    """Whether the file is as long as its header says: 8 bytes, the header of that length, the numbers."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        if len(start) < 8:
            return False
        (length,) = struct.unpack("<Q", start)
        if length > min(size, _MOST_HEADER):
            return False
        try:
            header = json.loads(opened.read(length))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return False
    return bool(size == 8 + length + max(ends, default=0))


def _why_not_resumable(checkpoint: Path, processes: int) -> str:
    names = {path.name for path in checkpoint.iterdir()}
    sharded = any(re.match(r"optimizer_|global_step\d+$", name) for name in names)  # FSDP, DeepSpeed
    if not sharded and not {"optimizer.pt", "optimizer.bin"} & names:
        return "it holds no optimizer state"
    absent = [f"rng_state_{one}.pth" for one in range(processes) if processes > 1] or ["rng_state.pth"]
    return next((f"{name} is missing" for name in absent if name not in names), "")
