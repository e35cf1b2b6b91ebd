import os
from pathlib import Path

import pytest

from kurve.errors import ConfigError
from kurve.samplers.checkpoints import check_model_files, is_at_hand, is_local, local_digest
from kurve.types import Model


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(100 * 2**20)
    return tmp_path


def test_a_checkpoint_overwritten_in_place_has_another_digest(checkpoint: Path) -> None:
    before = local_digest(checkpoint)
    assert local_digest(checkpoint) == before
    with (checkpoint / "model.safetensors").open("r+b") as file:
        for place in range(0, 100 * 2**20, 50_000):  # as a training step changes weights: here and there
            file.seek(place)
            file.write(b"\x01")
    assert local_digest(checkpoint) != before


def test_touching_files_and_training_state_does_not_change_the_digest(checkpoint: Path) -> None:
    before = local_digest(checkpoint)
    os.utime(checkpoint / "config.json", (1, 1))
    (checkpoint / "optimizer.pt").write_bytes(b"state")
    (checkpoint / "README.md").write_text("text")
    assert local_digest(checkpoint) == before
    (checkpoint / "tokenizer.json").write_text("{}")
    assert local_digest(checkpoint) != before


@pytest.mark.parametrize("path", ["/data/model", "./model", "../model", "~/model", "a/b/c"])
def test_paths_are_told_from_hub_ids(path: str) -> None:
    assert is_local(path)
    assert not is_local("Qwen/Qwen2.5-7B")


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"no config.json \(it holds notes.txt\)"):
        check_model_files(Model("m", str(tmp_path)))


def test_a_missing_adapter_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.lora="):
        check_model_files(Model("m", str(checkpoint), lora=str(checkpoint / "adapter")))


def test_a_model_is_at_hand_in_its_folder_or_in_the_hub_s_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert is_at_hand(Model("m", str(tmp_path)))
    assert not is_at_hand(Model("m", str(tmp_path / "gone")))
    assert not is_at_hand(Model("m", "org/model"))
    snapshot = tmp_path / "models--org--model" / "snapshots" / "a1"
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer_config.json").write_text("{}")
    (tmp_path / "models--org--model" / "refs").mkdir()
    (tmp_path / "models--org--model" / "refs" / "main").write_text("a1")
    assert is_at_hand(Model("m", "org/model"))
    assert is_at_hand(Model("m", "org/model", revision="a1"))
    assert not is_at_hand(Model("m", "org/model", revision="b2"))
