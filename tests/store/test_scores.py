from collections.abc import Iterator
from pathlib import Path

import pytest

from kurve.errors import StoreError
from kurve.store import SampleStore, ScoreStore, VerdictStore, scoring_models
from kurve.types import Outcome, Score, ScoringModel, Verdict
from tests.store.support import SPEC, sample

MODEL = ScoringModel("Qwen/Qwen2.5-7B", "abc", "", "float32", "transformers")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SampleStore]:
    with SampleStore.open(tmp_path, SPEC) as opened:
        opened.append_many(sample("p\u00e9", index) for index in range(4))
        yield opened


def score(index: int, logprob: float = -3.25, problem_id: str = "p\u00e9") -> Score:
    return Score(problem_id, index, logprob, 12)


def test_scores_come_back_and_only_the_rest_is_missing(store: SampleStore) -> None:
    with ScoreStore.open(store, "abc") as scores:
        assert scores.missing(["p\u00e9", "absent"], 10) == {"p\u00e9": (0, 1, 2, 3)}
        assert scores.append_many([score(0, -1e-300), score(2, -float("inf"))]) == 2
    with ScoreStore.open(store, "abc") as scores:
        assert list(scores.scores()) == [score(0, -1e-300), score(2, -float("inf"))]
        assert scores.missing(["p\u00e9"], 10) == {"p\u00e9": (1, 3)}
        assert scores.missing(["p\u00e9"], 1) == {}
        assert list(scores.scores(num_samples=1)) == [score(0, -1e-300)]
    with ScoreStore.open(store, "other") as scores:
        assert not list(scores.scores())


def test_the_first_score_stays(store: SampleStore) -> None:
    with ScoreStore.open(store, "abc") as scores:
        assert scores.append_many([score(0), score(0, -3.250001)]) == 1
        assert scores.append_many([score(0, -9.0)]) == 0
        assert list(scores.scores()) == [score(0)]


def test_the_score_of_a_text_that_was_lost_and_drawn_anew_does_not_count(tmp_path: Path) -> None:
    with SampleStore.open(tmp_path, SPEC) as store, ScoreStore.open(store, "abc") as scores:
        store.append_many([sample("p", 0), sample("p", 1)])
        scores.append_many([score(0, problem_id="p"), score(1, problem_id="p")])
    (store.folder / "samples-0000.jsonl").unlink()
    with SampleStore.open(tmp_path, SPEC) as store, ScoreStore.open(store, "abc") as scores:
        store.append_many([sample("p", 0), sample("p", 1, text="another")])
        assert scores.missing(["p"], 2) == {"p": (1,)}
        assert list(scores.scores()) == [score(0, problem_id="p")]


def test_a_torn_last_line_is_cut_off_and_scored_again(store: SampleStore) -> None:
    with ScoreStore.open(store, "abc") as scores:
        scores.append_many([score(0), score(1)])
    path = store.folder / "scores-abc-0000.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    with ScoreStore.open(store, "abc") as scores:
        assert scores.missing(["p\u00e9"], 2) == {"p\u00e9": (1,)}
        assert scores.append_many([score(1)]) == 1
    path.write_bytes(path.read_bytes().replace(b'"l":-3.25', b'"l":-9.25', 1))
    with pytest.raises(StoreError, match="is then scored again"):
        ScoreStore.open(store, "abc", read_only=True)


def test_scores_stand_beside_verdicts_and_one_process_writes_a_set(store: SampleStore) -> None:
    with VerdictStore.open(store, "abc") as verdicts, ScoreStore.open(store, "abc") as scores:
        verdicts.append(Verdict("p\u00e9", 0, Outcome.CORRECT))
        scores.append_many([score(0)])
        assert [one.index for one in verdicts.verdicts()] == [one.index for one in scores.scores()] == [0]
        with pytest.raises(StoreError, match="is being written by"):
            ScoreStore.open(store, "abc")
        with pytest.raises(StoreError, match="holds no sample 9"):
            scores.append_many([score(9)])


def test_a_set_says_which_model_gave_it(store: SampleStore) -> None:
    with ScoreStore.open(store, "abc") as scores:
        scores.describe(MODEL)
        scores.append_many([score(0)])
    assert scoring_models(store) == {"abc": MODEL}
    (store.folder / "scores-abc.json").write_text("{}")
    with pytest.raises(StoreError, match="writes it again"):
        scoring_models(store)
