"""What the tests of journals share: a tracker that can be away, and what a journal's lines say."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from kurve.dir_tracker import DirTracker
from kurve.errors import RejectedError, TrackingError
from kurve.tracking import TimedPoint
from tests.tracking_samples import run_info


class Moody(DirTracker):
    """Files of a run, behind a server that can be away, hang, and refuse some names for good."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.away = False
        self.hangs = threading.Event()  # set it to let go
        self.hangs.set()
        self.calls = 0

    def log_points(self, points: Sequence[TimedPoint]) -> None:
        self.calls += 1
        self.hangs.wait()
        if self.away:
            raise TrackingError("the server is away")
        if any("bad" in point.key for point in points):
            raise RejectedError("bad is no name")
        super().log_points(points)


def started(tracker: DirTracker) -> DirTracker:
    tracker.start(run_info())
    return tracker


def logged(tracker: DirTracker) -> list[tuple[str, int, float]]:
    """What the tracker's run holds, in order of arrival: key, step, value."""
    path = Path(tracker.url) / "points.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(row["key"], row["step"], row["value"]) for row in rows]


def lines(training: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (training / "journal" / "points.jsonl").read_text().splitlines()]


def status(tracker: DirTracker) -> str:
    return str(json.loads((Path(tracker.url) / "run.json").read_text())["status"])
