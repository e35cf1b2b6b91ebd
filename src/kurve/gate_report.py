"""What a gate decided, as a file that can be checked: whose weights, which counts, which thresholds, which intervals.

The report says all that the decision rests on, so that whoever holds the runs can repeat it: `verify` reads the counts
again, compares their digests with those of the report, and judges anew with the thresholds of the report. The same
evidence gives the same bytes.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kurve.errors import DataError, GateError
from kurve.gate_settings import Gate, gate_digest, gate_json, gate_of, weaker_settings
from kurve.gates import Evidence, GateOutcome, GateResult, judge
from kurve.promotion import RegisteredVersion, RunFiles, StoredEvaluation, is_of, load_evaluation

GATE_FOLDER = "gate"  # of the artifacts
GATE_REPORT, GATE_PAGE = "gate.json", "gate.md"
GATE_KIND = "gate"  # kurve.kind of the run
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Pairing:
    """An evaluation of the version, and the one of its base on the same benchmark."""

    benchmark: str
    tuned: StoredEvaluation
    base: StoredEvaluation | None
    words: str = ""  # what was gained and lost, for people

    @property
    def evidence(self) -> Evidence:
        """What a gate sees of it."""
        return Evidence(self.benchmark, self.base.measured if self.base else None, self.tuned.measured)


def gate_report(version: RegisteredVersion, alias: str, pairings: Sequence[Pairing], result: GateResult) -> bytes:
    """The decision as JSON."""
    document = {
        "format": FORMAT,
        "outcome": result.outcome,
        "reason": result.reason,
        "alias": alias,
        "model": _identity(version),
        "gate": gate_json(result.gate),
        "gate_digest": gate_digest(result.gate),
        "inputs": [_inputs(one) for one in pairings],
        "checks": [{key: _finite(value) for key, value in dataclasses.asdict(one).items()} for one in result.checks],
        "changes": {one.benchmark: one.words for one in pairings},
    }
    return json.dumps(document, indent=1, allow_nan=False).encode()


def verify(content: bytes, version: RegisteredVersion, alias: str, *, floor: Gate, runs: RunFiles) -> None:
    """Refuse unless the report is of this version and alias, asks for enough, and its evidence still passes.

    Args:
        content: of a report.
        version: that the alias is to name.
        alias: that is asked for.
        floor: the least that a gate may ask for.
        runs: where the evidence is.

    Raises:
        GateError: the reason.
        KurveError: a run or file is gone or damaged.
    """
    report = _read(content)
    if report.get("outcome") != GateOutcome.PASSED:
        raise GateError(f"its gate report says {report.get('outcome')}: {report.get('reason')}")
    if report.get("model") != _identity(version) or report.get("alias") != alias:
        raise GateError("its gate report is of another version, or of another alias")
    gate = gate_of(report.get("gate"), "the gate report")
    if weaker := weaker_settings(gate, floor):
        raise GateError(f"its gate {gate.name!r} asks for less than {floor.name!r} does: {'; '.join(weaker)}")
    result = judge(gate, [_evidence(one, version, runs) for one in _listed(report)])
    if result.outcome is not GateOutcome.PASSED or not result.checks:
        raise GateError(
            f"the gate {gate.name!r}, tried again on the stored counts, says {result.outcome}: {result.reason}"
        )


def sha256(content: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def _identity(version: RegisteredVersion) -> dict[str, object]:
    """What makes a version that version: another one of its name and number differs in some of it."""
    return {
        "name": version.name,
        "version": version.version,
        "source": version.source,
        "path": version.path,
        "sha256": version.sha256,
        "run_id": version.run_id,
        "created": version.created,
    }


def _inputs(pairing: Pairing) -> dict[str, object]:
    sides = {"tuned": pairing.tuned, "base": pairing.base}
    found = {
        side: {"run_id": one.run_id, "model": one.model, "sha256": dict(one.sha256)} if one else None
        for side, one in sides.items()
    }
    return {"benchmark": pairing.benchmark, **found}


def _read(content: bytes) -> Mapping[str, object]:
    try:
        report = json.loads(content)
    except ValueError as error:
        raise DataError(f"the gate report is no JSON: {error}") from error
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise DataError(f"the gate report is not of format {FORMAT}; promote the version again")
    return report


def _listed(report: Mapping[str, object]) -> list[Mapping[str, object]]:
    inputs = report.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(one, dict) for one in inputs):
        raise DataError("the gate report does not list what it rests on")
    return inputs


def _evidence(inputs: Mapping[str, object], version: RegisteredVersion, runs: RunFiles) -> Evidence:
    tuned, base = (_again(inputs.get(side), runs) for side in ("tuned", "base"))
    benchmark = str(inputs.get("benchmark"))
    for one in (tuned, base):
        if one is not None and one.benchmark != benchmark:
            raise GateError(f"the run {one.run_id} is of {one.benchmark}, the gate report says {benchmark}")
    if tuned is None or not is_of(version, tuned):
        raise GateError(f"the evidence on {benchmark} is not of this version")
    return Pairing(benchmark, tuned, base).evidence


def _again(recorded: object, runs: RunFiles) -> StoredEvaluation | None:
    """The evaluation that the report names, if its files are what they were."""
    if recorded is None:
        return None
    if not isinstance(recorded, dict) or not isinstance(recorded.get("run_id"), str):
        raise DataError("the gate report names no run for some of its evidence")
    found = load_evaluation(runs, recorded["run_id"])
    if dict(found.sha256) != recorded.get("sha256"):
        raise GateError(f"the evidence was altered since: files of the run {found.run_id} have another sha256")
    return found


def _finite(value: object) -> object:
    """NaN and infinity are no JSON: null."""
    return None if isinstance(value, float) and value - value != 0 else value
