"""Models of several benchmarks -> panels: which model is compared with which, on the problems that both have.

A model is compared with the evaluation that its run names as its base, else with the only base of its benchmark. Of
several bases it is the one whose name its own begins with (the longest), else the last one before it. Of a base that
was evaluated several times, it is the evaluation at the model's own temperature, else the first.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kurve.comparison import paired, pass_at_k_curve, shared_problems
from kurve.errors import DataError
from kurve.figures.panels import Member, Panel, Style
from kurve.metrics.paired import paired_difference
from kurve.metrics.passk import log_spaced, pass_at_k_of
from kurve.types import Tally

BASE = "base"  # the role
BY_BENCHMARK, BY_PAIR = "benchmark", "pair"


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """One evaluation that a figure is drawn from."""

    name: str  # of the model; evaluations may share it
    tally: Tally
    benchmark: str = ""  # empty: unknown
    role: str = ""
    run_id: str = ""
    base_run_id: str = ""  # of the evaluation it is compared with
    temperature: float | None = None
    step: int | None = None  # of its training
    series: str = ""  # the training that its step belongs to


@dataclass(frozen=True, slots=True)
class Arranged:
    """Panels, and what was left out of them."""

    panels: tuple[Panel, ...]
    left_out: tuple[str, ...] = ()  # ids of problems that not all models of a panel have


@dataclass(frozen=True, slots=True)
class _Group:
    """Evaluations of one panel: the bases come first."""

    models: tuple[Evaluated, ...]
    against: tuple[int | None, ...]


def arrange(models: Sequence[Evaluated], *, by: str = BY_BENCHMARK, drop_unpaired: bool = False) -> Arranged:
    """Put each model into the panel of its benchmark and base.

    Args:
        models: in the order in which they are shown; the first of a benchmark is its base if nothing says which is.
        by: BY_BENCHMARK, all models of a base in one panel, or BY_PAIR, one panel for each model and its base.
        drop_unpaired: leave problems out that only some models of a panel have, instead of refusing them.

    Raises:
        DataError: models of a panel have different problems, or nothing in common.
    """
    panels: list[Panel] = []
    left_out: dict[str, None] = {}
    for benchmark in dict.fromkeys(one.benchmark for one in models):
        for group in _groups([one for one in models if one.benchmark == benchmark]):
            for part in _pairs(group) if by == BY_PAIR else [group]:
                panel, dropped = _panel(part, drop_unpaired=drop_unpaired)
                panels.append(panel)
                left_out |= dict.fromkeys(dropped)
    return Arranged(tuple(panels), tuple(left_out))


def against_the_first_tuned(panel: Panel) -> Panel:
    """The panel with differences to its first model that is no base, for settings that differ in one thing."""
    first = next((place for place, one in enumerate(panel.members) if one.role != BASE), None)
    if first is None:
        return panel
    members = [
        dataclasses.replace(one, against=first if place > first and one.role != BASE else None)
        for place, one in enumerate(panel.members)
    ]
    return dataclasses.replace(panel, members=tuple(members))


def with_curves(panel: Panel, style: Style) -> Panel:
    """The panel with every model's pass@k and its paired difference, both with simultaneous bands.

    Raises:
        DataError: a problem has no judged sample.
    """

    def measured(one: Member) -> Member:
        curve = pass_at_k_curve(one.tally, style.rng(), confidence=style.confidence)
        if one.against is None:
            return dataclasses.replace(one, curve=curve)
        base = panel.members[one.against].tally
        fewest = int(min(base.reach.min(), one.tally.reach.min()))
        ks = np.union1d(log_spaced(fewest), [min(style.k, fewest)])
        before, after = (pass_at_k_of(tally, ks) for tally in (base, one.tally))
        difference = paired_difference(before, after, ks, style.rng(), confidence=style.confidence, draws=style.draws)
        return dataclasses.replace(one, curve=curve, difference=difference)

    return dataclasses.replace(panel, members=tuple(measured(one) for one in panel.members))


def _groups(models: Sequence[Evaluated]) -> list[_Group]:
    """The models of one benchmark by their bases; evaluations of one base stay together."""
    bases = _bases(models)
    names = list(dict.fromkeys(one.name for one in bases))
    chosen = [None if one in bases else _base_of(place, models, bases) for place, one in enumerate(models)]
    groups = []
    for name in names:
        shown = [one for one in bases if one.name == name]
        against: list[int | None] = [None] * len(shown)
        for one, base in zip(models, chosen, strict=True):
            if base is not None and base.name == name:
                against.append(shown.index(base))
                shown.append(one)
        groups.append(_Group(tuple(shown), tuple(against)))
    return groups


def _bases(models: Sequence[Evaluated]) -> list[Evaluated]:
    named = {one.base_run_id for one in models if one.base_run_id}
    found = [one for one in models if one.role == BASE or (one.run_id and one.run_id in named)]
    return found or [models[0]]


def _base_of(place: int, models: Sequence[Evaluated], bases: Sequence[Evaluated]) -> Evaluated:
    one = models[place]
    if one.base_run_id and (told := [base for base in bases if base.run_id == one.base_run_id]):
        return told[0]
    names = {base.name for base in bases}
    begins = max((name for name in names if one.name.startswith(name)), key=len, default="")
    before = [base.name for base in models[:place] if base in bases] or [bases[0].name]
    same = [base for base in bases if base.name == (begins or before[-1])]
    return next((base for base in same if base.temperature == one.temperature), same[0])


def _pairs(group: _Group) -> list[_Group]:
    found = [
        _Group((group.models[base], one), (None, 0))
        for one, base in zip(group.models, group.against, strict=True)
        if base is not None
    ]
    return found or [_Group((one,), (None,)) for one in group.models]


def _panel(group: _Group, *, drop_unpaired: bool) -> tuple[Panel, list[str]]:
    names = _names(group.models)
    tallies, left_out = _paired([one.tally for one in group.models], names, drop=drop_unpaired)
    members = [
        Member(
            name=name,
            tally=tally,
            role=BASE if base is None else one.role,
            against=base,
            temperature=one.temperature,
            step=one.step,
            series=one.series,
        )
        for one, name, tally, base in zip(group.models, names, tallies, group.against, strict=True)
    ]
    return Panel(group.models[0].benchmark, group.models[0].name, tuple(members)), left_out


def _paired(tallies: Sequence[Tally], names: Sequence[str], *, drop: bool) -> tuple[list[Tally], list[str]]:
    left_out: list[str] = []
    if drop:
        tallies, left_out = shared_problems(tallies)
        if not tallies[0].problem_ids:
            raise DataError(f"no problem is in all of {', '.join(names)}; are the ids the same?")
    base, *others = tallies
    if not others:
        return [paired(base, base, names=(names[0], names[0]))[0]], left_out
    return [
        base,
        *(paired(base, one, names=(names[0], name))[1] for one, name in zip(others, names[1:], strict=True)),
    ], left_out


def _names(models: Sequence[Evaluated]) -> list[str]:
    """A name for each, as short as tells them apart."""
    names = [one.name for one in models]
    details: list[Callable[[Evaluated], str]] = [
        lambda one: "" if one.temperature is None else f", T = {one.temperature:g}",
        lambda one: "" if one.step is None else f", step {one.step}",
    ]
    for detail in details:
        if len(set(names)) < len(names):
            names = [f"{name}{detail(one)}" for name, one in zip(names, models, strict=True)]
    return [
        name if names.count(name) == 1 else f"{name} ({names[:place].count(name) + 1})"
        for place, name in enumerate(names)
    ]
