"""Send the timed points of a training to a run, in requests that a server takes.

MLflow keeps a point once that has the same key, step, value and time, so that sending again adds nothing.
"""

from collections.abc import Sequence

from mlflow import MlflowClient
from mlflow.entities import Metric

from kurve.errors import RejectedError
from kurve.tracking import TimedPoint, finite
from mlflow_plugins.kurve.fields import metric_name

REQUEST_POINTS = 500  # a request of a few hundred kilobytes at most; servers take 1000 points and a megabyte

_INT64 = range(-(2**63), 2**63)


def send_points(client: MlflowClient, run_id: str, points: Sequence[TimedPoint]) -> None:
    """Log the points that are finite.

    Raises:
        RejectedError: a step or time that no database holds; nothing was sent.
        whatever `connection.errors_of` translates.
    """
    metrics = [_metric(point) for point in finite(points)]
    for start in range(0, len(metrics), REQUEST_POINTS):
        client.log_batch(run_id, metrics=metrics[start : start + REQUEST_POINTS], synchronous=True)


def _metric(point: TimedPoint) -> Metric:
    if point.step not in _INT64 or point.timestamp not in _INT64:
        raise RejectedError(
            f"{point.key} has step {point.step} and time {point.timestamp}; both must be whole numbers of 64 bits"
        )
    return Metric(metric_name(point.key), point.value, point.timestamp, point.step)
