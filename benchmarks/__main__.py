"""Run every benchmark, print the table and keep it in docs/benchmarks.md: `make bench` or `python -m benchmarks`."""

import argparse
import datetime
import os
import platform
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import Row
from kurve import __version__

MODULES = (
    "passk", "compare", "adaptive", "import", "merge", "tracking", "page",
    "grading", "sampling", "scoring", "overlap", "training", "launcher",
)  # fmt: skip
APART = ("scale",)  # not a ratio to be kept up: docs/scale.md has its numbers
PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
COLUMNS = ("what", "measured", "goal", "met", "how")


def main() -> None:
    """Measure, print, write the page unless something failed; exit code 1 when it did or a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "only", nargs="*", help=f"which of {', '.join((*MODULES, *APART))} (default: all but {', '.join(APART)})"
    )
    parser.add_argument("--quick", action="store_true", help="smaller inputs, not written to the page")
    arguments = parser.parse_args()
    rows: list[Row] = []
    failed = []
    for name in arguments.only or MODULES:
        try:
            found = import_module(f"benchmarks.bench_{name}").run(quick=arguments.quick)
        except Exception:  # noqa: BLE001  # the others take an hour, which one's missing model or browser must not cost
            traceback.print_exc()
            failed.append(name)
        else:
            _print([_cells(row) for row in found])
            rows += found
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; again with python -m benchmarks {' '.join(failed)}")
    if not arguments.quick and not arguments.only:
        PAGE.write_text(_page([_cells(row) for row in rows]), encoding="utf-8")
    raise SystemExit(not all(row.met for row in rows))


def _cells(row: Row) -> tuple[str, ...]:
    if row.goal is None:
        return row.name, f"{row.ratio:.3g}x", "", "", row.detail
    bound = "at most" if row.at_most else "at least"
    return row.name, f"{row.ratio:.3g}x", f"{bound} {row.goal:g}x", "yes" if row.met else "no", row.detail


def _print(rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _page(rows: Sequence[tuple[str, ...]]) -> str:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    lines = [
        "# Speed",
        "",
        "Made by `make bench`: each figure is a ratio against a named alternative measured in the same run.",
        "",
        f"Machine: {machine}. Date: {today}. kurve {__version__}.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "| " + " | ".join("---" for _ in COLUMNS) + " |",
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
