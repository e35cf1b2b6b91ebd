"""Keep engines' output off the terminal: into a log file, with the lines that matter echoed once.

`redirect` is for libraries that write inside this process; an engine in a process of its own writes to its log
directly and needs only `Echo`.
"""

import contextlib
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TextIO

from kurve.errors import ConfigError

logger = logging.getLogger("kurve.engine")

_MOST_ECHOED = 20  # lines of one engine; the rest is in the log
_LONGEST = 400  # characters of an echoed line
_TAIL = 256 * 1024  # bytes of the log that are searched for the reason of a failure
_LEVEL = re.compile(r"\b(ERROR|CRITICAL|FATAL|WARNING)\b")
_WORRYING = re.compile(
    r"out of memory|\bOOM\b|preempt|truncat|kv[ _-]?cache|max_model_len|context length|\bnan\b|falling back", re.I
)
_IN_TRACEBACK = re.compile(r"Traceback \(most recent|^\s*File \"|^\s|^$|^\^+$")
_RAISED = re.compile(r"^[\w.]*(Error|Exception|Exit|Interrupt)\b:? ?")
# What stands before a message: torch's rank or the process that wrote it, level, time, place in the source.
_PREFIX = re.compile(
    r"^(\[rank\d+\]:\s?|\(\w[^)]*\)\s*)?((INFO|WARNING|ERROR|CRITICAL|FATAL)\s+[\d-]+ [\d:.,]+\s+(\[[^\]]*\]\s?)?)?"
)
_NUMBERS = re.compile(r"\d+")
_SAYS_NOTHING = re.compile(
    r"^Dumping |See root cause above|WorkerProc initialization failed|EngineCore failed to start"
    r"|exceeds max_num_seqs \* max_model_len"  # true of every engine that draws few samples at once
)


@contextlib.contextmanager
def redirect(log: Path | None) -> Iterator[TextIO]:
    """Send file descriptors 1 and 2, also those of child processes started meanwhile, to `log`.

    Yields a text file on the stderr of before, for whoever still talks to the person. Nested uses write to their own
    log and yield the outermost terminal; without a log nothing is redirected. Restored on every way out.

    Raises:
        ConfigError: the log cannot be written.
    """
    if log is None:
        yield _terminals[0] if _terminals else sys.stderr
        return
    with _open(log) as file, contextlib.ExitStack() as restore:
        _flush()
        for descriptor in (1, 2):
            saved = os.dup(descriptor)
            restore.callback(os.close, saved)
            restore.callback(os.dup2, saved, descriptor)
            if descriptor == 2 and not _terminals:
                stream = os.fdopen(os.dup(saved), "w", encoding="utf-8", errors="replace", buffering=1)
                _terminals.append(stream)
                restore.callback(_close_terminal)
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        restore.callback(_flush)
        yield _terminals[0]


_terminals: list[TextIO] = []


class Echo:
    """Follows a log from an offset and passes on the lines that a person must see, each once.

    Those are the first line of an error and warnings about memory, preemption, truncation and the key-value cache.
    A context manager; `tell` is called from its thread and defaults to a warning of the logger `kurve.engine`.
    """

    def __init__(self, log: Path, offset: int = 0, *, tell: Callable[[str], None] | None = None) -> None:
        self._log, self._offset = log, offset
        self._tell = tell or logger.warning
        self._seen: set[str] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _follow(self) -> None:
        with self._log.open("rb") as file:
            file.seek(self._offset)
            rest = b""
            while True:
                last = self._end.wait(0.5)
                rest = self._read(file, rest)
                if last:
                    self._pass_on(rest)
                    return

    def _read(self, file: BinaryIO, rest: bytes) -> bytes:
        while chunk := file.read(1 << 20):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._pass_on(line)
            rest = rest[-_TAIL:]
        return rest

    def _pass_on(self, raw: bytes) -> None:
        line = raw[-4096:].decode("utf-8", "replace").rpartition("\r")[2].rstrip()
        message = matters(line)
        if message is None or len(self._seen) >= _MOST_ECHOED:
            return
        same = _NUMBERS.sub("#", message)
        if same not in self._seen:
            self._seen.add(same)
            self._tell(message)


def matters(line: str) -> str | None:
    """The message of a log line that a person must see, or None."""
    message = _PREFIX.sub("", line, count=1)
    level = _LEVEL.search(line[:120])
    if level is None or _IN_TRACEBACK.search(message) or _SAYS_NOTHING.search(message):
        return None
    if level[1] == "WARNING" and not _WORRYING.search(message):
        return None
    return message[:_LONGEST]


def last_errors(log: Path, offset: int = 0, *, most: int = 3) -> list[str]:
    """The last distinct errors in a log from `offset` on, oldest first: what to tell when an engine failed."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(offset, end - _TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    found: list[str] = []
    for line in reversed(lines):
        message = _PREFIX.sub("", line, count=1).strip()
        if _RAISED.match(message) and not _SAYS_NOTHING.search(message) and message[:_LONGEST] not in found:
            found.append(message[:_LONGEST])
            if len(found) == most:
                break
    return found[::-1]


def _open(log: Path) -> BinaryIO:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("ab")
    except OSError as error:
        raise ConfigError(f"the log file {log} cannot be written: {error}; give another place for it") from error


def _close_terminal() -> None:
    _terminals.pop().close()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):  # closed already, or its reader is gone
            stream.flush()
