import json
import logging
import shutil
from pathlib import Path

import pytest

from kurve.saved_steps import last_resumable, step_of, steps_in, whats_missing


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as transformers leaves it, written with the libraries that write it."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("saved") / "checkpoint-10"
    folder.mkdir()
    save_file({"weight": torch.ones(64, 64)}, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        torch.save({"state": torch.ones(64, 64)}, folder / name)
    (folder / "config.json").write_text("{}")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 10, "max_steps": 20}))
    return folder


@pytest.fixture
def checkpoint(whole: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(whole, tmp_path / "checkpoints" / whole.name)


def test_a_whole_checkpoint_lacks_nothing(checkpoint: Path) -> None:
    assert whats_missing(checkpoint) == ""
    assert steps_in(checkpoint.parent) == {10: checkpoint}
    assert last_resumable(checkpoint.parent) == checkpoint
    assert step_of(checkpoint) == 10


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"]
)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_file_that_a_kill_cut_short_is_seen(checkpoint: Path, name: str, share: float) -> None:
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[: int(share * len(content))])
    assert whats_missing(checkpoint) == f"{name} is cut short"
    assert steps_in(checkpoint.parent) == {}
    assert last_resumable(checkpoint.parent) is None


@pytest.mark.parametrize("state", ["", '{"global_step": 10', "[]", '{"max_steps": 20}'])
def test_a_checkpoint_without_its_state_is_torn(checkpoint: Path, state: str) -> None:
    (checkpoint / "trainer_state.json").write_text(state)
    assert "trainer_state.json" in whats_missing(checkpoint)


def test_a_state_of_another_step_is_not_this_checkpoints(checkpoint: Path) -> None:
    moved = checkpoint.rename(checkpoint.with_name("checkpoint-20"))
    assert whats_missing(moved) == "trainer_state.json is of step 10"


def test_a_checkpoint_without_weights_is_torn(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    assert whats_missing(checkpoint) == "it holds no weights"


def test_a_shard_that_was_not_written_is_missed(checkpoint: Path) -> None:
    index = {"weight_map": {"weight": "model.safetensors", "other": "model-2.safetensors"}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    assert whats_missing(checkpoint) == "model-2.safetensors is missing"


def test_training_goes_on_from_the_newest_whole_checkpoint_and_says_what_it_passed_over(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torn = shutil.copytree(checkpoint, checkpoint.with_name("checkpoint-100"))
    (torn / "trainer_state.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert last_resumable(checkpoint.parent) == checkpoint
    assert "checkpoint-100 is passed over" in caplog.text


def test_weights_without_optimizer_can_be_sampled_and_not_trained_on(checkpoint: Path) -> None:
    (checkpoint / "optimizer.pt").unlink()
    assert steps_in(checkpoint.parent) == {10: checkpoint}
    assert last_resumable(checkpoint.parent) is None


def test_each_of_several_processes_must_have_saved_its_state(checkpoint: Path) -> None:
    (checkpoint / "rng_state.pth").rename(checkpoint / "rng_state_0.pth")
    assert last_resumable(checkpoint.parent, processes=2) is None
    shutil.copy(checkpoint / "rng_state_0.pth", checkpoint / "rng_state_1.pth")
    assert last_resumable(checkpoint.parent, processes=2) == checkpoint


def test_a_folder_that_is_not_there_has_no_steps(tmp_path: Path) -> None:
    assert steps_in(tmp_path / "nothing") == {}
    assert last_resumable(tmp_path / "nothing") is None
