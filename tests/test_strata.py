import json
from pathlib import Path

import numpy as np
import pytest

from kurve.comparison import as_json, compare, paired, shared_problems
from kurve.counts_file import read_counts_file
from kurve.errors import DataError
from kurve.strata import STRATA, agreed_strata, keep_strata, read_strata, with_strata
from kurve.types import Tally


def tally(strata: tuple[str, ...] = (), ids: tuple[str, ...] = tuple("abcdefgh"), correct: int = 2) -> Tally:
    size = len(ids)
    return Tally(ids, np.full(size, 8), np.full(size, correct), np.zeros(size, dtype=np.int64), strata=strata)


HALVES = ("odd", "even") * 4


def test_strata_are_kept_beside_the_samples_and_grow(tmp_path: Path) -> None:
    assert read_strata(tmp_path) == {}
    keep_strata(tmp_path, {})
    assert not (tmp_path / STRATA).exists()
    keep_strata(tmp_path, {"a": "easy", "b": ""})
    keep_strata(tmp_path, {"c": "hard"})
    assert read_strata(tmp_path) == {"a": "easy", "c": "hard"}
    before = (tmp_path / STRATA).stat().st_mtime_ns
    keep_strata(tmp_path, {"a": "easy"})
    assert (tmp_path / STRATA).stat().st_mtime_ns == before


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 3}'])
def test_damaged_strata_are_refused_and_written_again(tmp_path: Path, content: str) -> None:
    (tmp_path / STRATA).write_text(content)
    with pytest.raises(DataError, match="damaged"):
        read_strata(tmp_path)
    keep_strata(tmp_path, {"a": "easy"})
    assert read_strata(tmp_path) == {"a": "easy"}


def test_pairing_takes_the_strata_that_either_knows_in_the_order_of_the_base() -> None:
    base, tuned = tally(), with_strata(tally(ids=tuple("hgfedcba")), {"a": "one", "h": "two"})
    for one in paired(base, tuned):
        assert one.problem_ids == tuple("abcdefgh")
        assert one.strata == ("one", "", "", "", "", "", "", "two")


def test_strata_that_contradict_each_other_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="'a' is of the stratum 'odd' in base and of 'other' in tuned"):
        paired(tally(HALVES), tally(("other", *HALVES[1:])))
    assert agreed_strata([tally(HALVES), tally()], ["base", "tuned"])["b"] == "even"


def test_dropping_problems_drops_their_strata() -> None:
    [kept, _], left_out = shared_problems([tally(HALVES), tally(ids=tuple("bcd"))])
    assert kept.problem_ids == ("b", "c", "d")
    assert kept.strata == ("even", "odd", "even")
    assert len(left_out) == 5


def test_json_has_strata_only_where_there_are_some() -> None:
    without = as_json(compare(tally(), tally(correct=5), rng=np.random.default_rng(0)))
    document = as_json(compare(tally((*HALVES[:5], "", "", "")), tally(correct=5), rng=np.random.default_rng(0)))
    strata = document.pop("strata")
    assert document == without
    assert isinstance(strata, list)
    assert [(one["stratum"], one["num_problems"]) for one in strata] == [("", 3), ("odd", 3), ("even", 2)]
    assert strata[1]["pass_at_1"]["delta"] == {"value": 0.375, "lower": None, "upper": None}
    assert strata[1]["verdict"] == "not established at k = 1, not established at k = 8"
    assert json.loads(json.dumps(strata, allow_nan=False)) == strata


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"id":"a","n":2,"c":1,"stratum":"AIME-I"}\n{"id":"b","n":2,"c":1}\n', ("AIME-I", "")),
        ('{"id":"a","n":2,"c":1,"stratum":3}\n{"id":"b","n":2,"c":1,"stratum":null}\n', ("3", "")),
        ('{"id":"a","n":2,"c":1,"stratum":""}\n{"id":"b","n":2,"c":1,"stratum":" "}\n', ()),
    ],
)
def test_a_counts_file_may_name_strata(tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
    (tmp_path / "counts.jsonl").write_text(text)
    assert read_counts_file(tmp_path / "counts.jsonl").strata == expected


def test_a_stratum_that_is_no_name_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "counts.jsonl").write_text('{"id":"a","n":2,"c":1,"stratum":["x"]}\n')
    with pytest.raises(DataError, match=r"counts.jsonl.*1.*stratum is \['x'\]"):
        read_counts_file(tmp_path / "counts.jsonl")
