"""The settings for GPUs, as far as a machine without one can try them."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from kurve.algorithms import Job
from kurve.algorithms.supervised import Supervised
from kurve.types import Demonstration, Model, Prompt
from tests.algorithms.kept_log import KeptLog, series
from tests.samplers.tiny import make_tiny_model

CONF = Path(__file__).resolve().parents[2] / "conf"


def group(name: str) -> dict[str, Any]:
    found = OmegaConf.to_container(OmegaConf.load(CONF / "training" / f"{name}.yaml"))
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


@pytest.mark.parametrize(
    ("training", "config"),
    [
        ("rlvr", "GRPOConfig"),
        ("rlvr_cpu", "GRPOConfig"),
        ("supervised", "SFTConfig"),
        ("supervised", "DistillationConfig"),
        ("supervised_cpu", "SFTConfig"),
        ("supervised_cpu", "DistillationConfig"),
    ],
)
def test_trl_takes_the_settings_of_every_kind_of_training(training: str, config: str, tmp_path: Path) -> None:
    import trl

    made = getattr(trl, config)(**{**group(training), "use_cpu": True}, output_dir=str(tmp_path))
    for key, value in group(training).items():
        if key != "use_cpu":
            assert getattr(made, key) == value, key
    assert made.bf16 is not training.endswith("_cpu")


@pytest.mark.parametrize("lora", [None, {"r": 4, "target_modules": "all-linear"}], ids=["whole", "lora"])
def test_bf16_and_gradient_checkpointing_train(lora: dict[str, Any] | None, tmp_path: Path) -> None:
    model = Model("tiny", str(make_tiny_model(tmp_path / "initial")), dtype="bfloat16")
    rows = [Demonstration(Prompt("p", text="What is 2 + 3 ?"), "The answer is 5 .")] * 8
    args = {
        **group("supervised"), "use_cpu": True, "max_steps": 2, "per_device_train_batch_size": 2, "logging_steps": 1,
        "gradient_accumulation_steps": 2, "save_strategy": "no", "learning_rate": 1e-3, "warmup_steps": 0,
    }  # fmt: skip
    job = Job(model, (), (), rows, None, args, lora, 0, tmp_path, KeptLog())
    Supervised().train(job, None)
    first, second = series(job, "loss").values()
    assert math.isfinite(first)
    assert second < first
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpu", {"multi_gpu": True, "mixed_precision": "no"}),
        ("ddp", {"multi_gpu": True}),
        ("deepspeed_zero2", {"use_deepspeed": True, "zero_stage": 2}),
        ("deepspeed_zero3", {"use_deepspeed": True, "zero_stage": 3, "zero3_save_16bit_model": True}),
        ("fsdp", {"use_fsdp": True, "fsdp_version": 2, "fsdp_state_dict_type": "FULL_STATE_DICT"}),
    ],
)
def test_accelerate_reads_every_launch_configuration(name: str, expected: dict[str, Any]) -> None:
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    path = CONF / "accelerate" / f"{name}.yaml"
    words = ["--config_file", str(path), "--num_processes", "4", "-m", "kurve.cli", "train"]
    args, _, precision = _validate_launch_command(launch_command_parser().parse_args(words))
    expected = {"mixed_precision": "bf16", **expected}
    assert {key: getattr(args, key) for key in expected} == expected
    assert (args.num_processes, precision) == (4, True)
    assert args.training_script == "kurve.cli"


def test_every_launch_configuration_is_tested() -> None:
    [mark] = test_accelerate_reads_every_launch_configuration.pytestmark
    assert {path.stem for path in (CONF / "accelerate").glob("*.yaml")} == {name for name, _ in mark.args[1]}


def test_half_precision_without_a_gpu_is_refused_with_the_settings_for_a_cpu() -> None:
    import torch

    from kurve.algorithms.trainers.device import check_device
    from kurve.errors import ConfigError

    if torch.accelerator.is_available():
        pytest.skip("this machine has a GPU")
    for args in ({"bf16": True}, {"fp16": True}, {}):
        with pytest.raises(ConfigError, match="training=supervised_cpu"):
            check_device(args)
    check_device({"bf16": True, "use_cpu": True})
    check_device({"bf16": False})


@pytest.mark.slow
def test_a_training_on_the_cpu_does_not_wait_for_vllm_to_be_imported() -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    code = (
        "import importlib, sys\n"
        "from kurve.algorithms.trainers.device import leave_out_vllm\n"
        "decides = importlib.import_module('trl.import_utils')\n"
        "before = decides.is_vllm_available\n"
        "for args in ({'use_cpu': True, 'use_vllm': True}, {'bf16': True}):\n"
        "    leave_out_vllm(args)\n"
        "    assert decides.is_vllm_available is before, args\n"
        "leave_out_vllm({'use_cpu': True})\n"
        "import trl.generation.vllm_generation\n"
        "assert 'vllm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], timeout=120, check=True)
