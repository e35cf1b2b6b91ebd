import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from kurve.errors import DataError, GateError, KurveError, TrackingError
from kurve.export import COUNTS, REPORT
from kurve.gate_report import Pairing, gate_report, verify
from kurve.gate_settings import Gate, gate_json
from kurve.gates import judge
from kurve.promotion import RegisteredVersion, load_evaluation
from tests.gating import BASE, BETTER, NARROWER, RunsInMemory, registered_version

GATE = Gate("strict", superiority_margin=0.0, non_inferiority_margin=0.05, min_problems=50, draws=400)
VERSION = registered_version("better", "better")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> RunsInMemory:
    runs, folder = RunsInMemory(), tmp_path_factory.mktemp("runs")
    runs.add("base", folder, BASE, model="base")
    runs.add("better", folder, BETTER, model="better")
    runs.add("narrower", folder, NARROWER, model="narrower")
    return runs


@pytest.fixture
def runs(stored: RunsInMemory) -> RunsInMemory:
    own = RunsInMemory()
    own.tagged = {run: dict(tags) for run, tags in stored.tagged.items()}
    own.files = {run: dict(files) for run, files in stored.files.items()}
    return own


def reported(
    runs: RunsInMemory, tuned: str = "better", gate: Gate = GATE, version: RegisteredVersion = VERSION
) -> bytes:
    pairing = Pairing("easy", load_evaluation(runs, tuned), load_evaluation(runs, "base"))
    return gate_report(version, "champion", [pairing], judge(gate, [pairing.evidence]))


def check(content: bytes, runs: RunsInMemory, version: RegisteredVersion = VERSION, alias: str = "champion") -> None:
    verify(content, version, alias, floor=GATE, runs=runs)


def test_a_report_that_passed_is_accepted_for_as_long_as_its_evidence_is_what_it_was(runs: RunsInMemory) -> None:
    content = reported(runs)
    check(content, runs)
    assert reported(runs) == content
    document = json.loads(content)
    assert document["outcome"] == "passed"
    assert document["inputs"][0]["tuned"]["sha256"].keys() == {COUNTS, REPORT}
    assert document["gate"] == gate_json(GATE)
    assert {check["name"] for check in document["checks"]} >= {"superiority", "non_inferiority"}


@pytest.mark.parametrize("run", ["base", "better"])
@pytest.mark.parametrize("file", [COUNTS, REPORT])
def test_evidence_that_was_altered_or_removed_since_is_refused(runs: RunsInMemory, run: str, file: str) -> None:
    content = reported(runs)
    before = runs.files[run][file]
    runs.files[run][file] = runs.files["narrower"][file]
    with pytest.raises(KurveError, match="altered"):
        check(content, runs)
    runs.files[run] = dict(runs.files["narrower"])  # both files, which agree with each other
    with pytest.raises(GateError, match="altered since"):
        check(content, runs)
    del runs.files[run]
    with pytest.raises(TrackingError, match="kept no file"):
        check(content, runs)
    assert before


@pytest.mark.parametrize(
    "other",
    [
        {"version": "2"},
        {"name": "n"},
        {"source": "models:/elsewhere"},
        {"created": 1_800_000_000_000},
        {"run_id": "another"},
        {"tags": {"kurve.path": "/models/better", "kurve.sha256": "cd" * 32}},
    ],
)
def test_a_report_of_another_version_is_refused(runs: RunsInMemory, other: dict[str, Any]) -> None:
    with pytest.raises(GateError, match="of another version"):
        check(reported(runs), runs, dataclasses.replace(VERSION, **other))


def test_a_report_for_another_alias_is_refused(runs: RunsInMemory) -> None:
    with pytest.raises(GateError, match="another alias"):
        check(reported(runs), runs, alias="staging")


def forge(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    document = json.loads(content)
    change(document)
    return json.dumps(document).encode()


def test_a_report_that_was_made_to_say_passed_is_tried_again_and_refused(runs: RunsInMemory) -> None:
    bad = registered_version("narrower", "narrower")
    content = reported(runs, "narrower", version=bad)
    with pytest.raises(GateError, match="says failed"):
        check(content, runs, bad)
    with pytest.raises(GateError, match="tried again on the stored counts, says failed"):
        check(forge(content, lambda one: one.update(outcome="passed")), runs, bad)


def test_evidence_of_another_model_is_refused(runs: RunsInMemory) -> None:
    bad = registered_version("narrower", "narrower")
    with pytest.raises(GateError, match="not of this version"):
        check(reported(runs, "better", version=bad), runs, bad)


def test_a_gate_that_asks_for_less_than_the_server_does_is_refused(runs: RunsInMemory) -> None:
    with pytest.raises(GateError, match="min_problems is 1 and 50 is asked for"):
        check(reported(runs, gate=dataclasses.replace(GATE, min_problems=1)), runs)


def test_a_report_without_evidence_or_of_another_benchmark_is_refused(runs: RunsInMemory) -> None:
    content = reported(runs)
    with pytest.raises(GateError, match="insufficient evidence"):
        check(forge(content, lambda one: one.update(inputs=[])), runs)
    with pytest.raises(GateError, match="the gate report says hard"):
        check(forge(content, lambda one: one["inputs"][0].update(benchmark="hard")), runs)
    with pytest.raises(GateError, match="not of this version"):
        check(forge(content, lambda one: one["inputs"][0].update(tuned=None)), runs)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 2}', b"\xff", b'{"format": 1, "outcome": "passed"}'])
def test_what_is_no_report_is_refused(runs: RunsInMemory, content: bytes) -> None:
    with pytest.raises((DataError, GateError)):
        check(content, runs)


@pytest.mark.parametrize("inputs", [None, {}, ["x"], [{"tuned": "x"}], [{"tuned": {"run_id": 3}}]])
def test_inputs_of_another_form_are_refused(runs: RunsInMemory, inputs: object) -> None:
    with pytest.raises((DataError, GateError)):
        check(forge(reported(runs), lambda one: one.update(inputs=inputs)), runs)
