"""`sampling.match_entropy`, with a model and one whose logits are half as large again: T is half as large again."""

import json
import shutil
from pathlib import Path

import pytest

from kurve.store import SampleStore
from tests.conftest import RunKurve
from tests.samplers.tiny import make_sharper_model, make_tiny_model

ROWS = [{"question": f"What is {i} + 3 ?", "answer": f"#### {i + 3}"} for i in range(6)]
SETTINGS = (
    "benchmark=gsm8k",
    "benchmark.path=problems.jsonl",
    "sampler=transformers",
    "sampling.max_tokens=6",
    "num_samples=4",
)
BASE = ("sample", *SETTINGS, "model.path=base", "model.name=base")  # no verifier: its processes take seconds to start
TUNED = (*SETTINGS, "model.path=tuned", "model.name=tuned", "sampling.match_entropy_samples=16")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, and a tuned model that is the base at a temperature 1.5 times as high."""
    folder = tmp_path_factory.mktemp("models")
    make_tiny_model(folder / "base")
    make_sharper_model(folder / "base", folder / "tuned", by=1.5)
    return folder


@pytest.fixture
def place(models: Path, tmp_path: Path) -> Path:
    for name in ("base", "tuned"):
        shutil.copytree(models / name, tmp_path / name)
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return tmp_path


def stores(folder: Path) -> dict[str, Path]:
    """The folders of the evaluations' stores by the model's name."""
    found = (SampleStore.open_folder(spec.parent) for spec in (folder / "outputs" / "samples").glob("*/spec.json"))
    return {Path(store.spec.model).name: store.folder for store in found}


def report(folder: Path) -> dict[str, dict[str, float]]:
    newest = max((folder / "outputs" / "runs").glob("*/*/report/report.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(newest.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def pilots(folder: Path) -> dict[float, int]:
    """Stored pilot samples of the tuned model by temperature."""
    found = (SampleStore.open_folder(spec.parent) for spec in (folder / "outputs/samples/pilots").glob("*/spec.json"))
    return {one.spec.temperature or 0.0: one.count() for one in found if Path(one.spec.model).name == "tuned"}


def test_the_tuned_model_is_evaluated_at_the_matching_temperature_and_a_second_start_draws_nothing(
    kurve_here: RunKurve, place: Path
) -> None:
    truncated = ("sampling.temperature=0.2", "sampling.top_p=0.9")
    assert kurve_here(*BASE, *truncated).returncode == 0
    base = stores(place)["base"].name
    matched = (*TUNED, *truncated, f"sampling.match_entropy={base}")
    done = kurve_here("evaluate", *matched, "tracker=dir")
    assert done.returncode == 0, done.stderr
    with SampleStore.open_folder(stores(place)["tuned"]) as store:
        assert store.spec.temperature == pytest.approx(0.3, abs=0.02)
        assert store.count() == 24
        temperature = store.spec.temperature
    scalars = report(place)["scalars"]
    assert scalars["matched_temperature"] == temperature
    assert scalars["matched_temperature_low"] < 0.3 < scalars["matched_temperature_high"]
    assert scalars["tuned_token_entropy"] == pytest.approx(scalars["base_token_entropy"], rel=0.1)
    assert f"matched  T = {temperature:g}" in done.stdout
    assert "note: Drawn at T = " in done.stdout
    [steps] = (place / "outputs" / "tracking").glob("**/matched_temperature_steps.json")
    assert temperature in [row[0] for row in json.loads(steps.read_text())["data"]]
    before = pilots(place)
    assert len(before) >= 3
    assert set(before.values()) == {6 * 16}
    shutil.rmtree(place / "base")
    again = kurve_here("sample", *matched)
    assert again.returncode == 0, again.stderr
    assert "nats a token (base" not in again.stdout
    assert pilots(place) == before


def test_samples_from_the_model_s_own_distribution_tell_its_entropy_without_a_pilot(
    kurve_here: RunKurve, place: Path
) -> None:
    whole = ("sampling=untempered", "sampling.max_tokens=6")
    assert kurve_here(*BASE, *whole).returncode == 0
    shutil.rmtree(place / "base")  # its samples are enough
    done = kurve_here("sample", *TUNED, *whole, f"sampling.match_entropy={stores(place)['base']}")
    assert done.returncode == 0, done.stderr
    with SampleStore.open_folder(stores(place)["tuned"]) as store:
        assert store.spec.temperature == pytest.approx(1.5, abs=0.2)
    assert json.loads((store.folder / "matched_temperature.json").read_text())["source"] == "its stored samples"


@pytest.mark.slow
def test_shards_share_one_search(kurve_here: RunKurve, place: Path) -> None:
    whole = ("sampling=untempered", "sampling.max_tokens=6")
    assert kurve_here(*BASE, *whole).returncode == 0
    matched = (*TUNED, *whole, f"sampling.match_entropy={stores(place)['base']}")
    done = kurve_here("sample", *matched, "-m", "shard=range(0,3)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("token entropy of") == 1
    assert done.stdout.count("matched  T = ") == 3
    with SampleStore.open_folder(stores(place)["tuned"]) as store:
        assert store.count() == 24
        assert (store.folder / "matched_temperature.json").exists()
        drawn = {(one.problem_id, one.index): one.text for one in store.samples()}
    shutil.rmtree(store.folder)
    assert kurve_here("sample", *matched).returncode == 0
    with SampleStore.open_folder(stores(place)["tuned"]) as alone:
        assert {(one.problem_id, one.index): one.text for one in alone.samples()} == drawn


@pytest.mark.slow
def test_a_search_that_was_stopped_goes_on_where_it_was(
    kurve_here: RunKurve, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kurve.errors import SamplingError
    from kurve.samplers.transformers import TransformersSampler

    whole = ("sampling=untempered", "sampling.max_tokens=6", "sampler.batch_size=32")
    assert kurve_here(*BASE, *whole).returncode == 0
    words = ("sample", *TUNED, *whole, f"sampling.match_entropy={stores(place)['base'].name}")
    draw, calls = TransformersSampler._draw, []

    def stops(self: TransformersSampler, *args: object, **named: object) -> object:
        calls.append(args)
        if len(calls) == 5:  # a step is 96 samples, so the second one is under way
            raise SamplingError("stopped")
        return draw(self, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(TransformersSampler, "_draw", stops)
    assert kurve_here(*words).returncode == 2
    held = pilots(place)
    assert sorted(held.values()) == [32, 96]
    assert kurve_here(*words).returncode == 0
    assert all(pilots(place)[temperature] == 96 for temperature in held)
    steps = len(pilots(place))
    assert len(calls) == 5 + (3 * steps - 4) + 1  # no batch twice, and the evaluation's own 24 samples


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sampling.match_entropy=absent"], ["sampling.match_entropy=absent", "sample store"]),
        (["sampling.match_entropy=./absent"], ["sampling.match_entropy", "./absent"]),
        (["sampling.match_entropy={base}", "sampling.temperature=0", "num_samples=1"], ["greedily"]),
        (["sampling.match_entropy={base}", "sampler=scripted"], ["sampler=vllm or sampler=transformers"]),
        (["sampling.match_entropy={base}", "sampling.match_entropy_samples=0"], ["match_entropy_samples"]),
        (["sampling.match_entropy={base}", "sampling.match_entropy_range=[2,1]"], ["match_entropy_range=[2,1]"]),
        (["sampling.match_entropy={base}", "sampling.match_entropy_range=hot"], ["match_entropy_range", "hot"]),
        (["sampling.match_entropy={base}", "sampling.match_entropy_tolerance=null"], ["match_entropy_tolerance"]),
        (["sampling.match_entropy={base}", "benchmark.path=more.jsonl"], ["no samples of 1 of the 7 problems"]),
        (["sampling.match_entropy={base}"], ["do not tell the entropy", "is not what it was"]),
    ],
)
def test_what_cannot_be_matched_is_refused_before_anything_is_drawn(
    kurve_here: RunKurve, place: Path, words: list[str], said: list[str]
) -> None:
    assert kurve_here(*BASE, "sampler=scripted").returncode == 0
    base = stores(place)["base"].name
    (place / "more.jsonl").write_text(
        (place / "problems.jsonl").read_text() + json.dumps({"question": "What is 2 + 2 ?", "answer": "#### 4"})
    )
    (place / "base" / "config.json").write_text((place / "base" / "config.json").read_text() + " ")
    done = kurve_here("evaluate", *TUNED, "tracker=none", *(word.format(base=base) for word in words))
    assert done.returncode == 2, done.stdout
    for part in said:
        assert part in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert set(stores(place)) == {"base"}
    assert not list((place / "outputs").glob("samples/pilots/*/samples*"))


def test_an_entropy_out_of_reach_is_refused_with_what_was_measured(kurve_here: RunKurve, place: Path) -> None:
    whole = ("sampling=untempered", "sampling.max_tokens=6")
    assert kurve_here(*BASE, *whole).returncode == 0
    base = stores(place)["base"].name
    reach = ("sampling.match_entropy_range=[0.1,1.1]", f"sampling.match_entropy={base}")
    done = kurve_here("sample", *TUNED, *whole, *reach)
    assert done.returncode == 2
    assert "raise its upper end" in done.stderr
    assert "at T = 1.1" in done.stderr
    assert set(stores(place)) == {"base"}
