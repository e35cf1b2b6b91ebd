import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kurve.dir_tracker import DirTracker
from kurve.errors import RejectedError, TrackingError
from kurve.report_points import report_points, thin
from kurve.tracking import NullTracker, RunInfo, TimedPoint, Tracker
from tests.tracking_samples import HOSTILE, report, run_info

NOW = 1_700_000_000_000  # ms since 1970


def started(root: Path) -> DirTracker:
    tracker = DirTracker(root)
    tracker.start(run_info())
    return tracker


def timed(*steps: int) -> list[TimedPoint]:
    return [TimedPoint("train/loss", step / 7, step, NOW + step) for step in steps]


def kept_points(tracker: DirTracker) -> list[TimedPoint]:
    rows = (Path(tracker.url) / "points.jsonl").read_text().splitlines()
    return [TimedPoint(**json.loads(row)) for row in rows]


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
    tracker.log_points(timed(1))
    tracker.log_files([tmp_path / "absent"], "rollouts")
    tracker.log_tags({"kurve.kind": "base"})
    with tracker.in_background():
        pass
    assert (tracker.run_id, tracker.destination) == ("", "")
    for act in (tracker.attach, tracker.tags):
        with pytest.raises(TrackingError, match="tracker=none keeps no runs"):
            act("run")


def test_points_of_a_training_are_appended_once_by_whichever_process(tmp_path: Path) -> None:
    first = started(tmp_path)
    first.log_points(timed(0, 1, 1))
    first.log_points(timed(1, 2))
    first.finish("KILLED")
    second = started(tmp_path)
    second.log_points([*timed(2, 3), TimedPoint("train/loss", float("nan"), 4, NOW)])
    third = DirTracker(tmp_path)
    third.attach(first.run_id)
    third.log_points([*timed(0), TimedPoint("train/loss", 0.0, 0, NOW + 1)])  # another time is another point
    assert kept_points(third) == [*timed(0, 1, 2, 3), TimedPoint("train/loss", 0.0, 0, NOW + 1)]


def test_a_point_that_a_crash_cut_short_is_sent_again_and_a_damaged_file_is_refused(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    tracker.log_points(timed(0, 1, 2))
    path = Path(tracker.url) / "points.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    again = started(tmp_path)
    again.log_points(timed(0, 1, 2))
    assert kept_points(again) == timed(0, 1, 2)
    path.write_bytes(b'{"key": 1}\n' + path.read_bytes())
    with pytest.raises(TrackingError, match=r"points\.jsonl has a line that is no point .*move the file away"):
        started(tmp_path).log_points(timed(3))


def test_files_are_kept_under_their_folder_and_replaced_by_newer_ones(tmp_path: Path) -> None:
    tracker = started(tmp_path / "runs")
    file = tmp_path / "step-5.parquet"
    for content in ("old", "new"):
        file.write_text(content)
        tracker.log_files([file], "rollouts/early")
    kept = Path(tracker.url) / "artifacts" / "rollouts" / "early"
    assert [(path.name, path.read_text()) for path in kept.iterdir()] == [("step-5.parquet", "new")]
    with pytest.raises(RejectedError, match="absent"):
        tracker.log_files([file, tmp_path / "absent"], "rollouts")
    for folder in ("../up", "/absolute", "a\\b", "nul\x00"):
        with pytest.raises(RejectedError, match="relative folder"):
            tracker.log_files([file], folder)


def test_a_kept_file_is_fetched_by_its_name_and_a_missing_one_is_said(tmp_path: Path) -> None:
    tracker = started(tmp_path / "runs")
    (tmp_path / "counts.parquet").write_bytes(b"PAR1")
    tracker.log_files([tmp_path / "counts.parquet"], "early")
    found = DirTracker(tmp_path / "runs").fetch(tracker.run_id, "early/counts.parquet", tmp_path)
    assert found.read_bytes() == b"PAR1"
    with pytest.raises(TrackingError, match=r"kept no file counts\.parquet"):
        tracker.fetch(tracker.run_id, "counts.parquet", tmp_path)
    with pytest.raises(TrackingError, match="keeps no runs"):
        NullTracker().fetch("a", "counts.parquet", tmp_path)


def test_points_and_files_need_a_run(tmp_path: Path) -> None:
    tracker = DirTracker(tmp_path)
    acts: tuple[Callable[[], None], ...] = (
        lambda: tracker.log_points(timed(1)),
        lambda: tracker.log_files([], "rollouts"),
        lambda: tracker.log_tags({}),
    )
    for act in acts:
        with pytest.raises(TrackingError, match="before a run was started"):
            act()
    assert (tracker.run_id, tracker.destination) == ("", str(tmp_path))


def test_tags_that_come_later_join_those_of_the_start(tmp_path: Path) -> None:
    first = started(tmp_path)
    before = first.tags(first.run_id)
    later = DirTracker(tmp_path)
    later.attach(first.run_id)
    later.log_tags({"kurve.verdict.gsm8k": "gain at k = 1"})
    later.log_tags({"kurve.verdict.gsm8k": "loss at k = 1", "kurve.base_run_id": "b"})
    assert later.tags(first.run_id) == {**before, "kurve.verdict.gsm8k": "loss at k = 1", "kurve.base_run_id": "b"}


def test_a_run_is_taken_up_as_it_is_and_ends_when_it_is_said_to(tmp_path: Path) -> None:
    first = started(tmp_path)
    first.finish("FAILED")
    before = (the_folder(tmp_path) / "run.json").read_bytes()
    second = DirTracker(tmp_path)
    second.attach(first.run_id)
    assert (the_folder(tmp_path) / "run.json").read_bytes() == before
    with second.in_background():
        second.log_points(timed(1))
    second.finish("FINISHED", NOW)
    state = json.loads((the_folder(tmp_path) / "run.json").read_text())
    assert (state["status"], state["ended"], state["attempt"]) == ("FINISHED", NOW, 1)
    assert second.tags(first.run_id)["kurve.kind"] == "base"


@pytest.mark.parametrize("run_id", ["", "absent", ".", "..", "../other/run", "/"])
def test_only_the_runs_of_its_folder_are_taken_up(tmp_path: Path, run_id: str) -> None:
    DirTracker(tmp_path / "other").start(run_info())
    (the_folder(tmp_path / "other")).rename(tmp_path / "other" / "run")
    tracker = DirTracker(tmp_path / "runs")
    for act in (tracker.attach, tracker.tags):
        with pytest.raises(TrackingError, match=r"there is no run .*tracker\.folder="):
            act(run_id)
    assert tracker.run_id == ""


def test_tags_that_were_lost_are_an_error(tmp_path: Path) -> None:
    tracker = started(tmp_path)
    for damage in ("[]", "{"):
        (Path(tracker.url) / "tags.json").write_text(damage)
        with pytest.raises(TrackingError, match="cannot read the run's tags"):
            tracker.tags(tracker.run_id)
