import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kurve.chatter import Echo, last_errors, matters, redirect
from kurve.errors import ConfigError

NOISE = "(EngineCore pid=7) INFO 11-23 17:41:41 [core.py:380] init engine took 5.70 s"
WARNING = "(EngineCore pid=7) WARNING 11-23 17:41:41 [sched.py:3] Request 12 is preempted: KV cache too small"
HARMLESS = (
    "WARNING 11-23 17:41:07 [vllm.py:1] max_num_batched_tokens (4096) exceeds max_num_seqs * max_model_len (512)."
)
ERROR = "(EngineCore pid=7) ERROR 11-23 17:41:41 [core.py:1] EngineCore encountered a fatal error."
RAISED = "(EngineCore pid=7) ERROR 11-23 17:41:41 [core.py:2] ValueError: max_model_len is too large"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_output_of_this_and_child_processes_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "engine.log"
    done = run(
        "import os, subprocess, sys; from pathlib import Path; from kurve.chatter import redirect\n"
        f"with redirect(Path({str(log)!r})) as terminal:\n"
        "    print('python'); os.write(2, b'descriptor\\n'); subprocess.run(['echo', 'child'])\n"
        f"    with redirect(Path({str(log.with_name('inner.log'))!r})) as inner:\n"
        "        print('inner'); print('person', file=inner)\n"
        "    print('again')\n"
        "print('after')"
    )
    assert (done.stdout, done.stderr) == ("after\n", "person\n")
    assert sorted(log.read_text().split()) == ["again", "child", "descriptor", "python"]
    assert log.with_name("inner.log").read_text() == "inner\n"


def test_output_is_restored_after_an_exception(tmp_path: Path) -> None:
    done = run(
        "from pathlib import Path; from kurve.chatter import redirect\n"
        "for _ in range(300):\n"
        "    try:\n"
        f"        with redirect(Path({str(tmp_path / 'log')!r})):\n"
        "            raise ValueError\n"
        "    except ValueError: pass\n"
        "import os; print('back', len(os.listdir('/proc/self/fd')))"
    )
    assert done.stdout.split()[0] == "back"
    assert int(done.stdout.split()[1]) < 10


def test_without_a_log_nothing_is_redirected(capfd: pytest.CaptureFixture[str]) -> None:
    with redirect(None) as terminal:
        os.write(1, b"seen")
    assert terminal is sys.stderr
    assert capfd.readouterr().out == "seen"


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"), redirect(tmp_path / "file" / "log"):
        pass


def test_lines_that_matter_are_told_once(tmp_path: Path) -> None:
    log, told = tmp_path / "log", list[str]()
    log.write_text(f"{RAISED}\n")
    with Echo(log, log.stat().st_size, tell=told.append), log.open("a") as file:
        for line in (NOISE, WARNING, WARNING.replace("12", "13"), ERROR, "progress 1%\rprogress 2%"):
            file.write(line + "\n")
        file.flush()
        time.sleep(0.1)
    assert told == [
        "Request 12 is preempted: KV cache too small",
        "EngineCore encountered a fatal error.",
    ]


def test_a_log_of_noise_without_line_ends_costs_little(tmp_path: Path) -> None:
    log, told = tmp_path / "log", list[str]()
    log.write_bytes(os.urandom(1 << 16).replace(b"\n", b" ") * 400)
    started = time.monotonic()
    with Echo(log, tell=told.append):
        pass
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("line", [NOISE, "", "hello ERRORS", HARMLESS, "WARNING 11-23 17:41:07 [cpu.py:207] No Triton"])
def test_lines_that_do_not_matter_are_left_in_the_log(line: str) -> None:
    assert matters(line) is None


def test_the_last_errors_are_found(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"OSError: of an earlier run\n{NOISE}\n{RAISED}\n{NOISE}\nRuntimeError: Engine failed\n")
    assert last_errors(log, 27) == ["ValueError: max_model_len is too large", "RuntimeError: Engine failed"]
    log.write_text(
        '[rank0]: Traceback (most recent call last):\n[rank0]:   File "a.py"\n[rank0]: a.Error: Token id 514\n'
    )
    assert last_errors(log) == ["a.Error: Token id 514"]
    assert last_errors(tmp_path / "none") == []
