"""`kurve plan` as a user types it: from nothing, from what is given, and from what was drawn before."""

import json
from pathlib import Path
from typing import Any

import pytest

from kurve import speeds
from tests.commands.test_evaluate import BASE, problems  # noqa: F401 a fixture
from tests.conftest import RunKurve

PLAN = ("plan", *BASE, "tracker=none", "verifier=scripted")

pytestmark = pytest.mark.usefixtures("problems")


def planned(folder: Path) -> list[dict[str, Any]]:
    """The numbers that were written as JSON."""
    document = json.loads((folder / "plan.json").read_text())
    assert document["format"] == 1
    found: list[dict[str, Any]] = document["evaluations"]
    return found


def test_what_is_not_known_is_said_to_be_unknown_with_what_to_give(kurve_here: RunKurve, tmp_path: Path) -> None:
    done = kurve_here(*PLAN, "num_samples=16", "output=plan.json")
    assert done.returncode == 0, done.stderr
    assert "not known: give tokens_per_second=" in done.stdout
    [found] = planned(tmp_path)
    assert (found["problems"], found["num_samples"], found["stored"], found["missing"]) == (4, 16, 0, 64)
    assert found["prompt_tokens"]["source"].startswith("estimated")
    assert found["tokens"]["value"] is None
    assert found["tokens"]["at_most"] == 64 * found["max_tokens"]
    assert found["gpu_hours"]["value"] is None
    assert found["verification_hours"]["source"] == "give seconds_per_verdict="
    assert not (tmp_path / "outputs" / "samples").exists()


def test_given_rates_make_hours_and_a_price(kurve_here: RunKurve, tmp_path: Path) -> None:
    given = ("tokens_per_sample=90", "tokens_per_second=2", "gpus=2", "num_shards=4", "gpu_hour_price=3")
    done = kurve_here(*PLAN, "num_samples=160", "seconds_per_verdict=1.5", "output=plan.json", *given)
    assert done.returncode == 0, done.stderr
    [found] = planned(tmp_path)
    assert found["tokens"]["value"] == 4 * 160 * 90 == 57_600
    assert found["gpu_hours"]["value"] == pytest.approx(8.0)
    assert found["wall_hours"]["value"] == pytest.approx(1.0)
    assert found["price"]["value"] == pytest.approx(24.0)
    assert found["verification_hours"]["value"] == pytest.approx(640 * 1.5 / 3600)


def test_measured_samples_are_kept_and_tell_length_and_speed(kurve_here: RunKurve, tmp_path: Path) -> None:
    done = kurve_here(*PLAN, "num_samples=16", "measure=10", "sampler.seconds=0.001", "output=plan.json")
    assert done.returncode == 0, done.stderr
    [found] = planned(tmp_path)
    assert (found["stored"], found["missing"], found["unjudged"]) == (10, 54, 64)
    assert found["tokens_per_sample"]["value"] == 7
    assert found["tokens_per_sample"]["source"].startswith("10 samples of 4 problems")
    assert 0 < found["tokens_per_second"]["value"] < 7000
    assert found["gpus"] == (1 if speeds.gpu() else 0)
    assert found["process_hours"]["value"] == pytest.approx(54 * 7 / found["tokens_per_second"]["value"] / 3600)
    assert found["stored_bytes"]["source"].startswith("measured")
    hotter = kurve_here(*PLAN, "num_samples=16", "sampling.temperature=1.5", "output=plan.json")
    assert hotter.returncode == 0, hotter.stderr
    [found] = planned(tmp_path)
    assert (found["stored"], found["missing"]) == (0, 64)
    assert "temperature 0.6" in found["tokens_per_sample"]["source"]
    assert found["tokens"]["value"] == 448


def test_a_judged_store_tells_the_spread_and_a_complete_one_costs_nothing(kurve_here: RunKurve, tmp_path: Path) -> None:
    drawn = kurve_here("evaluate", *PLAN[1:], "num_samples=8")
    assert drawn.returncode == 0, drawn.stderr
    done = kurve_here(*PLAN, "num_samples=8", "output=plan.json")
    assert done.returncode == 0, done.stderr
    [found] = planned(tmp_path)
    assert (found["stored"], found["missing"], found["unjudged"]) == (32, 0, 0)
    assert found["tokens"]["value"] == found["gpu_hours"]["value"] == found["stored_bytes"]["value"] == 0
    assert found["pass_at_1_half_width"]["source"].startswith("from the spread")
    more = kurve_here(*PLAN, "num_samples=16", f"speed_from={found['store']}", f"lengths_from={found['store']}")
    assert more.returncode == 0, more.stderr
    assert f"into {found['store']}" in "".join(more.stdout.split("\n"))


def test_what_shards_have_drawn_is_not_planned_again(kurve_here: RunKurve, tmp_path: Path) -> None:
    size = ("num_samples=16", "num_shards=4")
    failed = kurve_here("sample", *BASE, *size, "shard=1", "sampler.fail_after=5")
    assert failed.returncode == 2
    assert kurve_here("sample", *BASE, *size, "shard=2").returncode == 0
    for _ in range(2):  # planning changes nothing
        done = kurve_here(*PLAN, *size, "output=plan.json")
        assert done.returncode == 0, done.stderr
        [found] = planned(tmp_path)
        assert (found["stored"], found["missing"], found["unjudged"]) == (21, 43, 64)
        assert len(list(tmp_path.glob("outputs/samples/*/shards/0001-*"))) == 1


def test_several_evaluations_are_planned_together_and_none_is_started(kurve_here: RunKurve, tmp_path: Path) -> None:
    rates = ("tokens_per_sample=90", "tokens_per_second=2", "output=plan.json")
    done = kurve_here(*PLAN, "num_samples=16,32", "seed=0,1", *rates, "-m")
    assert done.returncode == 0, done.stderr
    found = planned(tmp_path)
    assert [(one["label"], one["missing"]) for one in found] == [
        ("num_samples=16 seed=0", 64), ("num_samples=16 seed=1", 64),
        ("num_samples=32 seed=0", 128), ("num_samples=32 seed=1", 128),
    ]  # fmt: skip
    assert "together" in done.stdout
    assert f"{sum(one['gpu_hours']['value'] for one in found):.3g}" in done.stdout
    assert not (tmp_path / "outputs" / "sweeps").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tokens_per_second=fast",), "tokens_per_second is 'fast'"),
        (("tokens_per_sample=1000000",), "is more than sampling.max_tokens="),
        (("speed_from=nothing",), "speed_from=nothing is no sample store"),
        (("output=none/plan.json",), "no such folder"),
        (("measure=2", "seed=0,1", "-m"), "draws for one evaluation at a time"),
    ],
)
def test_what_cannot_be_planned_is_refused(words: tuple[str, ...], said: str, kurve_here: RunKurve) -> None:
    done = kurve_here(*PLAN, *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_imported_or_undrawn_stores_have_no_speed(kurve_here: RunKurve, tmp_path: Path) -> None:
    assert kurve_here("sample", *BASE, "num_samples=2").returncode == 0
    [folder] = (tmp_path / "outputs" / "samples").glob("*/")
    (folder / speeds.DRAWS).unlink()
    done = kurve_here(*PLAN, f"speed_from={folder.name}")
    assert done.returncode == 2
    assert "no draw into" in done.stderr


def test_engines_on_a_cluster_draw_into_the_store_of_the_engine(kurve_here: RunKurve, tmp_path: Path) -> None:
    found = []
    for words in (("sampler=transformers",), ("sampler=ray_data", "sampler@sampler.engine=transformers")):
        more = ("tokens_per_second=5", "sampler.actors=3") if len(words) > 1 else ("tokens_per_second=5",)
        done = kurve_here("plan", *BASE[:2], *BASE[3:], *words, *more, "tracker=none", "output=plan.json")
        assert done.returncode == 0, done.stderr
        found += planned(tmp_path)
    assert found[0]["store"] == found[1]["store"]
    assert [one["gpus"] for one in found] == [1, 3]
