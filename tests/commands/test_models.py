from pathlib import Path

import pytest
from omegaconf import OmegaConf

from kurve.commands.models import build_model, local
from kurve.dir_tracker import DirTracker
from kurve.errors import ConfigError
from kurve.tracking import RunInfo
from kurve.training_record import Attempt, TrainingRecord, write
from kurve.types import Model

BASE = Model("base", "org/base", revision="r1", dtype="bfloat16", context=512)


def training(root: Path, *, adapter: bool = False) -> Path:
    """A finished training of 10 steps with a checkpoint at 5."""
    folder = root / "grpo-abcdef012345"
    (folder / "model").mkdir(parents=True)
    saved = folder / "checkpoints" / "checkpoint-5"
    saved.mkdir(parents=True)
    (saved / "trainer_state.json").write_text('{"global_step": 5, "max_steps": 10}')
    (saved / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    if adapter:
        (saved / "adapter_config.json").write_text("{}")
    write(
        folder,
        TrainingRecord(
            fingerprint="abcdef012345", birth="b", name="grpo", algorithm="grpo", recipe={}, base=BASE, data={}, seed=0,
            attempts=(Attempt("now", 0, 1, status="FINISHED"),), final_step=10, run_id="run-1",
        ),
    )  # fmt: skip
    return folder


def test_a_path_is_a_model_labelled_by_itself() -> None:
    assert local(path="org/m", revision="r") == Model("org/m", "org/m", revision="r")
    assert local(path="org/m", name="M").name == "M"


def test_a_step_of_a_training_is_labelled_by_it_and_loaded_like_its_base(tmp_path: Path) -> None:
    folder = training(tmp_path)
    at_5 = local(from_run="abcdef", step=5, models=str(tmp_path))
    assert at_5 == Model("grpo@5", str(folder / "checkpoints" / "checkpoint-5"), dtype="bfloat16", context=512)
    result = local(from_run="run-1", models=str(tmp_path), dtype="float32", context=64, name="tuned")
    assert result == Model("tuned", str(folder / "model"), dtype="float32", context=64)


def test_a_step_of_a_lora_training_is_the_base_with_that_adapter(tmp_path: Path) -> None:
    folder = training(tmp_path, adapter=True)
    found = local(from_run="abcdef", step=5, models=str(tmp_path))
    assert (found.path, found.revision) == ("org/base", "r1")
    assert found.lora == str(folder / "checkpoints" / "checkpoint-5")
    assert local(from_run="abcdef", models=str(tmp_path)).lora == ""  # the result is merged


@pytest.mark.parametrize("settings", [{}, {"path": ""}, {"step": 3}, {"from_run": "abcdef", "lora": "x"}])
def test_settings_that_name_no_model_or_two_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="from_run"):
        local(**settings)  # type: ignore[arg-type]  # what a user may give


def test_a_run_that_only_the_tracker_knows_leads_to_its_folder(tmp_path: Path) -> None:
    folder = training(tmp_path / "elsewhere")
    tracker = DirTracker(tmp_path / "tracking")
    tags = {"kurve.training": str(folder)}
    tracker.start(RunInfo("k" * 12, "grpo", {}, tags, "", {}, "", "", "", ()))
    cfg = OmegaConf.create(
        {
            "paths": {"models": str(tmp_path / "models")},
            "tracker": {"_target_": "kurve.dir_tracker.DirTracker", "folder": str(tmp_path / "tracking")},
            "model": {"_target_": "kurve.commands.models.local", "path": None, "from_run": tracker.run_id, "step": 5},
        }
    )
    assert build_model(cfg).path == str(folder / "checkpoints" / "checkpoint-5")
    cfg.model.from_run = "no-such-run"
    with pytest.raises(ConfigError, match="from_run=no-such-run is neither"):
        build_model(cfg)
    (folder / "training.json").unlink()
    cfg.model.from_run = tracker.run_id
    with pytest.raises(ConfigError, match="not on this machine"):
        build_model(cfg)
