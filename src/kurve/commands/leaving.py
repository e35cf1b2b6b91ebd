"""A process that leaves when the one that started it is gone, however that ended."""

import os
import signal
import threading
import time

_PAUSE = 0.5  # seconds between two looks


def leave_with(parent: int, patience: float | None = None) -> None:
    """From now on, stop in an orderly way once `parent` is no longer this process's parent.

    Args:
        parent: process id.
        patience: seconds after which a process that did not stop is killed; None waits for it.
    """
    threading.Thread(target=_watch, args=(parent, patience), daemon=True).start()


def _watch(parent: int, patience: float | None) -> None:
    while os.getppid() == parent:
        time.sleep(_PAUSE)
    os.kill(os.getpid(), signal.SIGTERM)
    if patience is not None:
        time.sleep(patience)
        os.kill(os.getpid(), signal.SIGKILL)
