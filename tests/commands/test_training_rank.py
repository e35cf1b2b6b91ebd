"""What a process of a training works on: the config of the one that started it, read back from a file."""

import stat
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from kurve.commands import training_launch
from kurve.commands.training_rank import configured


def test_a_process_reads_the_settings_that_the_starting_one_wrote(tmp_path: Path) -> None:
    settings = {
        "prompt": {"text": "Costs ${price}, that is \\${2}: {question}", "stop": ["\n\n", "é"]},
        "training": {"learning_rate": 1e-06, "use_vllm": False, "beta": None, "name": "0012"},
    }
    runtime = {"output_dir": str(tmp_path), "choices": {"algorithm": "grpo", "benchmark": None}}
    path = tmp_path / training_launch.RESOLVED
    training_launch._write(path, {**settings, "hydra": {"runtime": runtime}})
    before = HydraConfig.instance().cfg
    try:
        found = configured(path)
        assert OmegaConf.to_container(found, resolve=True) == settings
        assert HydraConfig.get().runtime.choices["algorithm"] == "grpo"
        assert HydraConfig.get().runtime.output_dir == str(tmp_path)
    finally:
        HydraConfig.instance().cfg = before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
