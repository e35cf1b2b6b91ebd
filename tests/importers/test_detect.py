from pathlib import Path

import pytest

from kurve.errors import ConfigError, DataError
from kurve.importers.detect import find_files, find_format
from tests.importers.reading_here import DATA, taken_for

ROW = '{"id": "a", "text": "x", "correct": true}\n'


def test_a_folder_gives_its_files_with_numbers_in_order(tmp_path: Path) -> None:
    for name in ("b10.jsonl", "b9.jsonl", "a.jsonl", "notes.txt"):
        (tmp_path / name).write_text(ROW)
    assert [path.name for path in find_files([str(tmp_path)])] == ["a.jsonl", "b9.jsonl", "b10.jsonl"]
    assert [path.name for path in find_files([f"{tmp_path}/b*.jsonl"])] == ["b9.jsonl", "b10.jsonl"]
    twice = find_files([str(tmp_path / "a.jsonl"), str(tmp_path)])
    assert [path.name for path in twice] == ["a.jsonl", "b9.jsonl", "b10.jsonl"]


@pytest.mark.parametrize("path", ["nothing.jsonl", "nothing*.jsonl", "."])
def test_a_path_that_names_no_file_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=r"does not exist|holds no file ending in"):
        find_files([str(tmp_path / path)])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("lm_eval", "lm_eval"),
        ("lighteval", "lighteval"),
        ("inspect", "inspect"),
        ("nemo_skills", "nemo_skills"),
        ("evalplus", "evalplus"),
        ("limit_of_rlvr", "limit_of_rlvr"),
    ],
)
def test_each_tools_folder_is_recognised_with_its_results_and_metrics_left_alone(path: str, name: str) -> None:
    assert taken_for(path) == name


def test_other_files_beside_the_samples_are_left_alone_but_a_named_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(ROW)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "log.json").write_text('{\n  "time": 3\n}')
    importer, files = find_format("auto", find_files([str(tmp_path)]), named=False)
    assert (importer.NAME, [path.name for path in files]) == ("rows", ["rows.jsonl"])
    for name, message in (("empty.jsonl", "is empty"), ("log.json", "is of no format that is known")):
        with pytest.raises(DataError, match=message):
            find_format("auto", [tmp_path / name], named=True)


def test_several_formats_are_refused_unless_one_is_named() -> None:
    files = find_files([str(DATA)])
    with pytest.raises(DataError, match=r"the files are of several formats: .*inspect.*; import one at a time"):
        find_format("auto", files, named=False)
    assert find_format("inspect", files, named=False)[0].NAME == "inspect"


def test_a_format_that_there_is_not_or_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(ROW)
    with pytest.raises(ConfigError, match=r"format=lmeval is not known; did you mean lm_eval\?"):
        find_format("lmeval", [tmp_path / "rows.jsonl"], named=True)
    with pytest.raises(DataError, match="is not of format=lm_eval; expected: a row with a document"):
        find_format("lm_eval", [tmp_path / "rows.jsonl"], named=True)


def test_results_without_samples_and_counts_are_told_where_they_belong(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{\n  "results": {}\n}')
    (tmp_path / "counts.jsonl").write_text('{"id": "a", "n": 4, "c": 2}\n')
    with pytest.raises(DataError, match=r"holds results, not samples; .* --log_samples"):
        find_format("auto", [tmp_path / "results.json"], named=True)
    with pytest.raises(DataError, match="holds counts, not samples; kurve compare reads it"):
        find_format("auto", [tmp_path / "counts.jsonl"], named=True)
