"""What changed on each kind of problem, as a table for the terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from kurve.comparison import Comparison
from kurve.metrics.paired import Change
from kurve.metrics.strata import LEAST, Stratum, StratumAtK
from kurve.observations import shortened

_SHOWN = 20  # strata, those with the most problems; comparison.json has all
_NAME = 24  # columns
_STYLES = {Change.GAIN: "green", Change.LOSS: "red", Change.MIXED: "yellow", Change.NOT_ESTABLISHED: "dim"}
_MINUS = "\u2212"


def strata_table(comparison: Comparison) -> Table:
    """A row a stratum: problems, pass@1 and the headline with their change in points and its interval."""
    k = comparison.headline.k
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(Text(f"{comparison.tuned} on"), overflow="fold", max_width=_NAME)
    table.add_column("problems", justify="right", no_wrap=True)
    for name in dict.fromkeys(("pass@1", f"pass@{k}")):
        table.add_column(name, justify="right", no_wrap=True, min_width=14)
    for one in comparison.strata[:_SHOWN]:
        cells = [_changed(at) for at in ([one.at_1] if k == 1 else [one.at_1, one.headline])]
        table.add_row(_name(one), f"{one.num_problems:,}", *cells)
    return table


def strata_words(comparison: Comparison) -> Text:
    """How to read the table, and what it leaves out."""
    rest = len(comparison.strata) - _SHOWN
    more = f" {rest} smaller strata are in the JSON." if rest > 0 else ""
    return Text(
        f"Coloured: established at {100 * comparison.difference.confidence:g} % over all strata of one k (Holm). In "
        f"brackets each stratum's own interval, not adjusted; none for fewer than {LEAST} problems.{more}",
        style="dim",
    )


def _name(one: Stratum) -> Text:
    return Text(shortened(one.name, 3 * _NAME)) if one.name else Text("(no stratum)", style="dim")


def _changed(at: StratumAtK) -> Text:
    text = Text(f"{100 * at.tuned:.1f} %").append(f" ({_signed(at.change)})", style=_STYLES[at.verdict])
    if at.interval is None:
        return text
    return Text("\n").join([text, Text(f"[{_signed(at.interval.low)}, {_signed(at.interval.high)}]")])


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", _MINUS)


def stratified(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Those whose problems are of more than one known kind."""
    return [one for one in comparisons if len(one.strata) > 1]
