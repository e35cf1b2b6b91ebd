"""Rows that several processes may be the first to write: the same dataset, a tag of the experiment that they share."""

from collections.abc import Callable

from mlflow.exceptions import MlflowException

# What SQLite, PostgreSQL, MySQL and SQL Server say of a second row with the key of another, in lower case.
_TAKEN = ("unique constraint", "duplicate entry", "duplicate key")


def write_shared(write: Callable[[], object]) -> None:
    """Write what others may be writing too. MLflow looks first and then inserts, so that who comes second is refused.

    The row is there then, and a second try finds it.

    Raises:
        whatever `write` raises, except for the first refusal of this kind.
    """
    try:
        write()
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST" or not any(words in str(error).lower() for words in _TAKEN):
            raise
        write()
