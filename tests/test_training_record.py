import dataclasses
import json
import re
from pathlib import Path

import pytest

from kurve.errors import ConfigError, TrainingError
from kurve.training_record import (
    MODEL,
    Attempt,
    TrainingRecord,
    differences,
    find,
    fingerprint,
    locked,
    read,
    step_folder,
    with_fingerprint,
    write,
)
from kurve.types import Model

RECIPE = {"model": {"revision": "abc"}, "args": {"learning_rate": 1e-6, "max_steps": 10}, "seed": 0}


def record(**changes: object) -> TrainingRecord:
    """A finished training."""
    made = TrainingRecord(
        fingerprint=fingerprint(RECIPE),
        birth="b1",
        name="grpo",
        algorithm="grpo",
        recipe=RECIPE,
        base=Model("base", "/models/base", dtype="bfloat16", context=512),
        data={"name": "arithmetic", "size": 3},
        seed=0,
        attempts=(Attempt("2025-01-01T00:00:00+00:00", 0, 1, status="FINISHED", seconds=5.0),),
        final_step=10,
        run_id="0123456789abcdef0123456789abcdef",
        run_url="http://tracking:5000/#/experiments/1/runs/0123456789abcdef0123456789abcdef",
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]  # tests name real fields


def stored(root: Path, **changes: object) -> Path:
    """The folder of a stored training."""
    one = record(**changes)
    folder = root / f"{one.name}-{one.fingerprint}"
    write(folder, one)
    return folder


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read(stored(tmp_path)) == record()
    assert read(tmp_path / "nothing") is None


def test_the_fingerprint_depends_on_every_value_and_not_on_the_order() -> None:
    assert fingerprint(RECIPE) == fingerprint(dict(reversed(RECIPE.items())))
    assert fingerprint(RECIPE) != fingerprint({**RECIPE, "seed": 1})
    assert re.fullmatch("[0-9a-f]{12}", fingerprint(RECIPE))


def test_no_fingerprint_reads_as_a_number_on_a_command_line() -> None:
    seen = [fingerprint({"seed": seed}) for seed in range(20_000)]
    assert not [one for one in seen if re.fullmatch(r"\d+(e\d+)?", one)]


def test_recipes_that_differ_are_told_by_their_keys() -> None:
    other = {**RECIPE, "args": {"learning_rate": 1e-5, "max_steps": 10}, "lora": {"r": 8}}
    assert differences(RECIPE, other) == ["args.learning_rate: 1e-06 against 1e-05", "lora.r: nothing against 8"]


def test_time_is_that_of_all_starts_and_the_status_that_of_the_last() -> None:
    killed = Attempt("", 0, 1, status="KILLED", seconds=5.0)
    assert record(attempts=()).status == ""
    twice = record(attempts=(killed, Attempt("", 4, 1, status="FINISHED", seconds=2.5)))
    assert (twice.seconds, twice.status, twice.finished) == (7.5, "FINISHED", True)
    assert not record(attempts=(killed,)).finished


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"format": 1}), json.dumps({"format": 1, "base": 3})])
def test_a_damaged_record_is_refused(tmp_path: Path, content: str) -> None:
    folder = stored(tmp_path)
    (folder / "training.json").write_text(content)
    with pytest.raises(TrainingError, match="damaged"):
        read(folder)


def test_a_record_of_a_newer_kurve_is_refused_as_such(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    document = json.loads((folder / "training.json").read_text())
    (folder / "training.json").write_text(json.dumps({**document, "format": 99}))
    with pytest.raises(TrainingError, match=r"format 99.*update kurve"):
        read(folder)


def test_a_models_folder_is_no_training(tmp_path: Path) -> None:
    for inside in (MODEL, "checkpoints/checkpoint-10"):
        with pytest.raises(ConfigError, match=r"give the training's, or model\.path="):
            find(tmp_path, str(tmp_path / inside))


def test_a_folder_that_cannot_be_made_is_refused_with_another_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"paths\.models="), locked(tmp_path / "file" / "t"):
        pass
    with pytest.raises(TrainingError, match=r"paths\.models="):
        write(tmp_path / "file" / "t", record())


def test_a_training_is_found_by_fingerprint_run_url_name_and_folder(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    stored(tmp_path, fingerprint="ffffffffffff", run_id="f" * 32, run_url="http://tracking/f")
    one = record()
    for reference in (one.fingerprint, one.fingerprint[:5], one.run_id, one.run_url, folder.name, str(folder)):
        assert find(tmp_path, reference) == (folder, one)
    assert with_fingerprint(tmp_path, one.fingerprint) == folder
    assert with_fingerprint(tmp_path, "0" * 12) is None


def test_a_training_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    with pytest.raises(ConfigError, match=folder.name):
        find(tmp_path, "cafecafecafe")
    with pytest.raises(ConfigError, match="none"):
        find(tmp_path / "empty", "cafecafecafe")


def test_an_ambiguous_beginning_is_refused(tmp_path: Path) -> None:
    stored(tmp_path, fingerprint="aaaa00000000")
    stored(tmp_path, fingerprint="aaaa11111111")
    with pytest.raises(ConfigError, match="fits"):
        find(tmp_path, "aaaa")


def test_the_result_of_an_unfinished_training_is_refused(tmp_path: Path) -> None:
    killed = record(attempts=(Attempt("", 0, 1, status="KILLED"),), final_step=0)
    with pytest.raises(ConfigError, match="not finished"):
        step_folder(tmp_path, killed, None)


def test_the_last_step_is_the_result(tmp_path: Path) -> None:
    assert step_folder(tmp_path, record(), None) == (tmp_path / MODEL, 10)
    assert step_folder(tmp_path, record(), 10) == (tmp_path / MODEL, 10)
    with pytest.raises(ConfigError, match="nothing at step 7; it has step 10"):
        step_folder(tmp_path, record(), 7)


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with locked(tmp_path / "t"), pytest.raises(TrainingError, match="being written by process"), locked(tmp_path / "t"):
        pass
    with locked(tmp_path / "t"):
        pass
