"""A seed report for a terminal."""

from rich.table import Table
from rich.text import Text

from kurve.metrics.bootstrap import Estimate
from kurve.metrics.seeds import LEAST_SEEDS, OverSeeds
from kurve.seed_report import SAMPLING, SeedReport


def report_table(report: SeedReport) -> Table:
    """One row a configuration; below each number its interval over problems, over seeds, and over both, in points."""
    gap = [] if report.delta_se_k is None else ["delta_se"]
    keys = [*dict.fromkeys(("pass_at_1", f"pass_at_{report.k}")), *gap]
    title = f"{report.benchmark}, {report.num_problems:,} problems, {100 * report.confidence:g} % intervals, in points"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("configuration", overflow="fold")
    table.add_column("seeds", justify="right")
    for key in keys:
        table.add_column(key.replace("_at_", "@").replace("delta_se", "delta SE"), overflow="fold")
    for one in report.configurations:
        cells = [_cell(one.quantities[key]) if key in one.quantities else Text("") for key in keys]
        name = f"{one.name} (base)" if one.is_base and "base" not in one.name else one.name
        table.add_row(Text(name, style="dim" if one.is_base else ""), str(len(one.seeds)), *cells, end_section=True)
    return table


def words(report: SeedReport) -> list[str]:
    """What the intervals mean, and what cannot be said."""
    said = [
        "problems: these seeds on problems like these; seeds: other seeds on these very problems; both: other seeds on "
        "problems like these"
    ]
    tuned = [one for one in report.configurations if not one.is_base]
    if report.delta_se_k is None:
        said.append("no base is known, so there is no delta SE: base=<counts file, store, run, or key of a job>")
    elif without := [one.name for one in tuned if "delta_se" not in one.quantities]:
        said.append(f"no delta SE without a base: {', '.join(without)}")
    else:
        said.append(f"delta SE is the base's pass@{report.delta_se_k} less the configuration's pass@1; lower is better")
    if few := [f"{one.name} ({len(one.seeds)})" for one in tuned if len(one.seeds) < LEAST_SEEDS]:
        said.append(f"what another seed would give is not established below {LEAST_SEEDS} seeds: {', '.join(few)}")
    if agreeing := [one.name for one in tuned if any(_agree(over) for over in one.quantities.values())]:
        said.append(f"seeds that agree exactly do not establish what another would give: {', '.join(agreeing)}")
    if sampled := [one.name for one in tuned if one.varies == SAMPLING]:
        said.append(
            "seeds that sampled one model say how far another sampling of it would differ, and nothing of another "
            f"training: {'all' if len(sampled) == len(tuned) else ', '.join(sampled)}"
        )
    return said


def _cell(over: OverSeeds) -> Text:
    lines = [f"{100 * over.value:.1f}", f"{_interval(over.problems)} problems"]
    lines.append("seeds: not established" if over.seeds is None else f"{_interval(over.seeds)} seeds")
    if over.both is not None:
        lines.append(f"{_interval(over.both)} both")
    return Text("\n".join(lines))


def _agree(over: OverSeeds) -> bool:
    return over.seeds is None and over.both is not None


def _interval(one: Estimate) -> str:
    return f"[{100 * one.low:.1f}, {100 * one.high:.1f}]"
