"""What `kurve score` prints."""

import math
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kurve.metrics.bootstrap import Estimate
from kurve.metrics.likelihood import Summary, perplexity
from kurve.perplexity import AgainstBase, Perplexities

_NAME = 34  # columns of a name before it is broken
_MINUS = "\u2212"


def show(found: Perplexities, *, title: str, folder: Path, url: str, hint: str) -> None:
    """Print the distributions, their place among the base's own, and where everything is."""
    console = Console(highlight=False)
    console.print(Text(f"\n{title}", style="bold"))
    console.print(_distributions(found))
    if found.against_base:
        console.print()
        console.print(_against(found))
    console.print()
    console.print(Text(_legend(found), style="dim"))
    for note in found.notes:
        console.print(Text(f"note: {note}"), soft_wrap=True)
    console.print(Text(f"files    {folder}"), soft_wrap=True)
    if url:
        console.print(Text(f"run      {url}"), soft_wrap=True)
    if hint:
        console.print(Text(hint), soft_wrap=True)


def _distributions(found: Perplexities) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("responses", overflow="fold", max_width=_NAME)
    for name in ("samples", "perplexity", "quartiles", "mean log"):
        table.add_column(name, justify="right")
    for one, every, right in zip(found.distributions, found.all, found.correct, strict=True):
        table.add_row(Text(one.name, style="bold"), *_cells(every))
        if right is not None and right.num_samples < every.num_samples:
            table.add_row(Text("  the correct ones"), *_cells(right))
    return table


def _cells(one: Summary) -> tuple[Text, ...]:
    lower, median, upper = (f"{value:.4g}" for value in perplexity(one.quartiles).tolist())
    return Text(f"{one.num_samples:,}"), Text(median), Text(f"{lower} to {upper}"), Text(_estimate(one.mean))


def _against(found: Perplexities) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("against the base's own", overflow="fold", max_width=_NAME)
    for name in ("  quantile", "difference", "at equal length"):
        table.add_column(name, justify="right")
    for one in found.against_base:
        table.add_row(*_against_cells(one))
    return table


def _against_cells(one: AgainstBase) -> tuple[Text, ...]:
    return (
        Text(one.name, style="bold"),
        Text(_estimate(one.quantile, between="\n")),
        Text(_estimate(one.length.raw, signed=True, between="\n")),
        Text(_estimate(one.length.adjusted, signed=True, between="\n")),
    )


def _legend(found: Perplexities) -> str:
    level = f"{100 * found.confidence:g} %"
    text = (
        f"Perplexity a {found.unit}: median and quartiles over samples. Mean log: nats a {found.unit}, mean over "
        f"problems, in brackets its {level} interval for problems like these."
    )
    if found.against_base:
        text += (
            " Quantile: the place of a sample among the base's own of its problem, 0.5 where they are as likely, below "
            f"where likelier. Difference: of log-perplexity, nats a {found.unit}, as it is and between responses of "
            "equal length to one problem."
        )
    return text


def _estimate(one: Estimate, *, signed: bool = False, between: str = " ") -> str:
    def number(value: float) -> str:
        if not math.isfinite(value):
            return "\u221e" if value > 0 else f"{_MINUS}\u221e"
        return f"{value:+.3f}".replace("-", _MINUS) if signed else f"{value:.3f}".replace("-", _MINUS)

    return f"{number(one.value)}{between}[{number(one.low)}, {number(one.high)}]"
