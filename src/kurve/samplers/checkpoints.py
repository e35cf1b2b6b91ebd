"""Where a model's weights are, whether they are there, and which ones they are."""

import hashlib
import os
import re
from pathlib import Path

from kurve.errors import ConfigError
from kurve.types import Model

_WHOLE = 32 * 2**20  # bytes; a file up to this size is hashed whole
_BLOCK = 64 * 2**10  # bytes
_BLOCKS = 32  # of a larger file, evenly spread
_KINDS = {".json", ".safetensors", ".bin", ".pt", ".pth", ".model", ".txt", ".jinja", ".gguf", ".py", ".tiktoken"}
_TRAINING_ONLY = re.compile(r"optimizer\.|scheduler\.|rng_state|trainer_state|training_args|global_step|scaler\.")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def local_digest(folder: Path) -> str:
    """Digest of a checkpoint's files: 16 hex digits that change when the checkpoint is overwritten in place.

    Names and sizes of all files that can change what is sampled; contents whole up to 32 MiB, of larger files 32
    blocks of 64 KiB spread evenly, so 15 GB take a fraction of a second. Training state (optimizer, scheduler,
    random states) is left out. A change that misses every block of a large file and keeps its size is not seen.

    Raises:
        ConfigError: the folder does not exist or holds no files of a checkpoint.
    """
    if not folder.is_dir():
        raise ConfigError(f"model.path={folder}: no such folder; give a checkpoint folder or a hub id")
    names = sorted(p.name for p in folder.iterdir() if p.suffix in _KINDS and p.is_file())
    names = [name for name in names if not _TRAINING_ONLY.match(name)]
    if not names:
        raise ConfigError(f"model.path={folder} holds no model files (config.json, *.safetensors, tokenizer.json ...)")
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0{file_digest(folder / name)}\n".encode())
    return digest.hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Digest of one file's size and content; of a file over 32 MiB 32 blocks of 64 KiB are read."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _WHOLE:
            digest.update(file.read())
        else:
            for block in range(_BLOCKS):
                file.seek((size - _BLOCK) * block // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def is_local(path: str) -> bool:
    """Whether a model's path means a folder on this machine rather than a hub id."""
    return Path(path).expanduser().is_dir() or path.startswith((".", "~", os.sep)) or not _HUB_ID.fullmatch(path)


def is_at_hand(model: Model) -> bool:
    """Whether the model's tokenizer is on this machine, as far as shows without loading it."""
    if is_local(model.path):
        return Path(model.path).expanduser().is_dir()
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    found = try_to_load_from_cache(model.path, "tokenizer_config.json", revision=model.revision or None)
    return isinstance(found, str)


def check_model_files(model: Model) -> None:
    """Refuse a local folder that is not there or is not a checkpoint, and an adapter that is not one.

    Hub ids pass: whether they can be had shows when their tokenizer is loaded.

    Raises:
        ConfigError: which setting, and what is missing there.
    """
    if is_local(model.path):
        _check_folder("model.path", model.path, "config.json")
    if model.lora:
        _check_folder("model.lora", model.lora, "adapter_config.json")


def _check_folder(key: str, path: str, needed: str) -> None:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"{key}={path}: no such folder; correct the path or give a hub id (organisation/name)")
    if not (folder / needed).is_file():
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
        raise ConfigError(f"{key}={path} has no {needed} (it holds {held}); give the folder that has it")
