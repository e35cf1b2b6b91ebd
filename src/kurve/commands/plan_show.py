"""What evaluations will cost, for a terminal."""

from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kurve.planning import TOTALS, Amount, Costs, total

Words = Callable[[float], str]


def alone(one: Costs) -> RenderableType:
    """One row a quantity, with how it is known."""
    work, rates = one.work, one.rates
    table = Table(title=f"{work.label}, store {work.store}", title_justify="left", title_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("how much", justify="right", overflow="fold")
    table.add_column("how it is known", overflow="fold")
    each = f"{work.problems:,} problems x {work.num_samples:,}"
    table.add_row("samples", f"{_samples(one):,}", each)
    table.add_row("  stored already", f"{work.stored:,}", "not drawn again")
    table.add_row("  to be drawn", f"{work.missing:,}", "")
    _row(table, "prompt tokens", work.prompt_tokens, count)
    table.add_row(
        "  if sent with each sample", count(work.prompt_tokens_each.value or 0.0), "to a server, for instance"
    )
    _row(table, "tokens a sample", rates.tokens, count)
    _row(table, "generated tokens", one.tokens, count)
    _row(table, f"tokens/s of one {'GPU' if rates.gpus else 'process'}", rates.tokens_per_second, count)
    if rates.gpus:
        _row(table, "GPU-hours", one.gpu_hours, hours)
    else:
        _row(table, "processor: hours of a process", one.process_hours, hours)
    at_once = f"{rates.processes:,} at the same time" + (f", {rates.gpus} GPUs each" if rates.gpus > 1 else "")
    _row(table, "wall clock, hours", one.wall_hours, hours, note=at_once)
    if rates.gpus and rates.gpu_hour_price is not None:
        _row(table, "price", one.price, money)
    _row(table, "sample store", one.stored_bytes, size)
    _row(table, "tracked with the run", one.tracked_bytes, size)
    _row(table, "verification, processor-hours", one.verification_hours, hours)
    _row(table, "pass@1, 95 % interval", work.half_width, _points)
    table.add_row("pass@k", f"k up to {work.num_samples:,}", "")
    return Group(table, *_notes([one]))


def together(found: Sequence[Costs]) -> RenderableType:
    """One row an evaluation, and the sum."""
    table = Table(title=f"{len(found)} evaluations", title_justify="left", title_style="bold", show_footer=True)
    sums = {name: total(getattr(one, name) for one in found) for name in TOTALS}
    missing = sum(one.work.missing for one in found)
    columns: list[tuple[str, str, list[str]]] = [
        ("samples", f"{sum(map(_samples, found)):,}", [f"{_samples(one):,}" for one in found]),
        ("to be drawn", f"{missing:,}", [f"{one.work.missing:,}" for one in found]),
        ("tokens a sample", "", [_short(one.rates.tokens, count) for one in found]),
    ]
    for title, name, words in _SUMMED:
        if name != "price" or any(one.rates.gpu_hour_price is not None for one in found):
            parts = [_short(getattr(one, name), words) for one in found]
            columns.append((title, _short(sums[name], words), parts))
    table.add_column("evaluation", "together", overflow="fold")
    for title, footer, _ in columns:
        table.add_column(title, footer, justify="right", overflow="fold")
    for one, *cells in zip(found, *(cells for _, _, cells in columns), strict=True):
        table.add_row(Text(one.work.label), *cells)
    return Group(table, *_sources(found), *_notes(found))


def count(number: float) -> str:
    """A number of things, with three digits where it is large or no whole number."""
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def hours(number: float) -> str:
    """Hours, with three digits."""
    if 0 < number < 0.01:
        return "< 0.01"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def size(number: float) -> str:
    """Bytes, with three digits."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number:.0f} B"


def money(number: float) -> str:
    """In whatever currency the price was given."""
    return f"{number:,.2f}" if number < 1000 else f"{number:,.0f}"


_SUMMED: tuple[tuple[str, str, Words], ...] = (
    ("generated tokens", "tokens", count),
    ("GPU-hours", "gpu_hours", hours),
    ("price", "price", money),
    ("store", "stored_bytes", size),
    ("verification, h", "verification_hours", hours),
)


def _samples(one: Costs) -> int:
    return one.work.problems * one.work.num_samples


def _points(fraction: float) -> str:
    return f"± {100 * fraction:.1f} points"


def _row(table: Table, what: str, amount: Amount, words: Words, *, note: str = "") -> None:
    known = amount.source if amount.value is not None or not amount.source else f"not known: {amount.source}"
    table.add_row(what, _full(amount, words), Text(note if note and amount.value is not None else known))


def _full(amount: Amount, words: Words) -> str:
    """The amount with its interval, or what it cannot exceed."""
    if amount.value is None:
        return "not known" if amount.at_most is None else f"at most {words(amount.at_most)}"
    if amount.low is None or amount.high is None:
        return words(amount.value)
    return f"{words(amount.value)} [{words(amount.low)}, {words(amount.high)}]"


def _short(amount: Amount, words: Words) -> str:
    if amount.value is not None:
        return words(amount.value)
    return "?" if amount.at_most is None else f"<= {words(amount.at_most)}"


def _sources(found: Sequence[Costs]) -> list[Text]:
    """Where the rates come from, and what is not known; each once, with how many evaluations it concerns."""
    seen: Counter[str] = Counter()
    for one in found:
        rates = one.rates
        named = (
            ("tokens a sample", rates.tokens),
            ("tokens/s of one GPU" if rates.gpus else "tokens/s of one process", rates.tokens_per_second),
            ("store", rates.bytes_per_token),
            ("verification", rates.seconds_per_verdict),
        )
        for what, amount in named:
            seen[f"{what}: {'' if amount.value is not None else 'not known: '}{amount.source}"] += 1
    return [Text(f"{line} ({times} of {len(found)})" if times < len(found) else line) for line, times in seen.items()]


def _notes(found: Sequence[Costs]) -> list[Text]:
    return [Text(line, style="yellow") for line in dict.fromkeys(note for one in found for note in one.work.notes)]
