"""`kurve score` as a user types it, on real samples of the embedded study's initial model."""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from kurve.commands.score_stores import Chosen, Reading, score_missing, score_set
from kurve.errors import SamplingError
from kurve.samplers.tokens import PromptTokenizer
from kurve.store import SampleStore, ScoreStore
from kurve.types import Model, Score, ScoreRequest, ScoringModel
from tests.conftest import RunKurve, command_environment, command_line
from tests.here import run_here
from tests.samplers.tiny import make_tiny_model

DRAWN = (
    "benchmark=countdown", "benchmark.num_problems=5", "sampling=untempered", "sampling.max_tokens=16",
    "sampler=transformers_tiny", "num_samples=6",
)  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 30 samples of a model (its store named first), judged, and 30 of one with other weights."""
    folder = tmp_path_factory.mktemp("drawn")
    environment = {**command_environment(), "KURVE_CACHE": str(folder / "cache")}
    for seed in (0, 1):
        words = ["sample", "model=countdown_initial", f"model.seed={seed}", f"model.name=seed{seed}", *DRAWN]
        words += ["sampling.temperature=0.9"] if seed else []
        done = run_here(folder, command_line(words)[3:], environment)
        assert done.returncode == 0, done.stderr
    first = store_of(folder, "seed0")
    done = run_here(folder, command_line(["verify", f"samples={first}", "verifier=countdown"])[3:], environment)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def place(drawn: Path, tmp_path: Path) -> Path:
    """The test's own copy of the samples; `kurve_here` runs in it."""
    return shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)


def store_of(folder: Path, name: str) -> str:
    [found] = [
        path.parent.name
        for path in folder.glob("outputs/samples/*/evaluation.yaml")
        if f"name: {name}\n" in path.read_text()
    ]
    return found


def stores(folder: Path) -> str:
    return f"samples={store_of(folder, 'seed0')},{store_of(folder, 'seed1')}"


def newest(folder: Path) -> Path:
    return max(folder.glob("outputs/runs/*/*/perplexity"), key=lambda path: path.stat().st_mtime)


def scored(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("outputs/samples/*/scores-*-*.jsonl"))]


SCORE = ("score", "model=countdown_initial")


def test_the_papers_distributions_come_from_one_call_and_the_second_scores_nothing(
    kurve_here: RunKurve, place: Path
) -> None:
    reference = place / "solutions.jsonl"
    with SampleStore.open_folder(place / "outputs" / "samples" / store_of(place, "seed0")) as store:
        prompts = list(store.prompts())
        drawn_sums = {(s.problem_id, s.index): s.logprob_sum for s in store.samples()}
    rows = [{"id": prompts[0].problem_id, "text": "1 + 2"}, {"id": "x", "text": "3", "question": prompts[1].question}]
    reference.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"id": "nobody", "text": "4"}]))
    words = [*SCORE, stores(place), "names=[base,tuned]", "tracker=dir", "reference=solutions.jsonl"]
    done = kurve_here(*words)
    assert done.returncode == 0, done.stderr
    document = json.loads((newest(place) / "perplexity.json").read_text())
    names = [one["name"] for one in document["distributions"]]
    assert names == ["base under base", "tuned under base", "solutions.jsonl under base", "tuned under tuned"]
    assert [one["num_samples"] for one in document["distributions"]] == [30, 30, 2, 30]
    assert [one["name"] for one in document["against_base"]] == ["tuned", "solutions.jsonl"]
    assert "tuned was drawn at T = 0.9, a sharper distribution than the one that scores them" in done.stdout
    table = pq.read_table(newest(place) / "perplexity.parquet").to_pylist()
    own = [row for row in table if row["distribution"] == "base under base"]
    for row in own:
        if row["logprob_sum"] != pytest.approx(drawn_sums[row["id"], row["index"]], abs=1e-3):
            assert document["distributions"][0]["retokenised"] > 0
    assert {row["correct"] for row in own} <= {True, False}
    assert {row["correct"] for row in table if row["drawn_by"] == "tuned"} == {None}
    [run] = [path.parent for path in place.rglob("run.json")]
    tags = json.loads((run / "tags.json").read_text())
    assert (tags["kurve.kind"], tags["kurve.model"], tags["kurve.drawn_by"]) == (
        "perplexity", "base", "base, tuned, solutions.jsonl"
    )  # fmt: skip
    points = [json.loads(line) for line in (run / "points.jsonl").read_text().splitlines()]
    bins = [one for one in points if one["key"] == "perplexity/tuned under base/histogram"]
    assert sum(one["value"] for one in bins) == pytest.approx(1.0)
    before = scored(place)
    again = kurve_here(*words)
    assert again.returncode == 0, again.stderr
    assert scored(place) == before
    assert len([*place.rglob("run.json")]) == 1
    assert "scored" not in again.stderr


@pytest.mark.slow
def test_a_choice_of_samples_is_scored_and_the_rest_later(kurve_here: RunKurve, place: Path) -> None:
    assert kurve_here(*SCORE, stores(place), "tracker=none", "num_samples=2", "limit=3").returncode == 0
    first = json.loads((newest(place) / "perplexity.json").read_text())
    assert [one["num_samples"] for one in first["distributions"]] == [6, 6, 6]
    assert first["distributions"][0]["name"] == "seed0 under seed0"
    done = kurve_here(*SCORE, stores(place), "tracker=none", "unit=byte")
    assert done.returncode == 0, done.stderr
    document = json.loads((newest(place) / "perplexity.json").read_text())
    assert [one["num_samples"] for one in document["distributions"]] == [30, 30, 30]
    assert document["unit"] == "byte"
    assert "samples 24/24" in done.stderr


@pytest.mark.slow
def test_a_store_may_be_named_by_the_run_of_its_evaluation(kurve_here: RunKurve, place: Path) -> None:
    words = ["report", f"samples={store_of(place, 'seed0')}", "verifier=countdown", "tracker=dir", "report.draws=100"]
    assert kurve_here(*words).returncode == 0
    [evaluation] = [path.parent for path in place.rglob("run.json")]
    samples = f"samples={evaluation.name},{store_of(place, 'seed1')}"
    done = kurve_here(*SCORE, samples, "tracker=dir", "names=[base,tuned]", "num_samples=1")
    assert done.returncode == 0, done.stderr
    [run] = [path.parent for path in place.rglob("run.json") if path.parent != evaluation]
    assert json.loads((run / "tags.json").read_text())["kurve.base_run_id"] == evaluation.name


@pytest.mark.slow
def test_a_run_in_mlflow_holds_the_numbers_and_leads_to_the_evaluation(kurve_here: RunKurve, place: Path) -> None:
    first = store_of(place, "seed0")
    uri = f"sqlite:///{place / 'mlflow.db'}"
    done = kurve_here("report", f"samples={first}", "verifier=countdown", f"tracker.uri={uri}", "report.draws=100")
    assert done.returncode == 0, done.stderr
    client = MlflowClient(uri)
    [evaluation] = client.search_runs([one.experiment_id for one in client.search_experiments()])
    words = f"samples={evaluation.info.run_id},{store_of(place, 'seed1')}"
    done = kurve_here(*SCORE, words, f"tracker.uri={uri}", "names=[base,tuned]")
    assert done.returncode == 0, done.stderr
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    [run] = [one for one in runs if one.data.tags.get("kurve.kind") == "perplexity"]
    assert run.data.tags["kurve.base_run_id"] == evaluation.info.run_id
    assert run.data.metrics["perplexity/tuned under base/median"] > 1
    assert len(client.get_metric_history(run.info.run_id, "perplexity/base under base/histogram")) == 61
    assert run.info.status == "FINISHED"


def test_a_model_that_reads_otherwise_is_refused_before_its_weights_are_loaded(
    kurve_here: RunKurve, place: Path
) -> None:
    make_tiny_model(place / "other")
    (place / "other" / "model.safetensors").write_bytes(b"")
    words = ["score", "model.path=other", stores(place), "tracker=none"]
    done = kurve_here(*words)
    assert done.returncode == 2
    assert "unit=byte" in done.stderr
    assert not scored(place)
    make_tiny_model(place / "other")
    done = kurve_here(*words, "other_tokenizer=retokenise", "num_samples=2")
    assert done.returncode == 0, done.stderr
    document = json.loads((newest(place) / "perplexity.json").read_text())
    assert [one["name"] for one in document["distributions"]] == ["seed0 under other", "seed1 under other"]
    assert document["against_base"] == []
    assert any("No store is the scoring model's own" in note for note in document["notes"])
    done = kurve_here(*words, "unit=byte", "num_samples=2", f"base={store_of(place, 'seed0')}")
    document = json.loads((newest(place) / "perplexity.json").read_text())
    assert [one["name"] for one in document["distributions"]][-1] == "seed1 under seed1"
    assert len(document["against_base"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("samples=nowhere",), "kurve list samples"),
        (("samples={first},{first}",), "more than once"),
        (("unit=word",), "expected token or byte"),
        (("names=[one]",), "one name for each of the 2 stores"),
        (("base=nowhere",), "nowhere"),
        (("num_samples=0",), "num_samples is 0"),
        (("limit=-1",), "limit is -1"),
        (("confidence=2.0",), "between 0 and 1"),
        (("other_tokenizer=perhaps",), "refuse or retokenise"),
        (("reference=absent.jsonl",), "does not exist"),
        (("reference=odd.jsonl",), "none of its rows"),
        (("reference=odd.jsonl", "reference_columns.text=answer"), "reference_columns.text"),
        (("verdicts=zz",), "fits 0 of"),
        (("scorer.batch_tokens=0",), "scorer.batch_tokens=0"),
    ],
)
def test_bad_input_is_refused(kurve_here: RunKurve, place: Path, words: tuple[str, ...], said: str) -> None:
    (place / "odd.jsonl").write_text('{"id": "nobody", "text": "4"}\n')
    first = store_of(place, "seed0")
    done = kurve_here(*SCORE, stores(place), "tracker=none", *(word.format(first=first) for word in words))
    assert done.returncode == 2
    assert said in done.stderr
    assert not scored(place)


class _Failing:
    """A scorer that fails after some scores."""

    engine, dtype = "scripted", "float32"
    ready_at: float | None = None
    longest: int | None = None

    def __init__(self, tokens: PromptTokenizer, after: int) -> None:
        self.tokens, self._after = tokens, after
        self.asked: list[ScoreRequest] = []

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Score]:
        for request in requests:
            if len(self.asked) == self._after:
                raise SamplingError("the engine stops")
            self.asked.append(request)
            yield Score(request.problem_id, request.index, -1.0, len(request.response_ids))


def test_what_was_scored_before_a_failure_stays_and_too_long_samples_are_left(place: Path) -> None:
    tokens = PromptTokenizer(Model("tiny", str(make_tiny_model(place / "tiny"))))
    model = ScoringModel("", "abc", "", "float32", "scripted")
    with SampleStore.open_folder(place / "outputs" / "samples" / store_of(place, "seed0")) as store:
        chosen = Chosen(tuple(store.counts()), 6)
        with pytest.raises(SamplingError):
            score_missing(store, _Failing(tokens, 7), model, chosen, reading=Reading(None))
        second = _Failing(tokens, 100)
        score_missing(store, second, model, chosen, reading=Reading(None))
        assert len(second.asked) == 23
        third = _Failing(tokens, 0)
        score_missing(store, third, model, chosen, reading=Reading(None))
        with ScoreStore.open(store, score_set(model), read_only=True) as scores:
            assert len(list(scores.scores())) == 30
        short = _Failing(tokens, 100)
        short.longest = 1
        score_missing(store, short, ScoringModel("", "abd", "", "float32", "scripted"), chosen, reading=Reading(None))
        assert short.asked == []
