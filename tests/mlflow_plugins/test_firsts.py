"""Who comes second with a shared row asks again, once; everything else is told as it is."""

import pytest
import sqlalchemy
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INVALID_PARAMETER_VALUE, ErrorCode

from mlflow_plugins.kurve.firsts import write_shared


class Refusing:
    """A write that is refused a number of times."""

    def __init__(self, error: MlflowException, times: int = 1) -> None:
        self.calls, self._error, self._times = 0, error, times

    def __call__(self) -> None:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error


def as_mlflow_says(error: Exception, code: str = ErrorCode.Name(BAD_REQUEST)) -> MlflowException:
    return MlflowException(str(error), error_code=ErrorCode.Value(code))


def second_row() -> sqlalchemy.exc.IntegrityError:
    """What a database says of a second row with the same key."""
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        connection.exec_driver_sql("CREATE TABLE datasets (name TEXT PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO datasets VALUES ('gsm8k')")
        with pytest.raises(sqlalchemy.exc.IntegrityError) as raised:
            connection.exec_driver_sql("INSERT INTO datasets VALUES ('gsm8k')")
        return raised.value


@pytest.mark.parametrize(
    "words",
    [
        'duplicate key value violates unique constraint "dataset_pk"',
        "(1062, \"Duplicate entry '1-gsm8k' for key 'PRIMARY'\")",
    ],
)
def test_a_row_that_another_process_wrote_first_is_tried_again(words: str) -> None:
    for error in (Exception(words), second_row()):
        write = Refusing(as_mlflow_says(error))
        write_shared(write)
        assert write.calls == 2


@pytest.mark.parametrize(
    ("error", "times", "calls"),
    [
        (MlflowException("duplicate key", error_code=BAD_REQUEST), 2, 2),
        (MlflowException("no connection is free", error_code=BAD_REQUEST), 1, 1),
        (MlflowException("duplicate key", error_code=INVALID_PARAMETER_VALUE), 1, 1),
    ],
)
def test_what_stays_refused_and_other_refusals_are_raised(error: MlflowException, times: int, calls: int) -> None:
    write = Refusing(error, times)
    with pytest.raises(MlflowException):
        write_shared(write)
    assert write.calls == calls
