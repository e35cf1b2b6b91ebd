"""What a gate decided, for people: on the terminal, and as the Markdown page beside the report."""

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kurve.gate_report import Pairing
from kurve.gate_settings import gate_json
from kurve.gates import Check, GateOutcome, GateResult
from kurve.promotion import RegisteredVersion

STYLES = {
    GateOutcome.PASSED: "green",
    GateOutcome.FAILED: "red",
    GateOutcome.INSUFFICIENT_EVIDENCE: "yellow",
}


def show_decision(
    version: RegisteredVersion,
    alias: str,
    result: GateResult,
    pairings: Sequence[Pairing],
    *,
    files: Sequence[Path],
    url: str,
    did: str,
) -> None:
    """Print every check, what was gained and lost, what was done and where to look.

    Args:
        version: that was judged.
        alias: that it was judged for.
        result: of the gate.
        pairings: what it rests on.
        files: that were written.
        url: of the gate's run, empty if there is none.
        did: what became of the alias.
    """
    console = Console(highlight=False)
    title = f"{version.name} version {version.version}, gate {result.gate.name} for the alias {alias}"
    console.print(Text(f"\n{title}", style="bold"))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("check", "benchmark", "says", "why"):
        table.add_column(name, overflow="fold")
    for check in result.checks:
        style = STYLES[check.outcome]
        table.add_row(check.name, Text(check.benchmark), Text(check.outcome, style=style), Text(check.reason))
    if result.checks:
        console.print(table)
    for one in pairings:
        if one.words:
            console.print(Text(one.words))
    console.print(Text(f"{result.outcome}: {did}", style=STYLES[result.outcome]))
    places = [("report", str(file)) for file in files] + [("run", url), ("version", version.url)]
    for name, place in places:
        if place:
            console.print(Text(f"{name:<8} {place}"), soft_wrap=True)


def gate_page(version: RegisteredVersion, alias: str, result: GateResult, pairings: Sequence[Pairing]) -> str:
    """The report as Markdown."""
    asked = [f"{key}: {value}" for key, value in gate_json(result.gate).items() if value is not None]
    lines = [
        f"# {_plain(version.name)} version {version.version}: {result.outcome}",
        "",
        f"Gate {_plain(result.gate.name)} for the alias {_plain(alias)}. {_plain(result.reason)}.",
        "",
        *(f"{_plain(one.words)}\n" for one in pairings if one.words),
        "| check | benchmark | says | why |",
        "| --- | --- | --- | --- |",
        *(_row(check) for check in result.checks),
        "",
        "Asked for: " + _plain(", ".join(asked)) + ".",
        "",
        "Rests on:",
        "",
        *(line for one in pairings for line in _inputs(one)),
    ]
    return "\n".join(lines) + "\n"


def _row(check: Check) -> str:
    return f"| {check.name} | {_plain(check.benchmark)} | {check.outcome} | {_plain(check.reason)} |"


def _inputs(pairing: Pairing) -> list[str]:
    sides = (("this version", pairing.tuned), ("base", pairing.base))
    return [
        f"- {_plain(pairing.benchmark)}, {side}: run `{one.run_id}`, {name} sha256 `{digest}`"
        for side, one in sides
        if one is not None
        for name, digest in one.sha256.items()
    ]


def _plain(text: str) -> str:
    """Names come from models and data: on one line, nothing in them is Markdown."""
    return re.sub(r"\s+", " ", re.sub(r"([\\`*_{}\[\]()#+!|<>~&])", r"\\\1", text))
