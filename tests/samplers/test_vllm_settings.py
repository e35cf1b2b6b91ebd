import sys

import pytest

from kurve.errors import ConfigError
from kurve.samplers.vllm import DrawJob, VllmSampler, _top_up
from kurve.samplers.vllm_settings import engine_environments, is_cpu_build, split_devices
from kurve.types import Model, Prompt, SampleRequest
from tests.samplers.requests import decoding

pytest.importorskip("vllm.version", reason="vLLM is not installed")


def build(**settings: object) -> VllmSampler:
    return VllmSampler(model=Model("m", "org/m"), decoding=decoding(), **settings)  # type: ignore[arg-type]  # tried below


def test_an_unknown_engine_argument_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean max_num_batched_tokens"):
        build(engine_args={"max_num_batch_tokens": 1})


def test_an_engine_argument_that_another_setting_decides_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"decided by model\.context"):
        build(engine_args={"max_model_len": 100})


def test_real_engine_arguments_are_taken() -> None:
    build(engine_args={"enforce_eager": True, "kv_cache_dtype": "auto"})


@pytest.mark.parametrize("name", ["tensor_parallel_size", "data_parallel_size", "max_num_seqs", "cpu_kvcache_gb"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"sampler.{name}=0"):
        build(**{name: 0})


def test_each_engine_gets_its_own_devices() -> None:
    assert split_devices(["4", "5", "6", "7", "8"], 2, 2) == [["4", "5"], ["6", "7"]]
    with pytest.raises(ConfigError, match="need 8 GPUs but 5 are visible"):
        split_devices(["4", "5", "6", "7", "8"], 4, 2)


@pytest.mark.skipif(not is_cpu_build(), reason="needs vLLM's CPU build")
def test_settings_of_the_user_for_the_cpu_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    (first, second) = engine_environments(2, 1, 3)
    assert first == second
    assert (first["OMP_NUM_THREADS"], first["VLLM_CPU_KVCACHE_SPACE"]) == ("1", "3")


def test_a_sampler_is_made_without_importing_vllm() -> None:
    import subprocess

    code = (
        "import sys; from kurve.samplers.vllm import VllmSampler; from kurve.types import *; "
        "VllmSampler(model=Model('m','o/m'), decoding=Decoding(1,1,1), engine_args={'enforce_eager': True}); "
        "sys.exit(any(m in sys.modules for m in ('vllm', 'torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("width", [1, 2, 3, 64, 256])
def test_an_engines_queue_is_filled_but_never_beyond_twice_its_width(width: int) -> None:
    engines = [_Queue(width), _Queue(width)]
    given = [DrawJob(i, SampleRequest(Prompt(str(i), text="x"), tuple(range(7)), 0), [1]) for i in range(1000)]
    assert _top_up(engines, iter(given), {})  # type: ignore[arg-type]  # all that it uses of an engine process
    assert all(width < engine.in_flight <= 2 * width or width == 1 for engine in engines)
    assert [len(engine.sent) for engine in engines] == [engine.in_flight for engine in engines]


class _Queue:
    """An engine that only counts what it is sent."""

    def __init__(self, width: int) -> None:
        self.max_num_seqs, self.in_flight, self.sent = width, 0, list[int]()

    def send(self, message: tuple[str, int, list[int], list[int], int]) -> None:
        assert message[3]
        self.sent += message[3]
