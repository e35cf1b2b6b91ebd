import json
from pathlib import Path

import pytest

from kurve.commands.study_stages import run_stages
from kurve.errors import StudyError
from kurve.study import Stage
from kurve.study_progress import StudyProgress

RECORD = """
import json, os
json.dump({key: os.environ.get(key) for key in ("KURVE_STUDY_ID", "KURVE_STAGE")}, open({path!r}, "w"))
"""


def test_a_stages_command_knows_its_study_and_stage_so_that_all_it_tracks_can_be_tagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(RECORD.replace("{path!r}", repr(str(tmp_path / "seen.json"))))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("KURVE_STAGE", "of another study, in which this one runs")
    stage = Stage("of_base", "nothing", (), base="")
    with StudyProgress(["of_base"]) as progress, pytest.raises(StudyError):
        run_stages(
            [stage],
            {},
            study="study-1",
            arguments=lambda _stage, _made: ["no such command"],
            logs=tmp_path,
            jobs=1,
            progress=progress,
            keep=lambda _made: None,
        )
    assert json.loads((tmp_path / "seen.json").read_text()) == {"KURVE_STUDY_ID": "study-1", "KURVE_STAGE": "of_base"}
