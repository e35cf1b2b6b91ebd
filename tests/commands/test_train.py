"""`kurve train` as a user types it, with a model of 0.1M parameters and real TRL."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kurve.saved_steps import whats_missing
from tests import trainings
from tests.trainings import (
    LONG,
    SFT,
    SHORT,
    contents,
    environment,
    here,
    run,
    start,
    tracked,
    trained,
    wait_for,
    wait_for_step,
)

EVALUATE = ("evaluate", "benchmark=arithmetic", "benchmark.limit=2", "num_samples=2", "prompt=raw", "tracker=none",
            "sampler=transformers", "sampling.max_tokens=4")  # fmt: skip


def test_a_training_ends_with_a_model_its_steps_its_run_and_the_next_command(first: tuple[Path, str, str]) -> None:
    place, printed, errors = first
    folder, record = trained(place)
    assert f"model    {folder / 'model'}" in printed
    assert "steps    2, 4" in printed
    assert f"run      {record.run_url}" in printed
    assert f"kurve evaluate model.from_run={record.fingerprint}" in printed
    assert "4 steps" in printed
    assert re.search(r"training: step 4/4 \(100%\), loss \d", errors)
    assert "it/s" not in errors + printed  # the libraries' own bars are in the log
    assert "Loading weights" in (folder / "trainer.log").read_text()
    assert (folder / "model" / "model.safetensors").is_file()


def test_the_record_says_what_the_model_was_made_from(first: tuple[Path, str, str]) -> None:
    place, _, _ = first
    folder, record = trained(place)
    assert record.status == "FINISHED"
    assert record.final_step == 4
    assert record.tokens > 0
    assert record.base.path == str(place / "tiny")
    assert record.data["size"] == 64
    assert record.recipe["args"]["max_steps"] == 4
    assert "save_steps" not in record.recipe["args"]
    assert record.versions["trl"]
    document = json.loads((folder / "training.json").read_text())
    assert document["steps"] == {"2": "checkpoints/checkpoint-2", "4": "checkpoints/checkpoint-4"}
    assert "max_steps: 4" in (folder / "config.yaml").read_text()


def test_the_run_is_tagged_and_finished_and_holds_every_step(first: tuple[Path, str, str]) -> None:
    place, _, _ = first
    folder, _ = trained(place)
    tags = tracked(place, "tags.json")
    assert tags["kurve.kind"] == "training"
    assert tags["kurve.algorithm"] == "sft"
    assert tags["kurve.role"] == "distilled"
    assert tags["kurve.study"] == "s1"
    assert "kurve.base_run_id" not in tags
    assert tags["kurve.training"] == str(folder)
    state = tracked(place, "run.json")
    assert state["status"] == "FINISHED"
    losses = {p["step"]: p["value"] for p in tracked(place, "points.jsonl") if p["key"] == "train/loss"}
    assert sorted(losses) == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_training_becomes_a_version_of_a_registered_model_when_asked_to(tmp_path: Path) -> None:
    folder = trainings.place(tmp_path / "own")
    words = (*SHORT, "tracker=mlflow", "register=toy", "upload=true")
    done = run(folder, *words)
    assert done.returncode == 0, done.stderr
    assert "version  toy version 1" in done.stdout
    again = run(folder, *words)
    assert again.returncode == 0, again.stderr
    assert "nothing was done" in again.stdout
    assert "version  toy version 1" in again.stdout


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("register=toy",), "needs a tracker with a model registry"),
        (("register=3", "tracker=mlflow"), "expected the name of a registered model"),
        (("upload=true",), "name it with register=<name>"),
        (("upload=maybe", "register=toy", "tracker=mlflow"), "expected true or false"),
    ],
)
def test_a_model_that_cannot_be_registered_is_refused_before_it_is_trained(
    settings: tuple[str, ...], words: str, first: tuple[Path, str, str]
) -> None:
    place, _, _ = first
    refused = here(place, *SHORT, "seed=2", *settings)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert len(list((place / "outputs" / "models").iterdir())) == 1


def test_a_second_start_does_nothing(first: tuple[Path, str, str]) -> None:
    place, _, _ = first
    before = (trained(place)[0] / "training.json").read_bytes()
    # Where it is kept, shown and tracked, and what it is called, is no other training.
    again = run(place, *SHORT, "training.save_steps=1", "training.logging_steps=7", "name=other", "tracker=mlflow")
    assert again.returncode == 0, again.stderr
    assert "nothing was done" in again.stdout
    assert (trained(place)[0] / "training.json").read_bytes() == before
    assert not (place / "mlflow.db").exists()


def test_a_finished_training_is_in_the_sweep_that_asks_for_it(first: tuple[Path, str, str]) -> None:
    place, _, _ = first
    again = run(place, *SHORT, KURVE_SWEEP_ID="zoo", KURVE_SWEEP_JOB="ab12")
    assert again.returncode == 0, again.stderr
    assert "nothing was done" in again.stdout
    [tags] = [json.loads(path.read_text()) for path in (place / "outputs" / "tracking").glob("*/tags.json")]
    assert tags["kurve.sweeps.zoo"] == "ab12"
    assert "kurve.sweep" not in tags
    away = run(place, *SHORT, "tracker=none", KURVE_SWEEP_ID="other", KURVE_SWEEP_JOB="ab12")
    assert away.returncode == 0, away.stderr
    assert "is not in the sweep's view: tracker=none keeps no runs" in away.stderr


def test_recognising_a_finished_training_loads_neither_torch_nor_mlflow(first: tuple[Path, str, str]) -> None:
    place, _, _ = first
    code = (
        "import sys; from kurve.cli import run; status = run(sys.argv[1:]); "
        "print('LOADED', *sorted({'torch', 'trl', 'transformers', 'datasets', 'mlflow'} & set(sys.modules))); "
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *SHORT[:-2], "tracker=mlflow"],
        cwd=place, env=environment(place), capture_output=True, text=True, timeout=LONG, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("LOADED")


@pytest.mark.slow
def test_every_step_is_a_model_to_evaluate_without_naming_a_model(first: tuple[Path, str, str]) -> None:
    place, _, _ = first
    _, record = trained(place)
    done = run(place, *EVALUATE, f"model.from_run={record.fingerprint[:8]}", "model.step=2")
    assert done.returncode == 0, done.stderr
    assert "sft@2 on arithmetic" in done.stdout
    specs = [json.loads(file.read_text())["spec"] for file in (place / "outputs" / "samples").glob("*/spec.json")]
    assert any(spec["model"].endswith("checkpoints/checkpoint-2") for spec in specs)
    [fingerprint] = [file.parent.name for file in (place / "outputs" / "samples").glob("*/spec.json")]
    reported = run(place, "report", f"samples={fingerprint}", "tracker=none")
    assert "sft@2 on arithmetic" in reported.stdout


def test_a_run_id_names_the_result(first: tuple[Path, str, str]) -> None:
    place, _, _ = first
    _, record = trained(place)
    done = run(place, *EVALUATE[:-2], f"model.from_run={record.run_id}", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    for reference in (record.run_id, record.run_url, str(trained(place)[0])):
        sampled = run(
            place,
            "sample",
            *EVALUATE[1:5],
            "sampler=scripted",
            f"model.from_run={reference}",
            "paths.samples=elsewhere",
        )
        assert sampled.returncode == 0, sampled.stderr
    [spec] = (place / "elsewhere").glob("*/spec.json")
    assert json.loads(spec.read_text())["spec"]["model"] == str(trained(place)[0] / "model")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.from_run=cafecafe"], ["neither", "sft-"]),
        (["model.from_run={fingerprint}", "model.step=3"], ["nothing at step 3", "step 2, 4"]),
        (["model.from_run={fingerprint}", "model.path=tiny"], ["leave out model.path"]),
        (["model.step=3", "model.path=tiny"], ["model.from_run"]),
        ([], ["model.path=", "model.from_run=", "kurve list model"]),
    ],
)
def test_a_model_that_is_not_there_is_refused(
    first: tuple[Path, str, str], overrides: list[str], words: list[str]
) -> None:
    place, _, _ = first
    fingerprint = trained(place)[1].fingerprint
    done = here(place, *EVALUATE, *(one.format(fingerprint=fingerprint) for one in overrides))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.slow
def test_kill_9_in_the_middle_goes_on_from_the_last_checkpoint_and_logs_each_step_once(fresh: Path) -> None:
    long = (*SFT, "training.max_steps=120", "training.save_steps=50")
    running = start(fresh, *long)
    state = wait_for(fresh, "outputs/models/*/checkpoints/checkpoint-50/trainer_state.json")
    wait_for_step(state.parents[2], 60)
    running.kill()
    running.communicate()
    torn = state.parent.with_name("checkpoint-119")  # what a kill while saving leaves
    shutil.copytree(state.parent, torn)
    (torn / "optimizer.pt").write_bytes((torn / "optimizer.pt").read_bytes()[:1000])
    assert trained(fresh)[1].status == "RUNNING"
    again = run(fresh, *long)
    assert again.returncode == 0, again.stderr
    assert "checkpoint-119 is passed over: " in again.stderr
    folder, record = trained(fresh)
    assert [(one.status, one.first_step) for one in record.attempts] == [("KILLED", 0), ("FINISHED", 50)]
    assert record.final_step == 120
    last = json.loads((folder / "checkpoints" / "checkpoint-120" / "trainer_state.json").read_text())
    assert last["global_step"] == last["max_steps"] == 120
    losses = [p["step"] for p in tracked(fresh, "points.jsonl") if p["key"] == "train/loss"]
    assert losses == list(range(1, 121))
    assert tracked(fresh, "run.json")["status"] == "FINISHED"
    assert tracked(fresh, "run.json")["attempt"] == 2


@pytest.mark.slow
def test_two_at_once_are_refused_and_ctrl_c_leaves_whole_checkpoints_and_a_killed_run(fresh: Path) -> None:
    long = (*SFT, "training.max_steps=5000", "training.save_steps=1", "training.save_total_limit=3")
    running = start(fresh, *long)
    wait_for(fresh, "outputs/models/*/checkpoints/checkpoint-4/trainer_state.json")
    second = run(fresh, *long)
    assert second.returncode == 2
    assert f"process {running.pid}" in second.stderr
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=LONG)
    assert running.returncode == 130
    assert "Traceback" not in errors
    folder, record = trained(fresh)
    assert record.status == "KILLED"
    assert tracked(fresh, "run.json")["status"] == "KILLED"
    assert not (folder / "model").exists()
    saved = list((folder / "checkpoints").glob("checkpoint-*"))
    assert saved
    assert [whats_missing(path) for path in saved] == [""] * len(saved)


@pytest.mark.slow
def test_a_training_that_fails_says_so_in_its_run_and_keeps_its_record(fresh: Path) -> None:
    config = json.loads((fresh / "tiny" / "config.json").read_text())
    (fresh / "tiny" / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))
    done = run(fresh, *SHORT)
    assert done.returncode == 2
    assert "cannot be set up" in done.stderr
    assert "trainer.log" in done.stderr
    assert trained(fresh)[1].status == "FAILED"
    assert tracked(fresh, "run.json")["status"] == "FAILED"


def test_help_shows_examples(fresh: Path) -> None:
    done = here(fresh, "train", "--help")
    assert done.returncode == 0, done.stderr
    assert "kurve train algorithm=grpo" in done.stdout


@pytest.mark.slow
def test_two_processes_train_one_model_and_only_the_first_tracks_it(fresh: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "kurve.cli", *SHORT]
    done = subprocess.run(
        launch, cwd=fresh, env=environment(fresh), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    folder, record = trained(fresh)
    assert record.final_step == 4
    assert record.recipe["processes"] == 2
    assert done.stdout.count("kurve evaluate") == 1
    assert (folder / "checkpoints" / "checkpoint-4" / "rng_state_1.pth").is_file()
    losses = [p["step"] for p in tracked(fresh, "points.jsonl") if p["key"] == "train/loss"]
    assert losses == [1, 2, 3, 4]
    alone = run(fresh, *SHORT, f"output={folder}")
    assert alone.returncode == 2
    assert "processes: 1 against 2" in alone.stderr


@pytest.mark.slow
def test_a_student_learns_from_a_teachers_verified_samples(fresh: Path) -> None:
    """A teacher that guesses numbers, the real verifier, and what the student learns."""
    drawn = run(fresh, "sample", *EVALUATE[1:4], "benchmark.limit=8", "num_samples=90", "sampler=scripted",
                "model.path=teacher", "sampler.answers=[" + ",".join(f"'{n}'" for n in range(1, 60)) + "]")  # fmt: skip
    assert drawn.returncode == 0, drawn.stderr
    [spec] = fresh.glob("outputs/samples/*/spec.json")
    distil = [
        "train", "algorithm=distill_sft", "training=supervised_cpu", f"data.samples={spec.parent.name}", "prompt=raw",
        "model.path=tiny", "tracker=dir", "training.max_steps=2", "training.per_device_train_batch_size=2",
    ]  # fmt: skip
    unjudged = run(fresh, *distil)
    assert unjudged.returncode == 2
    assert f"kurve verify samples={spec.parent.name}" in unjudged.stderr
    assert run(fresh, "verify", f"samples={spec.parent.name}").returncode == 0
    done = run(fresh, *distil)
    assert done.returncode == 0, done.stderr
    data = trained(fresh)[1].data
    assert data["teacher"] == "teacher"
    assert 0 < data["size"] < 8 * 90 / 10


@pytest.mark.slow
def test_sigterm_ends_a_training_like_ctrl_c(fresh: Path) -> None:
    running = start(fresh, *SFT, "training.max_steps=5000", "training.save_steps=2")
    wait_for(fresh, "outputs/models/*/checkpoints/checkpoint-2/trainer_state.json")
    os.kill(running.pid, signal.SIGTERM)
    running.communicate(timeout=LONG)
    assert running.returncode == 130
    assert trained(fresh)[1].status == "KILLED"


def test_another_config_in_the_same_folder_is_refused_with_what_differs(first: tuple[Path, str, str]) -> None:
    place, _, _ = first
    folder = trained(place)[0]
    before = contents(folder), contents(place / "outputs" / "tracking")
    done = here(place, *SHORT, f"output={folder}", "training.learning_rate=0.5", "seed=3")
    assert done.returncode == 2, done.stderr
    assert "args.learning_rate: 0.5 against 0.001" in done.stderr
    assert "seed: 3 against 0" in done.stderr
    assert "max_steps" not in done.stderr
    assert (contents(folder), contents(place / "outputs" / "tracking")) == before
    same = here(place, *SHORT, f"output={folder}")
    assert "nothing was done" in same.stdout, same.stderr
