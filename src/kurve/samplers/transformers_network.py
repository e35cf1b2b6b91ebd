"""Load a model with transformers, without its chatter."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kurve.errors import SamplingError
from kurve.samplers.checkpoints import is_local
from kurve.samplers.processor import cpu_dtype
from kurve.types import Model


def chosen_device(device: str) -> str:
    """The device that `auto` means: a GPU if there is one."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def chosen_dtype(model: Model, device: str) -> str:
    """The type of numbers that the model computes with on the device; `auto` is the checkpoint's own."""
    return cpu_dtype(model.dtype) if chosen_device(device) == "cpu" else model.dtype


def load_network(model: Model, *, device: str, trust_remote_code: bool) -> Any:
    """A transformers model (its class depends on the checkpoint), its adapter merged, ready to compute.

    Args:
        model: hub id or folder.
        device: `cpu`, `cuda`, `cuda:1` ...; `auto` takes a GPU if there is one.
        trust_remote_code: run code that comes with the model.

    Raises:
        SamplingError: it cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    device = chosen_device(device)
    options: dict[str, Any] = {"dtype": chosen_dtype(model, device), "trust_remote_code": trust_remote_code}
    if not is_local(model.path) and model.revision:
        options["revision"] = model.revision
    path = str(Path(model.path).expanduser()) if is_local(model.path) else model.path
    try:
        network = AutoModelForCausalLM.from_pretrained(path, **options)
        if model.lora:
            from peft import PeftModel

            network = PeftModel.from_pretrained(network, str(Path(model.lora).expanduser())).merge_and_unload()
        return network.to(device).eval()
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise SamplingError(f"transformers cannot load {model.path} on {device}: {error}") from error


@contextlib.contextmanager
def quiet(log: Path | None) -> Iterator[None]:
    """No progress bars, and the library's messages to the log, while the library runs; as before afterwards."""
    from transformers.utils import logging as library

    bars = library.is_progress_bar_enabled()
    root = logging.getLogger("transformers")
    handlers, propagate = root.handlers[:], root.propagate
    handler = logging.FileHandler(log, delay=True, encoding="utf-8") if log else logging.NullHandler()
    library.disable_progress_bar()
    root.handlers, root.propagate = [handler], False
    try:
        yield
    finally:
        root.handlers, root.propagate = handlers, propagate
        handler.close()
        if bars:
            library.enable_progress_bar()
