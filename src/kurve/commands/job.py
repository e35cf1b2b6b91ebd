"""What Hydra calls with a composed config, in whatever process it runs: a command, and in a sweep its bookkeeping."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from kurve import sweep
from kurve.commands import made
from kurve.commands.resolvers import register_resolvers
from kurve.errors import ConfigError, KurveError, SweepError
from kurve.study import read_made

CONTROLLER = "KURVE_SWEEP_CONTROLLER"  # process id and host of what started the sweep
LOG = "job.log"  # in the job's folder: what the job printed, where another process than the controller runs it
_MADE = "made.jsonl"  # in the job's folder: what its command told that it made


class Job:
    """A command, ready to be called with its config, here or after being sent to another process.

    In a single run the command's own errors are kept in `failures`, since Hydra would print a line of its own for each.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        self.failures: list[KurveError | KeyboardInterrupt] = []
        register_resolvers()  # a worker composes the config before it calls the job

    def __reduce__(self) -> tuple[type["Job"], tuple[str]]:
        return Job, (self.command,)

    def __call__(self, cfg: DictConfig) -> None:
        """Run the command."""
        entry: Callable[[DictConfig], None] = import_module(f"kurve.commands.{self.command}").main
        hydra = HydraConfig.get()
        if hydra.mode == RunMode.MULTIRUN:
            _in_sweep(entry, cfg, self.command, Path(hydra.runtime.output_dir))
            return
        try:
            _run(entry, cfg, self.command)
        except (KurveError, KeyboardInterrupt) as error:
            self.failures.append(error)


def _in_sweep(entry: Callable[[DictConfig], None], cfg: DictConfig, command: str, folder: Path) -> None:
    """Run the command as one job of a sweep.

    Raises:
        SweepError: it failed; any other exception might not travel back to the controller.
    """
    if int(os.environ.get("SLURM_PROCID", "0")):  # Slurm starts a job once a task; one of them does the work
        return
    with _printing_to(folder / LOG), sweep.attempt(folder) as attempt:
        if attempt is None:
            return
        told = folder / _MADE
        told.unlink(missing_ok=True)
        try:
            with _told(told):
                _run(entry, cfg, command)
        except KurveError as error:
            sys.stderr.write(f"kurve: {error}\n")
            raise SweepError(str(error)) from None
        except Exception as error:  # noqa: BLE001 the whole of it is in the log, and no other type travels safely
            traceback.print_exc()
            raise SweepError(f"{type(error).__name__}: {error}") from None
        finally:
            if found := read_made(told):
                attempt.facts.update({"folder": found.folder, **found.paths, **found.facts})


def _run(entry: Callable[[DictConfig], None], cfg: DictConfig, command: str) -> None:
    """Run the command on settings that are all given; what OmegaConf finds open is the user's to fill in."""
    try:
        for name, path in cfg.paths.items():
            if not isinstance(path, str):
                raise ConfigError(f"paths.{name} must be a folder, got {path}".replace("None", "null"))
        entry(cfg)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        if key == "samples":
            raise ConfigError(
                f"kurve {command} needs samples=<folder or fingerprint>; kurve list samples shows what is stored"
            ) from error
        if command == "import" and key == "path":
            raise ConfigError("kurve import needs path=<file, folder or pattern>, several with commas") from error
        if command == "compare" and key in ("base", "tuned"):
            raise ConfigError(
                f"kurve compare needs {key}=<model>: a counts file, a sample store, a run id or models:/<name>@<alias>"
            ) from error
        if command == "promote" and key in ("registered_model", "version"):
            raise ConfigError(
                "kurve promote needs model=<name of a registered model> version=<its number>, as MLflow shows them"
            ) from error
        raise ConfigError(f"{key or 'the config'} is not set: {error.msg or error}") from error


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """While the block lasts, what a command makes is told in `file`."""
    before = os.environ.get(made.VARIABLE)
    os.environ[made.VARIABLE] = str(file)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(made.VARIABLE, None)
        else:
            os.environ[made.VARIABLE] = before


@contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """In another process than the controller, what is printed goes to a log: several jobs share one terminal."""
    if os.environ.get(CONTROLLER, identity()) == identity():
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        saved = [os.dup(1), os.dup(2)]
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, before in zip((1, 2), saved, strict=True):
                os.dup2(before, descriptor)
                os.close(before)


def identity() -> str:
    """What tells this process from any other one."""
    return f"{os.getpid()}@{os.uname().nodename}"
