"""`kurve evaluate` as a user types it, with a scripted sampler in place of a model."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from kurve.store import SampleStore
from kurve.types import Sample
from tests.conftest import RunKurve, command_environment, command_line, started
from tests.here import run_here
from tests.trainings import hear_ctrl_c

GSM8K_ROWS = [
    {"question": f"Ann has {n} apples and eats {n - answer}. How many are left?", "answer": f"She has\n#### {answer}"}
    for n, answer in [(5, 1), (6, 2), (7, 3), (8, 4)]
]
BASE = (
    "model=local",
    "model.path=unused/model",
    "sampler=scripted",
    "benchmark=gsm8k",
    "benchmark.path=problems.jsonl",
)


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Four problems in GSM8K's own format; the scripted sampler never finds the fourth answer."""
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in GSM8K_ROWS), encoding="utf-8")
    return path


def stored(folder: Path) -> list[tuple[str, int]]:
    """(problem id, index) of every stored sample, read with the product's own reader."""
    [spec] = (folder / "outputs" / "samples").glob("*/spec.json")
    with SampleStore.open_folder(spec.parent) as store:
        return [(sample.problem_id, sample.index) for sample in store.samples()]


def counts(folder: Path) -> list[dict[str, object]]:
    """The newest counts.jsonl."""
    newest = max((folder / "outputs" / "runs").glob("*/*/report/counts.jsonl"), key=lambda path: path.stat().st_mtime)
    return [json.loads(line) for line in newest.read_text(encoding="utf-8").splitlines()]


@pytest.mark.usefixtures("problems")
def test_an_evaluation_ends_with_its_numbers_and_where_to_look(kurve: RunKurve, tmp_path: Path) -> None:
    done = kurve("evaluate", *BASE, "num_samples=16", "tracker=dir")
    assert done.returncode == 0, done.stderr
    assert "pass@1" in done.stdout
    assert "pass@16" in done.stdout
    assert "samples  " in done.stdout
    assert "files    " in done.stdout
    assert len(stored(tmp_path)) == len(set(stored(tmp_path))) == 64
    rows = counts(tmp_path)
    assert [row["n"] for row in rows] == [16] * 4
    assert [row["c"] for row in rows][3] == 0
    assert all(0 < int(str(row["c"])) < 16 for row in rows[:3])


@pytest.mark.usefixtures("problems")
def test_a_second_start_draws_nothing_and_finds_its_run(kurve_here: RunKurve, tmp_path: Path) -> None:
    first = kurve_here("evaluate", *BASE, "num_samples=8")
    assert first.returncode == 0, first.stderr
    second = kurve_here("evaluate", *BASE, "num_samples=8", "sampler.fail_after=0")
    assert second.returncode == 0, second.stderr
    assert "logged before" in second.stdout
    assert len(stored(tmp_path)) == 32


@pytest.mark.usefixtures("problems")
def test_growing_n_draws_only_what_is_missing(kurve_here: RunKurve, tmp_path: Path) -> None:
    assert kurve_here("sample", *BASE, "num_samples=8").returncode == 0
    grown = kurve_here("sample", *BASE, "num_samples=12")
    assert grown.returncode == 0, grown.stderr
    assert "16/16" in grown.stderr
    assert len(stored(tmp_path)) == len(set(stored(tmp_path))) == 48


@pytest.mark.usefixtures("problems")
def test_a_failing_engine_keeps_its_samples_and_the_next_start_goes_on(kurve_here: RunKurve, tmp_path: Path) -> None:
    failed = kurve_here("evaluate", *BASE, "num_samples=8", "sampler.fail_after=5", "tracker=dir")
    assert failed.returncode == 2
    assert "stops after 5 samples" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert len(stored(tmp_path)) == 5
    assert kurve_here("evaluate", *BASE, "num_samples=8", "tracker=dir").returncode == 0
    assert len(stored(tmp_path)) == len(set(stored(tmp_path))) == 32


@pytest.mark.usefixtures("problems")
def test_kill_9_at_any_moment_loses_no_stored_sample_and_doubles_none(tmp_path: Path) -> None:
    arguments = ("evaluate", *BASE, "num_samples=32", "tracker=dir", "sampler.seconds=0.02")
    moment = random.Random(7)
    for _ in range(3):
        running = started(arguments, tmp_path)
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("outputs/samples/*/spec.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(moment.uniform(0.1, 1.2))
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    before = set(stored(tmp_path))
    done = subprocess.run(
        command_line(arguments), cwd=tmp_path, env=command_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    after = stored(tmp_path)
    assert before <= set(after)
    assert len(after) == len(set(after)) == 4 * 32
    assert [row["n"] for row in counts(tmp_path)] == [32] * 4


@pytest.mark.usefixtures("problems")
def test_the_same_samples_are_drawn_whatever_the_interruption(kurve_here: RunKurve, tmp_path: Path) -> None:
    kurve_here("sample", *BASE, "num_samples=6", "sampler.fail_after=7")
    kurve_here("sample", *BASE, "num_samples=6")
    kurve_here("sample", *BASE, "num_samples=6", f"paths.out={tmp_path / 'straight'}")
    texts = [
        sorted((s.problem_id, s.index, s.text) for s in _all_samples(tmp_path / out)) for out in ("outputs", "straight")
    ]
    assert texts[0] == texts[1]


def _all_samples(out: Path) -> list[Sample]:
    [spec] = (out / "samples").glob("*/spec.json")
    with SampleStore.open_folder(spec.parent) as store:
        return list(store.samples())


def size(path: Path) -> int:
    return path.stat().st_size


@pytest.mark.usefixtures("problems")
def test_ctrl_c_exits_130_and_the_samples_stay(tmp_path: Path) -> None:
    running = subprocess.Popen(
        command_line(("evaluate", *BASE, "num_samples=64", "tracker=dir", "sampler.seconds=0.05")),
        preexec_fn=hear_ctrl_c,
        cwd=tmp_path,
        env=command_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not any(map(size, tmp_path.glob("outputs/samples/*/samples-*.jsonl"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in stderr
    [run] = tmp_path.glob("outputs/tracking/*/run.json")
    assert json.loads(run.read_text(encoding="utf-8"))["status"] == "KILLED"


@pytest.mark.usefixtures("problems")
def test_stored_samples_are_verified_and_reported_without_the_model(kurve_here: RunKurve, tmp_path: Path) -> None:
    assert kurve_here("sample", *BASE, "num_samples=8").returncode == 0
    [spec] = tmp_path.glob("outputs/samples/*/spec.json")
    fingerprint = spec.parent.name
    verified = kurve_here("verify", f"samples={fingerprint}")
    assert verified.returncode == 0, verified.stderr
    assert "correct" in verified.stdout
    reported = kurve_here("report", f"samples={fingerprint[:6]}", "tracker=dir")
    assert reported.returncode == 0, reported.stderr
    assert "pass@8" in reported.stdout
    smaller = kurve_here("report", f"samples={spec.parent}", "num_samples=4", "tracker=dir")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = command_line(("report", f"samples={spec.parent}", "tracker=none"))[3:]
    far = run_here(elsewhere, words, command_environment())
    assert far.returncode == 0, far.stderr
    assert smaller.returncode == 0, smaller.stderr
    assert "pass@4" in smaller.stdout
    assert [row["n"] for row in counts(tmp_path)] == [4] * 4


@pytest.mark.usefixtures("problems")
def test_a_report_covers_all_stored_problems_whatever_was_drawn_last(kurve_here: RunKurve, tmp_path: Path) -> None:
    assert kurve_here("sample", *BASE, "num_samples=4").returncode == 0
    assert kurve_here("sample", *BASE, "num_samples=2", "benchmark.limit=1").returncode == 0
    [spec] = tmp_path.glob("outputs/samples/*/spec.json")
    assert kurve_here("report", f"samples={spec.parent}", "tracker=none").returncode == 0
    assert [row["n"] for row in counts(tmp_path)] == [4] * 4
    assert kurve_here("report", f"samples={spec.parent}", "tracker=none", "limit=2").returncode == 0
    assert len(counts(tmp_path)) == 2


@pytest.mark.usefixtures("problems")
def test_a_full_disk_is_said_in_words_and_what_was_stored_stays(kurve: RunKurve, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here; it takes root")
    try:
        done = kurve("evaluate", *BASE, "num_samples=500", "tracker=none", f"paths.samples={small}")
        assert done.returncode == 2
        assert "free some space" in done.stderr
        assert "Traceback" not in done.stderr
        [spec] = small.glob("*/spec.json")
        with SampleStore.open_folder(spec.parent) as store:
            kept = [(sample.problem_id, sample.index) for sample in store.samples()]
        assert len(kept) == len(set(kept)) > 10
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("problems")
def test_two_seeds_merge_into_one_store_that_reports(kurve_here: RunKurve, tmp_path: Path) -> None:
    for seed in (0, 1):
        assert kurve_here("sample", *BASE, "num_samples=4", f"seed={seed}").returncode == 0
    names = sorted(path.parent.name for path in tmp_path.glob("outputs/samples/*/spec.json"))
    merged = kurve_here("merge", f"samples=[{','.join(names)}]")
    assert merged.returncode == 0, merged.stderr
    [new] = {path.parent.name for path in tmp_path.glob("outputs/samples/*/spec.json")} - set(names)
    reported = kurve_here("report", f"samples={new}", "tracker=dir")
    assert reported.returncode == 0, reported.stderr
    assert "pass@8" in reported.stdout


@pytest.mark.usefixtures("problems")
def test_a_dead_tracking_server_is_refused_before_anything_is_drawn(kurve_here: RunKurve, tmp_path: Path) -> None:
    refused = kurve_here("evaluate", *BASE, "num_samples=8", "tracker.uri=http://127.0.0.1:9")
    assert refused.returncode == 2
    assert "http://127.0.0.1:9" in refused.stderr
    assert not (tmp_path / "outputs" / "samples").exists()


@pytest.mark.usefixtures("problems")
def test_two_evaluations_of_the_same_store_do_not_meet(tmp_path: Path, kurve_here: RunKurve) -> None:
    slow = subprocess.Popen(
        command_line(("evaluate", *BASE, "num_samples=64", "tracker=none", "sampler.seconds=0.05")),
        cwd=tmp_path,
        env=command_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("outputs/samples/*/spec.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        second = kurve_here("evaluate", *BASE, "num_samples=64", "tracker=none")
        assert second.returncode == 2
        assert str(slow.pid) in second.stderr
    finally:
        slow.terminate()
        slow.wait(timeout=60)
