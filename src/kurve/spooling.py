"""What a tracker's plugin keeps on disk for a server that is away, as `kurve sync` sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Left:
    """What one process logged, as far as the server does not have it."""

    folder: Path
    server: str  # its address, without password
    records: int  # lines that are not sent, files included
    files: int
    quarantined: int  # that the server refused
    alive: bool  # the process is still logging


@dataclass(frozen=True, slots=True)
class Sent:
    """What one call of `Spool.send` delivered."""

    runs: int  # that the server did not have
    records: int
    files: int
    refused: int
    reasons: Sequence[str]  # of what was refused, each once


class Spool(Protocol):
    """The journals of all processes that logged to servers through one folder."""

    def left(self) -> Sequence[Left]:
        """The journals, the oldest first, also those that are sent but have something in quarantine."""

    def send(self, left: Left, tell: Callable[[int, int], None], *, retry: bool = False) -> Sent:
        """Send one journal; once it is sent and its process gone, it is removed.

        Args:
            left: which one.
            tell: called with the bytes that are sent and all of them, after each delivery.
            retry: send what is in quarantine instead.

        Raises:
            TrackingError: the server cannot be reached; calling it again later is safe.
            ConfigError: it is not known where it belongs.
        """
