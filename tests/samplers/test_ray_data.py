"""Engines on a real Ray cluster of this machine: the same samples as in one process, whoever dies."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from kurve.errors import ConfigError, SamplingError
from kurve.samplers.ray_data import RayDataSampler
from kurve.samplers.transformers import TransformersSampler
from kurve.types import Decoding, Model, Prompt, Sample, SampleRequest
from tests.scripted import ScriptedSampler

DECODING = Decoding(temperature=1.0, top_p=1.0, max_tokens=8)
MODEL = Model("unused", "unused")
WRONG: dict[str, Any] = {"wrong": 1}


def scripted(*, seconds: float = 0.0, fail_after: int | None = None, restarts: int = 3) -> RayDataSampler:
    """Two actors with scripted engines."""
    engine = partial(ScriptedSampler, seconds=seconds, fail_after=fail_after)
    return RayDataSampler(
        model=MODEL, decoding=DECODING, log="unused", engine=engine, address=None, actors=2, gpus=0, cpus=0.5, queued=4,
        restarts=restarts,
    )  # fmt: skip


def requests(samples: int) -> list[SampleRequest]:
    """Two problems with so many samples each."""
    return [SampleRequest(Prompt(name, text=f"{name}?"), tuple(range(samples)), 100 * i) for i, name in enumerate("ab")]


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """One cluster, which the sampler finds connected."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    os.environ.setdefault("RAY_worker_niceness", "0")  # on a busy machine its workers would starve at 15
    for attempt in range(4):  # Ray gives its node 30 seconds, which a busy machine may need more than once
        try:
            ray.init(
                address="local", num_cpus=2, log_to_driver=False, include_dashboard=False, object_store_memory=100 << 20
            )
            break
        except Exception:
            ray.shutdown()
            if attempt == 3:
                raise
    yield
    ray.shutdown()


def engines() -> list[psutil.Process]:
    """The actors' processes."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # which a zombie is too
            if "_EngineActor" in " ".join(one.cmdline()):
                found.append(one)
    return found


def assert_they_leave() -> None:
    """No actor is left after a while."""
    deadline = time.monotonic() + 60
    while engines() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not engines()


def test_settings_out_of_range_and_unknown_ones_of_the_engine_are_refused_without_ray() -> None:
    with pytest.raises(ConfigError, match=r"sampler.actors=0; it must be 1 or more"):
        RayDataSampler(model=MODEL, decoding=DECODING, engine=ScriptedSampler, log="unused", actors=0)
    with pytest.raises(ConfigError, match="gpus=-1"):
        RayDataSampler(model=MODEL, decoding=DECODING, engine=ScriptedSampler, log="unused", gpus=-1)
    with pytest.raises(ConfigError, match=r"sampler.engine: .*wrong"):
        RayDataSampler(model=MODEL, decoding=DECODING, engine=partial(TransformersSampler, **WRONG))
    with pytest.raises(ConfigError, match="batch_size=0"):
        RayDataSampler(model=MODEL, decoding=DECODING, engine=partial(TransformersSampler, batch_size=0))


def test_a_missing_ray_is_refused_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    sampler = RayDataSampler(model=MODEL, decoding=DECODING, engine=TransformersSampler)
    with pytest.raises(ConfigError, match=r"pip install 'kurve\[ray\]'"):
        sampler.check([Prompt("a", text="a?")])


def test_it_draws_the_samples_of_its_engine() -> None:
    assert RayDataSampler(model=MODEL, decoding=DECODING, engine=TransformersSampler).engine == "transformers"


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_two_actors_draw_what_one_process_draws(tiny_model: Model) -> None:
    wanted = requests(40)
    alone = TransformersSampler(model=tiny_model, decoding=DECODING, device="cpu", batch_size=8)
    engine = partial(TransformersSampler, device="cpu", batch_size=8)
    spread = RayDataSampler(model=tiny_model, decoding=DECODING, engine=engine, actors=2, gpus=0, cpus=0.5, queued=4)
    spread.check([one.prompt for one in wanted])
    expected = {(one.problem_id, one.index): one for one in alone.sample(wanted)}
    found = list(spread.sample(wanted))
    assert sorted((one.problem_id, one.index) for one in found) == sorted(expected)
    same = [one.text == expected[one.problem_id, one.index].text for one in found]
    assert sum(same) >= 0.95 * len(same)  # batched arithmetic may round one in twenty differently
    assert {one.seed for one in found} == {one.seed for one in expected.values()}


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_an_actor_that_is_killed_is_replaced_and_no_sample_is_lost_or_drawn_twice() -> None:
    stream = scripted(seconds=0.05).sample(requests(200))
    found: list[Sample] = [next(stream)]
    while len(engines()) < 2:
        found.append(next(stream))
    engines()[0].kill()
    found += stream
    assert sorted((one.problem_id, one.index) for one in found) == [(p, i) for p in "ab" for i in range(200)]
    assert_they_leave()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_too_many_deaths_an_engine_s_failure_and_a_refusal_are_errors() -> None:
    stream = scripted(seconds=0.05, restarts=0).sample(requests(60))
    next(stream)
    engines()[0].kill()
    with pytest.raises(SamplingError, match=r"1 actors on the Ray cluster died, more than sampler.restarts allows"):
        list(stream)
    with pytest.raises(SamplingError, match="an engine on the Ray cluster failed: the scripted engine stops after 3"):
        list(scripted(fail_after=3).sample(requests(60)))
    missing = RayDataSampler(
        model=Model("m", "./no/such/model"), decoding=DECODING, engine=TransformersSampler, gpus=0, cpus=0.5
    )
    with pytest.raises(ConfigError, match="no such"):
        missing.check([Prompt("a", text="a?")])


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_requests_are_taken_as_they_are_needed_and_closing_ends_the_actors() -> None:
    taken = 0

    def lazily() -> Iterator[SampleRequest]:
        nonlocal taken
        for index in range(10_000):
            taken += 1
            yield SampleRequest(Prompt("a", text="a?"), (index,), 0)

    stream = scripted(seconds=0.02).sample(lazily())
    for _ in range(10):
        next(stream)
    assert taken < 1000
    stream.close()  # type: ignore[attr-defined]  # it is a generator
    assert_they_leave()
