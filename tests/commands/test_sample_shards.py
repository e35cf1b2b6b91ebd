"""`kurve sample shard=...` as a user types it, with a scripted sampler in place of a model."""

import json
import os
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from kurve.commands.sampling_plan import problem_seed
from kurve.commands.sharding import shard_of, with_num_shards
from kurve.errors import ConfigError
from kurve.store import SampleStore, Shard
from kurve.types import Sample
from tests.commands.test_evaluate import BASE, problems  # noqa: F401 a fixture
from tests.commands.test_sweep import finish
from tests.conftest import RunKurve, started

PLAN = SimpleNamespace(ids=("p", "q"), num_samples=3)


def samples(folder: Path) -> list[Sample]:
    """All samples of the one store below the folder, by problem and index."""
    [spec] = folder.glob("*/spec.json")
    with SampleStore.open_folder(spec.parent) as store:
        return sorted(store.samples(), key=lambda one: (one.problem_id, one.index))


def test_a_shard_is_what_the_config_says() -> None:
    given = OmegaConf.create({"shard": 2, "num_shards": 6})
    assert shard_of(given, PLAN) == Shard(("p", "q"), 3, 6, 2)  # type: ignore[arg-type]  # as much of a plan as it reads
    assert shard_of(OmegaConf.create({"shard": None, "num_shards": None}), PLAN) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shard", "num_shards", "words"),
    [
        (2, None, "num_shards is not set; give num_shards="),
        (None, 4, r"num_shards is 4 and shard is not set.*shard=<0 to 3> num_shards=4"),
        (4, 4, "shard is 4; it must be a whole number, from 0 to 3"),
        (-1, 4, "shard is -1; it must be"),
        (1.5, 4, "shard is 1.5; it must be"),
        ("one", 4, "shard is 'one'; it must be"),
        (True, 4, "shard is True; it must be"),
        (0, 0, "num_shards is 0; it must be a whole number, 1 or more"),
        (0, "many", "num_shards is 'many'; it must be"),
        (0, 7, r"num_shards is 7 and there are 6 samples to draw \(2 problems x 3\); take num_shards=6"),
    ],
)
def test_a_shard_that_cannot_be_is_refused(shard: object, num_shards: object, words: str) -> None:
    given = OmegaConf.create({"shard": shard, "num_shards": num_shards})
    with pytest.raises(ConfigError, match=words):
        shard_of(given, PLAN)  # type: ignore[arg-type]


def test_a_sweep_over_all_shards_need_not_be_told_their_number() -> None:
    config = OmegaConf.create({"num_shards": None})
    points = [[f"seed={seed}", f"shard={number}"] for seed in (0, 1) for number in range(3)]
    assert with_num_shards(config, points) == [[*point, "num_shards=3"] for point in points]
    with pytest.raises(ConfigError, match=r"shards of this sweep are 0, 1, 3, not all from 0 on"):
        with_num_shards(config, [["shard=0"], ["shard=1"], ["shard=3"]])


@pytest.mark.parametrize(
    ("num_shards", "points"),
    [
        (4, [["shard=1"], ["shard=3"]]),  # the config says it
        (None, [["shard=1", "num_shards=4"], ["shard=3", "num_shards=4"]]),
        (None, [["seed=0"], ["seed=1"]]),
        (None, [["shard=0", "seed=0"], ["shard=0", "seed=1"]]),  # no sweep over shards
    ],
)
def test_other_sweeps_are_left_as_they_are(num_shards: int | None, points: list[list[str]]) -> None:
    assert with_num_shards(OmegaConf.create({"num_shards": num_shards}), points) == points


@pytest.mark.usefixtures("problems")
def test_shards_fill_one_store_with_the_samples_of_one_process(kurve_here: RunKurve, tmp_path: Path) -> None:
    words = ("sample", *BASE, "num_samples=5")
    swept = kurve_here(*words, "-m", "shard=range(0,3)")
    assert swept.returncode == 0, swept.stderr
    assert "shard    0: 6 samples; 1 of 3 shards are merged" in swept.stdout
    assert "3 of 3 shards are merged" in swept.stdout
    assert swept.stdout.count("next:") == 1
    assert re.search(r"all jobs .* 20 ", swept.stdout)
    [store] = (tmp_path / "outputs" / "samples").glob("*/spec.json")
    assert f"all in   {store.parent}" in swept.stdout
    assert not (store.parent / "shards").exists()
    drawn = samples(tmp_path / "outputs" / "samples")
    asked = [(one, index) for one in dict.fromkeys(sample.problem_id for sample in drawn) for index in range(5)]
    assert len(asked) == 20
    assert [(one.problem_id, one.index, one.seed) for one in drawn] == [
        (problem_id, index, problem_seed(0, problem_id) + index) for problem_id, index in asked
    ]
    complete = kurve_here(*words, "sampler.fail_after=0")
    assert complete.returncode == 0, complete.stderr
    assert "all samples are stored" in complete.stderr


@pytest.mark.usefixtures("problems")
def test_one_process_finishes_what_failed_shards_left_and_grows_it(kurve_here: RunKurve, tmp_path: Path) -> None:
    words = ("sample", *BASE)
    failed = kurve_here(*words, "num_samples=4", "shard=0", "num_shards=2", "sampler.fail_after=3")
    assert failed.returncode == 2
    assert samples(tmp_path / "outputs" / "samples") == []
    grown = kurve_here(*words, "num_samples=5")
    assert grown.returncode == 0, grown.stderr
    assert "samples 17/17" in grown.stderr
    assert len(samples(tmp_path / "outputs" / "samples")) == 20


def _killed(folder: Path, words: list[str]) -> None:
    """Start a sweep, kill -9 one of its shards once it has drawn, and the controller too."""
    process = started(words, folder)
    deadline = time.monotonic() + 240
    drawing: list[Path] = []
    while not drawing:
        assert process.poll() is None
        assert time.monotonic() < deadline
        drawing = [path for path in folder.glob("outputs/samples/*/shards/*/samples-0000.jsonl") if path.stat().st_size]
        time.sleep(0.1)
    owner = json.loads((drawing[0].parent / "samples.lock").read_text())
    os.kill(owner["pid"], signal.SIGKILL)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.usefixtures("problems")
@pytest.mark.parametrize("cluster", ["local", "submitit", "ray"])
def test_a_killed_shard_goes_on_and_the_store_is_that_of_one_process(
    cluster: str, kurve: RunKurve, tmp_path: Path
) -> None:
    if cluster == "ray":
        pytest.importorskip("ray", reason="Ray is not installed")
    words = ["sample", *BASE, "num_samples=24", "sampler.seconds=0.3"]
    swept = [*words, f"cluster={cluster}", "shard=range(0,4)"]
    _killed(tmp_path, swept)
    done = finish(kurve, swept)
    assert done.stdout.count("FINISHED") == 4
    one = kurve(*words, "sampler.seconds=0", "paths.samples=one")
    assert one.returncode == 0, one.stderr
    assert samples(tmp_path / "one") == samples(tmp_path / "outputs" / "samples")
    assert len(samples(tmp_path / "one")) == 96
    evaluated = kurve("evaluate", *BASE, "num_samples=24", "sampler.fail_after=0", "tracker=dir")
    assert evaluated.returncode == 0, evaluated.stderr
