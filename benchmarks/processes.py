"""What a command costs as a process of its own: time, processor time, memory."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# A process's peak memory begins with that of the process that started it: a small one must.
_STARTER = """
import json, os, sys, time
began = time.perf_counter()
process = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(process, 0)
cost = [time.perf_counter() - began, usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss]
os.write(int(sys.argv[1]), json.dumps([os.waitstatus_to_exitcode(status), *cost]).encode())
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a process."""

    seconds: float  # start to end
    computing: float  # seconds of the processor
    peak: int  # bytes
    printed: str


def python(words: Sequence[str], folder: Path | None = None) -> Cost:
    """Run Python with these words there and measure it.

    Raises:
        RuntimeError: it failed.
    """
    reading, writing = os.pipe()
    starter = [sys.executable, "-I", "-S", "-c", _STARTER, str(writing), sys.executable, *words]
    try:
        done = subprocess.run(starter, cwd=folder, stdout=subprocess.PIPE, text=True, pass_fds=(writing,), check=True)
    finally:
        os.close(writing)
    with os.fdopen(reading) as told:
        code, seconds, computing, peak = json.load(told)
    if code:
        raise RuntimeError(f"python {' '.join(words)[:200]} ended with {code}")
    return Cost(seconds, computing, peak, done.stdout)


def peak_bytes() -> int:
    """The most memory that this process has held; `ru_maxrss` would begin with that of its parent."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None, "Linux says it"
    return 1024 * int(found[1])
