"""Speeds are written beside samples and read back; what is torn or cannot be written costs nothing else."""

import json
import logging
from pathlib import Path

import pytest

from kurve import speeds


def test_the_speed_of_several_draws_is_all_tokens_by_all_seconds(tmp_path: Path) -> None:
    assert speeds.draw_speed(tmp_path) is None
    speeds.record_draw(tmp_path, engine="vllm", version="1", tokens=100, samples=10, seconds=10.0)
    speeds.record_draw(tmp_path, engine="vllm", version="1", tokens=500, samples=50, seconds=10.0)
    found = speeds.draw_speed(tmp_path)
    assert found is not None
    assert (found.tokens_per_second, found.tokens, found.seconds) == (30.0, 600, 20.0)
    assert found.gpus == (speeds.gpu(),)


def test_a_torn_or_older_line_is_left_out_or_read_as_far_as_it_goes(tmp_path: Path) -> None:
    older = {"time": 1.0, "engine": "vllm", "engine_version": "1", "tokens": 20, "seconds": 2.0}
    (tmp_path / speeds.DRAWS).write_text(json.dumps(older) + '\n[1]\n{"tokens": 5}\n{"time": 2.0, "tok')
    found = speeds.draw_speed(tmp_path)
    assert found is not None
    assert (found.tokens_per_second, found.gpus) == (10.0, ())


def test_a_verdict_takes_all_workers_for_its_time(tmp_path: Path) -> None:
    assert speeds.judge_speed(tmp_path) is None
    speeds.record_judging(tmp_path, verifier="abc.1", verdicts=1000, seconds=2.0, workers=4)
    speeds.record_judging(tmp_path, verifier="other.1", verdicts=10, seconds=1.0, workers=1)
    found = speeds.judge_speed(tmp_path, "abc")
    assert found is not None
    assert (found.seconds_per_verdict, found.verdicts) == (0.008, 1000)


def test_a_speed_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="kurve.speeds"):
        speeds.record_draw(tmp_path / "gone", engine="vllm", version="1", tokens=1, samples=1, seconds=1.0)
    assert "not recorded" in caplog.text


def test_the_gpu_is_named_as_its_driver_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speeds, "_GPUS", tmp_path)
    assert speeds.gpu() == ""
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t 1\n")
    assert speeds.gpu() == "NVIDIA H100 80GB HBM3"
