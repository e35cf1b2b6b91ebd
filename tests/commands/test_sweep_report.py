"""What `kurve sweep report` makes of the jobs of a sweep."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kurve import study
from kurve.commands.sweep_report import report_sweep
from kurve.dir_tracker import DirTracker
from kurve.errors import ConfigError, DataError
from kurve.metrics.paired import difference_interval
from kurve.metrics.passk import pass_at_k_of
from kurve.metrics.seeds import over_seeds
from kurve.study import Finished, Made, Stage
from kurve.sweep import JobStatus
from kurve.tracking import NullTracker
from kurve.training_record import TrainingRecord, write
from kurve.types import Model, Tally
from tests.commands.test_evaluate import BASE, problems  # noqa: F401 a fixture
from tests.conftest import RunKurve
from tests.sweeps import Left, config, counts, drawn, left, write_report

CHANCES = np.random.default_rng(7).beta(0.6, 1.5, 40)
BASE_COUNTS = drawn(np.random.default_rng(8), CHANCES)


def seeds_of(algorithm: str, shift: float, *, first: int, models: bool = True) -> list[Left]:
    """Three jobs of one configuration, each of a model of its own or all of one."""
    rng = np.random.default_rng(first)
    return [
        Left(
            (f"algorithm={algorithm}", f"seed={seed}"),
            drawn(rng, np.clip(CHANCES + shift + 0.02 * seed, 0, 1)),
            model=f"{algorithm}-{seed if models else 0}",
            facts={"run_id": f"run{first + seed}"},
        )
        for seed in range(3)
    ]


def counts_file(folder: Path, tally: Tally) -> Path:
    path = folder / "base.jsonl"
    rows = zip(tally.problem_ids, tally.num_samples.tolist(), tally.num_correct.tolist(), strict=True)
    path.write_text("".join(json.dumps({"id": one, "n": n, "c": c}) + "\n" for one, n, c in rows))
    return path


def read(folder: Path) -> dict[tuple[str, str], dict[str, float]]:
    """The rows of quantities.csv by configuration and quantity."""
    with (folder / "report" / "quantities.csv").open() as file:
        rows = list(csv.DictReader(file))
    kept = ("benchmark", "configuration", "quantity")
    return {
        (row["configuration"], row["quantity"]): {
            key: float(value) if value else float("nan") for key, value in row.items() if key not in kept
        }
        for row in rows
    }


def test_delta_se_over_seeds_follows_from_the_stored_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [*seeds_of("grpo", 0.1, first=10), *seeds_of("rloo", 0.2, first=20)]
    one = left(tmp_path / "sweeps", "two", jobs)
    folder = tmp_path / "sweeps" / "two"
    tracker = DirTracker(tmp_path / "tracking")
    report_sweep(config(tmp_path, base=str(counts_file(tmp_path, BASE_COUNTS))), one, folder, tracker)

    before = pass_at_k_of(BASE_COUNTS, [16])[:, 0]
    tallies = [job.tally for job in jobs[:3] if job.tally is not None]
    table = np.stack([before - pass_at_k_of(tally, [1])[:, 0] for tally in tallies])
    wanted, found = over_seeds(table, signed=True), read(folder)
    grpo = found["algorithm=grpo", "delta_se"]
    assert wanted.seeds is not None
    assert wanted.both is not None
    ends = [wanted.problems.low, wanted.problems.high, wanted.seeds.low, wanted.seeds.high]
    names = ("value", "problems_low", "problems_high", "seeds_low", "seeds_high", "both_low", "both_high")
    assert [grpo[name] for name in names] == pytest.approx(
        [wanted.value, *ends, wanted.both.low, wanted.both.high], abs=1e-12
    )
    assert wanted.problems == difference_interval(table.mean(axis=0))
    assert set(found) == {
        (name, quantity)
        for name in ("base: base", "algorithm=grpo", "algorithm=rloo")
        for quantity in ("pass_at_1", "pass_at_16", "delta_se")
        if (name, quantity) != ("base: base", "delta_se")
    }
    curve = pq.read_table(folder / "report" / "curves.parquet").to_pylist()
    assert [row["value"] for row in curve if row["configuration"] == "algorithm=grpo"] == pytest.approx(
        np.mean([pass_at_k_of(tally, np.arange(1, 17)).mean(axis=0) for tally in tallies], axis=0)
    )
    assert (folder / "report" / "gsm8k.png").stat().st_size > 10_000
    assert (folder / "report" / "gsm8k.svg").is_file()

    said = capsys.readouterr().out
    for word in ("delta SE", "both", "problems: these seeds on problems like these", "base's pass@16"):
        assert word in said
    assert "not established" not in said
    [run] = (tmp_path / "tracking").glob("sweep-two-*")
    assert (run / "artifacts" / "report" / "quantities.csv").is_file()
    points = [json.loads(line) for line in (run / "points.jsonl").read_text().splitlines()]
    logged = {point["key"]: point["value"] for point in points}
    assert logged["gsm8k/algorithm=grpo/delta_se"] == pytest.approx(wanted.value)

    report_sweep(config(tmp_path, base=str(tmp_path / "base.jsonl")), one, folder, tracker)  # the run is finished
    assert len(list((tmp_path / "tracking").glob("sweep-two-*"))) == 1


def test_what_is_missing_is_told_and_fewer_seeds_establish_nothing_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = seeds_of("grpo", 0.1, first=10)
    failed = dataclasses.replace(jobs[1], tally=None, status=JobStatus.FAILED, message="out of memory")
    gone = dataclasses.replace(jobs[2], tally=None)
    one = left(tmp_path / "sweeps", "few", [jobs[0], failed, gone])
    report_sweep(config(tmp_path), one, tmp_path / "sweeps" / "few", NullTracker())
    said = " ".join(capsys.readouterr().out.split())
    for word in ("FAILED out of memory", "GONE", "not established", "no base is known", "base=<counts file"):
        assert word in said
    document = json.loads((tmp_path / "sweeps" / "few" / "report" / "report.json").read_text())
    assert [entry["status"] for entry in document["missing"]] == ["FAILED", "GONE"]
    [found] = document["benchmarks"][0]["configurations"]
    assert found["quantities"]["pass_at_1"]["seeds"] is None
    assert found["quantities"]["pass_at_1"]["problems"]["lower"] < found["quantities"]["pass_at_1"]["value"]


@pytest.mark.slow
def test_benchmarks_are_reported_apart_and_a_job_of_the_sweep_can_be_the_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [
        Left((f"model={model}", f"benchmark={name}", f"seed={seed}"), counts(range(at, at + 8), n=n), name, model)
        for at, model in enumerate(("base", "tuned"))
        for name, n in (("aime24", 16), ("math500", 32))
        for seed in range(3)
    ]
    one = left(tmp_path / "sweeps", "zoo", jobs)
    folder = tmp_path / "sweeps" / "zoo"
    report_sweep(config(tmp_path, base="model=base"), one, folder, NullTracker())
    said = capsys.readouterr().out
    assert "sampled one model" in " ".join(said.split())
    document = json.loads((folder / "report" / "report.json").read_text())
    assert [(entry["benchmark"], entry["k"]) for entry in document["benchmarks"]] == [("aime24", 16), ("math500", 32)]
    for entry in document["benchmarks"]:
        assert [(one["name"], one["is_base"]) for one in entry["configurations"]] == [
            ("model=base", True),
            ("model=tuned", False),
        ]
        assert "delta_se" in entry["configurations"][1]["quantities"]
    tagged = [dataclasses.replace(job, overrides=(*job.overrides, f"tags.role={job.model}")) for job in jobs]
    again = left(tmp_path / "sweeps", "tagged", tagged)
    report_sweep(config(tmp_path), again, tmp_path / "sweeps" / "tagged", NullTracker())
    same = json.loads((tmp_path / "sweeps" / "tagged" / "report" / "report.json").read_text())
    assert same["benchmarks"] == document["benchmarks"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"over": ""}, "over is"),
        ({"confidence": 95}, "confidence is 95"),
        ({"base": "seed=7"}, "base=seed=7"),
        ({"base": "other.jsonl"}, "has the problems of no benchmark"),
        ({"base": "seed=0"}, "2 bases fit gsm8k"),
    ],
)
def test_settings_that_fit_nothing_are_refused(
    settings: dict[str, object], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    counts_file(tmp_path, counts([1, 2], ids=["x", "y"])).rename(tmp_path / "other.jsonl")
    jobs = [job for name in ("grpo", "rloo") for job in seeds_of(name, 0.1, first=10)]
    settings = {**settings, **({"over": "none"} if settings.get("base") == "seed=0" else {})}
    one = left(tmp_path / "sweeps", "bad", jobs)
    with pytest.raises(ConfigError, match=words):
        report_sweep(config(tmp_path, **settings), one, tmp_path / "sweeps" / "bad", NullTracker())
    assert not (tmp_path / "sweeps" / "bad" / "report").exists()


def test_jobs_of_other_problems_are_no_seeds_of_one_configuration(tmp_path: Path) -> None:
    jobs = seeds_of("grpo", 0.1, first=10)
    other = dataclasses.replace(jobs[2], tally=counts(range(40), n=64, ids=[f"q{at}" for at in range(40)]))
    one = left(tmp_path / "sweeps", "odd", [*jobs[:2], other])
    with pytest.raises(DataError, match=r"000000000003 .* is of other problems than the first job"):
        report_sweep(config(tmp_path), one, tmp_path / "sweeps" / "odd", NullTracker())


def test_a_sweep_of_trainings_names_the_command_that_measures_its_models(tmp_path: Path) -> None:
    jobs = [Left(("algorithm=grpo", f"seed={seed}"), facts={"fingerprint": f"abcdef{seed}"}) for seed in range(2)]
    one = left(tmp_path / "sweeps", "t2", jobs, command="train")
    with pytest.raises(ConfigError, match=r"kurve evaluate -m sweep_name=t2-evaluated model.from_run=abcdef0,abcdef1"):
        report_sweep(config(tmp_path), one, tmp_path / "sweeps" / "t2", NullTracker())


def training(models: Path, algorithm: str, seed: int) -> str:
    """A training's folder with its settings; its fingerprint."""
    fingerprint = f"{algorithm[0] * 8}{seed:04x}".replace("g", "a").replace("r", "b")
    folder = models / f"{algorithm}-{fingerprint}"
    write(folder, TrainingRecord(fingerprint, "b", algorithm, algorithm, {"seed": seed}, Model("m", "m"), {}, seed))
    (folder / "config.yaml").write_text(
        f"algorithm: {{_target_: {algorithm}}}\nseed: {seed}\nbenchmark: {{name: train, seed: {seed}}}\n"
    )
    return fingerprint


def test_evaluations_of_trainings_that_differ_in_their_seed_are_seeds_of_one_configuration(tmp_path: Path) -> None:
    jobs = []
    for algorithm in ("grpo", "rloo"):
        for seed, job in enumerate(seeds_of(algorithm, 0.1, first=len(algorithm))):
            fingerprint = training(tmp_path / "models", algorithm, seed)
            jobs.append(dataclasses.replace(job, overrides=(f"model.from_run={fingerprint}", "benchmark=gsm8k")))
    one = left(tmp_path / "sweeps", "of", jobs)
    report_sweep(config(tmp_path), one, tmp_path / "sweeps" / "of", NullTracker())
    [found] = json.loads((tmp_path / "sweeps" / "of" / "report" / "report.json").read_text())["benchmarks"]
    assert [(entry["name"], len(entry["seeds"])) for entry in found["configurations"]] == [
        ("algorithm=grpo", 3),
        ("algorithm=rloo", 3),
    ]
    assert found["configurations"][0]["seeds"][1]["seed"] == "training seed=1"
    assert found["configurations"][0]["seeds_vary"] == "training"


@pytest.mark.slow
def test_several_samplings_of_each_of_several_models_are_pooled(tmp_path: Path) -> None:
    jobs = [
        dataclasses.replace(job, overrides=(*job.overrides, f"again={again}"))
        for again in range(2)
        for job in seeds_of("grpo", 0.1, first=again)
    ]
    one = left(tmp_path / "sweeps", "pool", jobs)
    report_sweep(config(tmp_path, over=["seed", "again"]), one, tmp_path / "sweeps" / "pool", NullTracker())
    [found] = json.loads((tmp_path / "sweeps" / "pool" / "report" / "report.json").read_text())["benchmarks"]
    [entry] = found["configurations"]
    assert len(entry["seeds"]) == 3
    assert found["k"] == 32


def study_folder(place: Path, seed: int) -> Path:
    """A finished study of a base and a tuned model, both trained with this seed."""
    rng = np.random.default_rng(seed)
    stages = [
        Stage("of_base", "evaluate", (), role="base"),
        Stage("of_grpo", "evaluate", (), role="tuned", base="of_base"),
    ]
    finished = {}
    for stage, shift in zip(stages, (0.0, 0.1), strict=True):
        report = place / stage.name
        tally = drawn(rng, np.clip(CHANCES + shift, 0, 1))
        write_report(report, tally, benchmark="countdown", model=f"{stage.name}-{seed}")
        facts = {"benchmark": "countdown", "model": stage.name, "run_id": ""}
        finished[stage.name] = Finished("f", Made(str(place), {"report": str(report)}, facts), 1.0)
    study.write(place, stages, finished)
    return place


def test_each_seed_of_a_study_is_compared_with_its_own_base(tmp_path: Path) -> None:
    jobs = [
        Left(("experiment=countdown", f"seed={seed}"), facts={"folder": str(study_folder(tmp_path / f"s{seed}", seed))})
        for seed in range(3)
    ]
    one = left(tmp_path / "sweeps", "studies", jobs, command="study")
    folder = tmp_path / "sweeps" / "studies"
    report_sweep(config(tmp_path), one, folder, NullTracker())
    found = read(folder)
    assert {name for name, _ in found} == {"of_base", "of_grpo"}
    gaps = [
        base - tuned
        for base, tuned in zip(
            *(
                _by_seed(folder, name, quantity)
                for name, quantity in (("of_base", "pass_at_16"), ("of_grpo", "pass_at_1"))
            ),
            strict=True,
        )
    ]
    assert _by_seed(folder, "of_grpo", "delta_se") == pytest.approx(gaps)
    assert found["of_grpo", "delta_se"]["num_seeds"] == 3


def _by_seed(folder: Path, name: str, quantity: str) -> list[float]:
    with (folder / "report" / "seeds.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [float(row["value"]) for row in rows if (row["configuration"], row["quantity"]) == (name, quantity)]


@pytest.mark.slow
@pytest.mark.usefixtures("problems")
def test_a_sweep_that_was_run_is_reported_with_a_stored_evaluation_as_its_base(kurve: RunKurve, tmp_path: Path) -> None:
    swept = kurve("evaluate", *BASE, "num_samples=8", "tracker=dir", "sweep_name=three", "-m", "seed=0,1,2")
    assert swept.returncode == 0, swept.stderr
    base = kurve("evaluate", *BASE, "num_samples=8", "tracker=dir", "model.path=other/base", "seed=9")
    assert base.returncode == 0, base.stderr
    [store] = [path.parent.name for path in tmp_path.glob("outputs/samples/*/spec.json") if "other" in path.read_text()]
    done = kurve("sweep", "report", "three", f"base={store}")
    assert done.returncode == 0, done.stderr
    for word in ("delta SE", "3", "gsm8k.png", "sampled one model", "run "):
        assert word in done.stdout
    [run] = tmp_path.glob("outputs/tracking/sweep-three-*")
    assert (run / "artifacts" / "report" / "report.json").is_file()
    wrong = kurve("sweep", "report")
    assert wrong.returncode == 0  # there is one sweep
    refused = kurve("sweep", "report", "three", "base=nothing")
    assert refused.returncode == 2
    assert "base=nothing" in refused.stderr
