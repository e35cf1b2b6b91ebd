import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

from kurve.algorithms.arguments import (
    argument_names,
    check_arguments,
    check_batch,
    one_update_a_generation,
    prompts_a_generation,
)
from kurve.errors import ConfigError


@pytest.mark.parametrize("config", ["GRPOConfig", "RLOOConfig", "SFTConfig", "DistillationConfig"])
def test_the_names_read_from_the_source_are_those_that_trl_takes(config: str) -> None:
    import trl

    assert set(argument_names(config)) == {field.name for field in fields(getattr(trl, config)) if field.init}


def test_a_refusal_imports_neither_torch_nor_trl() -> None:
    code = (
        "import sys\n"
        "from kurve.algorithms.rlvr import Rlvr\n"
        "from kurve.algorithms.advantages import leave_one_out\n"
        "from kurve.errors import ConfigError\n"
        "try: Rlvr(advantage=leave_one_out, args={'num_generation': 8}).check({}, processes=1)\n"
        "except ConfigError as error: print(error)\n"
        "print(sorted({'torch', 'trl', 'transformers', 'datasets', 'peft', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, loaded = done.stdout.splitlines()
    assert "did you mean num_generations" in message
    assert loaded == "[]"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("num_generation", "num_generations"),  # TRL's own
        ("gradient_acumulation_steps", "gradient_accumulation_steps"),  # of TrainingArguments
        ("loging_steps", "logging_steps"),  # of TRL's base class
        ("zzz", "see trl.GRPOConfig"),
    ],
)
def test_an_unknown_argument_is_refused_with_the_nearest_name(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"training\.{name}: trl\.GRPOConfig has no such argument; .*{near}"):
        check_arguments("GRPOConfig", {"beta": 0.0, name: 1}, "training")


@pytest.mark.parametrize(
    ("name", "instead"), [("output_dir", "paths.models"), ("report_to", "tracker"), ("seed", "seed")]
)
def test_an_argument_that_another_setting_decides_is_refused(name: str, instead: str) -> None:
    with pytest.raises(ConfigError, match=rf"algorithm\.args\.{name} is decided by {instead}"):
        check_arguments("GRPOConfig", {name: "x"})


def test_a_class_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="GRPOConfig"):
        argument_names("PPOConfig")


@pytest.mark.parametrize(
    ("args", "processes"),
    [
        ({"num_generations": 8}, 1),
        ({"num_generations": 8, "per_device_train_batch_size": 2}, 4),
        ({"num_generations": 8, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, 1),
        ({"num_generations": 8, "per_device_train_batch_size": 2, "steps_per_generation": 8}, 1),
        ({"num_generations": 8, "per_device_train_batch_size": 4, "generation_batch_size": 1024}, 8),
        ({"num_generations": 8, "per_device_train_batch_size": 3, "generation_batch_size": 24}, 2),
        ({}, 3),
    ],
)
def test_sizes_that_pass_are_those_that_trl_takes_and_the_prompts_are_counted_right(
    args: dict[str, Any], processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trl

    check_batch(args, processes)
    monkeypatch.setattr(trl.GRPOConfig, "world_size", processes)
    made = trl.GRPOConfig(**args, output_dir="x", use_cpu=True, bf16=False)
    assert made.generation_batch_size // made.num_generations == prompts_a_generation(args, processes)


@pytest.mark.parametrize(
    ("args", "processes", "message"),
    [
        (
            {"num_generations": 16},
            1,
            r"num_generations=16 does not divide the 8 responses .* among 2, 4, 8, or a batch",
        ),
        ({"num_generations": 6, "per_device_train_batch_size": 4}, 2, "does not divide the 8 responses"),
        ({"num_generations": 1}, 1, "num_generations=1; responses are compared within a group"),
        ({"generation_batch_size": 20}, 1, "generation_batch_size=20 is no multiple of .* = 8"),
        ({"generation_batch_size": 16, "steps_per_generation": 2}, 1, "not both"),
        ({"per_device_train_batch_size": 0}, 1, "per_device_train_batch_size=0; expected a whole number"),
        ({"num_generations": "8"}, 1, "num_generations='8'; expected a whole number"),
        ({"num_generations": True}, 1, "num_generations=True; expected a whole number"),
        ({"generation_batch_size": "many"}, 1, "generation_batch_size='many'; expected a whole number"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_what_would(args: dict[str, Any], processes: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_batch(args, processes)


@pytest.mark.parametrize(("processes", "steps"), [(1, 256), (8, 32), (64, 4)])
def test_a_generations_size_makes_one_update_of_it_on_any_number_of_processes(processes: int, steps: int) -> None:
    args = {"generation_batch_size": 1024, "per_device_train_batch_size": 4}
    assert one_update_a_generation(args, processes) == {**args, "gradient_accumulation_steps": steps}


def test_accumulation_that_is_given_stays() -> None:
    for args in ({"generation_batch_size": 64, "gradient_accumulation_steps": 2}, {"per_device_train_batch_size": 4}):
        assert one_update_a_generation(args, 1) == args
