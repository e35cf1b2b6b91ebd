import hashlib
import sqlite3
import threading
from pathlib import Path

import pytest

from kurve.types import Outcome
from kurve.verifiers.cache import VerdictCache
from kurve.verifiers.math import MathVerifier
from kurve.verifiers.pool import Result
from tests.verifiers.samples import item

KEYS = [hashlib.sha256(bytes([i])).digest() for i in range(200)]


def test_final_results_are_kept_and_failures_are_not(tmp_path: Path) -> None:
    outcomes = list(Outcome)
    VerdictCache(tmp_path, "f").put(
        {key: Result(outcome, "\ud800x") for key, outcome in zip(KEYS, outcomes, strict=False)}
    )
    found = VerdictCache(tmp_path, "f").get(KEYS)
    assert {result.outcome for result in found.values()} == {Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER}
    assert {result.answer for result in found.values()} == {"\ud800x"}
    assert VerdictCache(tmp_path, "another").get(KEYS) == {}


def test_a_tampered_row_is_not_believed(tmp_path: Path) -> None:
    cache = VerdictCache(tmp_path, "f")
    cache.put({KEYS[0]: Result(Outcome.WRONG, "5"), KEYS[1]: Result(Outcome.WRONG, "6")})
    with sqlite3.connect(cache.path) as connection:
        connection.execute("UPDATE verdicts SET outcome = 'correct' WHERE key = ?", (KEYS[0],))
    connection.close()
    assert list(cache.get(KEYS)) == [KEYS[1]]


@pytest.mark.parametrize("damage", [b"no database at all, only text" * 100, b"", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_costs_no_verdict(tmp_path: Path, damage: bytes) -> None:
    with MathVerifier(workers=1, cache=tmp_path) as verifier:
        assert verifier._cache is not None
        verifier._cache.path.write_bytes(damage)
        assert verifier.verify([item("5", r"\boxed{5.0}")])[0].outcome is Outcome.CORRECT


def test_a_folder_that_cannot_be_made_costs_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = VerdictCache(tmp_path / "file" / "cache", "f")
    assert cache.get(KEYS) == {}
    cache.put({KEYS[0]: Result(Outcome.WRONG)})
    assert cache.get(KEYS) == {}


def test_a_locked_cache_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kurve.verifiers.cache._LOCK_SECONDS", 0.1)
    cache = VerdictCache(tmp_path, "f")
    cache.put({KEYS[0]: Result(Outcome.WRONG)})
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert cache.get(KEYS) == {}
    other.close()


@pytest.mark.slow
def test_two_verifiers_share_one_cache_without_damage(tmp_path: Path) -> None:
    items = [item(str(i), rf"\boxed{{{i}.0}}", index=i) for i in range(120)]
    verifiers = [MathVerifier(workers=1, cache=tmp_path) for _ in range(2)]
    results: dict[int, set[Outcome]] = {}

    def work(number: int) -> None:
        results[number] = {v.outcome for i in range(0, 120, 20) for v in verifiers[number].verify(items[i : i + 20])}

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for verifier in verifiers:
        verifier.close()
    assert results == {0: {Outcome.CORRECT}, 1: {Outcome.CORRECT}}
    with MathVerifier(workers=1, cache=tmp_path) as third:
        assert {verdict.outcome for verdict in third.verify(items)} == {Outcome.CORRECT}
        assert third.worker_pids() == [], "the cache answered nothing"
