"""Stages, what they name, and which of them are finished."""

import json
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from kurve import study
from kurve.errors import ConfigError, StudyError
from kurve.study import Finished, Made, Stage

BASE = Stage("base", "train", ("algorithm=sft",), role="base")
TUNED = Stage("tuned", "train", ("algorithm=grpo", "model.from_run={base}"), role="tuned", base="base")
OF_BASE = Stage("of_base", "evaluate", ("model.from_run={base}",), role="base")
OF_TUNED = Stage("of_tuned", "evaluate", ("model.from_run={tuned}",), role="tuned", base="of_base")
STAGES = (BASE, TUNED, OF_BASE, OF_TUNED)


def made(folder: Path, name: str, **facts: str) -> Made:
    place = folder / name
    (place / "model").mkdir(parents=True, exist_ok=True)
    return Made(str(place), {"model": str(place / "model")}, facts)


def finish(folder: Path, *stages: Stage) -> dict[str, Finished]:
    found: dict[str, Finished] = {}
    for stage in stages:
        number = study.stage_fingerprint(stage, found)
        found[stage.name] = Finished(number, made(folder, stage.name, run_id=f"run-{stage.name}"), 1.5)
    return found


def test_a_stage_needs_what_its_overrides_name_and_what_it_is_compared_with() -> None:
    assert BASE.needs == ()
    assert TUNED.needs == ("base",)
    assert OF_TUNED.needs == ("tuned", "of_base")


def test_overrides_are_filled_in_with_folders_and_facts(tmp_path: Path) -> None:
    finished = finish(tmp_path, BASE)
    stage = Stage("next", "train", ("a={base}", "b={base.model}", "c={base.run_id}", "d={x: 1}"))
    filled = study.filled_in(stage, finished)
    assert filled == [f"a={tmp_path}/base", f"b={tmp_path}/base/model", "c=run-base", "d={x: 1}"]


def test_naming_what_a_stage_did_not_make_is_refused_with_what_it_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="base has no reward; it has model, run_id"):
        study.filled_in(Stage("next", "train", ("a={base.reward}",)), finish(tmp_path, BASE))


@pytest.mark.parametrize("value", ["/a b/c", "/it's/here", "/x=1,y", "12345", "1e5", "true", "/plain/path-1.2", "null"])
def test_a_quoted_value_is_read_back_by_hydra_as_it_was(value: str) -> None:
    override = OverridesParser.create().parse_override(f"key={study.quoted(value)}")
    assert str(override.value()) == value
    assert isinstance(override.value(), str) or not value[0].isalnum()


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ((), "no stages"),
        ((Stage("a b", "train", ()),), "letters, digits"),
        ((Stage("a", "train", (), role="student"),), "expected one of base, tuned, teacher, distilled"),
        ((TUNED, BASE), "needs base, which is no stage before it"),
        ((Stage("a", "train", ("x={a}",)),), "needs a, which is no stage before it"),
        ((BASE, Stage("e", "evaluate", (), base="base")), "expected one of kurve evaluate"),
    ],
)
def test_stages_that_cannot_be_run_are_refused(stages: tuple[Stage, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        study.check_stages(stages)


def test_finished_stages_are_found_again_after_reading_the_record(tmp_path: Path) -> None:
    study.write(tmp_path, STAGES, finish(tmp_path, *STAGES))
    assert list(study.done(STAGES, study.read(tmp_path))) == ["base", "tuned", "of_base", "of_tuned"]


def test_a_stage_with_other_overrides_is_done_again_and_so_is_what_needs_it(tmp_path: Path) -> None:
    finished = finish(tmp_path, *STAGES)
    changed = Stage("tuned", "train", (*TUNED.overrides, "seed=1"), role="tuned", base="base")
    assert list(study.done((BASE, changed, OF_BASE, OF_TUNED), finished)) == ["base", "of_base"]


def test_a_stage_whose_work_was_removed_is_done_again_and_so_is_what_needs_it(tmp_path: Path) -> None:
    finished = finish(tmp_path, *STAGES)
    (tmp_path / "base" / "model").rmdir()
    assert study.done(STAGES, finished) == {}


def test_another_role_is_another_study_but_no_other_stage(tmp_path: Path) -> None:
    renamed = Stage("tuned", "train", TUNED.overrides, role="teacher", base="base")
    assert study.fingerprint((BASE, TUNED)) != study.fingerprint((BASE, renamed))
    assert "tuned" in study.done((BASE, renamed), finish(tmp_path, BASE, TUNED))


def test_a_new_study_has_finished_nothing(tmp_path: Path) -> None:
    assert study.read(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "finished": {"a": {}}}'])
def test_a_damaged_record_is_an_error_that_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / study.RECORD).write_text(text)
    with pytest.raises(StudyError, match="is damaged"):
        study.read(tmp_path)


def test_a_record_of_a_newer_kurve_is_refused(tmp_path: Path) -> None:
    (tmp_path / study.RECORD).write_text('{"format": 2, "finished": {}}')
    with pytest.raises(StudyError, match="update kurve"):
        study.read(tmp_path)


def test_what_a_command_told_last_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "made"
    first = {"command": "train", "folder": "/a", "paths": {}, "facts": {}}
    file.write_text(json.dumps(first) + "\n" + json.dumps({**first, "folder": "/b", "facts": {"run_id": "r"}}) + "\n")
    assert study.read_made(file) == Made("/b", {}, {"run_id": "r"})


@pytest.mark.parametrize("text", [None, "", "torn", '{"folder": "/a"}'])
def test_a_command_that_told_nothing_made_nothing(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "made"
    if text is not None:
        file.write_text(text)
    assert study.read_made(file) is None


def test_two_processes_cannot_run_one_study(tmp_path: Path) -> None:
    with study.locked(tmp_path / "s"), pytest.raises(StudyError), study.locked(tmp_path / "s"):
        pass
