"""What only a GPU can show: bf16 trainings, vLLM beside them, and that samples are those of the CPU.

`make test-all` runs them on a machine with a CUDA device; about ten minutes on an H100.
"""

import json
import math
import signal
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from kurve.store import SampleStore
from kurve.training_record import TrainingRecord, read
from kurve.types import Sample
from tests.conftest import command_environment, command_line

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1200)]

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

LONG = 400.0  # seconds of one command, the start of an engine and its compilation included
PROBLEMS, SAMPLES = 128, 64
DRAWN = (
    f"num_samples={SAMPLES}",
    "benchmark=countdown",
    f"benchmark.num_problems={PROBLEMS}",
    "sampling=untempered",
    "sampling.max_tokens=20",
    "tracker=dir",
)
TRAINED = (
    "training.use_cpu=false",
    "training.bf16=true",
    "training.gradient_checkpointing=true",
    "training.disable_tqdm=true",
    "tracker=dir",
)
RLVR = (
    "train",
    "training=rlvr",
    "benchmark=countdown",
    "benchmark.split=train",
    "benchmark.num_problems=512",
    "verifier=countdown",
    "training.num_generations=16",
    "training.generation_batch_size=512",
    "training.per_device_train_batch_size=128",
    "training.max_completion_length=20",
    "training.learning_rate=3e-5",
    "training.save_steps=6",
    *TRAINED,
)
ALONE = ("training.use_vllm=false",)
COLOCATED = (
    "training.use_vllm=true",
    "training.vllm_mode=colocate",
    "training.vllm_gpu_memory_utilization=0.3",
    "training.vllm_max_model_length=64",
)


def _start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command_line(arguments),
        cwd=folder,
        env={**command_environment(), "KURVE_CACHE": str(folder / "cache"), "KURVE_OUT": str(folder / "outputs")},
        stdout=(folder / "out").open("a"),
        stderr=(folder / "err").open("a"),
        text=True,
        start_new_session=True,
    )


def _run(folder: Path, *arguments: str) -> str:
    """What a command prints, which has to end well."""
    folder.mkdir(parents=True, exist_ok=True)
    code = _start(folder, *arguments).wait(LONG)
    assert code == 0, (folder / "err").read_text()[-3000:]
    return (folder / "out").read_text()


def _samples(folder: Path) -> dict[tuple[str, int], Sample]:
    [spec] = (folder / "outputs" / "samples").glob("*/spec.json")
    with SampleStore.open_folder(spec.parent) as store:
        return {(one.problem_id, one.index): one for one in store.samples()}


def _training(folder: Path) -> tuple[Path, TrainingRecord]:
    [file] = (folder / "outputs" / "models").glob("*/training.json")
    record = read(file.parent)
    assert record is not None
    return file.parent, record


def _points(folder: Path, key: str) -> list[float]:
    """What a training tracked under a key, in order of its steps."""
    rows = [
        json.loads(line)
        for file in (folder / "outputs" / "tracking").glob("*/points.jsonl")
        for line in file.read_text().splitlines()
    ]
    return [row["value"] for row in sorted(rows, key=lambda row: int(row["step"])) if row["key"] == key]


def _wait(true: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + LONG
    while not true():
        assert process.poll() is None, "the command ended before"
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def _engines() -> list[int]:
    """Processes of vLLM that are at work."""
    found = []
    for one in psutil.process_iter(["pid", "cmdline", "name", "status"]):
        words = " ".join([one.info["name"] or "", *(one.info["cmdline"] or [])])
        if ("vllm_worker" in words or "VLLM::" in words) and one.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(one.info["pid"])
    return found


def _log_probability(samples: dict[tuple[str, int], Sample]) -> float:
    """Nats a token, over all samples."""
    total = sum(one.logprob_sum or math.nan for one in samples.values())
    return total / sum(one.num_tokens for one in samples.values())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A base model that solves a few problems, trained on the GPU, as overrides."""
    folder = tmp_path_factory.mktemp("base")
    _run(
        folder,
        "train",
        "experiment=countdown_base",
        "training=supervised",
        "model.layers=6",
        "model.heads=12",
        "model.feed_forward=1024",
        "data.make.count=51200",
        "training.num_train_epochs=1",
        "training.per_device_train_batch_size=128",
        "training.gradient_accumulation_steps=1",
        "training.learning_rate=1e-3",
        "training.logging_steps=5",
        *TRAINED,
    )
    losses = _points(folder, "train/loss")
    assert losses[-1] < 0.5 * losses[0]
    return ("model=local", f"model.from_run={_training(folder)[0]}")


def test_the_gpu_draws_what_the_cpu_draws(tmp_path: Path) -> None:
    drawn = {}
    for device in ("cuda", "cpu"):
        folder = tmp_path / device
        _run(
            folder,
            "evaluate",
            "model=countdown_initial",
            "sampler=transformers_tiny",
            f"sampler.device={device}",
            *DRAWN,
        )
        drawn[device] = _samples(folder)

    assert drawn["cuda"].keys() == drawn["cpu"].keys()
    assert len(drawn["cuda"]) == PROBLEMS * SAMPLES
    same = [drawn["cuda"][key].text == drawn["cpu"][key].text for key in drawn["cpu"]]
    assert statistics.mean(same) > 0.98  # float32 sums in another order move a draw that sits on an edge


@pytest.mark.parametrize("algorithm", ["grpo", "rloo", "remax", "dapo", "ppo", "reinforce_pp", "distill_on_policy"])
def test_an_algorithm_trains_in_bfloat16(algorithm: str, base: tuple[str, ...], tmp_path: Path) -> None:
    given: tuple[str, ...] = (*RLVR, *ALONE)
    if algorithm == "distill_on_policy":
        teacher = base[1].removeprefix("model.from_run=")
        given = (
            "train", "benchmark=countdown", "benchmark.split=train", "benchmark.num_problems=512",
            f"teacher.path={teacher}/model", "algorithm.args.max_completion_length=20", *TRAINED,
        )  # fmt: skip
    _run(tmp_path, *given, *base, f"algorithm={algorithm}", "training.max_steps=6")

    _, record = _training(tmp_path)
    assert (record.status, record.final_step) == ("FINISHED", 6)
    gradients = _points(tmp_path, "train/grad_norm")
    assert gradients
    assert all(math.isfinite(norm) for norm in gradients)
    assert max(gradients) > 0


def test_a_lora_adapter_trains_in_bfloat16(base: tuple[str, ...], tmp_path: Path) -> None:
    _run(
        tmp_path,
        *RLVR,
        *ALONE,
        *base,
        "algorithm=grpo",
        "lora.r=8",
        "lora.target_modules=all-linear",
        "training.max_steps=4",
    )

    folder, record = _training(tmp_path)
    assert record.status == "FINISHED"
    assert (folder / "adapter" / "adapter_config.json").is_file()


def test_a_killed_training_goes_on_from_its_checkpoint(base: tuple[str, ...], tmp_path: Path) -> None:
    given = (*RLVR, *ALONE, *base, "algorithm=grpo", "training.max_steps=24")
    process = _start(tmp_path, *given)
    state = "outputs/models/*/checkpoints/checkpoint-6/trainer_state.json"
    _wait(lambda: next(tmp_path.glob(state), None) is not None, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _run(tmp_path, *given)

    _, record = _training(tmp_path)
    assert [one.status for one in record.attempts] == ["KILLED", "FINISHED"]
    assert record.attempts[1].first_step >= 6
    assert len(_points(tmp_path, "train/loss")) == 24


def test_vllm_samples_the_weights_that_are_trained_beside_it(base: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("vllm.version", reason="vLLM is not installed")
    _run(tmp_path, *RLVR, *COLOCATED, *base, "algorithm=grpo", "training.learning_rate=1e-4", "training.max_steps=8")

    ratios = _points(tmp_path, "train/sampling/importance_sampling_ratio/mean")
    assert len(ratios) >= 8
    assert all(0.9 < ratio < 1.1 for ratio in ratios)


def test_vllm_draws_what_transformers_draws(base: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("vllm.version", reason="vLLM is not installed")
    drawn = {}
    for sampler in ("vllm", "transformers_tiny"):
        _run(tmp_path / sampler, "evaluate", *base, "model.context=64", f"sampler={sampler}", *DRAWN)
        drawn[sampler] = _samples(tmp_path / sampler)
    assert not _engines()

    ours = drawn["vllm"]
    assert len(ours) == PROBLEMS * SAMPLES
    first = {problem: one.seed or 0 for (problem, index), one in ours.items() if index == 0}
    assert all(one.seed == first[problem] + index for (problem, index), one in ours.items())
    assert _log_probability(ours) == pytest.approx(_log_probability(drawn["transformers_tiny"]), abs=0.03)


def test_killed_with_its_engine_an_evaluation_draws_the_rest(base: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("vllm.version", reason="vLLM is not installed")
    given = ("evaluate", *base, "model.context=64", "sampler=vllm", *DRAWN, "num_samples=256")
    process = _start(tmp_path, *given)
    _wait(lambda: any(file.stat().st_size > 20_000 for file in tmp_path.glob("outputs/samples/*/samples-*")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while _engines() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _engines()
    _run(tmp_path, *given)

    assert len(_samples(tmp_path)) == PROBLEMS * 256
