"""Loading: the real files, the same problem from every source, and a refusal for every way a file can be wrong."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kurve.benchmarks.answers import Gold
from kurve.benchmarks.cells import content_id
from kurve.benchmarks.rows import Benchmark, load
from kurve.errors import ConfigError, DataError
from kurve.types import Answer
from tests.benchmarks.configs import FILES, load_local, settings

COLUMNS = {"question": "question", "answer": "answer"}
SIZES = {"gsm8k": 1319, "math500": 500, "minerva": 272, "olympiad": 675, "aime24": 30, "amc23": 40}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def row(number: int, **more: object) -> dict[str, object]:
    return {"question": f"What is {number}?", "answer": str(number), **more}


def ids(benchmark: Benchmark) -> list[str]:
    return [problem.id for problem in benchmark.problems]


def golds(benchmark: Benchmark) -> list[tuple[str, ...]]:
    return [problem.reference.values for problem in benchmark.problems]


@pytest.mark.parametrize("name", FILES)
def test_every_benchmark_loads_from_the_file_that_people_have(name: str, shared_data: Path) -> None:
    benchmark = load_local(name, shared_data)
    assert len(benchmark.problems) == SIZES[name]
    assert benchmark.name == name
    assert benchmark.num_samples == (1024 if name in ("aime24", "amc23") else 128)
    assert benchmark.answer_space == (1000 if name == "aime24" else None)
    assert benchmark.revision.startswith("sha256:")
    assert benchmark.source.endswith(FILES[name])
    assert all(problem.question == problem.question.strip() for problem in benchmark.problems)


@pytest.mark.parametrize("name", [*FILES, "omni_math_train", "omni_math_test"])
def test_every_dataset_is_named_after_its_file_and_pinned_to_a_commit(name: str) -> None:
    node = settings(name)
    assert node["name"] == name
    assert len(node["revision"]) == 40
    assert node.get("data_files") is None or node["revision"] in node["data_files"]
    assert {"path", "limit", "num_samples", "split", "columns", "gold"} <= node.keys()


@pytest.mark.parametrize("name", FILES)
def test_a_limit_takes_the_first_problems_and_changes_no_id(name: str, shared_data: Path) -> None:
    whole = load_local(name, shared_data)
    part = load_local(name, shared_data, limit=8)
    assert part.problems == whole.problems[:8]
    assert part.revision == whole.revision


def test_ids_do_not_depend_on_where_a_problem_stands(tmp_path: Path) -> None:
    there = load(name="b", columns=COLUMNS, path=write(tmp_path / "a.jsonl", row(1), row(2)))
    back = load(name="b", columns=COLUMNS, path=write(tmp_path / "b.jsonl", row(3), row(2), row(1)))
    assert ids(there) == ids(back)[:0:-1]


def test_content_ids_are_blind_to_spacing_and_unicode_form() -> None:
    assert content_id("Caf\u00e9  is\n2?") == content_id(" Cafe\u0301 is 2? ".strip())
    assert content_id("a b") != content_id("ab")


def test_a_dataset_folder_as_the_hub_serves_it_gives_the_same_problems_as_the_file(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("gsm8k", "amc23"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "test.jsonl").write_bytes((shared_data / FILES[name]).read_bytes())
        hub = load(**settings(name, dataset=str(folder), subset=None))
        assert hub.problems == load_local(name, shared_data).problems
        assert hub.revision == settings(name)["revision"]
        assert hub.source == str(folder)


def test_minerva_has_the_same_ids_and_golds_under_the_hubs_column_names(tmp_path: Path, shared_data: Path) -> None:
    local = load_local("minerva", shared_data)
    rows = ({"question": p.question, "answer": p.reference.raw} for p in local.problems)
    renamed = load(**settings("minerva", path=write(tmp_path / "hub.jsonl", *rows)))
    assert renamed.problems == local.problems


def test_gzip_and_plain_files_of_the_same_content_have_the_same_digest(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.jsonl", row(1), row(2))
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    first, second = (load(name="b", columns=COLUMNS, path=path) for path in (plain, packed))
    assert (first.problems, first.revision) == (second.problems, second.revision)


def test_parquet_gives_the_same_problems_as_jsonl(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [row(1, unit=None, many=["1", "2"]), row(2, unit="cm", many=["3"])]
    columns = {"question": "question", "answer": "many", "unit": "unit"}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    table = load(name="b", columns=columns, path=tmp_path / "a.parquet")
    assert table.problems == load(name="b", columns=columns, path=write(tmp_path / "a.jsonl", *rows)).problems
    assert golds(table) == [("1", "2"), ("3",)]


def test_numbers_are_read_as_they_are_written(tmp_path: Path) -> None:
    rows = [row(n, answer=value) for n, value in enumerate([27.0, 3, 0.1, 1e-7, 1e22, [1.5, 2]])]
    benchmark = load(name="b", columns=COLUMNS, path=write(tmp_path / "a.jsonl", *rows))
    assert golds(benchmark) == [("27",), ("3",), ("0.1",), ("0.0000001",), ("1" + "0" * 22,), ("1.5", "2")]


def test_optional_columns_reach_the_answer_and_the_strata(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        row(1, id=7, unit="$cm$", error="1e-1", many=False, level=2),
        row(2, id=8.0, unit=None, error=None, many=True, level=None, answer="5,6"),
        row(3, id="x"),
    )
    roles = {"id": "id", "unit": "unit", "tolerance": "error", "multiple": "many", "stratum": "level"}
    benchmark = load(name="b", columns={**COLUMNS, **roles}, path=path)
    assert ids(benchmark) == ["7", "8", "x"]
    assert benchmark.problems[0].reference == Answer(("1",), "1", unit="cm", tolerance=0.1)
    assert golds(benchmark)[1] == ("5", "6")
    assert benchmark.strata == ("2", "", "")


def test_blank_lines_and_a_byte_order_mark_are_skipped_but_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row(1)).encode() + b"\r\n\n  \n" + json.dumps(row(2)).encode())
    assert len(load(name="b", columns=COLUMNS, path=path).problems) == 2
    path.write_bytes(path.read_bytes() + b"\n{")
    with pytest.raises(DataError, match="line 5"):
        load(name="b", columns=COLUMNS, path=path)


def test_a_gold_may_be_normalised_by_a_function_of_ones_own(tmp_path: Path) -> None:
    def reverse(gold: Gold) -> Answer:
        return Answer((gold.text[::-1],), gold.text)

    assert golds(load(name="b", columns=COLUMNS, gold=reverse, path=write(tmp_path / "a.jsonl", row(12)))) == [("21",)]


def test_folds_split_a_benchmark_by_content_without_overlap(tmp_path: Path) -> None:
    path = write(tmp_path / "omni.jsonl", *({"problem": f"Q{n}", "answer": str(n)} for n in range(2821)))
    train, test = (load(**settings(f"omni_math_{part}", path=path)) for part in ("train", "test"))
    assert set(ids(train)).isdisjoint(ids(test))
    assert len(train.problems) + len(test.problems) == 2821
    assert abs(len(test.problems) - 821) < 100  # 4 standard deviations
    fewer = write(tmp_path / "fewer.jsonl", *({"problem": f"Q{n}", "answer": str(n)} for n in range(2820, 0, -2)))
    assert set(ids(load(**settings("omni_math_test", path=fewer)))) < set(ids(test))


def test_a_repeated_problem_is_left_out_only_when_asked_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.jsonl", row(1), row(2), row(1))
    with pytest.raises(DataError, match=r"line 3: .* was already at .*line 1; .*duplicates=first"):
        load(name="b", columns=COLUMNS, path=path)
    assert golds(load(name="b", columns=COLUMNS, path=path, duplicates="first")) == [("1",), ("2",)]
    assert "line 3 repeats" in caplog.text


REFUSED_ROWS = {
    "empty file": ("", "holds no rows"),
    "blank file": ("\n \n", "holds no rows"),
    "malformed line": (json.dumps(row(1)) + '\n{"question": ', "line 2: not valid JSON"),
    "list instead of object": ("[1, 2]", "line 1: expected a JSON object, got list"),
    "missing column": (
        '{"questoin": "a", "answer": "1"}',
        "no column 'question' .* has answer, questoin. did you mean",
    ),
    "missing answer": ('{"question": "a"}', r"no column 'answer' .*Set benchmark\.columns\.answer="),
    "no columns": ("{}", "has no columns"),
    "question of the wrong type": ('{"question": 5, "answer": "1"}', "question must be text .* got 5"),
    "empty question": ('{"question": "  ", "answer": "1"}', "question must be text that is not empty"),
    "empty gold": ('{"question": "a", "answer": " "}', "answer must be .* not empty"),
    "null gold": ('{"question": "a", "answer": null}', "line 1: the answer must be"),
    "empty list of golds": ('{"question": "a", "answer": []}', "answer must be"),
    "nested list of golds": ('{"question": "a", "answer": [["1"]]}', "answer must be"),
    "boolean gold": ('{"question": "a", "answer": true}', "answer must be"),
    "object gold": ('{"question": "a", "answer": {"b": 1}}', "answer must be"),
    "gold that is no number": ('{"question": "a", "answer": NaN}', "answer must be"),
    "gold of dollars": ('{"question": "a", "answer": "$$"}', "reference answer .* is empty"),
    "lone surrogate": ('{"question": "a\\ud800", "answer": "1"}', "lone surrogate at character 1"),
    "surrogate in the gold": ('{"question": "a", "answer": "1\\udfff"}', "lone surrogate"),
    "huge integer": ('{"question": "a", "answer": 1' + "0" * 5000 + "}", "line 1: not valid JSON"),
    "deep nesting": ("[" * 100_000, "line 1: not valid JSON"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED_ROWS.values(), ids=REFUSED_ROWS)
def test_a_malformed_file_is_refused_with_file_and_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as refusal:
        load(name="b", columns=COLUMNS, path=path)
    assert "bad.jsonl" in str(refusal.value)
    assert len(str(refusal.value)) < 1_000


@pytest.mark.parametrize(
    ("role", "value", "message"),
    [
        ("id", None, "id must be"),
        ("id", "", "id must be"),
        ("id", True, "id must be"),
        ("id", 1.5, "id must be"),
        ("unit", 3, "unit must be text"),
        ("tolerance", "much", "tolerance must be a number"),
        ("tolerance", -1, "tolerance must be"),
        ("tolerance", "inf", "tolerance must be"),
        ("multiple", "yes", "true or false"),
    ],
)
def test_an_optional_value_of_the_wrong_type_is_refused(tmp_path: Path, role: str, value: Any, message: str) -> None:
    path = write(tmp_path / "a.jsonl", row(1, extra=value))
    with pytest.raises(DataError, match=f"line 1: .*{message}"):
        load(name="b", columns={**COLUMNS, role: "extra"}, path=path)


def test_an_optional_column_that_no_row_has_is_taken_for_a_slip(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'unti' for the unit.* or null if there is none"):
        load(name="b", columns={**COLUMNS, "unit": "unti"}, path=write(tmp_path / "a.jsonl", row(1)))


def test_bytes_that_are_not_utf8_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(row(1)).encode() + b'\n{"question": "caf\xe9", "answer": "1"}')
    with pytest.raises(DataError, match="line 2: not UTF-8"):
        load(name="b", columns=COLUMNS, path=path)


# Named, because packed bytes hold the time: workers that collect in different seconds would disagree on the name.
@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"{}" * 100)[:-12], b"\x1f\x8b\x08\x00" + b"\xff" * 40],
    ids=["not packed", "cut short", "no deflate data"],
)
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        load(name="b", columns=COLUMNS, path=path)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1" + os.urandom(200) + b"PAR1"], ids=["empty", "magic alone", "noise"]
)
def test_a_damaged_parquet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a readable Parquet file"):
        load(name="b", columns=COLUMNS, path=path)


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a", "folder.jsonl", "pipe.jsonl"])
def test_what_is_no_file_of_a_known_suffix_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    {"folder.jsonl": path.mkdir, "pipe.jsonl": lambda: os.mkfifo(path)}.get(name, path.touch)()
    with pytest.raises(ConfigError, match=r"\.jsonl, \.jsonl\.gz, \.parquet"):
        load(name="b", columns=COLUMNS, path=path)


REFUSED_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "file not there": ({"path": "nowhere.jsonl"}, "nowhere.jsonl does not exist"),
    "user not there": ({"path": "~nosuchuser/a.jsonl"}, "cannot be looked up"),
    "name too long": ({"path": "a" * 5000 + ".jsonl"}, "cannot be looked up"),
    "no source": ({"path": None}, "neither a dataset nor a path"),
    "one answer": ({"answer_space": 1}, "benchmark.answer_space is 1"),
    "answers of true": ({"answer_space": True}, "benchmark.answer_space is True"),
    "answers of text": ({"answer_space": "1000"}, "benchmark.answer_space is '1000'"),
    "limit of zero": ({"limit": 0}, "benchmark.limit is 0"),
    "limit of true": ({"limit": True}, "benchmark.limit is True"),
    "limit of text": ({"limit": "8"}, "benchmark.limit is '8'"),
    "no samples": ({"num_samples": 0}, "benchmark.num_samples is 0"),
    "unknown role": ({"columns": {**COLUMNS, "anwser": "a"}}, r"did you mean benchmark\.columns\.answer"),
    "no answer column": ({"columns": {"question": "question"}}, r"benchmark\.columns\.answer is not set"),
    "null answer column": ({"columns": {"question": "q", "answer": None}}, r"benchmark\.columns\.answer is not set"),
    "column of numbers": ({"columns": {**COLUMNS, "id": [1]}}, "expected a column or a list of columns"),
    "unknown normaliser": ({"gold": "latx"}, "expected one of latex, boxed"),
    "fold the wrong way": ({"fold": [0.7, 0.3]}, "benchmark.fold"),
    "fold of one": ({"fold": [0.7]}, "benchmark.fold"),
    "fold of text": ({"fold": ["a", "b"]}, "benchmark.fold"),
    "unknown treatment of duplicates": ({"duplicates": "last"}, "refuse or first"),
}


@pytest.mark.parametrize(("changed", "message"), REFUSED_SETTINGS.values(), ids=REFUSED_SETTINGS)
def test_a_wrong_setting_is_refused_before_anything_is_read(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    given = {"name": "b", "columns": COLUMNS, "path": tmp_path / "unread.jsonl", **changed}
    with pytest.raises(ConfigError, match=message):
        load(**given)


def test_a_fold_that_holds_no_problem_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no problem of .* falls into"):
        load(name="b", columns=COLUMNS, path=write(tmp_path / "a.jsonl", row(1)), fold=[0.0, 1e-12])


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.symlink_to("/proc/self/mem")  # opens, and fails to be read, for root too
    with pytest.raises(DataError, match="cannot be read"):
        load(name="b", columns=COLUMNS, path=path)


Hub = Callable[..., Benchmark]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Load from a local folder in the hub's layout."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write(tmp_path / "test.jsonl", row(1), row(2))

    def from_hub(**changed: Any) -> Benchmark:
        return load(**{"name": "b", "columns": COLUMNS, "dataset": str(tmp_path), "revision": "abc", **changed})

    return from_hub


def test_a_hub_dataset_keeps_its_pinned_revision(hub: Hub) -> None:
    benchmark = hub(limit=1)
    assert (benchmark.revision, golds(benchmark)) == ("abc", [("1",)])


@pytest.mark.parametrize("changed", [{"split": "nowhere"}, {"subset": "nosuch"}, {"dataset": "./no/such/folder"}])
def test_what_the_hub_does_not_have_is_refused_with_the_way_out(hub: Hub, changed: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"cannot load .*benchmark\.path="):
        hub(**changed)


def test_a_malformed_hub_row_is_named(hub: Hub) -> None:
    with pytest.raises(DataError, match=r"\[test\], row 1: no column 'problem'"):
        hub(columns={**COLUMNS, "question": "problem"})


def test_without_the_datasets_package_a_file_loads_and_the_hub_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", row(1))
    program = f"""
import sys
sys.modules["datasets"] = None  # what Python itself does for a module that must not be imported
from kurve.benchmarks.rows import load
from kurve.errors import ConfigError
given = dict(name="b", columns={COLUMNS!r})
assert len(load(path={str(path)!r}, **given).problems) == 1
try:
    load(dataset="openai/gsm8k", **given)
except ConfigError as error:
    sys.exit(str(error))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "pip install 'kurve[vllm]'" in done.stderr
    assert "benchmark.path=<file>" in done.stderr


def test_loading_a_file_imports_neither_datasets_nor_math_verify() -> None:
    program = (
        "import sys, kurve.benchmarks.rows, kurve.prompts\n"
        "print([name for name in ('datasets', 'math_verify', 'sympy', 'torch', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
