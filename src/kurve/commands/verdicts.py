"""The verdict table: what each model can do, and what changed against the base, with paired intervals."""

import math
from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from kurve.comparison import Comparison, PassAtK
from kurve.metrics.bootstrap import Estimate
from kurve.metrics.paired import Change, KRange

_STYLES = {Change.GAIN: "green", Change.LOSS: "red", Change.MIXED: "yellow", Change.NOT_ESTABLISHED: "dim"}
_MINUS = "\u2212"
_NAME = 12  # columns of a model's name before it is broken


def verdict_table(comparisons: Sequence[Comparison]) -> Group:
    """A table that fits into 80 columns, the verdicts in words below it, and how to read both.

    Args:
        comparisons: of models with the same base, at least one.
    """
    return Group(_numbers(comparisons), Text(), _words(comparisons), Text(), _legend(comparisons))


def show_verdicts(comparisons: Sequence[Comparison], console: Console) -> None:
    """Print the table."""
    console.print(verdict_table(comparisons), soft_wrap=False)


def _numbers(comparisons: Sequence[Comparison]) -> Table:
    first = comparisons[0]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("model", overflow="fold", max_width=_NAME)
    for name in ("pass@1", _headline(comparisons), "delta SE", "crossover k"):
        table.add_column(name, justify="right", no_wrap=True, min_width=14)
    at_headline = _percent(first.headline.base) if _same_k(comparisons) else Text()
    table.add_row(Text(first.base, style="bold"), _percent(first.at_1.base), at_headline, Text(), Text())
    for one in comparisons:
        table.add_row(
            Text(one.tuned, style="bold"),
            _changed(one.at_1),
            _changed(one.headline),
            _stacked(Text(_points(one.delta_se.value)), _interval(one.delta_se)),
            _crossover(one),
        )
    return table


def _changed(at: PassAtK) -> Text:
    """The value and its change against the base, and below them the change's interval."""
    change = at.change
    style = "green" if change.low > 0 else "red" if change.high < 0 else "dim"
    return _stacked(
        _percent(at.tuned).append(f" ({_signed(change.value)})", style=style), _interval(change, signed=True)
    )


def _crossover(one: Comparison) -> Text:
    found, difference = one.crossover, one.difference
    largest = int(difference.k[-1])
    low, high = found.confidence_set
    if low > largest:
        return Text(f"none up to {largest}")
    point = Text("none")
    if math.isfinite(found.point):
        point = Text(f"{found.point:.1f}" if found.point < 100 else f"{found.point:,.0f}")
    if 0 < found.probability < 1:
        point.append(f" ({_share(found.probability)})", style="dim")
    elif not math.isfinite(found.point) and difference.delta[-1] < 0:
        point.append(" (below)", style="dim")
    return _stacked(point, Text(f"[{low:.0f}, {high:.0f}]" if math.isfinite(high) else f"[{low:.0f}, \u221e]"))


def _stacked(above: Text, below: Text) -> Text:
    return Text("\n").join([above, below])


def _words(comparisons: Sequence[Comparison]) -> Table:
    """Each model's verdict, range by range."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False)
    table.add_column(overflow="fold", max_width=_NAME, style="bold")
    table.add_column(overflow="fold")
    for one in comparisons:
        largest = int(one.difference.k[-1])
        parts = [Text(f"{part.change} {_k_words(part, largest)}", style=_STYLES[part.change]) for part in one.ranges]
        table.add_row(Text(one.tuned), Text(", ").join(parts))
    return table


def _k_words(part: KRange, largest: int) -> str:
    if part.first == part.last:
        return f"at k = {part.first}"
    if part.last == largest:
        return f"at all k up to {largest}" if part.first == 1 else f"from k = {part.first}"
    return f"up to k = {part.last}" if part.first == 1 else f"at k = {part.first} to {part.last}"


def _legend(comparisons: Sequence[Comparison]) -> Text:
    first = comparisons[0]
    base, confidence = first.base, f"{100 * first.difference.confidence:g} %"
    which = "" if _same_k(comparisons) else f" k is {', '.join(f'{c.headline.k} for {c.tuned}' for c in comparisons)}."
    return Text(
        f"{first.difference.num_problems:,} problems, paired. In parentheses the change against {base} in points, in "
        f"brackets its {confidence} interval. delta SE: pass@{first.delta_se_k} of {base} minus the model's pass@1, "
        "in points. Crossover: where the curves meet (share of bootstrap draws in which they do), and in brackets the "
        f"first k with a loss that the band allows. Verdicts: {confidence} for all k at once. All for problems like "
        f"these.{which}",
        style="dim",
    )


def _headline(comparisons: Sequence[Comparison]) -> str:
    return f"pass@{comparisons[0].headline.k}" if _same_k(comparisons) else "pass@k"


def _same_k(comparisons: Sequence[Comparison]) -> bool:
    return len({one.headline.k for one in comparisons}) == 1


def _percent(value: float) -> Text:
    return Text(f"{100 * value:.1f} %")


def _share(probability: float) -> str:
    """A share of draws that is neither none nor all of them."""
    percent = round(100 * probability)
    return "<1 %" if percent == 0 else ">99 %" if percent == 100 else f"{percent} %"


def _points(value: float) -> str:
    return f"{100 * value:.1f}".replace("-", _MINUS)


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", _MINUS)


def _interval(estimate: Estimate, *, signed: bool = False) -> Text:
    write = _signed if signed else _points
    return Text(f"[{write(estimate.low)}, {write(estimate.high)}]")
