"""What this machine can train on."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import torch

from kurve.errors import ConfigError


def check_device(args: Mapping[str, Any]) -> None:
    """Refuse bfloat16 or float16 arithmetic of a GPU where there is none.

    Args:
        args: TRL's, as the trainer gets them; `bf16` is on unless something says otherwise.

    Raises:
        ConfigError: there is no GPU; the settings for a CPU.
    """
    half = args.get("fp16") or args.get("bf16") in (None, True)
    if half and not args.get("use_cpu") and not torch.accelerator.is_available():
        raise ConfigError(
            "there is no GPU here, and training.bf16 or training.fp16 asks for one; train on the CPU with "
            "training=rlvr_cpu or training=supervised_cpu, or with training.use_cpu=true training.bf16=false"
        )


def leave_out_vllm(args: Mapping[str, Any]) -> None:
    """Keep TRL from importing vLLM for a training on the CPU, which cannot use it: 7 seconds of every start.

    TRL imports it wherever it is installed. Does nothing once TRL has decided.

    Args:
        args: TRL's, as the trainer gets them.
    """
    if args.get("use_cpu") and not args.get("use_vllm") and "trl.generation" not in sys.modules:
        decides: Any = importlib.import_module("trl.import_utils")  # trl hides its modules
        decides.is_vllm_available = lambda min_version=None: False


def name_the_cpu(config: Any) -> None:
    """Let a training on the CPU call its device `cpu`, in each of several processes as in a single one.

    There accelerate calls it `cpu:0`, a place that torch does not know when it loads the optimizer's state, so that no
    such training could go on from a checkpoint.

    Args:
        config: TRL's, which is changed.
    """
    if config.use_cpu and config.device.index is not None:
        config.distributed_state.device = torch.device("cpu")
        config.__dict__["_setup_devices"] = config.distributed_state.device
