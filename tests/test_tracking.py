import json
import os
from pathlib import Path

import numpy as np
import pytest

from kurve.errors import TrackingError
from kurve.tracking import DirTracker, NullTracker, RunInfo, Tracker, report_points, thin
from tests.tracking_samples import HOSTILE, report, run_info


def the_folder(root: Path) -> Path:
    (folder,) = root.iterdir()
    return folder


@pytest.mark.parametrize("last", [1, 2, 64, 320])
def test_a_curve_that_fits_is_kept_whole(last: int) -> None:
    assert thin(np.arange(1, last + 1), 320).tolist() == list(range(last))


@pytest.mark.parametrize("last", [321, 1000, 1024, 100_000])
@pytest.mark.parametrize("limit", [64, 100, 320])
def test_a_long_curve_keeps_the_small_k_the_powers_of_two_and_the_last(last: int, limit: int) -> None:
    k = np.arange(1, last + 1)
    kept = k[thin(k, limit)].tolist()
    assert len(kept) <= limit
    assert kept == sorted(set(kept))
    assert {*range(1, 33), *(2**i for i in range(17) if 2**i <= last), last} <= set(kept)


def test_a_curve_that_was_thinned_before_can_be_thinned_again() -> None:
    k = np.unique(np.geomspace(1, 100_000, 900).astype(np.int64))
    kept = k[thin(k, 320)]
    assert len(kept) <= 320
    assert kept[0] == 1
    assert kept[-1] == 100_000


def test_a_limit_without_room_is_refused() -> None:
    with pytest.raises(TrackingError, match="at least 64"):
        thin(np.arange(1, 1000), 10)


def test_scalars_are_at_step_0_and_curves_with_their_band_at_step_k() -> None:
    points, skipped = report_points(report(4, scalars={"rate": float("nan")}))
    assert skipped == ["gsm8k/rate"]
    steps = {key: [p.step for p in points if p.key == key] for key in {p.key for p in points}}
    assert steps == {
        "gsm8k/pass_at_1": [0],
        "gsm8k/pass_at_4": [0],
        "gsm8k/pass_at_k": [1, 2, 3, 4],
        "gsm8k/pass_at_k_low": [1, 2, 3, 4],
        "gsm8k/pass_at_k_high": [1, 2, 3, 4],
    }


def test_the_folder_holds_all_of_a_run(tmp_path: Path) -> None:
    figure = tmp_path / "curve.png"
    figure.write_bytes(b"\x89PNG")
    tracker = DirTracker(tmp_path / "runs")
    tracker.check()
    assert tracker.start(run_info())
    tracker.log_report(report(64), [figure])
    tracker.finish("FINISHED")
    folder = the_folder(tmp_path / "runs")
    assert folder.name == "model-on-gsm8k-01234567"
    assert str(folder) == tracker.url
    assert json.loads((folder / "params.json").read_text())["num_samples"] == "64"
    assert json.loads((folder / "tags.json").read_text())["kurve.kind"] == "base"
    assert (folder / "config.yaml").read_text() == "num_samples: 64\n"
    assert (folder / "artifacts" / "curve.png").read_bytes() == b"\x89PNG"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2 + 3 * 64
    assert set(rows[0]) == {"key", "value", "step", "timestamp"}
    assert json.loads((folder / "run.json").read_text())["status"] == "FINISHED"
    assert not list(folder.rglob("*.tmp"))


def test_a_finished_evaluation_is_found_under_any_name(tmp_path: Path) -> None:
    first = DirTracker(tmp_path)
    first.start(run_info())
    first.finish("FINISHED")
    second = DirTracker(tmp_path)
    assert not second.start(run_info(name="renamed"))
    assert second.url == first.url
    third = DirTracker(tmp_path, new_run=True)
    assert third.start(run_info())
    assert third.url != first.url


def test_an_unfinished_run_goes_on_in_its_folder_and_a_repeated_report_changes_nothing(tmp_path: Path) -> None:
    first = DirTracker(tmp_path)
    first.start(run_info())
    first.log_report(report(8), [])
    before = (the_folder(tmp_path) / "metrics.jsonl").read_bytes()
    second = DirTracker(tmp_path)
    assert second.start(run_info())
    second.log_report(report(8), [])
    folder = the_folder(tmp_path)
    assert (folder / "metrics.jsonl").read_bytes() == before
    assert json.loads((folder / "run.json").read_text())["attempt"] == 2


def test_two_keys_with_the_same_beginning_do_not_share_a_folder(tmp_path: Path) -> None:
    for key in ("12345678aaaa", "12345678bbbb"):
        assert DirTracker(tmp_path).start(run_info(key))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_run_file_is_not_mistaken_for_a_run(tmp_path: Path) -> None:
    DirTracker(tmp_path).start(run_info())
    (the_folder(tmp_path) / "run.json").write_text('{"key": "0123')
    tracker = DirTracker(tmp_path)
    assert tracker.start(run_info())
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", [HOSTILE, "../../etc/passwd", "", ".", "a/b\\c:*?", "x" * 5000])
def test_any_name_stays_inside_the_folder(tmp_path: Path, name: str) -> None:
    run = run_info(name=name, params={HOSTILE: HOSTILE}, tags={HOSTILE: HOSTILE})
    hostile = RunInfo(**{field: getattr(run, field) for field in RunInfo.__slots__} | {"config_yaml": HOSTILE})
    tracker = DirTracker(tmp_path / "runs")
    assert tracker.start(hostile)
    folder = the_folder(tmp_path / "runs")
    assert json.loads((folder / "params.json").read_text()) == {HOSTILE: HOSTILE}
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for tracker in (DirTracker(tmp_path / "file"), DirTracker("/proc/kurve")):
        with pytest.raises(TrackingError, match=r"tracker\.folder="):
            tracker.check()
        with pytest.raises(TrackingError, match=r"tracker\.folder="):
            tracker.start(run_info())


def test_a_full_disk_leaves_the_old_metrics(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    tracker = DirTracker(tmp_path)
    tracker.start(run_info())
    tracker.log_report(report(8), [])
    folder = the_folder(tmp_path)
    before = (folder / "metrics.jsonl").read_bytes()
    (folder / f".metrics.jsonl.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(TrackingError, match="No space left"):
        tracker.log_report(report(16), [])
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_files_that_are_missing_or_share_a_name_are_refused(tmp_path: Path) -> None:
    tracker = DirTracker(tmp_path / "runs")
    with pytest.raises(TrackingError, match="before a run"):
        tracker.log_report(report(4), [])
    tracker.start(run_info())
    with pytest.raises(TrackingError, match="do not exist"):
        tracker.log_report(report(4), [tmp_path / "absent"])
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.json").write_text("{}")
    with pytest.raises(TrackingError, match=r"named same\.json"):
        tracker.log_report(report(4), [tmp_path / "a" / "same.json", tmp_path / "b" / "same.json"])


def test_a_status_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    trackers: list[Tracker] = [DirTracker(tmp_path), NullTracker()]
    for tracker in trackers:
        tracker.finish("FAILED")
        with pytest.raises(TrackingError, match="DONE"):
            tracker.finish("DONE")


def test_the_tracker_that_keeps_nothing_does_nothing(tmp_path: Path) -> None:
    tracker: Tracker = NullTracker()
    tracker.check()
    assert tracker.start(run_info())
    tracker.log_report(report(4), [tmp_path / "absent"])
    assert (tracker.url, tracker.hint) == ("", "")
