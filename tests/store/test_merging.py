import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from kurve.errors import StoreError
from kurve.store import ReviewStore, SampleStore, ScoreStore, VerdictStore, merge, scoring_models
from kurve.types import CotVerdict, Outcome, Prompt, Sample, Score, ScoringModel, Soundness, Verdict
from tests.store.support import SPEC, sample


def stored(root: Path, samples: Iterable[Sample], seed: str = "0", prompt: str = "1+1?", **other: object) -> Path:
    spec = replace(SPEC, seed=seed, **other)  # type: ignore[arg-type]  # the tests know the fields
    with SampleStore.open(root, spec) as store:
        store.record_prompts([Prompt("p", prompt)])
        store.append_many(samples)
    return store.folder


def contents(folder: Path) -> dict[tuple[str, int], Sample]:
    with SampleStore.open_folder(folder) as store:
        return {(s.problem_id, s.index): s for s in store.samples()}


def test_shards_of_one_seed_are_united(tmp_path: Path) -> None:
    one = stored(tmp_path / "1", [sample("p", i) for i in range(6)])
    two = stored(tmp_path / "2", [sample("p", i) for i in range(4, 9)] + [sample("q", 3)])
    merged = merge([one, two], tmp_path / "out")
    assert (merged.samples, merged.problems, merged.duplicates, merged.created) == (10, 2, 2, True)
    assert contents(merged.folder) == contents(one) | contents(two)
    assert merged.folder.name == one.name
    assert merged.spec == SPEC
    with SampleStore.open_folder(merged.folder) as store:
        assert [prompt.text for prompt in store.prompts()] == ["1+1?"]


def test_seeds_follow_one_another_in_any_order_of_the_sources(tmp_path: Path) -> None:
    folders = [
        stored(tmp_path / "s", [sample("p", i, text=f"{seed}.{i}") for i in indices], seed)
        for seed, indices in (("10", [0, 1]), ("9", [0, 2]), ("11", [0]))
    ]
    wanted = ["9.0", "9.2", "10.0", "10.1", "11.0"]
    results = []
    for turn in range(3):
        random.Random(turn).shuffle(folders)
        merged = merge(folders, tmp_path / f"out{turn}")
        assert merged.spec.seed == "9+10+11"
        found = contents(merged.folder)
        assert [found["p", index].text for index in range(5)] == wanted
        assert found["p", 1].seed == 19  # of the sample as it was drawn
        results.append((merged.folder.name, found))
    assert results[0] == results[1] == results[2]


def test_different_samples_under_one_key_are_a_conflict_and_leave_no_target(tmp_path: Path) -> None:
    one = stored(tmp_path / "1", [sample("p", 0), sample("p", 1)])
    two = stored(tmp_path / "2", [sample("p", 1, text="other")])
    with pytest.raises(StoreError, match=r"other samples of problem 'p'.*1 of them: 1"):
        merge([one, two], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    one = stored(tmp_path, [sample("p")])
    two = stored(tmp_path, [sample("p")], seed="1", temperature=1.0)
    with pytest.raises(StoreError, match=r"temperature: .* nothing but the seed"):
        merge([one, two], tmp_path / "out")


def test_other_prompts_are_refused(tmp_path: Path) -> None:
    one = stored(tmp_path, [sample("p")])
    two = stored(tmp_path, [sample("p")], seed="1", prompt="1+2?")
    with pytest.raises(StoreError, match="different prompts"):
        merge([one, two], tmp_path / "out")


def test_merging_again_changes_nothing_and_more_is_refused(tmp_path: Path) -> None:
    one = stored(tmp_path / "1", [sample("p", 0)])
    two = stored(tmp_path / "2", [sample("p", 1)])
    assert merge([one, two], tmp_path / "out").created
    again = merge([two, one, two], tmp_path / "out")
    assert not again.created
    assert again.samples == 2
    stored(tmp_path / "2", [sample("p", 2)])
    with pytest.raises(StoreError, match="already exists and holds other samples"):
        merge([one, two], tmp_path / "out")
    assert len(contents(again.folder)) == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == [one.name]


def test_a_seed_is_not_counted_twice_through_a_merged_store(tmp_path: Path) -> None:
    one = stored(tmp_path, [sample("p")])
    two = stored(tmp_path, [sample("p")], seed="1")
    both = merge([one, two], tmp_path).folder
    with pytest.raises(StoreError, match="would count twice"):
        merge([both, one], tmp_path)


def test_what_a_killed_merge_left_is_replaced(tmp_path: Path) -> None:
    one = stored(tmp_path / "1", [sample("p")])
    half = tmp_path / "out" / f".merge-{one.name}"
    half.mkdir(parents=True)
    (half / "samples-0000.jsonl").write_text("rubbish\n")
    assert contents(merge([one], tmp_path / "out").folder) == contents(one)
    assert not half.exists()


def test_a_store_that_is_still_growing_is_not_merged(tmp_path: Path) -> None:
    folder = stored(tmp_path, [sample("p")])
    with SampleStore.open(tmp_path, SPEC), pytest.raises(StoreError, match="still being written by process"):
        merge([folder], tmp_path / "out")


def test_nothing_to_merge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="at least one store"):
        merge([], tmp_path)
    with pytest.raises(StoreError, match="not a sample store"):
        merge([tmp_path], tmp_path / "out")


def judged(folder: Path, *outcomes: Outcome) -> None:
    """Verdicts of one verifier on the first samples, a score and a review of the first."""
    with SampleStore.open_folder(folder) as store:
        with VerdictStore.open(store, "abc") as verdicts:
            verdicts.append_many(Verdict("p", index, outcome, "4") for index, outcome in enumerate(outcomes))
        with ScoreStore.open(store, "def") as scores:
            scores.describe(MODEL)
            scores.append_many([Score("p", 0, -1.5, 12)])
        with ReviewStore.open(store, "Ann") as reviews:
            reviews.append(CotVerdict("p", 0, "Ann", Soundness.SOUND))


MODEL = ScoringModel("hub/base", "abc", "", "float32", "transformers")


def test_verdicts_scores_and_reviews_follow_their_samples(tmp_path: Path) -> None:
    one = stored(tmp_path, [sample("p", index) for index in (0, 1)])
    two = stored(tmp_path, [sample("p", index) for index in (0, 1, 2)], seed="1")
    judged(one, Outcome.CORRECT)
    judged(two, Outcome.WRONG, Outcome.CORRECT)
    folder = merge([one, two], tmp_path / "out").folder
    with SampleStore.open_folder(folder) as store:
        verdicts = VerdictStore.open(store, "abc", read_only=True)
        assert {verdict.index: verdict.outcome for verdict in verdicts.verdicts()} == {
            0: Outcome.CORRECT,
            2: Outcome.WRONG,
            3: Outcome.CORRECT,
        }
        assert verdicts.missing(["p"], 5) == {"p": (1, 4)}
        assert [score.index for score in ScoreStore.open(store, "def", read_only=True).scores()] == [0, 2]
        assert scoring_models(store) == {"def": MODEL}
        assert sorted(ReviewStore.open(store, "Ann", read_only=True).verdicts()) == [("p", 0), ("p", 2)]
    judged(one, Outcome.CORRECT, Outcome.WRONG)
    assert not merge([one, two], tmp_path / "out").created
    with SampleStore.open_folder(folder) as store:
        assert VerdictStore.open(store, "abc", read_only=True).missing(["p"], 5) == {"p": (4,)}


def test_of_two_verdicts_on_one_sample_the_first_stays(tmp_path: Path) -> None:
    one, two = (stored(tmp_path / name, [sample("p")]) for name in ("1", "2"))
    judged(one, Outcome.TIMEOUT)
    judged(two, Outcome.CORRECT)
    folder = merge([two, one], tmp_path / "out").folder
    with SampleStore.open_folder(folder) as store:
        assert [one.outcome for one in VerdictStore.open(store, "abc", read_only=True).verdicts()] == [Outcome.TIMEOUT]
