import dataclasses
import json

import numpy as np
import pytest

from kurve.errors import DataError, TrackingError
from kurve.export import COUNTS, REPORT
from kurve.promotion import is_of, load_evaluation
from tests.gating import BASE, BETTER, RunsInMemory, registered_version


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> RunsInMemory:
    runs, folder = RunsInMemory(), tmp_path_factory.mktemp("runs")
    runs.add("base", folder, BASE, model="base")
    runs.add("better", folder, BETTER, model="better")
    with_errors = dataclasses.replace(BASE, num_errors=np.full(80, 2))
    runs.add("errors", folder, with_errors, model="base")
    return runs


@pytest.fixture
def runs(stored: RunsInMemory) -> RunsInMemory:
    """A copy that a test may alter."""
    own = RunsInMemory()
    own.tagged = {run: dict(tags) for run, tags in stored.tagged.items()}
    own.files = {run: dict(files) for run, files in stored.files.items()}
    return own


def edited(content: bytes, **changes: object) -> bytes:
    return json.dumps(json.loads(content) | changes).encode()


def test_an_evaluation_is_read_with_what_it_was_drawn_and_judged_with(runs: RunsInMemory) -> None:
    runs.tagged["better"] |= {"kurve.base_run_id": "base", "kurve.sandbox": "Unsafe"}
    found = load_evaluation(runs, "better")
    assert (found.benchmark, found.model, found.model_path, found.base_run_id) == (
        "easy",
        "better",
        "/models/better",
        "base",
    )
    assert found.measured.tally.num_correct.tolist() == BETTER.num_correct.tolist()
    assert found.measured.truncation_rate == 0.01
    assert found.measured.settings["temperature"] == 1.0
    assert found.measured.settings["verifier"] == "v1"
    assert found.measured.unsafe_sandbox
    assert set(found.sha256) == {COUNTS, REPORT}
    assert not load_evaluation(runs, "base").measured.unsafe_sandbox


def test_counts_that_are_not_those_of_the_report_are_refused(runs: RunsInMemory) -> None:
    runs.files["base"][COUNTS] = runs.files["better"][COUNTS]
    with pytest.raises(DataError, match=r"are not those that its report\.json recorded"):
        load_evaluation(runs, "base")


def test_verifier_errors_that_were_taken_away_are_noticed(runs: RunsInMemory) -> None:
    assert load_evaluation(runs, "errors").measured.tally.num_errors.sum() == 160
    runs.files["errors"][COUNTS] = runs.files["base"][COUNTS]  # the same n and c
    with pytest.raises(DataError, match="verifier errors"):
        load_evaluation(runs, "errors")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe", b'{"scalars": [], "spec": {}}'])
def test_a_report_that_is_none_is_refused(runs: RunsInMemory, content: bytes) -> None:
    runs.files["base"][REPORT] = content
    with pytest.raises(DataError, match=r"report\.json of the run base"):
        load_evaluation(runs, "base")


@pytest.mark.parametrize("rate", [None, "0.0", True, float("nan")])
def test_a_truncation_rate_that_is_no_number_is_not_known(runs: RunsInMemory, rate: object) -> None:
    scalars = json.loads(runs.files["base"][REPORT])["scalars"] | {"truncation_rate": rate}
    runs.files["base"][REPORT] = edited(runs.files["base"][REPORT], scalars=scalars)
    assert load_evaluation(runs, "base").measured.truncation_rate is None


def test_counts_that_are_no_table_and_files_that_are_gone_are_refused(runs: RunsInMemory) -> None:
    runs.files["base"][COUNTS] = b"PAR1 not really"
    with pytest.raises(DataError, match="holds no counts"):
        load_evaluation(runs, "base")
    del runs.files["base"][COUNTS]
    with pytest.raises(TrackingError, match="kept no file"):
        load_evaluation(runs, "base")


def test_an_evaluation_is_a_versions_if_it_is_listed_or_sampled_its_weights(runs: RunsInMemory) -> None:
    found = load_evaluation(runs, "better")
    assert is_of(registered_version("better"), found)
    assert is_of(registered_version("moved", "better"), found)
    assert not is_of(registered_version("other", "base"), found)
    elsewhere = dataclasses.replace(registered_version("x"), tags={})  # registered by another tool, without a path
    assert is_of(elsewhere, found)
