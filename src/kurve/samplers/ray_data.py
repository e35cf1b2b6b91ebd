"""Sample on the actors of a Ray cluster: each holds an engine of its own, each sample is a row of its own.

A row goes to the actor whose engine has taken what it was given before, so no actor waits while another has a queue,
and a sample comes back as soon as it is finished. The driver knows which rows every actor owes: when an actor or
its machine is gone, a new one gets them.
"""

import contextlib
import inspect
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kurve.errors import ConfigError, KurveError, SamplingError
from kurve.samplers import Sampler
from kurve.types import Decoding, Model, Prompt, Sample, SampleRequest

_GATHER = 0.2  # seconds that an actor gathers samples before it sends them
_LARGEST = 256  # samples in one message
_POLL = 1.0  # seconds

_TOGETHER = 32  # rows of one prompt in one request

_Row = tuple[Prompt, int, int]  # what is sent, which of the problem's samples, the problem's base seed
_NONE_YET: _Row = (Prompt(""), -1, -1)


@dataclass(frozen=True, slots=True)
class _News:
    """What an actor tells."""

    samples: list[Sample]
    taken: int  # rows that its engine has asked for so far
    drawing_for: float | None  # seconds; None: the engine is not ready


@dataclass(slots=True, eq=False)
class _Hand:
    """An actor as its driver sees it."""

    actor: Any
    news: Any  # the stream of what it tells
    owed: dict[tuple[str, int], _Row] = field(default_factory=dict)
    sent: int = 0
    taken: int = 0
    told_all: bool = False  # that no more rows come


class RayDataSampler:
    """Draws samples with engines on a Ray cluster.

    Samples are those of the engine in one process: their seeds do not depend on who draws them, and the store is the
    same. An actor that dies is replaced, up to `restarts` times in all; then, or when an engine fails by itself,
    sampling ends with an error and what was drawn is stored. A driver that is killed takes its actors along.

    kurve and the model must be at the same place on all machines of the cluster.

    Args:
        model: hub id or folder.
        decoding: how tokens are drawn.
        engine: makes the sampler of an actor from `model` and `decoding`.
        log: file on the actors' machines that receives the engines' output, where the engine writes one.
        address: of the cluster, `auto` for the one this machine belongs to; None starts one on this machine.
        actors: engines.
        gpus: of an actor.
        cpus: of an actor.
        queued: rows that wait in an actor's queue, so that its engine never runs dry.
        restarts: actors that may die.
        start_timeout: seconds until the cluster must have room for an actor.

    Raises:
        ConfigError: a setting out of range, or one that the engine refuses.
    """

    ready_at: float | None = None

    def __init__(
        self,
        *,
        model: Model,
        decoding: Decoding,
        engine: Callable[..., Any],
        log: str | Path | None = None,
        address: str | None = "auto",
        actors: int = 1,
        gpus: float = 1.0,
        cpus: float = 1.0,
        queued: int = 256,
        restarts: int = 3,
        start_timeout: float = 1800.0,
    ) -> None:
        for name, value, least in (("actors", actors, 1), ("queued", queued, 1), ("restarts", restarts, 0)):
            if value < least:
                raise ConfigError(f"sampler.{name}={value}; it must be {least} or more")
        if gpus < 0 or cpus < 0:
            raise ConfigError(f"sampler.gpus={gpus} and sampler.cpus={cpus} must be 0 or more")
        given = {"model": model, "decoding": decoding, "log": log}
        self._make = _Engine(engine, {key: value for key, value in given.items() if _takes(engine, key)})
        self.engine: str = self._make().engine
        self._address, self._actors = address, actors
        self._options: dict[str, float] = {"num_gpus": gpus, "num_cpus": cpus}
        self._queued, self._restarts, self._start_timeout = queued, restarts, start_timeout

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Refuse what the engine refuses, asked on a machine of the cluster with the resources of an actor.

        Raises:
            ConfigError: what the engine says, or that the cluster cannot be reached or has no room.
        """
        with _cluster(self._address) as ray:
            asked = ray.remote(_refusal).options(**self._options, max_retries=0).remote(self._make, list(prompts))
            try:
                said: str = ray.get(asked, timeout=self._start_timeout)
            except ray.exceptions.GetTimeoutError as error:
                raise ConfigError(self._no_room()) from error
            except ray.exceptions.RayError as error:
                raise SamplingError(f"the Ray cluster cannot run an engine: {_first_line(error)}") from error
        if said:
            raise ConfigError(said)

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[Sample]:
        """Draw the requested samples; see `Sampler.sample`."""
        rows = _rows(requests)
        first = next(rows, None)
        if first is None:
            return
        self.ready_at = None
        with _cluster(self._address) as ray:
            hands: list[_Hand] = []
            try:
                yield from self._draw(ray, hands, itertools.chain([first], rows))
            finally:
                for hand in hands:
                    ray.kill(hand.actor)

    def _draw(self, ray: Any, hands: list[_Hand], rows: Iterator[_Row]) -> Iterator[Sample]:
        hands += [self._start(ray) for _ in range(self._actors)]
        died, began, exhausted = 0, time.monotonic(), False
        while True:
            for hand in hands:
                exhausted = self._feed(hand, rows, exhausted=exhausted)
            waiting = [hand for hand in hands if hand.owed]
            if not waiting:
                return
            found, _ = ray.wait([hand.news for hand in waiting], timeout=_POLL)
            if self.ready_at is None and time.monotonic() - began > self._start_timeout:
                raise SamplingError(self._no_room())
            for hand in [hand for hand in waiting if hand.news in found]:
                try:
                    news: _News = ray.get(next(hand.news))
                except StopIteration as error:
                    raise SamplingError(f"an engine ended and left out {len(hand.owed)} samples") from error
                except ray.exceptions.RayTaskError as error:
                    raise SamplingError(f"an engine on the Ray cluster failed: {_cause(error)}") from error
                except ray.exceptions.RayError as error:  # the actor, its machine or the machine of its news is gone
                    died += 1
                    if died > self._restarts:
                        raise SamplingError(_too_often(died, error)) from error
                    hands[hands.index(hand)] = self._replaced(ray, hand, exhausted=exhausted)
                else:
                    yield from self._received(hand, news)

    def _received(self, hand: _Hand, news: _News) -> Iterator[Sample]:
        hand.taken = news.taken
        if news.drawing_for is not None and self.ready_at is None:
            self.ready_at = time.monotonic() - news.drawing_for
        for sample in news.samples:
            if hand.owed.pop((sample.problem_id, sample.index), None) is not None:
                yield sample

    def _feed(self, hand: _Hand, rows: Iterator[_Row], *, exhausted: bool) -> bool:
        """Fill the actor's queue; whether there are no more rows."""
        if hand.told_all:
            return exhausted
        wanted = 0 if exhausted else self._queued - (hand.sent - hand.taken)
        batch = list(itertools.islice(rows, max(wanted, 0)))
        exhausted = exhausted or len(batch) < wanted
        if batch or exhausted:
            _send(hand, batch, is_last=exhausted)
        return exhausted

    def _start(self, ray: Any) -> _Hand:
        # One thread draws and tells, the other takes rows.
        remote = ray.remote(_EngineActor).options(**self._options, max_concurrency=2, max_restarts=0)
        actor = remote.remote(self._make)
        return _Hand(actor, actor.draw.options(num_returns="streaming").remote())

    def _replaced(self, ray: Any, gone: _Hand, *, exhausted: bool) -> _Hand:
        """A new actor, which gets what the one that is gone owed."""
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(gone.actor)
        hand = self._start(ray)
        _send(hand, list(gone.owed.values()), is_last=exhausted)
        return hand

    def _no_room(self) -> str:
        return (
            f"no engine was ready after {self._start_timeout:.0f} s (sampler.start_timeout): the Ray cluster at "
            f"{self._address or 'this machine'} may have no room for an actor with {self._options['num_gpus']:g} GPUs "
            f"and {self._options['num_cpus']:g} CPUs; `ray status` shows what it has"
        )


@dataclass(frozen=True, slots=True)
class _Engine:
    """What makes an actor's sampler, there and here."""

    make: Callable[..., Any]
    settings: dict[str, Any]

    def __call__(self) -> Sampler:
        try:
            made: Sampler = self.make(**self.settings)
        except TypeError as error:
            raise ConfigError(f"sampler.engine: {error}") from error
        return made


class _EngineActor:
    """Runs on the cluster: rows in, samples out, one engine in between."""

    def __init__(self, make: _Engine) -> None:
        self._sampler = make()
        self._inbox: queue.Queue[_Row | None] = queue.Queue()
        self._outbox: queue.Queue[Sample | BaseException | None] = queue.Queue()
        self._taken = 0

    def feed(self, rows: Sequence[_Row], is_last: bool) -> None:
        """Take rows to draw."""
        for row in (*rows, *((None,) if is_last else ())):
            self._inbox.put(row)

    def draw(self) -> Iterator[_News]:
        """Draw until the last row is drawn, telling what is finished several times a second."""
        threading.Thread(target=self._run, daemon=True).start()
        told, ended = -1, False
        while not ended:
            samples: list[Sample] = []
            until = time.monotonic() + _GATHER
            while len(samples) < _LARGEST and (left := until - time.monotonic()) > 0:
                try:
                    one = self._outbox.get(timeout=left)
                except queue.Empty:
                    break
                if isinstance(one, BaseException):
                    raise one
                if one is None:
                    ended = True
                    break
                samples.append(one)
            if samples or self._taken != told:
                told = self._taken
                ready = self._sampler.ready_at
                yield _News(samples, told, None if ready is None else time.monotonic() - ready)

    def _run(self) -> None:
        try:
            for sample in self._sampler.sample(self._requests()):
                self._outbox.put(sample)
            self._outbox.put(None)
        except BaseException as error:  # noqa: BLE001 it is raised where the driver hears of it
            self._outbox.put(error)

    def _requests(self) -> Iterator[SampleRequest]:
        """The rows as they come, those of one prompt that wait already in one request: it is tokenised once."""
        row = self._inbox.get()
        while row is not None:
            prompt, index, seed = row
            indices = [index]
            row = self._next()
            while row is not None and row is not _NONE_YET and row[0] == prompt and len(indices) < _TOGETHER:
                indices.append(row[1])
                row = self._next()
            self._taken += len(indices)
            yield SampleRequest(prompt, tuple(indices), seed)
            if row is _NONE_YET:
                row = self._inbox.get()

    def _next(self) -> _Row | None:
        try:
            return self._inbox.get_nowait()
        except queue.Empty:
            return _NONE_YET


def _send(hand: _Hand, rows: Sequence[_Row], *, is_last: bool) -> None:
    hand.owed |= {(prompt.problem_id, index): (prompt, index, seed) for prompt, index, seed in rows}
    hand.sent += len(rows)
    hand.told_all = is_last
    hand.actor.feed.remote(rows, is_last)


def _rows(requests: Iterable[SampleRequest]) -> Iterator[_Row]:
    return ((one.prompt, index, one.seed) for one in requests for index in one.indices)


def _refusal(make: _Engine, prompts: Sequence[Prompt]) -> str:
    """What the engine has against these prompts; empty if it takes them."""
    try:
        make().check(prompts)
    except KurveError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """Ray, connected; one that was connected before stays so."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError("sampler=ray_data needs Ray: pip install 'kurve[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", include_dashboard=None)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"sampler.address={address}: no Ray cluster can be reached there ({_first_line(error)}); start one with "
            "`ray start --head`, give its address, or sampler.address=null for one on this machine alone"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _takes(make: Callable[..., Any], key: str) -> bool:
    parameters = inspect.signature(getattr(make, "func", make)).parameters  # a wrong partial has none
    return key in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def _cause(error: Any) -> str:
    cause = getattr(error, "cause", None)
    return str(cause) if isinstance(cause, KurveError) else _first_line(cause or error)


def _too_often(died: int, error: BaseException) -> str:
    return (
        f"{died} actors on the Ray cluster died, more than sampler.restarts allows; the last: {_first_line(error)} "
        "What was drawn is stored, and the same command goes on"
    )


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
