"""Files of runs whose artifacts are not on this machine's disk: fetched once, kept in a cache of limited size."""

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException

from mlflow_plugins.kurve.compare import artifacts
from mlflow_plugins.kurve.compare.artifacts import run_file


class Remote:
    """A store of files that can only be listed and fetched whole."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.fetched = 0

    def get_local_path(self, path: str) -> None:
        return None

    def list_artifacts(self, path: str) -> list[FileInfo]:
        return [FileInfo(name, False, len(data)) for name, data in self.files.items() if name.startswith(path)]

    def download_artifacts(self, path: str, folder: str) -> str:
        self.fetched += 1
        target = Path(folder) / "part"
        target.write_bytes(self.files[path])
        return str(target)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Remote:
    store = Remote({f"kurve/{name}": name.encode() * 400_000 for name in "abc"})
    monkeypatch.setattr(artifacts, "_place", lambda run, path: (store, path))
    monkeypatch.setenv("KURVE_PAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KURVE_PAGE_CACHE_MB", "1")
    return store


def run(ended: int = 1) -> Any:
    return SimpleNamespace(info=SimpleNamespace(run_id="r", end_time=ended))


def read(name: str, ended: int = 1) -> bytes:
    found = run_file(run(ended), name, 10**6)
    assert found is not None
    return Path(found.path).read_bytes()


def test_a_file_is_fetched_once_until_the_run_is_logged_again(remote: Remote) -> None:
    assert read("a") == read("a") == remote.files["kurve/a"]
    assert remote.fetched == 1
    remote.files["kurve/a"] = b"new" * 400_000
    remote.files["kurve/a"] = remote.files["kurve/a"][:400_000]
    assert read("a", ended=2) == remote.files["kurve/a"]


def test_what_was_not_used_for_longest_makes_room(remote: Remote, tmp_path: Path) -> None:
    read("a")
    read("b")
    for place, file in enumerate(sorted((tmp_path / "cache").iterdir(), key=lambda one: one.read_bytes())):
        os.utime(file, (time.time() - 1000 + place, time.time() - 1000 + place))
    read("c")
    assert {one.read_bytes()[:1] for one in (tmp_path / "cache").iterdir()} == {b"b", b"c"}
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_a_file_that_is_being_read_stays(remote: Remote, tmp_path: Path) -> None:
    for name in "abc":
        read(name)
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_a_missing_file_is_none_and_a_large_one_refused(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_file(run(), "missing", 10**6) is None
    with pytest.raises(MlflowException, match="reads at most 1,000"):
        run_file(run(), "a", 1000)
    monkeypatch.setenv("KURVE_PAGE_CACHE_MB", "0")
    with pytest.raises(MlflowException, match="KURVE_PAGE_CACHE_MB"):
        run_file(run(), "a", 10**6)
    assert remote.fetched == 0


def test_a_folder_of_another_user_is_no_cache(remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    monkeypatch.setenv("KURVE_PAGE_CACHE", str(tmp_path / "link"))
    with pytest.raises(MlflowException, match="not its own folder"):
        read("a")
