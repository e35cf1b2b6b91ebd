"""Verdicts of unique (reference, answer) pairs on disk: one SQLite file for each verifier fingerprint.

Only a help: whatever is wrong with the file (damaged, locked, read-only, disk full) costs time, never a verdict. Every
row carries a checksum, so that a damaged page cannot turn one verdict into another.
"""

import hashlib
import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kurve.types import Outcome
from kurve.verifiers.pool import Result

_logger = logging.getLogger(__name__)
_LOCK_SECONDS = 5.0
_FINAL = frozenset({Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER})
_CHUNK = 500  # keys a query; SQLite allows 999 parameters everywhere


class VerdictCache:
    """Maps a pair's key to its result; shared by processes. TIMEOUT and ERROR are not kept: a retry may do better."""

    def __init__(self, folder: Path | str, fingerprint: str) -> None:
        self.path = Path(folder) / f"math-{fingerprint}.sqlite"
        self._broken = False

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Result]:
        """The results known for `keys`."""
        found: dict[bytes, Result] = {}
        if self._broken or not keys or not self.path.exists():
            return found
        try:
            connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", timeout=_LOCK_SECONDS, uri=True)
            try:
                for start in range(0, len(keys), _CHUNK):
                    part = keys[start : start + _CHUNK]
                    marks = ",".join("?" * len(part))
                    query = f"SELECT key, outcome, answer, mark FROM verdicts WHERE key IN ({marks})"
                    found.update(_sound(connection.execute(query, part)))
            finally:
                connection.close()
        except (sqlite3.Error, OSError, UnicodeError) as error:
            self._give_up("read", error)
        return found

    def put(self, results: Mapping[bytes, Result]) -> None:
        """Keep the final ones of `results`, in one transaction."""
        rows = [
            (key, result.outcome.value, answer := _encode(result.answer), _mark(key, result.outcome.value, answer))
            for key, result in results.items()
            if result.outcome in _FINAL
        ]
        if self._broken or not rows:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=_LOCK_SECONDS)
            try:
                with connection:
                    connection.execute(
                        "CREATE TABLE IF NOT EXISTS verdicts "
                        "(key BLOB PRIMARY KEY, outcome TEXT, answer BLOB, mark BLOB) WITHOUT ROWID"
                    )
                    connection.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?)", rows)
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            self._give_up("written", error)

    def _give_up(self, deed: str, error: Exception) -> None:
        self._broken = True
        _logger.warning("the verdict cache %s cannot be %s (%s); grading goes on without it", self.path, deed, error)


def _sound(rows: Iterable[tuple[object, ...]]) -> dict[bytes, Result]:
    found = {}
    for key, outcome, answer, mark in rows:
        if not (isinstance(key, bytes) and isinstance(outcome, str) and isinstance(answer, bytes)):
            continue
        if mark == _mark(key, outcome, answer) and outcome in _FINAL:
            found[key] = Result(Outcome(outcome), answer.decode("utf-8", "surrogatepass"))
    return found


def _encode(answer: str) -> bytes:
    return answer.encode("utf-8", "surrogatepass")


def _mark(key: bytes, outcome: str, answer: bytes) -> bytes:
    return hashlib.sha256(key + outcome.encode() + b"\0" + answer).digest()[:8]
