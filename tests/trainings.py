"""Trainings as a user starts them: a model of 0.1M parameters, real TRL, and what is on disk afterwards."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from kurve.training_record import TrainingRecord, read
from tests.conftest import command_environment, command_line
from tests.here import run_here
from tests.samplers.tiny import make_tiny_model

SFT = (
    "train",
    "algorithm=sft",
    "training=supervised_cpu",
    "prompt=raw",
    "data=jsonl",
    "data.path=demonstrations.jsonl",
    "model.path=tiny",
    "tracker=dir",
    "training.per_device_train_batch_size=8",
    "training.logging_steps=1",
)
SHORT = (*SFT, "training.max_steps=4", "training.save_steps=2", "tags.role=distilled", "tags.study=s1")
LONG = 120.0  # seconds that one command may take on a busy machine


def place(folder: Path) -> Path:
    """A model and demonstrations in `folder`; 8 steps of 8 rows are an epoch."""
    folder.mkdir(exist_ok=True)
    make_tiny_model(folder / "tiny")
    rows = [{"question": f"What is {a} + {b} ?", "response": f"It is {a + b} ."} for a in range(8) for b in range(8)]
    (folder / "demonstrations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    # One thread: several spin against one another when tests share the cores.
    return {**command_environment(), "KURVE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", **more}


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_line(arguments),
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )


def here(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As `run`, in this process: for what trains nothing."""
    return run_here(folder, command_line(arguments)[3:], environment(folder))


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command_line(arguments),
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )


def hear_ctrl_c() -> None:
    """A shell's background job is deaf to SIGINT, and with it all that the tests start there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(folder: Path, pattern: str) -> Path:
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        if found := next(folder.glob(pattern), None):
            return found
        time.sleep(0.02)
    raise AssertionError(f"{pattern} did not appear")


def trained(folder: Path) -> tuple[Path, TrainingRecord]:
    """The only training in `folder`."""
    [file] = (folder / "outputs" / "models").glob("*/training.json")
    record = read(file.parent)
    assert record is not None
    return file.parent, record


def tracked(folder: Path, name: str) -> Any:
    [file] = (folder / "outputs" / "tracking").glob(f"*/{name}")
    text = file.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under `folder` with what it holds."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wait_for_step(training: Path, step: int) -> None:
    """Until the journal of a training in progress holds a number of this step."""
    points = training / "journal" / "points.jsonl"
    deadline = time.monotonic() + LONG
    while f'"step": {step},' not in points.read_text():
        assert time.monotonic() < deadline, f"step {step} was not reached"
        time.sleep(0.02)
