"""New SQLite databases of MLflow as copies of one that MLflow made: its migrations take two seconds each time."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.store.db import utils
from sqlalchemy.engine import Engine


@pytest.fixture(scope="session", autouse=True)
def copied_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """While the tests of this process run, only its first new database is migrated."""
    made, template = utils._initialize_tables, tmp_path_factory.mktemp("database") / "empty.db"

    def initialize(engine: Engine) -> None:
        here = engine.url.database
        if engine.dialect.name != "sqlite" or not here or here == ":memory:" or _has_tables(Path(here)):
            made(engine)
        elif template.exists():
            _copy(template, Path(here))
        else:
            made(engine)
            _copy(Path(here), template)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_initialize_tables", initialize)
        yield


def _has_tables(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as there:
        return bool(there.execute("select count(*) from sqlite_master").fetchone()[0])


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)
