"""What `kurve train` refuses: exit code 2, words that say what to change, and nothing made or touched."""

import json
from pathlib import Path

import pytest

from kurve.store import SampleStore, VerdictStore
from kurve.types import Outcome, Prompt, Sample, Verdict
from tests.mlflow_plugins.servers import free_port
from tests.store.support import SPEC
from tests.trainings import SHORT, contents, here, run, tracked

RLVR = (
    "train", "algorithm=grpo", "training=rlvr_cpu", "benchmark=arithmetic", "benchmark.limit=32", "prompt=raw",
    "model.path=tiny", "tracker=dir",
)  # fmt: skip
OVERLAPPING = (
    *RLVR, "evaluation=[{benchmark: arithmetic, limit: 40}]", "training.max_steps=1",
    "training.per_device_train_batch_size=8", "training.num_generations=4", "training.max_completion_length=4",
)  # fmt: skip
DISTIL = (
    "train", "algorithm=distill_sft", "training=supervised_cpu", "prompt=raw", "model.path=tiny", "tracker=dir",
    "paths.samples=stores", "training.max_steps=1", "training.per_device_train_batch_size=1",
)  # fmt: skip


def refused(folder: Path, *arguments: str) -> str:
    """What a refused command says; in `folder` it leaves no training and no run."""
    done = here(folder, *arguments)
    assert done.returncode == 2, done.stderr
    assert not list(folder.glob("outputs/models/*/training.json"))
    assert not list(folder.glob("outputs/tracking/*"))
    return done.stderr


def test_a_folder_with_other_files_is_no_place_for_a_training(fresh: Path) -> None:
    before = contents(fresh / "tiny")
    assert "no training's folder" in refused(fresh, *SHORT, "output=tiny")
    assert contents(fresh / "tiny") == before


def test_without_its_server_nothing_starts_and_the_folder_stays_free(fresh: Path) -> None:
    asked = (*SHORT, "output=mine", "tracker=mlflow", f"tracker.uri=http://127.0.0.1:{free_port()}")
    for _ in range(2):  # the second time the folder is there
        told = refused(fresh, *asked)
        assert asked[-1].partition("=")[2] in told
        assert "tracker=dir" in told
    assert set(contents(fresh / "mine")) <= {"training.lock"}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["algorithm=stf"], ["did you mean 'sft'"]),
        (["training.learning_rat=1"], ["did you mean learning_rate"]),
        (["algorithm.args.max_step=1"], ["algorithm.args.max_step", "max_steps"]),
        (["training.per_device_train_batch_size=0"], ["per_device_train_batch_size=0"]),
        (["training.output_dir=x"], ["paths.models"]),
        (["data=none", "~data.path"], ["learns from demonstrations", "data=jsonl"]),
        (["data.path=absent.jsonl"], ["absent.jsonl"]),
        (["algorithm=grpo", "benchmark=arithmetic"], ["takes no demonstrations"]),
        (["algorithm=grpo", "data=none", "~data.path"], ["benchmark=<option>"]),
        (["model.path=null"], ["model.from_run"]),
        (["model.path=./absent"], ["absent"]),
        (["evaluation=[gsm9k]"], ["did you mean 'gsm8k'"]),
        (["evaluation=[{benchmark: arithmetic, limt: 3}]"], ["did you mean limit"]),
        (["seed=-1"], ["seed"]),
        (["name=a/b"], ["name="]),
        (["tags.role=[a]"], ["tags"]),
        (["lora=8"], ["lora"]),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    fresh: Path, overrides: list[str], words: list[str]
) -> None:
    given = [one for one in SHORT if not (overrides[-1] == "~data.path" and one.startswith("data"))]
    told = refused(fresh, *given, *(one for one in overrides if not one.startswith("~")))
    for word in words:
        assert word in told


def test_weights_that_were_copied_in_part_are_refused_before_anything_is_made(fresh: Path) -> None:
    weights = fresh / "tiny" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "model.safetensors is cut short" in refused(fresh, *SHORT)
    assert not list(fresh.glob("outputs/models/*"))


def test_batches_that_hold_no_whole_groups_are_refused_with_sizes_that_fit(fresh: Path) -> None:
    told = refused(fresh, *RLVR, "training.per_device_train_batch_size=64", "training.num_generations=7")
    assert "num_generations=7 does not divide the 64 responses" in told
    assert "among 2, 4, 8, 16, 32, 64" in told


def test_a_teacher_that_solves_nothing_teaches_nothing(fresh: Path) -> None:
    with SampleStore.open(fresh / "stores", SPEC) as store:
        store.record_prompts([Prompt("a", text="1 + 1 =")], {"a": "What is 1 + 1 ?"})
        with VerdictStore.open(store, "math.1") as verdicts:
            for index in range(2):
                store.append(Sample("a", index, f"It is {index}.", "stop", 3))
                verdicts.append(Verdict("a", index, Outcome.WRONG))
    before = contents(fresh / "stores")
    told = refused(fresh, *DISTIL, f"data.samples={store.folder.name}")
    assert "2 judged samples and none of them is correct" in told
    assert "take a stronger one" in told
    assert contents(fresh / "stores") == before


def test_training_on_the_evaluations_problems_is_refused(fresh: Path) -> None:
    told = refused(fresh, *OVERLAPPING)
    assert "32 of the 40 problems of arithmetic" in told
    assert "allow_overlap=true" in told


@pytest.mark.slow
def test_the_same_question_under_another_id_is_refused_unless_it_is_said_so_and_then_it_is_a_tag(fresh: Path) -> None:
    rows = [{"question": f"How much is {a} + 1?", "answer": f"#### {a + 1}"} for a in range(4)]
    (fresh / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spaced = [{"question": f"how much  is {a} + 1?\n", "response": str(a + 1)} for a in range(2, 8)]
    (fresh / "demonstrations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in spaced))
    asked = (*SHORT, "evaluation=[{benchmark: gsm8k, path: problems.jsonl}]", "training.per_device_train_batch_size=2")
    assert "2 of the 4 problems of gsm8k" in refused(fresh, *asked)
    done = run(fresh, *asked, "allow_overlap=true")
    assert done.returncode == 0, done.stderr
    assert tracked(fresh, "tags.json")["kurve.overlap"] == "2"
    assert "kurve.role" in tracked(fresh, "tags.json")


@pytest.mark.slow
def test_an_overlap_that_is_allowed_is_a_tag_of_an_rl_run(fresh: Path) -> None:
    allowed = run(fresh, *OVERLAPPING, "allow_overlap=true")
    assert allowed.returncode == 0, allowed.stderr
    assert tracked(fresh, "tags.json")["kurve.overlap"] == "32"
    assert any(p["key"] == "train/reward" for p in tracked(fresh, "points.jsonl"))
