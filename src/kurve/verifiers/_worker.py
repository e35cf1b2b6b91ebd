"""The process that runs math-verify: one JSON line in, two out (gold read, verdict). Started by `pool.py` only.

Timeouts come from outside: the parent kills this process. Should the parent be gone, the kernel does it: by SIGIO when
the lifeline pipe closes, even in the middle of a long C call, and by SIGALRM as a last resort.
"""

import contextlib
import fcntl
import json
import logging
import os
import resource
import signal
import sys
import threading
from typing import TextIO

_STACK_BYTES = 256 * 2**20
_MAX_DEPTH = 20_000  # Python frames; deep nesting is legitimate, and the stack above holds it


def main(lifeline: int, budget: float, memory_bytes: int, niceness: int) -> None:
    """Serve until standard input closes."""
    _die_with_parent(lifeline)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.fdopen(os.dup(1), "w", buffering=1, encoding="ascii")
    os.dup2(2, 1)  # what a library prints must not end up among the replies
    sys.set_int_max_str_digits(0)
    sys.setrecursionlimit(_MAX_DEPTH)
    logging.disable(logging.CRITICAL)
    threading.stack_size(_STACK_BYTES)
    server = threading.Thread(target=_serve, args=(replies, budget, niceness))
    server.start()
    server.join()


def _die_with_parent(lifeline: int) -> None:
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _serve(replies: TextIO, budget: float, niceness: int) -> None:
    from kurve.verifiers.grading import Grader

    def reply(message: dict[str, object]) -> None:
        replies.write(json.dumps(message) + "\n")

    grader = Grader()
    with contextlib.suppress(OSError):  # only now: at low priority the imports take very long on a busy machine
        os.setpriority(os.PRIO_PROCESS, os.getpid(), min(os.nice(0) + niceness, 19))  # of the first thread
        os.nice(niceness)  # of this thread: Linux keeps one for each
    reply({"ready": True})
    for line in sys.stdin.buffer:
        task = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, 10 * budget + 60)
        gold = grader.read_gold(tuple(task["values"]), task["unit"], task["tolerance"])
        reply({"id": task["id"], "gold": True})
        judgement = grader.judge(gold, task["text"], boxed=task["boxed"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        reply({"id": task["id"], "outcome": judgement.outcome, "answer": judgement.answer, "detail": judgement.detail})
