import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kurve.errors import DataError, MetricError
from kurve.perplexity import CORRECT, OTHER, UNJUDGED, Distribution, drawn_words, measure
from kurve.perplexity_files import as_json, write_perplexities
from tests.store.support import SPEC

PLAIN = replace(SPEC, temperature=1.0, top_p=1.0)


def made(
    drawn_by: str, rows: list[tuple[int, float, int]], *, ids: str = "ab", scored_by: str = "base"
) -> Distribution:
    """Rows of (problem, log-probability, tokens); every text is twice as many bytes."""
    problem, logprob, tokens = (np.array(column) for column in zip(*rows, strict=True))
    return Distribution(
        scored_by=scored_by, drawn_by=drawn_by, source="/stores/x", spec=PLAIN, problem_ids=tuple(ids),
        problem=problem.astype(np.int64), index=np.arange(len(rows)), num_tokens=tokens.astype(np.int64),
        num_bytes=2 * tokens.astype(np.int64), logprob_sum=logprob.astype(np.float64),
        correct=np.full(len(rows), UNJUDGED, dtype=np.int8),
    )  # fmt: skip


BASE = made("base", [(0, -2.0, 2), (0, -6.0, 2), (1, -8.0, 4), (1, -4.0, 4)])
TUNED = made("grpo", [(1, -1.0, 2), (0, -2.0, 2), (1, -4.0, 2)], ids="ba")


def test_samples_are_placed_among_the_bases_own_of_their_problem_by_id() -> None:
    found = measure([BASE, TUNED, made("grpo", [(0, -1.0, 4)], scored_by="grpo")], base=0)
    [one] = found.against_base  # what another model scored is not comparable
    # base: a at 1 and 3, b at 2 and 1; grpo: a (which it lists second) at 1/2 and 2, b at 1.
    assert one.num_problems == 2
    assert one.quantile.value == pytest.approx(np.mean([(0 + 0.5) / 2, 0.25]))
    assert one.length.raw.value == pytest.approx(np.mean([1.25 - 2.0, 1.0 - 1.5]))
    assert sum(one.deciles) == pytest.approx(1.0)
    assert [each.num_samples for each in found.all] == [4, 3, 1]


def test_bytes_stand_in_for_tokens() -> None:
    by_token, by_byte = (measure([BASE], base=None, unit=unit) for unit in ("token", "byte"))
    assert by_byte.all[0].quartiles == tuple(value / 2 for value in by_token.all[0].quartiles)


def test_what_has_no_perplexity_is_counted_and_left_out() -> None:
    odd = made("grpo", [(0, -2.0, 2), (0, 0.0, 0), (0, -math.inf, 3)])
    found = measure([replace(odd, left_out={"longer than the context": 4})], base=None)
    assert found.all[0].num_samples == 1
    assert found.distributions[0].left_out == {"longer than the context": 4, "empty": 1, "ruled out by the model": 1}
    assert any("6 samples left out" in note for note in found.notes)
    with pytest.raises(MetricError, match="no sample in /stores/x has a perplexity"):
        measure([odd.where(np.array([False, True, True]))], base=None)


def test_the_correct_samples_are_summarised_apart_where_something_is_judged() -> None:
    judged = replace(BASE, correct=np.array([CORRECT, OTHER, OTHER, CORRECT], dtype=np.int8))
    found = measure([judged, TUNED], base=0)
    assert found.correct[0] is not None
    assert found.correct[0].num_samples == 2
    assert found.correct[0].quartiles[1] == 1.0
    assert found.correct[1] is None


def test_a_model_on_other_problems_is_said_to_be_so() -> None:
    found = measure([BASE, made("teacher", [(0, -1.0, 2)], ids="c")], base=0)
    assert found.against_base == ()
    assert any("teacher answers none of the problems of base" in note for note in found.notes)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 0.6, "top_p": 0.95}, "T = 0.6, top_p = 0.95, a sharper distribution"),
        ({"temperature": 1.0, "top_k": 20}, "T = 1, top_k = 20, a sharper distribution"),
        ({"temperature": 1.2}, "T = 1.2, a flatter distribution"),
        ({"temperature": 1.2, "min_p": 0.1}, "T = 1.2, min_p = 0.1, another distribution"),
        ({"temperature": 1.0}, ""),
        ({"temperature": None}, "settings that are not on record"),
    ],
)
def test_the_distribution_that_was_drawn_from_is_named(settings: dict[str, float | None], words: str) -> None:
    spec = replace(PLAIN, **settings)  # type: ignore[arg-type]  # fields of the spec
    assert drawn_words(spec).startswith(words)
    assert bool(drawn_words(spec)) == bool(words)
    notes = measure([replace(BASE, spec=spec)], base=None).notes
    assert any(words in note for note in notes) or not words


def test_the_files_hold_every_number_and_a_row_a_sample(tmp_path: Path) -> None:
    judged = replace(BASE, correct=np.array([CORRECT, OTHER, UNJUDGED, CORRECT], dtype=np.int8))
    hostile = replace(TUNED, drawn_by="$\\frac{$ <b>\ud800", problem_ids=("b\ud800", "a"))
    found = measure([judged, hostile], base=0)
    files = write_perplexities(found, tmp_path / "out", title="$x_{")
    names = [file.name for file in files]
    assert {"perplexity.json", "perplexity.parquet", "perplexity.png", "perplexity.svg"} <= set(names)
    assert len([name for name in names if name.endswith(".image.png")]) == len(names) - 4 == 2
    document = json.loads(files[0].read_text())
    one, other = document["distributions"]
    assert one["log_perplexity"]["median"] == 1.5
    assert one["perplexity"]["median"] == pytest.approx(math.exp(1.5))
    assert one["problems"][1] == {"id": "b", "num_samples": 2, "mean_log_perplexity": 1.5, "median_log_perplexity": 1.5}
    assert sum(one["histogram"]) == 4
    assert len(document["edges"]) == len(one["histogram"]) + 1
    assert one["sampling"]["temperature"] == 1.0
    assert other["correct"] is None
    [against] = document["against_base"]
    assert against["difference_at_equal_length"]["upper"] is None  # problem a alone is shared
    table = pq.read_table(files[1]).to_pydict()
    assert table["id"][:4] == ["a", "a", "b", "b"]
    assert table["correct"] == [True, False, None, True, None, None, None]
    assert table["logprob_sum"] == [*BASE.logprob_sum, *TUNED.logprob_sum]
    assert table["perplexity"][0] == pytest.approx(math.e)
    assert write_perplexities(found, tmp_path / "out", title="$x_{") == files
    assert as_json(found) == document


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="make room or name another place"):
        write_perplexities(measure([BASE], base=None), tmp_path / "file", title="x")
