"""Start, feed and end an engine that runs in a process group of its own.

The engine's chatter goes to a log file because its standard output *is* that file; its environment is its own; and
ending the group ends whatever the engine started, so no engine is left behind.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import IO, Any, Self

from kurve.errors import SamplingError


@dataclass(frozen=True, slots=True)
class Row:
    """A finished sample on its way out of an engine process."""

    key: int  # of the prompt
    index: int
    text: str
    finish_reason: str
    num_tokens: int
    seed: int | None
    logprob_sum: float | None


class EngineProcess:
    """One engine process; a context manager that ends it with everything it started.

    Args:
        settings: sent to the worker as its first message.
        env: variables set for the worker; those that the user has set already are in there too.
        log: receives the worker's standard output and error, appended.
        grace: seconds the engine gets to shut down by itself before its process group is killed.
    """

    def __init__(self, settings: Mapping[str, Any], *, env: Mapping[str, str], log: IO[bytes], grace: float) -> None:
        self._settings, self._env, self._log, self._grace = settings, env, log, grace
        self.max_num_seqs = 0  # known once it is ready
        self.version = ""
        self.in_flight = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self.link, theirs = Pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kurve.samplers.vllm_worker", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=dict(self._env),
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # the group to end is the worker's and nobody else's
            )
        except OSError as error:
            self.link.close()
            raise SamplingError(f"the engine's process cannot be started: {error}") from error
        finally:
            theirs.close()
        try:
            self.send(dict(self._settings))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, GeneratorExit):
            self._ask_to_stop()
        self.link.close()
        _end_group(self._process)

    @property
    def pid(self) -> int:
        """The worker's process id, which is also its group's."""
        return self._process.pid

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self._started

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def exit_code_soon(self, seconds: float) -> int | None:
        """The exit code of a process whose end of the socket is closed; None if it still runs after `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def send(self, message: object) -> None:
        """Send one message.

        Raises:
            SamplingError: the process is gone.
        """
        try:
            self.link.send(message)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise EngineGoneError(self) from error

    def receive(self) -> tuple[Any, ...]:
        """The next message; waits for it.

        Raises:
            SamplingError: the process is gone.
        """
        try:
            message: tuple[Any, ...] = self.link.recv()
        except (EOFError, ConnectionResetError) as error:
            raise EngineGoneError(self) from error
        return message

    def _ask_to_stop(self) -> None:
        try:
            self.link.send(("stop",))
        except (BrokenPipeError, ConnectionResetError):
            return
        deadline = time.monotonic() + self._grace
        while self._process.poll() is None and time.monotonic() < deadline:
            if self.link.poll(0.05):
                self._drop_message()

    def _drop_message(self) -> None:
        # A worker that waits for us to read what it drew meanwhile would not get to the stop.
        try:
            self.link.recv()
        except (EOFError, ConnectionResetError):
            time.sleep(0.05)


class EngineGoneError(SamplingError):
    """The engine's process ended by itself."""

    def __init__(self, process: EngineProcess, what: str = "the engine's process ended") -> None:
        super().__init__(what)
        self.process = process
        self.exit_code = process.exit_code_soon(2.0)  # now: soon it is ended by us, with another code


def ready(processes: list[EngineProcess], timeout: float) -> list[EngineProcess]:
    """Those with a message to receive, waiting at most `timeout` seconds for the first.

    Raises:
        EngineGoneError: one of them ended and left no message.
    """
    by_link: dict[Connection, EngineProcess] = {process.link: process for process in processes}
    found = [by_link[link] for link in wait(list(by_link), timeout) if isinstance(link, Connection)]
    for process in processes:
        # Not seen through the socket alone: a child that the engine forked may hold the other end open.
        if process not in found and process.exit_code is not None and not process.link.poll(0):
            raise EngineGoneError(process)
    return found


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End every process of the worker's group and collect the worker."""
    for sig, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience
        try:
            os.killpg(process.pid, sig)
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)  # raises once nobody is left
                time.sleep(0.02)
        except ProcessLookupError:
            break
    process.wait()
