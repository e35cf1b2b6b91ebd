"""A training on several processes: one of them is started a GPU, by `accelerate launch`, on the resolved config.

This process stays the only one that Hydra knows. It imports no torch, waits, hands on what tells it to stop, and ends
as its processes did. Rank 0 holds the training's lock, tracks, writes its record and prints.

    <the run's folder>/
        resolved.yaml        what the processes work on
        accelerate.yaml      how many there are, and of what kind
        accelerate.log       what accelerate and torch say of starting and ending them
        failed-<rank>.json   why a process ended with an error
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from kurve.commands.build import plain
from kurve.commands.sample import Terminated
from kurve.commands.sampling_plan import whole
from kurve.errors import ConfigError, TrainingError
from kurve.store.disk import write_atomically

RESOLVED, SETTINGS, LOG = "resolved.yaml", "accelerate.yaml", "accelerate.log"
PARENT = "KURVE_TRAINING_PARENT"  # process id of the one that the agent leaves with

_PATIENCE = 40.0  # seconds to stop in; torch kills a process that takes longer than 30


def launch_settings(cfg: DictConfig) -> dict[str, Any] | None:
    """What `accelerate launch` is to be told; None for a training in this process.

    Raises:
        ConfigError: a setting that cannot work, or a process that accelerate has started already.
    """
    if cfg.get("accelerate") is None:
        return None
    if find_spec("accelerate") is None:
        raise ConfigError("accelerate, which starts the processes, is not installed: pip install 'kurve[train]'")
    settings: dict[str, Any] = plain(cfg.accelerate)
    whole(settings.get("num_processes"), "accelerate.num_processes", least=2)
    if settings.get("num_machines", 1) != 1:
        raise ConfigError(
            f"accelerate.num_machines={settings['num_machines']}: kurve starts the processes of one machine; on "
            "several, leave accelerate= out and start accelerate launch -m kurve.cli train ... on each"
        )
    if "RANK" in os.environ:
        raise ConfigError(
            "accelerate= asks for processes, and this one was started by accelerate launch or torchrun; leave one out"
        )
    return settings


def launch(cfg: DictConfig, settings: dict[str, Any]) -> None:
    """Train on several processes, to the end.

    Raises:
        TrainingError: they ended with an error, which is told; or they cannot be started.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    runtime = {"output_dir": str(folder), "choices": plain(hydra.runtime.choices)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("failed-*.json"):
            old.unlink()
        _write(folder / RESOLVED, {**plain(cfg), "hydra": {"runtime": runtime}})
        _write(folder / SETTINGS, {"main_process_port": _free_port(), **settings})
    except OSError as error:
        raise TrainingError(f"cannot write into {folder}: {error.strerror or error}; make room") from error
    status = _run(folder)
    if status:
        raise _failure(folder, status)


def _run(folder: Path) -> int:
    """Start the processes and wait for them; whatever interrupts the wait is handed on first."""
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    process = subprocess.Popen(
        [sys.executable, "-m", "kurve.commands.training_agent", str(folder)],
        env={**environment, PARENT: str(os.getpid())},
        start_new_session=True,  # Ctrl-C comes here only, and is handed on once
    )
    try:
        return process.wait()
    except BaseException as reason:  # Ctrl-C, SIGTERM, or a scheduler that queues this job again
        interrupted = isinstance(reason, KeyboardInterrupt) and not isinstance(reason, Terminated)
        _stop(process, signal.SIGINT if interrupted else signal.SIGTERM)
        raise


def _stop(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    process.send_signal(number)
    try:
        process.wait(_PATIENCE)
    except BaseException as error:  # it takes too long, or a person cannot wait
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the ranks leave with it
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


def _failure(folder: Path, status: int) -> TrainingError:
    """What went wrong, in the words of the process that failed first."""
    found = [json.loads(path.read_bytes()) for path in folder.glob("failed-*.json")]
    if found:
        return TrainingError(str(min(found, key=lambda one: float(one["time"]))["message"]))
    return TrainingError(
        f"a process of the training was killed or crashed (accelerate launch ended with {status}; {folder / LOG}); "
        "the same command goes on from the last checkpoint"
    )


def _write(path: Path, settings: dict[str, Any]) -> None:
    """As YAML, for this user's eyes: resolved settings may hold what the environment hides."""
    text = OmegaConf.to_yaml(OmegaConf.create(_literal(settings)))
    write_atomically(path, text.encode("utf-8", "backslashreplace"), mode=0o600)


def _literal(value: Any) -> Any:
    """The value with its texts such that they are read back as they are, `${` and all."""
    if isinstance(value, dict):
        return {key: _literal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_literal(inner) for inner in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
