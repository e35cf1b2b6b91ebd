import dataclasses
from pathlib import Path

import pytest

from kurve.commands.build import build
from kurve.errors import ConfigError
from kurve.gate_settings import Gate, gate_digest, gate_json, gate_of, read_gate, weaker_settings
from tests.composing import composed

CONF = Path(__file__).resolve().parent.parent / "conf" / "gate"
SHIPPED = sorted(path.stem for path in CONF.glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_server_reads_the_gate_that_the_command_line_composes(name: str) -> None:
    composed_gate = build(composed("promote", f"gate={name}", "registered_model=m", "version=1").gate, "gate")
    assert read_gate(CONF / f"{name}.yaml") == composed_gate
    assert composed_gate.name == name
    assert gate_of(gate_json(composed_gate), "itself") == composed_gate


@pytest.mark.parametrize(
    "wrong",
    [
        {"superiority_margin": -0.1},
        {"non_inferiority_margin": float("nan")},
        {"max_error_rate": 2},
        {"delta_se_cap": True},
        {"min_problems": 0},
        {"min_samples": 2.5},
        {"draws": 10},
        {"k": 0},
        {"confidence": 1.0},
        {"confidence": 0.2},
        {"multiplicity": "bonferroni"},
        {"benchmarks": ()},
        {"benchmarks": ("a", "a")},
        {"benchmarks": "math500"},
        {"name": ""},
        {"same_settings": "yes"},
        {"superiority_margin": 0.0, "multiplicity": "fixed_sequence"},
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_the_setting(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"gate\.({'|'.join(wrong)})"):
        Gate(**{"name": "g", **wrong})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "content", ["[1, 2]", "name: [", "name: g\nmargin: 1", "min_problems: 3", "name: g\nbenchmarks: m"]
)
def test_a_file_that_holds_no_gate_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "gate.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"gate\.yaml"):
        read_gate(tmp_path / "gate.yaml")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        read_gate(tmp_path / "nowhere.yaml")


STRICT = read_gate(CONF / "default.yaml")


@pytest.mark.parametrize(
    "change",
    [
        {"superiority_margin": None},
        {"non_inferiority_margin": 0.06},
        {"non_inferiority_margin": None},
        {"k": 8},
        {"max_truncation_rate": None},
        {"max_error_rate": 0.5},
        {"min_problems": 29},
        {"min_samples": 8},
        {"same_settings": False},
        {"allow_unsafe_sandbox": True},
        {"multiplicity": "none"},
        {"confidence": 0.9},
        {"draws": 100},
        {"seed": 1},
    ],
)
def test_a_gate_that_asks_for_less_in_one_thing_is_weaker_and_named(change: dict[str, object]) -> None:
    lax = dataclasses.replace(STRICT, **change)  # type: ignore[arg-type]  # any setting of a gate
    assert [said.split()[0] for said in weaker_settings(lax, STRICT)] == list(change)
    assert gate_digest(lax) != gate_digest(STRICT)


def test_a_stricter_gate_and_the_same_one_are_not_weaker() -> None:
    paper = read_gate(CONF / "paper.yaml")
    assert weaker_settings(STRICT, STRICT) == []
    assert weaker_settings(paper, STRICT) == []
    assert weaker_settings(STRICT, paper)


def test_a_gate_of_other_benchmarks_is_weaker_than_one_that_names_them() -> None:
    named = dataclasses.replace(STRICT, benchmarks=("math500", "aime24"))
    assert weaker_settings(STRICT, named)
    assert weaker_settings(dataclasses.replace(STRICT, benchmarks=("aime24",)), named)
    assert weaker_settings(dataclasses.replace(STRICT, benchmarks=("aime24", "math500", "gsm8k")), named) == []
