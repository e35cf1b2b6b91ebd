import subprocess
from pathlib import Path

import pytest

from kurve.commands.register import files_sha256, trained_model
from kurve.errors import ConfigError, DataError
from kurve.training_record import Attempt, TrainingRecord, write
from kurve.types import Model


def training(folder: Path, *, run_id: str = "run-1") -> Path:
    """A finished training of 10 steps with a checkpoint at 5."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    saved = folder / "checkpoints" / "checkpoint-5"
    saved.mkdir(parents=True)
    (saved / "trainer_state.json").write_text('{"global_step": 5, "max_steps": 10}')
    (saved / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    record = TrainingRecord(
        fingerprint="abcdef012345", birth="b", name="tuned", algorithm="grpo", recipe={}, base=Model("base", "o/base"),
        data={}, seed=0, tags={"kurve.role": "tuned", "kurve.study": "s"}, run_id=run_id, final_step=10,
        attempts=(Attempt("now", 0, 1, status="FINISHED"),),
    )  # fmt: skip
    write(folder, record)
    return folder


def test_a_trained_model_is_its_result_with_where_it_comes_from(tmp_path: Path) -> None:
    folder = training(tmp_path / "tuned-abcdef012345")
    model = trained_model(folder, name="countdown", evaluations=["e1", "e2"], tags={"kurve.study": "mine"})
    assert (model.name, model.path, model.step) == ("countdown", str(folder / "model"), 10)
    assert (model.run_id, model.evaluations) == ("run-1", ("e1", "e2"))
    assert model.sha256 == files_sha256(folder / "model")
    assert model.tags == {
        "kurve.algorithm": "grpo", "kurve.base": "base", "kurve.fingerprint": "abcdef012345",
        "kurve.training": str(folder), "kurve.role": "tuned", "kurve.study": "mine",
    }  # fmt: skip


def test_a_step_of_a_training_is_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training(tmp_path / "tuned-abcdef012345")
    monkeypatch.chdir(tmp_path)
    model = trained_model(Path("tuned-abcdef012345"), name="countdown", step=5)
    assert model.path == str(tmp_path / "tuned-abcdef012345" / "checkpoints" / "checkpoint-5")
    assert model.step == 5


def test_a_folder_without_a_training_and_a_step_that_was_not_saved_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no training"):
        trained_model(tmp_path / "absent", name="countdown")
    with pytest.raises(ConfigError, match="nothing at step 7; it has step 5, 10"):
        trained_model(training(tmp_path / "tuned-abcdef012345"), name="countdown", step=7)


def test_weights_that_are_gone_are_refused(tmp_path: Path) -> None:
    folder = training(tmp_path / "tuned-abcdef012345")
    (folder / "model" / "model.safetensors").unlink()
    with pytest.raises(DataError, match="holds no files"):
        trained_model(folder, name="countdown")
    (folder / "model").rmdir()
    with pytest.raises(DataError, match="no such folder"):
        trained_model(folder, name="countdown")


def test_the_digest_of_a_folder_is_what_the_documented_command_prints(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    (folder / "sub").mkdir(parents=True)
    for name, size in (("model.safetensors", 3_000_000), ("B.json", 0), ("a b.txt", 7), ("sub/ü.json", 11)):
        (folder / name).write_bytes(b"x" * size)
    (folder / "linked.bin").symlink_to(folder / "a b.txt")
    assert files_sha256.__doc__ is not None
    command = files_sha256.__doc__.split("`")[1]
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == files_sha256(folder)


def test_a_changed_byte_and_a_changed_name_are_another_digest(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    digests = set()
    for content in (b"x" * 100, b"x" * 99 + b"y", b"x" * 99):
        file.write_bytes(content)
        digests.add(files_sha256(tmp_path))
    file.rename(tmp_path / "other.safetensors")
    digests.add(files_sha256(tmp_path))
    assert len(digests) == 4


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to("/proc/self/mem")  # whose first byte nobody may read
    with pytest.raises(DataError, match=r"cannot read .*model\.safetensors: .*; make it readable"):
        files_sha256(tmp_path)
