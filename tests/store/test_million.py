import subprocess
import sys
from pathlib import Path

import pytest

WORK = """
import sys, time
from collections import Counter
from itertools import repeat
from pathlib import Path
from benchmarks.processes import peak_bytes
from tests.store.support import SPEC
from kurve.store import SampleStore, VerdictStore, list_stores
from kurve.types import Outcome, Sample, Verdict

root, P, N = Path(sys.argv[1]), 1000, 1000
started = time.perf_counter(), time.process_time()

def lap(what):
    global started
    now = time.perf_counter(), time.process_time()
    print(f"{what}: {now[0] - started[0]:.1f} s, of it computing {now[1] - started[1]:.1f} s", file=sys.stderr)
    started = now

ids = [f"gsm8k/test/{p}" for p in range(P)]
if sys.argv[2] == "write":
    text = [f"step {i * 7919 % 1000003} gives {i}; " * 30 for i in range(997)]
    with SampleStore.open(root, SPEC) as store, VerdictStore.open(store, "abc") as verdicts:
        store.append_many(
            Sample(p, i, text[(i * 31 + len(p)) % 997][:500], "stop", 130, i, -1.5 * i, 0.25, "vllm", "0.31.0")
            for p in ids for i in range(N)
        )
        lap("append 1,000,000")
        outcomes = (Outcome.WRONG, Outcome.CORRECT, Outcome.CORRECT)
        verdicts.append_many(Verdict(p, i, outcomes[i % 3], "4") for p in ids for i in range(N))
        lap("judge 1,000,000")
else:
    with SampleStore.open(root, SPEC) as store, VerdictStore.open(store, "abc") as verdicts:
        lap("open")
        assert store.count() == P * N and store.missing(ids, N) == {} and verdicts.missing(ids, N) == {}
        assert sum(verdicts.counts().values(), Counter()) == {Outcome.CORRECT: 666_000, Outcome.WRONG: 334_000}
        lap("count")
    (info,) = list_stores(root)
    assert info.samples == P * N and info.verdicts[0].verdicts == P * N
    lap(f"list ({info.bytes >> 20} MiB)")
    with SampleStore.open_folder(info.path) as store, VerdictStore.open(store, "abc", read_only=True) as verdicts:
        assert sum(1 for _ in store.samples()) == P * N
        lap("read samples")
        assert sum(1 for _ in verdicts.verdicts()) == P * N
        lap("read verdicts")
print(peak_bytes())
"""


@pytest.mark.slow
def test_a_million_samples_are_stored_counted_and_read_within_a_gigabyte(tmp_path: Path) -> None:
    for step in ("write", "read"):
        done = subprocess.run(
            [sys.executable, "-c", WORK, str(tmp_path), step], stdout=subprocess.PIPE, text=True, check=True
        )
        peak = int(done.stdout)
        print(f"{step}: {peak >> 20} MiB at most")
        assert peak < 400 << 20
