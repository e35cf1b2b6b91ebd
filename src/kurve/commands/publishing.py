"""Files and numbers that a command made of finished runs, as a run of their own."""

from collections.abc import Callable, Sequence
from pathlib import Path

from kurve.errors import TrackingError
from kurve.tracking import RunInfo, TimedPoint, Tracker


def publish_files(
    tracker: Tracker,
    run: RunInfo,
    files: Sequence[Path],
    folder: str,
    *,
    points: Sequence[TimedPoint] = (),
    before_it_ends: Callable[[], None] = lambda: None,
) -> bool:
    """Keep the files and points with the run, unless a finished run of the same key has them.

    Args:
        tracker: that the run goes to.
        run: what is known of it.
        files: to keep with it.
        folder: that they are kept in.
        points: numbers of the run.
        before_it_ends: what else belongs to the run being complete, as telling others.

    Returns:
        Whether they were logged now.

    Raises:
        TrackingError: the tracker cannot be reached; the same call later does the rest.
    """
    if not tracker.start(run):
        return False
    try:
        tracker.log_files(files, folder)
        tracker.log_points(points)
        before_it_ends()
    except TrackingError:  # whom to tell that it failed?
        raise
    except BaseException:
        tracker.finish("FAILED")
        raise
    tracker.finish("FINISHED")
    return True
